"""A restart gives nobody his moves back, and ends no hold before its time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulation import CONFIG, WALL, Ask, Simulation, policy, setup

from steering.decide.moves import damping
from steering.decide.state import State
from steering.engine.carry_over import _holding, recall, remember, steered_since
from steering.facts import Breaches, Memory, Steered
from steering.index import Index
from steering.judge.known.recovery import CALM, Hold
from steering.model import Outcome
from steering.override import Frozen

GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED
DAY = 86_400.0
SLOW = CONFIG.replace("interval: 1s, fast_interval: 100ms", "interval: 40s, fast_interval: 20s")
RECOVER = "recover: {hold: 2m, max_hold: 1h, clean: 5}\n"


def flaps(ask: Ask) -> Outcome:
    """Bad here for four minutes of every ten."""
    return EXPIRED if ask.local and ask.now % 600 < 240 else GOOD


def slow(tmp: Path) -> Simulation:
    made = setup(tmp, policy(letters=1, more=RECOVER), config=SLOW)
    return Simulation(made, flaps, step=5.0, idle=60.0)


def kept(sim: Simulation) -> Memory:
    assert sim.memory is not None
    return sim.memory


def worn(sim: Simulation) -> float:
    """How worn the first address is now."""
    state = sim.state
    address = sim.addresses()[0]
    level = state.worn.get(address, 0.0)
    return damping.penalty(level, state.worn_at, sim.index.settings[address], sim.now)


def test_a_history_is_as_old_after_a_restart_as_the_time_that_passed(tmp_path: Path) -> None:
    """Lengths of time are kept, as the clock of the next process begins anywhere."""
    index = Index.of(setup(tmp_path, policy(letters=2)))
    one, other, *_ = index.settings
    state = replace(
        State.blank(index, 5000.0, WALL),
        worn={one: 3.0, other: 0.0},
        worn_at=5000.0,
        moves=((4999.5, 2), (4950.0, 1)),
        plan={one: "pao"},
        since={one: WALL - 0.5},
    )
    hold = Hold(breaches=3, since=4999.75, ended=4000.0)
    state = replace(state, ledger=_holding(state.ledger, {one: hold}))
    memory = remember(state)
    assert memory.breaches == {one: Breaches(number=3, since=0.25, ended=1000.0)}
    assert memory.moves == ((0.5, 2), (50.0, 1))
    assert memory.steered == {one: Steered(site="pao", ago=0.5)}
    assert memory.worn == {one: 3.0}
    for passed, gone in ((0.0, False), (100.0, False), (CALM, False), (CALM + 1, True)):
        begun = State.blank(index, 7.0, WALL + passed)
        recalled, events = recall(begun, memory)
        assert not events
        if gone:
            assert recalled == begun, "a day of calm"
            continue
        then = 7.0 - passed
        found = recalled.ledger.address(one).hold
        assert found == Hold(breaches=3, since=then - 0.25, ended=then - 1000.0)
        assert recalled.ledger.held == {one}
        assert recalled.moves == ((then - 0.5, 2), (then - 50.0, 1))
        assert (recalled.worn, recalled.worn_at) == (memory.worn, then)
        assert steered_since(memory, WALL + passed) == {(one, "pao"): WALL - 0.5}
    assert steered_since(memory, WALL - 1) == steered_since(None, WALL) == {}


@pytest.mark.parametrize("part", ["worn", "breaches", "moves"])
def test_any_part_of_a_history_is_kept_alone(tmp_path: Path, part: str) -> None:
    """What is no longer in the policies is not."""
    index = Index.of(setup(tmp_path, policy(letters=1)))
    one, gone = next(iter(index.settings)), "192.0.2.1"
    past = Breaches(number=1, since=1.0, ended=1.0)
    memory = Memory(
        at=WALL,
        worn={one: 1.0, gone: 1.0} if part == "worn" else {},
        breaches={one: past, gone: past} if part == "breaches" else {},
        moves=((1.0, 1),) if part == "moves" else (),
    )
    recalled, _ = recall(State.blank(index, 7.0, WALL), memory)
    assert recalled.worn.keys() == ({one} if part == "worn" else set())
    assert recalled.ledger.held == ({one} if part == "breaches" else frozenset())
    assert recalled.ledger.addresses.keys() == recalled.ledger.held
    assert bool(recalled.moves) == (part == "moves")
    assert recall(State.blank(index, 7.0, WALL - 1), memory)[1][0].event == "notice"


def test_a_frozen_path_is_kept_whenever_that_was_and_only_by_an_agent_that_acts(
    tmp_path: Path,
) -> None:
    frozen = {"192.5.0.30": Frozen(path="pao", by="noc")}
    for config, kept_frozen in ((CONFIG, frozen), (CONFIG + "mode: rehearse\n", {})):
        index = Index.of(setup(tmp_path, policy(letters=1), config=config))
        memory = remember(replace(State.blank(index, 5.0, WALL), frozen=frozen))
        assert memory.frozen == kept_frozen
    memory = Memory(at=WALL, frozen=frozen)
    for wall in (WALL, WALL - 9, WALL + CALM + 1):
        assert recall(State.blank(index, 7.0, wall), memory)[0].frozen == frozen


@pytest.mark.long
def test_an_agent_restarted_every_hour_moves_what_flaps_no_oftener(tmp_path: Path) -> None:
    sim = slow(tmp_path)
    for hour in range(10):
        sim.run(3600)
        if hour % 3 == 2:
            sim.installed = {}  # it came after the lease
        sim.restart()
    for address in sim.addresses():
        times = [at for at, s in sim.steps if s.address == address]
        assert 2 <= len(times) <= 10
    assert "damped" in {e.rule for _, e in sim.told("held")}


@pytest.mark.long
def test_without_what_is_remembered_it_would(tmp_path: Path) -> None:
    sim = slow(tmp_path)
    for _ in range(6):
        sim.run(3600)
        sim.memory = None
        sim.restart()
    assert max(len([s for _, s in sim.steps if s.address == a]) for a in sim.addresses()) > 10


def test_moves_wear_off_while_no_agent_runs(tmp_path: Path) -> None:
    sim = slow(tmp_path).run(7200)
    before = worn(sim)
    assert before > 3
    sim.installed = {}
    sim.now += 6 * 3600
    sim.restart()
    sim.turn()
    assert worn(sim) == pytest.approx(before - 1, abs=0.01), "four a day"


@pytest.mark.parametrize("beyond", [-120.0, DAY + 60])
def test_a_file_of_the_future_or_of_yesterday_holds_nobody_back(
    tmp_path: Path, beyond: float
) -> None:
    sim = slow(tmp_path).run(7200)
    assert worn(sim) > 3
    memory = kept(sim)
    sim.clock_error = beyond
    sim.restart()
    sim.turn()
    assert worn(sim) == 0
    notices = [e.because for _, e in sim.told("notice")]
    assert [("in the future" in text) for text in notices] == [True] * (beyond < 0)
    assert memory.breaches, "there was something to forget"


def test_what_is_taken_over_is_steered_since_it_was_and_not_since_the_restart(
    tmp_path: Path,
) -> None:
    sim = Simulation(setup(tmp_path, policy(letters=1)), lambda ask: EXPIRED if ask.local else GOOD)
    sim.until(lambda: len(sim.installed) == 2, limit=60)
    since = dict(sim.state.since)
    for _ in range(2):
        sim.run(20)
        sim.restart()
        sim.turn()
        assert sim.state.since == pytest.approx(since)
    assert all(at < sim.state.wall - 30 for at in since.values())
    (moved, other), memory = sim.addresses(), kept(sim)
    sim.installed[moved] = next(s for s in sim.index.sites if s != sim.installed[moved])
    sim.restart()
    sim.memory = memory
    sim.turn()
    assert sim.state.since[moved] > since[moved] + 30, "who knows when it went there?"
    assert sim.state.since[other] == pytest.approx(since[other])


def test_a_restart_within_a_breach_is_no_further_one(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, policy(letters=1)), lambda ask: EXPIRED if ask.local else GOOD)
    sim.run(30)
    before = sim.holds()
    assert {hold.breaches for hold in before.values()} == {1}
    for _ in range(3):
        sim.run(5)
        sim.restart()
        sim.turn()
    after = sim.holds()
    assert {a: hold.breaches for a, hold in after.items()} == dict.fromkeys(before, 1)
    for a, hold in after.items():
        assert hold.since == pytest.approx(before[a].since), "it runs on"


def test_a_further_breach_after_a_restart_has_the_longer_hold(tmp_path: Path) -> None:
    bad = [(1010.0, 1030.0), (1300.0, 1320.0)]

    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and any(a <= ask.now < b for a, b in bad) else GOOD

    def away(sim: Simulation) -> float:
        sim.until(lambda: bool(sim.installed), limit=400)
        since = sim.now
        sim.until(lambda: not sim.installed, limit=200)
        return sim.now - since

    text = policy(letters=1, more="recover: {hold: 40s, max_hold: 10m, clean: 20}\n")
    sim = Simulation(setup(tmp_path, text), answer)
    first = away(sim)
    sim.restart()
    assert away(sim) == pytest.approx(2 * first, rel=0.1)


@pytest.mark.long
def test_the_budget_of_a_minute_is_not_given_anew(tmp_path: Path) -> None:
    config = CONFIG + "budget: {moves_per_minute: 4}\n"
    made = setup(tmp_path, policy(letters=5), config=config)
    sim = Simulation(made, lambda ask: EXPIRED if ask.local and ask.now > 1010 else GOOD)
    sim.until(lambda: bool(sim.installed), limit=40)
    assert len(sim.steps) == 4
    sim.restart()
    sim.run(40)
    assert len(sim.steps) == 4
    moved = sorted(at for at, _ in sim.run(100).steps)
    assert all(sum(at <= other < at + 60 for other in moved) <= 4 for at in moved)


def test_who_dies_before_every_move_it_counted_does_not_move_for_ever(tmp_path: Path) -> None:
    """The memory is written, the process ends, and nothing was installed; again and again."""
    sim = slow(tmp_path)
    sim.refuses = lambda address: True  # noqa: ARG005
    for _ in range(100):
        sim.until(lambda: bool(sim.state.plan) or "damped" in sim.state.alarms, limit=DAY)
        if "damped" in sim.state.alarms:
            break
        sim.restart()
    assert "damped" in sim.state.alarms


def test_no_memory_makes_an_address_more_worn_than_moves_can(tmp_path: Path) -> None:
    sim = slow(tmp_path)
    sim.memory = Memory(at=WALL + sim.now, worn=dict.fromkeys(sim.addresses(), 1e300))
    sim.turn()
    assert worn(sim) == 9
    sim.now += 13 * 3600
    sim.until(lambda: bool(sim.installed), limit=1200)


def test_what_is_remembered_again_at_once_is_the_same(tmp_path: Path) -> None:
    sim = slow(tmp_path).run(7200)
    before = kept(sim)
    sim.restart()
    sim.turn()
    after = kept(sim)
    assert after.breaches.keys() == before.breaches.keys()
    assert after.worn == pytest.approx(before.worn, abs=0.01)
    for address, past in after.breaches.items():
        assert past.number == before.breaches[address].number
        assert past.since == pytest.approx(before.breaches[address].since, abs=60)


def test_a_breach_that_is_long_over_is_none_that_repeats(tmp_path: Path) -> None:
    sim = slow(tmp_path).run(7200)
    assert all(hold.breaches > 1 for hold in sim.holds().values())
    sim.installed = {}
    sim.now += CALM - 60  # the memory is of today, and what it tells of is of yesterday
    sim.restart()
    sim.until(lambda: bool(sim.installed), limit=1200)
    assert {hold.breaches for hold in sim.holds().values()} == {1}
