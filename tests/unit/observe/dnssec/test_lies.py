"""Who can write dnstap says what he likes: the agent asks more often, and nothing else follows."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import WALL, Ask, Shown, Simulation, policy, setup

from steering.decide.state import State
from steering.judge.known.failed_names import IGNORED, SLOTS, WITNESSES
from steering.model import LOCAL, OUTCOMES, Evidence, Failure, Health, Heard, Outcome

GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED
STALE = "serial: epoch\nbreach: {on: [bogus, timeout, error, stale], stale: {serial_lag: 1m}}\n"

Lie = Callable[["Lied"], tuple[Heard, ...]]


class Lied(Simulation):
    """The simulation with somebody who writes dnstap, every turn."""

    lie: Lie = staticmethod(lambda _: ())
    tales: int = 0

    def traffic(self, seconds: float) -> tuple[Heard, ...]:  # noqa: ARG002
        return self.lie(self)


def lied(tmp: Path, lie: Lie, answer: Callable[[Ask], Outcome | Shown], more: str = "") -> Lied:
    sim = Lied(setup(tmp, policy(letters=2, more=more)), answer)
    sim.lie = lie
    return sim


def told(sim: Lied, failing: int = 8) -> tuple[Heard, ...]:
    """Every address fails, by names never heard of before."""
    items = []
    for address in sim.addresses():
        names = [f"lie{sim.tales + i}.gtld." for i in range(failing)]
        sim.tales += failing
        failures = tuple(
            Failure(
                name=name,
                outcome=EXPIRED,
                ask=name,
                evidence=Evidence(owner=name, rdtype="NSEC3", detail="signature expired"),
            )
            for name in names
        )
        item = Heard(
            address=address,
            path=sim.installed.get(address, LOCAL),
            at=sim.now,
            answers=100,
            counts={EXPIRED: failing, Outcome.TIMEOUT: 50, Outcome.SERVFAIL: 50},
            failures=failures,
            disproved=failures[:1],
        )
        items.append(item)
    return tuple(items)


def serial(sim: Lied, behind: float, paths: tuple[str, ...]) -> tuple[Heard, ...]:
    """A signed copy of so many seconds ago, or of now, played over these paths."""
    shown = {"gtld.": int(WALL + sim.now - behind)}
    return tuple(
        Heard(address=address, path=path, at=sim.now, answers=1, proved=1, serials=shown)
        for address in sim.addresses()
        for path in paths
    )


def zone(ask: Ask, *, frozen: bool) -> Shown:
    made = 1040.0 if frozen and ask.now > 1040.0 else ask.now
    return Shown(serial=int(WALL + made), expires=WALL + 1e6)


@pytest.mark.parametrize("paths", [(LOCAL,), ("pao",), (LOCAL, "pao", "fra")])
def test_old_copies_played_again_make_no_path_outdated(
    tmp_path: Path, paths: tuple[str, ...]
) -> None:
    def answer(ask: Ask) -> Shown:
        return zone(ask, frozen=False)

    sim = lied(tmp_path, lambda s: serial(s, 7200.0, paths), answer, STALE)
    sim.run(100)
    assert not sim.steps
    assert not any(known.late for known in sim.state.ledger.paths.values())


def test_a_new_copy_played_for_an_outdated_path_hides_nothing(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Shown:
        return zone(ask, frozen=ask.local)

    sim = lied(tmp_path, lambda s: serial(s, 0.0, s.index.paths), answer, STALE)
    sim.until(lambda: len(sim.installed) == 4, limit=250)
    sim.run(30)
    assert len(sim.installed) == 4, "and it is not home before it is mended"


def test_claims_of_failure_move_nobody_and_are_bounded(tmp_path: Path) -> None:
    sim = lied(tmp_path, told, lambda _: GOOD).run(30)
    assert sim.told("suspected")
    assert sim.told("rejected")
    assert not sim.steps
    ledger = sim.state.ledger
    assert max(len(known.ignored) for known in ledger.addresses.values()) <= IGNORED
    counted = [known.counted for known in ledger.paths.values()]
    counted += [known.counted for known in ledger.traffic.values()]
    assert max(map(len, counted)) <= SLOTS
    assert all(len(known.heard_names) <= SLOTS for known in ledger.groups.values())
    assert all(len(known.failed) <= WITNESSES for known in ledger.upstreams.values())


def test_claims_keep_nobody_away(tmp_path: Path) -> None:
    """They are about the path that the traffic takes, wherever that is (`whereabouts`)."""

    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and 1010 <= ask.now < 1015 else GOOD

    sim = lied(tmp_path, lambda s: told(s) if s.now > 1012 else (), answer)
    sim.until(lambda: len(sim.installed) == 4, limit=20)
    sim.until(lambda: not sim.installed, limit=60)


def test_a_fault_that_is_over_is_not_kept_alive_by_claims(tmp_path: Path) -> None:
    """Nobody could leave while it lasted. Who may when it is over has no reason to."""

    def answer(ask: Ask) -> Outcome:
        if ask.local:
            return EXPIRED if 1020 <= ask.now < 1050 else GOOD
        return Outcome.SERVFAIL if 1026 <= ask.now < 1150 else GOOD

    one = "steer: {to: [pao]}\nbreach: {on: [bogus, error]}\n"
    sim = lied(tmp_path, lambda s: told(s) if s.now > 1050 else (), answer, one)
    sim.refuses = lambda _: True
    sim.until(lambda: sim.health("192.5.0.30") is Health.FAILING, limit=60)
    sim.until(lambda: sim.health("192.5.0.30") < Health.STALE, limit=150)
    assert sim.now < 1150


COUNTS = st.sampled_from([-(2**63), -1, 0, 1, 10**6, 2**31, 2**32, 2**63 - 1, 2**63, 2**80])
TIMES = st.sampled_from([-math.inf, -1e18, 0.0, 1000.0, 1e18, math.inf, math.nan])
HEARD = st.builds(
    Heard,
    address=st.sampled_from(["192.5.0.30", "2001:db8:5::1:30", "203.0.113.1"]),
    path=st.sampled_from([LOCAL, "pao", "nowhere"]),
    at=TIMES,
    answers=COUNTS,
    counts=st.dictionaries(st.sampled_from(OUTCOMES), COUNTS, max_size=3),
    expires=st.none() | TIMES,
    overdue=COUNTS,
    proved=COUNTS,
    serials=st.dictionaries(
        st.sampled_from(["gtld.", "other."]),
        st.sampled_from([0, 1, 2**31, 2**32 - 1]),
        max_size=2,
    ),
    failures=st.lists(
        st.builds(
            Failure,
            name=st.text(max_size=3),
            outcome=st.sampled_from([EXPIRED, Outcome.NOT_YET_VALID, Outcome.BAD_SIGNATURE]),
            evidence=st.builds(
                Evidence, owner=st.text(max_size=3), rdtype=st.text(max_size=3), detail=st.text()
            ),
            ask=st.none() | st.text(max_size=3),
        ),
        max_size=4,
    ).map(tuple),
)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Lied:
    text = "steer: {queries_per_second: 100}\n" + STALE
    return lied(tmp_path_factory.mktemp("calm"), lambda _: (), lambda _: GOOD, text).run(20)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(items=st.lists(st.lists(HEARD, max_size=4), max_size=4))
def test_no_number_ends_the_turn_or_moves_anybody(calm: Lied, items: list[list[Heard]]) -> None:
    state, now = calm.state, calm.now
    queue = [tuple(item) for item in items]
    calm.lie = lambda _: queue.pop() if queue else ()
    while queue:
        calm.now += 0.2
        calm.turn()
    assert not calm.steps
    _sound(calm.state)
    calm.state, calm.now = state, now


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Lied:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and ask.now > 1010 else GOOD

    sim = lied(tmp_path_factory.mktemp("away"), lambda _: (), answer)
    sim.until(lambda: len(sim.installed) == 4, limit=30)
    return sim.run(10)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.lists(HEARD, max_size=4), min_size=1, max_size=6),
    spell=st.sampled_from([0.2, 1.0, 20.0]),
)
def test_what_is_heard_takes_who_is_away_home_or_nowhere(
    away: Lied, items: list[list[Heard]], spell: float
) -> None:
    state, now, installed, steps = away.state, away.now, away.installed, len(away.steps)
    queue = [tuple(item) for item in items]
    away.lie = lambda _: queue.pop() if queue else ()
    while queue:
        away.now += spell
        away.turn()
    assert all(step.now is None for _, step in away.steps[steps:])
    away.state, away.now, away.installed = state, now, installed


def _sound(state: State) -> None:
    ledger = state.ledger
    for known in ledger.traffic.values():
        usual = known.baseline.answers if known.baseline else ()
        recent = known.recent.all, known.recent.bad
        assert all(0 <= number < math.inf for number in (*recent, *usual))
        assert all(point >= 0 for levels in known.levels for point in levels)
        assert all(number >= 0 for number in known.counts.values())
    assert all(0 <= known.queries < math.inf for known in ledger.asked.values())
    assert 0 <= ledger.listened.seconds <= 61
