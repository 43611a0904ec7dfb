"""BGP: a plan to the router's kernel and back, for three routers, and what the speaker costs.

In network namespaces of its own: an edge with the speaker, a router, a site. Timed from the
call with the plan to the kernel's message (`ip monitor`) of the last route in the router's
namespace. The soak changes plans at random, now and then with the session flapping, and counts
rounds that did not end with exactly the wished table.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import report
from steering.act.bgp import process
from steering.lab.network.peering import ALL, Host, Network, terms
from steering.lab.network.routers import ROUTERS, Bird, Router
from steering.model import Family

ROUNDS = 20
SOAK = 500
MANY = 1000
CALM = 20.0  # seconds in which no UPDATE may go out


def run() -> None:
    """Measure in a child in namespaces of its own, and print the table."""
    kinds = [kind for kind in ROUTERS if not kind.missing()]
    if os.geteuid() != 0 or not kinds:
        print("\nbgp: left out: it needs root for network namespaces, and a router")
        return
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "benchmarks.bgp"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, list[float]] = json.loads(done.stdout)
    rows = [
        (what, report.ms(report.median(values)), report.ms(max(values)))
        for what, values in found.items()
        if what != "facts"
    ]
    report.table(f"plan to the router's kernel, {ROUNDS} rounds", ("", "median", "worst"), rows)
    wrong, rounds, updates, resident, cpu = found["facts"]
    report.table(
        "the speaker",
        ("", ""),
        [
            ("soak: rounds that ended wrong", f"{wrong:.0f} of {rounds:.0f}"),
            (f"UPDATEs in {CALM:.0f} s without change", f"{updates:.0f}"),
            ("resident, with its helper", f"{resident:.0f} MiB"),
            ("CPU while nothing happens", f"{cpu:.1%} of a core"),
        ],
    )


class Watch:
    """The router's kernel, by its own messages."""

    def __init__(self, network: Network) -> None:
        self._process = subprocess.Popen(
            [*network.enter("router"), "ip", "-o", "monitor", "route"], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self.seen = 0

    def heard(self) -> int:
        """Messages of routes so far."""
        with contextlib.suppress(BlockingIOError):
            self.seen += os.read(self._pipe, 1 << 20).count(b"\n")
        return self.seen

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def told(kind: type[Router], network: Network, work: Path) -> Iterator[tuple[Router, Host]]:
    """A router and who tells it, with their session up."""
    router = kind(network, work / kind.__name__, peer_as=64512, over=Family.IPV4)
    router.start()
    host = Host(terms(), work / f"run-{kind.__name__}")
    try:
        host.until(host.up)
        yield router, host
    finally:
        host.close()
        router.stop()


def _change(host: Host, watch: Watch, plan: dict[str, str], routes: int) -> float:
    """Seconds until the kernel has told of so many routes."""
    before = watch.heard()
    host.plan = plan
    started = time.perf_counter()
    host.turn()
    while watch.heard() < before + routes:
        host.speaker.wait(0.001)
        host.speaker.pump()
        if time.perf_counter() - started > 30:
            raise TimeoutError(f"{watch.heard() - before} of {routes}")
    return time.perf_counter() - started


def _measure() -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="steering-bgp-") as directory:
        network = Network()
        try:
            for kind in ROUTERS:
                if not kind.missing():
                    with told(kind, network, Path(directory)) as (router, host):
                        _time(kind.__name__, found, network, host)
                        if kind is Bird:
                            found["facts"] = _facts(network, router, host)
        finally:
            network.close()
    return found


def _time(name: str, found: dict[str, list[float]], network: Network, host: Host) -> None:
    many = [f"198.18.{i // 250}.{i % 250 + 1}" for i in range(MANY)]
    host.allowed = frozenset((*ALL, *many))
    with contextlib.closing(Watch(network)) as watch:
        for what, addresses, rounds in (("26 routes", ALL, ROUNDS), (f"{MANY} routes", many, 3)):
            for _ in range(rounds):
                for act, plan in (("announce", dict.fromkeys(addresses, "pao")), ("withdraw", {})):
                    took = _change(host, watch, plan, len(addresses))
                    found.setdefault(f"{name}: {act} {what}", []).append(took)
                    settle(host)


def settle(host: Host) -> None:
    """Until it has been read back, so that rounds do not lean on each other."""
    looks = host.speaker.report().read
    host.until(lambda: host.speaker.report().read > looks)


def _facts(network: Network, router: Router, host: Host) -> list[float]:
    rng = random.Random(5353)
    wrong = 0
    for _ in range(SOAK):
        for _ in range(rng.randint(1, 4)):
            host.plan = {a: rng.choice(["pao", "fra"]) for a in ALL if rng.random() < 0.6}
            host.turn()
            if rng.random() < 0.05:
                router.drop_session()
            end = time.monotonic() + rng.random() * 0.02
            while time.monotonic() < end:
                host.speaker.wait(0.002)
                host.speaker.pump()
        try:
            host.until(lambda: network.routes() == host.wanted(), within=15)
        except AssertionError:
            wrong += 1
    host.until(host.up)
    settle(host)
    pid = int((host.runtime / process.LOCK).read_text().split()[0])
    before, used = host.speaker.report().updates, _cpu(pid)
    end = time.monotonic() + CALM
    while time.monotonic() < end:
        host.speaker.wait(1.0)
        host.turn()
    helper = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    return [
        wrong,
        SOAK,
        host.speaker.report().updates - before,
        sum(map(_resident, (pid, helper))),
        (_cpu(pid) - used) / CALM,
    ]


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    print(json.dumps(_measure()))
