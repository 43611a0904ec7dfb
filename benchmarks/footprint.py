"""Memory and CPU of the agent and its guard, at the default cadence, for a minute.

The two shipped policies (root and gTLD servers, 52 addresses), two remote sites, real
servers behind each path in namespaces. `together` counts each page of memory once, whoever of
the two has it: the sum of their RSS would count the interpreter's own pages twice.
"""

from __future__ import annotations

import array
import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report

PAGE = os.sysconf("SC_PAGE_SIZE")
FRAME = (1 << 55) - 1
MINUTE = 60.0
WARM = 25.0
"""Seconds until every address has been asked and the keys are there."""


def run() -> None:
    """Measure and print the table."""
    from steering.lab.network.topology import Topology
    from steering.lab.scene import Scene, Settings

    if Topology.missing():
        print(f"\nfootprint: left out: {'; '.join(Topology.missing())}")
        return
    shipped = Path(__file__).resolve().parent.parent / "policies"
    servers = _nameservers(shipped)
    with Scene(nameservers=servers) as scene:
        scene.serve()
        scene.resolver.start()
        config = scene.configure(Settings(interval="10s", fast_interval="200ms"))
        for file in (config.parent / "policies").glob("*.yaml"):
            file.unlink()
        for file in shipped.glob("*.yaml"):
            (config.parent / "policies" / file.name).write_text(file.read_text())
        agent = scene.start_agent()
        guard = _guard_of(agent.pid)
        time.sleep(WARM)
        before = {pid: cpu_of(pid) for pid in (agent.pid, guard)}
        before_that = asked(scene.api())
        started = time.monotonic()
        time.sleep(MINUTE)
        span = time.monotonic() - started
        rate = (asked(scene.api()) - before_that) / span
        parties = {"agent": [agent.pid], "guard": [guard], "together": [agent.pid, guard]}
        rows = [
            (
                name,
                f"{_resident(pids):.1f} MB",
                f"{sum(cpu_of(pid) - before[pid] for pid in pids) / span:.2%}",
            )
            for name, pids in parties.items()
        ]
    report.table(
        f"52 addresses over 3 paths, {rate:.1f} probes/s, {span:.0f} s",
        ("", "resident", "CPU of a core"),
        rows,
    )


def _nameservers(policies: Path) -> dict[str, tuple[str, ...]]:
    import yaml

    found: dict[str, tuple[str, ...]] = {}
    for file in sorted(policies.glob("*.yaml")):
        for name, addresses in yaml.safe_load(file.read_text())["nameservers"].items():
            found[name] = tuple(addresses)
    return found


def asked(status: dict[str, object]) -> int:
    addresses = status["addresses"]
    assert isinstance(addresses, list)
    return sum(path["samples"] for entry in addresses for path in entry["paths"].values())


def _guard_of(agent: int) -> int:
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if b"steering.act.guard" in words and parent == agent:
            return int(entry.name)
    raise RuntimeError("no guard beside the agent")


def _resident(pids: Sequence[int]) -> float:
    """MB of resident memory, each page frame once (Documentation/admin-guide/mm/pagemap.rst)."""
    frames: set[int] = set()
    for pid in pids:
        with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                first, last = (int(n, 16) // PAGE for n in line.split()[0].split("-"))
                if first >= 1 << 51:
                    continue  # vsyscall: above what pagemap has
                entries = array.array("Q")
                pagemap.seek(first * 8)
                entries.frombytes(pagemap.read((last - first) * 8))
                frames.update(e & FRAME for e in entries if e >> 63)
    return len(frames) * PAGE / 2**20


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
