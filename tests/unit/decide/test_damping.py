"""What flaps is left where it does well: rule 8."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import CONFIG, Answer, Ask, Simulation, policy, setup

from steering.decide.moves import damping
from steering.index import Index, Settings
from steering.model import Outcome

GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED
DAY = 86_400.0
SLOW = CONFIG.replace("interval: 1s, fast_interval: 100ms", "interval: 40s, fast_interval: 20s")
RECOVER = "recover: {hold: 2m, max_hold: 1h, clean: 5}\n"


def _slow(tmp: Path, answer: Answer) -> Simulation:
    text = policy(letters=1, more=RECOVER)
    return Simulation(setup(tmp, text, config=SLOW), answer, step=5.0, idle=60.0)


def _flaps(ask: Ask) -> Outcome:
    """Bad here for four minutes of every ten."""
    return EXPIRED if ask.local and ask.now % 600 < 240 else GOOD


@pytest.mark.long
def test_an_upstream_that_flaps_for_a_day_is_moved_at_most_a_dozen_times(tmp_path: Path) -> None:
    sim = _slow(tmp_path, _flaps).run(DAY)
    for address in sim.addresses():
        mine = [(at, s.now) for at, s in sim.steps if s.address == address]
        assert 2 <= len(mine) <= 12
        assert all(one[1] is None or two[1] is None for one, two in pairwise(mine))
        gone = sum(at for at, site in mine if site)
        back = sum(at for at, site in mine if not site)
        away = back - gone + (sim.now if mine[-1][1] else 0)
        assert away > DAY * 0.9, "left on its detour, where it does well"
    assert {e.rule for _, e in sim.told("held")} >= {"damped"}
    assert "damped" in {e.now for _, e in sim.told("alarm_raised")}


@pytest.mark.long
def test_detours_that_never_help_are_not_tried_all_day(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local or ask.live else GOOD

    sim = _slow(tmp_path, answer).run(DAY)
    for address in sim.addresses():
        assert len([s for _, s in sim.steps if s.address == address]) <= 12


def test_who_was_damped_goes_home_when_the_moves_have_worn_off(tmp_path: Path) -> None:
    healed: list[float] = []
    sim = _slow(tmp_path, lambda ask: GOOD if healed else _flaps(ask))
    sim.until(lambda: "damped" in sim.state.alarms, limit=12 * 3600)
    healed.append(sim.now)
    assert len(sim.installed) == 2
    took = sim.until(lambda: not sim.installed, limit=9 * 3600)
    assert took > 3600, "longer than the longest hold"
    sim.run(60)
    assert not sim.state.alarms


def test_off_and_overrides_wear_nobody(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda ask: EXPIRED if ask.local else GOOD).run(30)
    for _ in range(40):
        sim.off = not sim.off
        sim.run(2)
    assert len(sim.installed) == 6
    assert all(level <= 1 for level in sim.state.worn.values())


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Settings]:
    """By moves a day: those of one address."""

    def of(moves: int) -> Settings:
        more = f"recover: {{moves_per_day: {moves}}}\n"
        index = Index.of(setup(tmp_path_factory.mktemp("moves"), policy(letters=1, more=more)))
        return next(iter(index.settings.values()))

    return {moves: of(moves) for moves in (6, 12, 50)}


@given(
    st.lists(st.tuples(st.floats(0, 20_000), st.sampled_from([1.0, 2.0])), max_size=80),
    st.sampled_from([6, 12, 50]),
)
def test_no_day_sees_more_moves_than_allowed(
    settings: dict[int, Settings], waits: list[tuple[float, float]], allowed: int
) -> None:
    mine, level, at, now = settings[allowed], 0.0, 0.0, 0.0
    moved: list[float] = []
    for wait, needs in waits:
        now += wait
        level, at = damping.penalty(level, at, mine, now), now
        if damping.room(level, mine) >= needs:
            level = damping.add_penalty(level, mine)
            moved.append(now)
    for i, first in enumerate(moved):
        assert sum(first <= later < first + DAY for later in moved[i:]) <= allowed + 1


@pytest.mark.parametrize(("level", "needs"), [(8.0, 1.0), (7.5, 2.0), (0.0, 2.0)])
def test_the_patience_that_is_told_is_the_one_it_takes(
    settings: dict[int, Settings], level: float, needs: float
) -> None:
    mine = settings[12]
    wait = damping.time_to_reuse(level, mine, needs)
    later = damping.penalty(level, 0.0, mine, wait)
    assert damping.room(later, mine) >= needs
    if wait:
        sooner = damping.penalty(level, 0.0, mine, wait - 1)
        assert damping.room(sooner, mine) < needs
