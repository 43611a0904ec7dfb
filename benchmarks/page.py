"""What the page costs: octets with everything failing, and an agent watched by fifty.

The size: 1,000 addresses over 4 paths, all failing, a full list of events, a day of the plot. The
cost: the two shipped policies (52 addresses) at the default cadence, a minute without watchers and
a minute with fifty at `/events`, who are told every second. Renderings run in copies of the agent
and count as its own.
"""

from __future__ import annotations

import gzip
import os
import resource
import socket
import threading
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path

from benchmarks import report
from benchmarks.footprint import _nameservers, cpu_of
from steering.model import Event, Family
from steering.report.page.front import front
from steering.report.page.history import EVENTS, POINTS, History, Point

WATCHERS = 50
MINUTE = 60.0
WARM = 25.0
ADDRESSES, PATHS = 1000, ("local", "pao", "fra", "nrt")


def run() -> None:
    """Measure and print the tables."""
    _size()
    _watchers()


def _size() -> None:
    history, failing = _history(), _failing()
    times = []
    for _ in range(5):
        began = time.process_time()
        page = front(failing, history)
        times.append(time.process_time() - began)
    report.table(
        f"the page, {ADDRESSES:,} addresses over {len(PATHS)} paths, all failing",
        ("", ""),
        (
            ("octets", f"{len(page) / 1e3:,.0f} kB"),
            ("compressed", f"{len(gzip.compress(page.encode(), 6)) / 1e3:,.0f} kB"),
            ("CPU to write it, median", report.ms(report.median(times))),
        ),
    )


def _failing() -> dict[str, object]:
    path = {"health": "failing", "serial_lag_s": 4000.0, "signature_remaining_s": -3700.0}
    addresses = [
        {
            "upstream": f"upstream-{number // 100}",
            "nameserver": f"{chr(97 + number % 13)}.servers-{number // 100}.example.",
            "address": f"2001:db8:{number:x}::{number * 7919 % 65536:x}",
            "paths": {
                name: {**path, "failure_rate": (number * at % 1000) / 1000}
                for at, name in enumerate(PATHS, 3)
            },
            "steered_to": None,
            "installed": {"kernel": None, "bgp": None},
            "since": f"2026-12-01T14:{number % 60:02}:05.123Z",
            "rule": "everywhere",
            "because": f"every path is bad: local {number / 10:.1f}% failing lately",
        }
        for number in range(ADDRESSES)
    ]
    return {
        "site": "sin",
        "mode": "enforce",
        "off": False,
        "clock": "ok",
        "time": "2026-12-01T14:59:05.123Z",
        "addresses": addresses,
        "sites": {},
        "overrides": [],
        "alarms": [],
    }


def _history() -> History:
    history = History()
    for number in range(EVENTS):
        event = Event(
            event="health_changed",
            because=f"{number / 7:.1f}% failing lately; last: com. SOA: signature expired 1 h ago",
            upstream=f"upstream-{number % 10}",
            address=f"192.0.{number % 256}.{number // 256}",
            path="local",
            was="healthy",
            now="suspect",
        )
        history.happened(event, 1.7e9 + 7 * number)
    history.times.extend(1.7e9 + 300 * at for at in range(POINTS))
    for upstream in range(10):
        points = (Point(share=(at * upstream % 997) / 997, steered=at % 5) for at in range(POINTS))
        history.points[f"upstream-{upstream}"] = deque(points)
    return history


def _watchers() -> None:
    from steering.lab.agent import STATUS_PORT
    from steering.lab.network.topology import EDGE, Topology
    from steering.lab.scene import Scene, Settings

    if Topology.missing():
        print(f"\nwatchers: left out: {'; '.join(Topology.missing())}")
        return
    shipped = Path(__file__).resolve().parent.parent / "policies"
    with Scene(nameservers=_nameservers(shipped)) as scene, ExitStack() as stack:
        scene.serve()
        scene.resolver.start()
        config = scene.configure(Settings(interval="10s", fast_interval="200ms"))
        for file in (config.parent / "policies").glob("*.yaml"):
            file.unlink()
        for file in shipped.glob("*.yaml"):
            (config.parent / "policies" / file.name).write_text(file.read_text())
        agent = scene.start_agent().pid
        time.sleep(WARM)
        alone = _minute(agent)
        octets: list[int] = []
        for _ in range(WATCHERS):
            made = scene.world.socket(EDGE, Family.IPV4, socket.SOCK_STREAM)
            stack.enter_context(made)
            made.settimeout(10)
            made.connect(("127.0.0.1", STATUS_PORT))
            made.sendall(b"GET /events HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n")
            threading.Thread(target=_read, args=(made, octets), daemon=True).start()
        time.sleep(5)
        octets.clear()
        watched = _minute(agent)
        told = sum(octets) / WATCHERS / MINUTE
    report.table(
        f"52 addresses, agent and copies; {WATCHERS} watchers get {told:.0f} octets/s each",
        ("", "CPU of a core", "resident"),
        [
            (name, f"{cpu:.2%}", f"{memory:.1f} MB")
            for name, (cpu, memory) in (("nobody watches", alone), ("watched", watched))
        ],
    )


def _minute(agent: int) -> tuple[float, float]:
    """The share of a core of the agent and its copies, and its resident MB."""
    before, began = cpu_of(agent) + _of_copies(agent), time.monotonic()
    time.sleep(MINUTE)
    used = cpu_of(agent) + _of_copies(agent) - before
    pages = int(Path(f"/proc/{agent}/statm").read_text().split()[1])
    return used / (time.monotonic() - began), pages * resource.getpagesize() / 2**20


def _of_copies(agent: int) -> float:
    """Seconds of CPU of the children that have ended: copies that rendered (proc(5), cutime)."""
    fields = Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _read(made: socket.socket, octets: list[int]) -> None:
    try:
        while came := made.recv(1 << 16):
            octets.append(len(came))
    except OSError:
        return
