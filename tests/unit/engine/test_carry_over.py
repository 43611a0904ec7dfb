"""A restart gives nobody his moves back, and ends no hold before its time."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation import CONFIG, WALL, Ask, Simulation, policy, setup

from steering.decide.moves import damping
from steering.facts import Memory
from steering.judge.known.recovery import CALM
from steering.model import Outcome

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
