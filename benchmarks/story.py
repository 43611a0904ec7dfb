"""The whole story, from the first expired answer to the last route gone, several times over.

Real name servers, a strict Unbound (the embedded ones where those are not installed), 26
addresses, probes alone at 1 s / 100 ms. The kernel's own messages (`ip -ts monitor route`)
say when a route was there or gone, the clients say when an answer last failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from signal import SIGKILL

from benchmarks import report
from steering.act.lease import Lease, boot_time
from steering.lab.demo.timeline import route_times
from steering.lab.network.topology import EDGE
from steering.lab.scene import Scene, Settings, seconds
from steering.lab.servers.zone import Fault, FaultKind
from steering.lab.waiting import until
from steering.model import LOCAL, Family

ROUNDS = 5
TABLE = "5353"
SETTINGS = Settings(hold="5s", clean=40, lease="3s")
EXPIRED = Fault(kind=FaultKind.EXPIRED)
PARTLY = Fault(kind=FaultKind.EXPIRED, share=0.13, spare_apex=True)

Figures = dict[str, list[float]]


def run() -> None:
    """Play the stories and print the tables."""
    from steering.lab.network.topology import Topology

    if Topology.missing():
        print(f"\nstory: left out: {'; '.join(Topology.missing())}")
        return
    for title, fault in (("all signatures expired", EXPIRED), ("13 % of RRsets expired", PARTLY)):
        figures: Figures = {}
        for _ in range(ROUNDS):  # each on a stage of its own: a repeat would double the hold
            with _stage() as scene:
                _incident(scene, fault, figures)
        _table(f"{title}, seconds after the first expired answer, {ROUNDS} rounds", figures)
    figures = {}
    for what, ends in (
        ("`steering off`, agent alive", _off_alive),
        ("`steering off`, agent dead", _off_dead),
        ("guard, after the lease of a killed agent ran out", _guard),
    ):
        for _ in range(ROUNDS):
            with _stage() as scene:
                figures.setdefault(what, []).append(_taken_back(scene, ends))
    _table(f"until the last route is gone, seconds, {ROUNDS} rounds", figures)


@contextmanager
def _stage() -> Iterator[Scene]:
    with Scene(secure=1.0) as scene:
        scene.serve()
        scene.resolver.start()
        scene.clients.start()
        scene.configure(SETTINGS)
        scene.world.start(
            EDGE, ["ip", "-ts", "monitor", "route"], log="routes.log", env={"TZ": "UTC"}
        )
        scene.start_agent()
        yield scene


def _incident(scene: Scene, fault: Fault, figures: Figures) -> None:
    addresses = scene.world.addresses
    until(lambda: _healthy(scene), 60.0, every=0.05)
    began = time.time()
    scene.serve(fault, paths=[LOCAL])
    until(lambda: len(scene.routes(TABLE)) == len(addresses), 60.0, every=0.05)
    _settle(scene)
    added = route_times(_told(scene), TABLE)
    tally = scene.clients.totals()
    first = next(seconds(e["time"]) for e in scene.events() if e["event"] == "suspected")
    by_family = {
        family: [added[a] for a in addresses if Family.of(a) is family] for family in Family
    }
    last = {family: max(instants) for family, instants in by_family.items()}
    figures.setdefault("suspected", []).append(first - began)
    for family in Family:
        figures.setdefault(f"all {family} routes there", []).append(last[family] - began)
    figures.setdefault("between the families", []).append(
        abs(last[Family.IPV4] - last[Family.IPV6])
    )
    if tally.last_failure is not None:
        figures.setdefault("last failed client answer", []).append(tally.last_failure - began)
    fixed = scene.serve(paths=[LOCAL])
    until(lambda: not scene.routes(TABLE), 60.0, every=0.05)
    figures.setdefault("rolled back, after the fix", []).append(_last_gone(scene) - fixed)


def _taken_back(scene: Scene, ends: Callable[[Scene], float]) -> float:
    scene.serve(EXPIRED, paths=[LOCAL])
    until(lambda: len(scene.routes(TABLE)) == len(scene.world.addresses), 60.0, every=0.05)
    since = ends(scene)
    until(lambda: not scene.routes(TABLE), 60.0, every=0.05)
    return _last_gone(scene) - since


def _off_alive(scene: Scene) -> float:
    since = time.time()
    scene.steering("off")
    return since


def _off_dead(scene: Scene) -> float:
    scene.stop_agent(SIGKILL)
    return _off_alive(scene)


def _guard(scene: Scene) -> float:
    """When the lease runs out, as the guard reads it."""
    scene.stop_agent(SIGKILL)
    lease = Lease(scene.world.work / "run").read()
    assert lease is not None
    return time.time() + lease.deadline - boot_time()


def _healthy(scene: Scene) -> bool:
    return all(
        path["health"] == "healthy"
        for entry in scene.api()["addresses"]
        for path in entry["paths"].values()
    )


def _settle(scene: Scene) -> None:
    """Wait until the clients have had two seconds without a failure."""

    def calm() -> bool:
        last = scene.clients.totals().last_failure
        return last is None or time.time() - last > 2.0

    until(calm, 60.0, every=0.05)


def _told(scene: Scene) -> list[str]:
    """The kernel's messages since the last call."""
    log = scene.world.work / "routes.log"
    lines = log.read_text().splitlines()
    log.write_text("")
    return lines


def _last_gone(scene: Scene) -> float:
    gone = [line.replace("Deleted ", "", 1) for line in _told(scene) if "] Deleted " in line]
    return max(route_times(reversed(gone), TABLE).values())


def _table(title: str, figures: Figures) -> None:
    rows: list[Sequence[str]] = [
        (what, f"{report.median(values):.3f}", f"{max(values):.3f}")
        for what, values in figures.items()
    ]
    report.table(title, ("", "median", "worst"), rows)
