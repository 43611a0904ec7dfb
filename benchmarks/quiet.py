"""Nothing is said without a change: UPDATEs while a plan stands, for BIRD and FRR.

Each router in network namespaces of its own, at the same time: 26 host routes are announced, and
then an agent turns once a second and changes nothing. UPDATEs are counted where they would
arrive, by the router itself, and where they would leave, by ExaBGP; beside them whatever the
router's kernel says of routes, and how often a session or a speaker ended.

`STEERING_BENCH_QUIET` is the time in seconds; an hour is what is promised.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks import report
from benchmarks.bgp import Watch, told
from steering.lab.network.peering import ALL, Host, Network
from steering.lab.network.routers import Bird, Frr, Router

QUIET = float(os.environ.get("STEERING_BENCH_QUIET", "20"))
TURN = 1.0  # seconds between two turns
SETTLED = 8.0
"""Seconds without an UPDATE before the count begins: FRR asks for all routes once more
(ROUTE-REFRESH) 5 s after it has read its route maps, `bgp route-map delay-timer`."""
KINDS: Mapping[str, type[Router]] = {kind.__name__: kind for kind in (Bird, Frr)}
COUNTS = (
    "UPDATEs at the router",
    "UPDATEs from ExaBGP",
    "route changes in the router's kernel",
    "sessions or speakers that ended",
    "routes there in the end",
)


def run() -> None:
    """Measure each router in a child in namespaces of its own, and print the table."""
    kinds = [name for name, kind in KINDS.items() if not kind.missing()]
    if os.geteuid() != 0 or not kinds:
        print("\nquiet: left out: it needs root for network namespaces, and bird or frr")
        return
    command = ["unshare", "--net", sys.executable, "-m", "benchmarks.quiet"]
    children = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in kinds
    ]
    found: list[list[int]] = []
    for name, child in zip(kinds, children, strict=True):
        said, _ = child.communicate()
        if child.returncode:
            raise RuntimeError(f"{name}: it ended with {child.returncode}")
        found.append(json.loads(said))
    report.table(
        f"{QUIET:.0f} s without a change",
        ("", *kinds),
        [(what, *map(str, counts)) for what, *counts in zip(COUNTS, *found, strict=True)],
    )


def _measure(kind: type[Router]) -> list[int]:
    with (
        tempfile.TemporaryDirectory(prefix="steering-quiet-") as directory,
        contextlib.closing(Network()) as network,
        told(kind, network, Path(directory)) as (router, host),
    ):
        host.plan = dict.fromkeys(ALL, "pao")
        host.until(lambda: network.routes() == host.wanted())
        updates = -1
        while (seen := router.updates()) != updates:
            updates = seen
            _turn(host, SETTLED)
        host.events.clear()
        sent = host.speaker.report().updates
        with contextlib.closing(Watch(network)) as watch:
            before = watch.heard()
            _turn(host, QUIET)
            return [
                router.updates() - updates,
                host.speaker.report().updates - sent,
                watch.heard() - before,
                len(host.events),
                len(network.routes()),
            ]


def _turn(host: Host, seconds: float) -> None:
    """As an agent does to which nothing happens."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        host.turn()
        rest = min(now + TURN, end)
        while (pause := rest - time.monotonic()) > 0:
            host.speaker.wait(pause)
            host.speaker.pump()


if __name__ == "__main__":
    print(json.dumps(_measure(KINDS[sys.argv[1]])))
