"""The kernel: a plan to 26 routes of both families, and back, beside `ip -batch`; many addresses.

In a network namespace of its own. What is timed for us: the diff against the kernel's table,
one batch of netlink messages with an acknowledgement each, and reading back. What is timed
for `ip -batch`: one process a family with the same 13 commands, as a script would do it; for
pyroute2: its synchronous IPRoute, a call a route, without diff or reading back.

Then what the sites' tables cost, two routes for each address and site: to fill them at a start, to
compare them while nothing has changed, as is done each second; to look up where each mark leads,
after a change and in a second without one; and to take all back.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks import report
from steering.model import Family

ROUNDS = 200
PEER_ROUNDS = 40
MANY_ROUNDS = 10
SIZES = ((26, 2), (1_000, 3))
"""Addresses and sites."""


def run() -> None:
    """Measure in a child in a namespace of its own, and print the table."""
    if os.geteuid() != 0:
        print("\nkernel: left out: it needs root for a network namespace")
        return
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "benchmarks.kernel"],
        check=True,
        capture_output=True,
        text=True,
    )
    times: dict[str, list[float]]
    times, tables = json.loads(done.stdout)
    ours = report.median(times["steer"])
    rows = [
        (
            what,
            report.ms(report.median(values)),
            report.ms(report.p99(values)),
            f"{report.median(values) / ours:.2g}",
        )
        for what, values in times.items()
    ]
    report.table(
        f"26 routes, 13 of each family, {ROUNDS} rounds ({PEER_ROUNDS} of the peer)",
        ("", "median", "p99", "to `steer`"),
        rows,
    )
    report.table(
        f"sites' tables, {MANY_ROUNDS} rounds",
        ("addresses x sites", "", "median", "worst"),
        [
            (size, what, report.ms(report.median(values)), report.ms(max(values)))
            for size, by_step in tables.items()
            for what, values in by_step.items()
        ],
    )


def _measure() -> dict[str, list[float]]:
    from steering.act.kernel.actuator import KernelActuator
    from steering.act.kernel.claim import Claim
    from steering.lab.addresses import GTLD_SERVERS, addresses_of
    from steering.lab.network.links import End, Spaces

    own = ("10.255.1.1/24", "10.255.2.1/30", "fd00:ff:1::1/64", "fd00:ff:2::1/64")
    Spaces().link(End("", "veth0", own), End("", "veth1"))
    hops = {
        site: {Family.IPV4: f"10.255.{i}.2", Family.IPV6: f"fd00:ff:{i}::2"}
        for i, site in enumerate(("pao", "fra"), start=1)
    }
    claim = Claim(
        table=5353,
        protocol=53,
        priority=5353,
        mark=0x40,
        mask=0x7F,
        sites=tuple(hops),
        next_hops=hops,
    )
    addresses = addresses_of(GTLD_SERVERS)
    times: dict[str, list[float]] = {k: [] for k in ("steer", "move", "compare", "roll back")}
    with KernelActuator(claim) as kernel:
        kernel.prepare(addresses)
        plans: tuple[tuple[str, dict[str, str]], ...] = (
            ("steer", dict.fromkeys(addresses, "pao")),
            ("move", dict.fromkeys(addresses, "fra")),
            ("compare", dict.fromkeys(addresses, "fra")),
            ("roll back", {}),
        )
        for _ in range(ROUNDS):
            for what, plan in plans:
                started = time.perf_counter()
                kernel.apply(plan, addresses)
                times[what].append(time.perf_counter() - started)
                assert kernel.installed() == plan
        kernel.withdraw()
    for word in ("ip -batch replace", "ip -batch del"):
        times[word] = []
    for _ in range(PEER_ROUNDS):
        for word in ("replace", "del"):
            started = time.perf_counter()
            for family in Family:
                via = f"via {hops['pao'][family]}" if word == "replace" else ""
                lines = "".join(
                    f"route {word} {a}/{family.bits} {via} table 5353 proto 53\n"
                    for a in addresses
                    if Family.of(a) is family
                )
                flag = "-4" if family is Family.IPV4 else "-6"
                subprocess.run(["ip", flag, "-batch", "-"], input=lines, text=True, check=True)
            times[f"ip -batch {word}"].append(time.perf_counter() - started)
    return {**times, **_pyroute2(addresses, hops["pao"])}


def _tables(addresses: int, sites: int) -> dict[str, list[float]]:
    from steering.act.kernel.actuator import KernelActuator
    from steering.act.kernel.claim import Claim
    from steering.agent.kernel_paths import KernelPaths

    claim = Claim(
        table=5353,
        protocol=53,
        priority=5353,
        mark=0x40,
        mask=0x7F,
        sites=tuple(f"s{i}" for i in range(1, sites + 1)),
        next_hops={
            f"s{i}": {Family.IPV4: f"10.255.1.{i + 1}", Family.IPV6: f"fd00:ff:1::{i + 1:x}"}
            for i in range(1, sites + 1)
        },
    )
    watched = frozenset(
        address
        for n in range(1, addresses // 2 + 1)
        for address in (f"192.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"2001:db8::{n:x}")
    )
    times: dict[str, list[float]] = {}

    def timed(what: str, work: Callable[[], object]) -> None:
        started = time.perf_counter()
        work()
        times.setdefault(what, []).append(time.perf_counter() - started)

    for _ in range(MANY_ROUNDS):
        with KernelActuator(claim) as kernel:
            timed("fill", lambda: kernel.prepare(watched))
            timed("compare, first time", lambda: kernel.prepare(watched))
            timed("compare", lambda: (kernel.prepare(watched), kernel.foreign()))
            while kernel.changed():
                pass
            ways = KernelPaths(kernel, acting=True, watched=watched)
            timed("look after a change", ways.changed)
            ways._looked_at = float("-inf")
            timed("look in between", ways.changed)
            assert all(ways.leads(site, a) for site in claim.sites for a in watched)
            timed("take back", kernel.withdraw)
    return times


def _pyroute2(addresses: Sequence[str], hop: Mapping[Family, str]) -> dict[str, list[float]]:
    from pyroute2 import IPRoute

    times: dict[str, list[float]] = {"pyroute2 replace": [], "pyroute2 del": []}
    with IPRoute() as peer:
        for _ in range(PEER_ROUNDS):
            for word in ("replace", "del"):
                started = time.perf_counter()
                for address in addresses:
                    family = Family.of(address)
                    peer.route(
                        word,
                        family=socket.AF_INET if family is Family.IPV4 else socket.AF_INET6,
                        dst=f"{address}/{family.bits}",
                        gateway=hop[family],
                        table=5353,
                        proto=53,
                    )
                times[f"pyroute2 {word}"].append(time.perf_counter() - started)
    return times


if __name__ == "__main__":
    small = _measure()
    print(json.dumps([small, {f"{a} x {s}": _tables(a, s) for a, s in SIZES}]))
