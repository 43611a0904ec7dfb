"""What an incident costs: CPU and journal while addresses are steered, at the default cadence.

One upstream of 26 addresses, then one of 100, of which 13 % of the RRsets are expired over the
local path: real servers behind each path in namespaces, two remote sites. Measured for two minutes,
from half a minute after all were away.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import report
from benchmarks.footprint import asked, cpu_of
from steering.lab.waiting import until
from steering.model import LOCAL

SPAN = 120.0
AFTER = 30.0
PATIENCE = 120.0


def run() -> None:
    """Measure and print the table."""
    from steering.lab.addresses import GTLD_SERVERS
    from steering.lab.network.topology import Topology

    if Topology.missing():
        print(f"\nincident: left out: {'; '.join(Topology.missing())}")
        return
    rows = [_measure(servers) for servers in (dict(GTLD_SERVERS), _many(50))]
    report.table(
        f"13 % expired here, all steered, over {SPAN:.0f} s",
        ("addresses", "all away after", "rounds/s", "CPU of a core", "journal an hour"),
        rows,
    )


def _many(nameservers: int) -> dict[str, tuple[str, ...]]:
    return {
        f"n{i}.gtld-servers.net.": (f"198.18.{i}.30", f"2001:db8:5:{i:x}::30")
        for i in range(nameservers)
    }


def _measure(servers: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    from steering.lab.scene import Scene, Settings
    from steering.lab.servers.zone import Fault, FaultKind

    number = sum(map(len, servers.values()))
    with Scene(nameservers=servers) as scene:
        scene.serve()
        scene.resolver.start()
        scene.configure(Settings(interval="10s", fast_interval="200ms", hold="5m", clean=1600))
        agent = scene.start_agent()
        time.sleep(15.0)
        fault = Fault(kind=FaultKind.EXPIRED, share=0.13)
        began = scene.serve(fault, paths=[LOCAL])
        until(lambda: len(scene.routes()), PATIENCE, wanted=number, every=0.1)
        away = time.time() - began
        time.sleep(AFTER)
        journal = scene.world.work / "state"
        used, rounds, kept = cpu_of(agent.pid), asked(scene.api()), _size(journal)
        started = time.monotonic()
        time.sleep(SPAN)
        span = time.monotonic() - started
        used, rounds = cpu_of(agent.pid) - used, asked(scene.api()) - rounds
        grown = _size(journal) - kept
    return (
        str(number),
        f"{away:.1f} s",
        f"{rounds / 2 / span:.0f}",
        f"{used / span:.1%}",
        f"{grown * 3600 / span / 1e6:.1f} MB",
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
