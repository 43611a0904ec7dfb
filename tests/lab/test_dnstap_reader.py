"""What a real Unbound writes, read by the real reader: the counts beside what was asked."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.corpus import dnstap
from steering.lab.network.sandbox import find
from steering.lab.network.topology import Topology
from steering.lab.servers.authority import Authority, authority
from steering.lab.servers.resolver import Unbound
from steering.lab.servers.zone import (
    DATA_LIFE,
    DNSKEY_LIFE,
    FRESH,
    Fault,
    FaultKind,
    Keys,
    SignedZone,
    ZoneSpec,
    sign,
)
from steering.lab.waiting import until
from steering.model import LOCAL, Outcome
from steering.observe.dnstap.listeners import Place
from steering.observe.dnstap.reader_client import ReaderClient
from steering.observe.dnstap.tally import Frames, Interest, Reason, Signed, Tally, Watched

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("possible")]

ZONES = ("com.", "net.")
KEYS = {zone: Keys.fresh() for zone in ZONES}
SPECS = {zone: ZoneSpec.like_com(zone, count=60) for zone in ZONES}
PATIENCE = 30.0


def zones(fault: Fault = FRESH) -> list[SignedZone]:
    return [sign(SPECS[zone], KEYS[zone], fault=fault) for zone in ZONES]


class Scene:
    """One resolver, one instance behind it, and the tap that hears of their traffic."""

    def __init__(self, world: Topology) -> None:
        self.world = world
        self.path = world.work / "tap" / "dnstap.sock"
        self.auth: Authority = authority(world, world.paths[LOCAL].auth, nsid="lab")
        self.auth.serve(zones())
        interest: Interest = {a: Watched(zones=frozenset(ZONES)) for a in world.addresses}
        self.tap = ReaderClient([Place(at=str(self.path))], interest)
        self.resolver = Unbound(world, keys=KEYS, extra=dnstap(self.path))
        self.tallies: list[Tally] = []
        self.asked = 0

    def listen(self) -> None:
        select.select([self.tap], [], [], 0.05)
        self.tallies += self.tap.take(time.monotonic())

    def until(self, enough: Callable[[], object], *, asking: bool = True) -> None:
        """Listen until it is so, and ask meanwhile.

        Unbound 1.17 keeps up to 32 frames back while nothing follows; its timer of one second
        does not always ring.
        """

        def heard() -> bool:
            self.listen()
            if enough():
                return True
            if asking:
                self.ask(1)
            return False

        until(heard, PATIENCE, tell=lambda: (self.asked, self.responses(), self.tallies[-1:]))

    def ask(self, count: int) -> None:
        """Names that nobody has, in both zones in turn."""
        for _ in range(count):
            self.asked += 1
            self.resolver.ask(f"nobody{self.asked}.{ZONES[self.asked % 2]}", "A")

    def responses(self) -> int:
        return sum(traffic.responses for t in self.tallies for traffic in t.traffic)

    def signed(self) -> list[Signed]:
        return [signed for tally in self.tallies for signed in tally.signed]


@pytest.fixture
def scene(make_world: Callable[..., Topology]) -> Iterator[Scene]:
    if not find("unbound"):
        pytest.skip("unbound is not installed")
    scene = Scene(make_world(sites=()))
    with scene.tap:
        scene.listen()
        scene.resolver.start()
        scene.until(lambda: scene.tallies and scene.tallies[-1].writers, asking=False)
        yield scene
        scene.resolver.stop()


def test_every_answer_is_counted_with_its_zone_its_serial_and_its_dates(scene: Scene) -> None:
    scene.ask(100)
    scene.until(lambda: scene.responses() >= 100)
    for tally in scene.tallies:
        assert set(tally.frames) <= {Frames.OK}
        assert (tally.lost, tally.notices) == (0, ())
        for traffic in tally.traffic:
            assert (traffic.malformed, traffic.bare, traffic.truncated) == (0, 0, 0)
            assert set(traffic.rcodes) <= {0, 3}
    queries = sum(t.queries + t.forwarded for tally in scene.tallies for t in tally.traffic)
    assert 0 <= queries - scene.responses() <= 1, "an answer may be under way"
    assert {s.zone for s in scene.signed()} == set(ZONES)
    assert sum(s.good for s in scene.signed()) == scene.responses()
    serials = {(s.zone, s.serial) for s in scene.signed() if s.serial is not None}
    assert serials == {(zone, SPECS[zone].serial) for zone in ZONES}
    now = time.time()
    lives = {round(s.expires - now, -3) for s in scene.signed() if s.expires}
    assert min(lives) < DATA_LIFE
    assert lives <= {round(life - 3_600, -3) for life in (DATA_LIFE, DNSKEY_LIFE)}
    assert {s.reason for tally in scene.tallies for s in tally.samples} == {Reason.RANDOM}


def test_expired_signatures_are_told_with_owner_and_dates(scene: Scene) -> None:
    scene.ask(20)
    scene.auth.serve(zones(Fault(kind=FaultKind.EXPIRED)))
    scene.ask(40)
    scene.until(lambda: sum(s.expired for s in scene.signed()) >= 10)
    failing = [failing for signed in scene.signed() for failing in signed.failing]
    assert {f.outcome for f in failing} == {Outcome.EXPIRED}
    assert all(f.name.endswith((".com.", ".net.", "com.", "net.")) for f in failing)
    dates = [(f.evidence.inception or 0, f.evidence.expiration or 0) for f in failing]
    assert all(0 < begins < ends < time.time() for begins, ends in dates)
    assert not any("nobody" in f.name for f in failing), "names of denials are hashes"
    reasons = {s.reason for tally in scene.tallies for s in tally.samples}
    assert Reason.FAILING in reasons


def test_unbound_comes_back_to_a_reader_that_was_started_again(scene: Scene) -> None:
    scene.ask(10)
    scene.until(lambda: scene.responses() >= 10)
    pid = scene.tap.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    scene.until(lambda: scene.tap.pid not in (None, pid), asking=False)
    scene.tallies.clear()
    scene.until(lambda: scene.responses() > 0)
    assert scene.tap.restarts == 1


def test_a_resolver_that_restarts_is_heard_again(scene: Scene) -> None:
    scene.ask(10)
    scene.until(lambda: scene.responses() >= 10)
    scene.resolver.stop()
    scene.until(lambda: scene.tallies[-1].writers == 0, asking=False)
    scene.resolver.start()
    scene.until(lambda: scene.tallies[-1].writers == 1, asking=False)
    before = scene.responses()
    scene.ask(10)
    scene.until(lambda: scene.responses() >= before + 10)
    assert [n for tally in scene.tallies for n in tally.notices] == []


def test_the_socket_is_there_before_the_resolver(scene: Scene) -> None:
    assert Path(scene.path).is_socket()
