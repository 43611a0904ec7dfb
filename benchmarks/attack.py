"""An agent under attack: names, answers, status port, dnstap socket and overrides.d, all at once.

The world of the lab: 26 addresses behind NSD, a real Unbound with dnstap, clients, the agent. Every
ten minutes the local instance has a real fault for two minutes: half of the times all signatures
expired, else 13 % of them. A move away is right while there is one (and ten seconds after it: what
was confirmed then is acted upon), every other one is wrong. Printed: how late turns came, the least
that was left of the lease, how each fault was met, and every wrong move.

`STEERING_BENCH_MINUTES` is the time; an hour is what is promised.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks import report
from benchmarks.detect import TAPPED
from steering.lab.attack import Attack, say, under_watch
from steering.lab.network.sandbox import LabError
from steering.lab.scene import Scene, Settings, seconds
from steering.lab.servers.resolver import Unbound
from steering.lab.servers.zone import Fault, FaultKind, SignedZone
from steering.lab.waiting import poll
from steering.model import LOCAL, Seconds, WallTime

MINUTES = float(os.environ.get("STEERING_BENCH_MINUTES", "60"))
EVERY: Seconds = 600.0
LASTS: Seconds = 120.0
GRACE: Seconds = 10.0
LEASE: Seconds = 20.0
SETTINGS = Settings(
    interval="2s",
    fast_interval="200ms",
    hold="2s",
    clean=60,
    moves=1000,  # an hour has more faults than a day may have
    lease=f"{LEASE:g}s",
    dnstap=True,
)
FAULTS = (
    Fault(kind=FaultKind.EXPIRED),
    Fault(kind=FaultKind.EXPIRED, share=0.13, spare_apex=True),
)


Zones = list[SignedZone]


@dataclass(slots=True)
class Met:
    """One fault, and how it was met. Times in seconds after it began, or after it ended."""

    began: WallTime
    share: str
    ended: WallTime = float("inf")
    away: Seconds | None = None
    home: Seconds | None = None


@dataclass(slots=True)
class Found:
    """What came of the time under attack."""

    faults: list[Met] = field(default_factory=list)
    events: list[dict[str, str]] = field(default_factory=list)

    def wrong(self) -> list[str]:
        """Moves away from a local path that had no fault."""
        return [
            f"{e['time']} {e['event']} {e.get('address')} {e.get('now')}: {e.get('because')}"
            for e in self.events
            if e["event"] == "steered"
            and not any(f.began <= seconds(e["time"]) <= f.ended + GRACE for f in self.faults)
        ]


def run() -> None:
    """Print the tables."""
    with Scene(count=2000, secure=0.5, load=50.0) as scene:
        scene.serve()
        scene.configure(SETTINGS)
        scene.resolver = Unbound(scene.world, keys=scene.anchors, dnstap=TAPPED.format(scene.tap))
        scene.resolver.start()
        scene.clients.start()
        fresh, ill = scene.zones(), [scene.zones(fault) for fault in FAULTS]
        with under_watch(scene) as attack:
            calm = time.time()
            found = Found()
            _listen(attack, found, 60.0 if MINUTES >= 10 else 10.0)
            began = time.time()
            attack.begin()
            _play(attack, found, fresh, ill, began + MINUTES * 60)
            over = time.time()
            attack.check_running()
            _print(attack, found, (calm, began, over))


def _play(attack: Attack, found: Found, fresh: Zones, ill: list[Zones], until: WallTime) -> None:
    scene = attack.scene
    every = min(EVERY, MINUTES * 60 / 2)
    lasts = min(LASTS, every / 3)
    number = 0
    while time.time() < until:
        _listen(attack, found, every / 2 - lasts / 2)
        fault = FAULTS[number % 2]
        met = Met(began=time.time(), share="all" if fault.share == 1 else f"{fault.share:.0%}")
        found.faults.append(met)
        scene.authorities[LOCAL].serve(ill[number % 2])
        poll(lambda: _steered(attack, found), timeout=lasts, every=0.1)
        met.away = time.time() - met.began if len(scene.routes()) == _all(scene) else None
        say(f"fault {number + 1}, {met.share} of the signatures: away after {met.away}")
        _listen(attack, found, max(0.0, met.began + lasts - time.time()))
        scene.authorities[LOCAL].serve(fresh)
        met.ended = time.time()
        rest = every / 2 - lasts / 2
        poll(lambda: not scene.routes() or not _hear(attack, found), timeout=rest, every=0.25)
        met.home = time.time() - met.ended if not scene.routes() else None
        say(f"fault {number + 1}: home after {met.home}")
        _listen(attack, found, max(0.0, met.ended + rest - time.time()))
        number += 1


def _steered(attack: Attack, found: Found) -> bool:
    _hear(attack, found)
    return len(attack.scene.routes()) == _all(attack.scene)


def _all(scene: Scene) -> int:
    return len(scene.world.addresses)


def _listen(attack: Attack, found: Found, lasts: Seconds) -> None:
    until = time.time() + lasts
    while time.time() < until:
        _hear(attack, found)
        time.sleep(min(1.0, max(0.0, until - time.time())))


def _hear(attack: Attack, found: Found) -> bool:
    attack.check_running()
    found.events += attack.scene.events()
    if any(event["event"] == "lease_lost" for event in found.events):
        raise LabError(f"the lease was lost: {found.events[-1]}")
    return True


def _print(attack: Attack, found: Found, at: tuple[WallTime, WallTime, WallTime]) -> None:
    calm, began, over = at
    rows = []
    for what, since, until in (("before", calm, began), ("under attack", began, over)):
        late = attack.turns.late(since, until)
        rows.append(
            (
                what,
                str(len(late)),
                f"{report.p99(late):.3f} s",
                f"{max(late):.3f} s",
            )
        )
    report.table(
        f"turns, by how much later than due, {(over - began) / 60:.0f} minutes of attack",
        ("", "turns", "p99", "worst"),
        rows,
    )
    report.table(
        "faults of the local path meanwhile",
        ("signatures expired", "all 26 away", "all home after the fix"),
        [
            (
                met.share,
                "no" if met.away is None else f"{met.away:.1f} s",
                "no" if met.home is None else f"{met.home:.1f} s",
            )
            for met in found.faults
        ],
    )
    wrong = found.wrong()
    report.table(
        "the rest",
        ("", ""),
        [
            (f"least left of the lease of {LEASE:g} s", f"{attack.remaining.least:.1f} s"),
            ("looks without a lease", str(attack.remaining.missing)),
            ("moves away from a path without a fault", str(len(wrong))),
        ],
    )
    for line in wrong[:20]:
        print(f"  WRONG {line}")
    counted = Counter(event["event"] for event in found.events)
    print("\nevents: " + ", ".join(f"{n} {name}" for name, n in sorted(counted.items())))
    for power, program in attack.attackers.items():
        print(f"attacker {power}:{program.tail(1)}")
