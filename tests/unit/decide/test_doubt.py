"""Doubt that ends, and moves on what is so now: at the shipped cadence, with the shipped policies'
numbers of addresses and many more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from shipped import CONFIG, START, many, net, sim
from simulation import WALL, Ask, Shown, Simulation, setup

from steering.model import Health, Outcome
from steering.override import Action, Match, Override

GOOD, BAD, EXPIRED = Outcome.SECURE, Outcome.BAD_SIGNATURE, Outcome.EXPIRED
REFUSED, SERVFAIL, LOST = Outcome.REFUSED, Outcome.SERVFAIL, Outcome.TIMEOUT


def here(ask: Ask, since: float, seconds: float) -> bool:
    """Over the local path, and within this time."""
    return ask.local and since <= ask.now < since + seconds


def ends(run: Simulation, alarm: str, *, limit: float) -> float:
    """Seconds until the alarm is over."""
    return run.until(lambda: alarm not in run.state.alarms, limit=limit)


@pytest.mark.parametrize(
    ("operators", "letters"), [(2, 13), pytest.param(5, 20, marks=pytest.mark.long)]
)
def test_a_fault_of_our_own_moves_nobody_and_is_over_within_a_minute(
    tmp_path: Path, operators: int, letters: int
) -> None:
    real = START + 600

    def answer(ask: Ask) -> Outcome:
        own = here(ask, START, 30)
        return BAD if own or (net(ask) == 1 and here(ask, real, 1e9)) else GOOD

    run = sim(tmp_path, answer, operators=operators, letters=letters)
    run.run(31)
    assert "self" in run.state.alarms
    assert not run.installed, "what went before the doubt is home again"
    assert ends(run, "self", limit=60) <= 45
    run.run(real - run.now)
    assert not run.moves()
    assert {run.health(a) for a in run.addresses()} == {Health.HEALTHY}
    bad = [t.address for t in run.index.targets if t.upstream == "u1"]
    took = run.until(lambda: set(run.installed) == set(bad), limit=12)
    assert took <= 5
    assert len(run.moves()) == len(bad), "and nobody else"


@pytest.mark.long
@pytest.mark.parametrize("seconds", [1, 2])
def test_a_fault_of_a_second_or_two_moves_nobody_and_is_forgotten(
    tmp_path: Path, seconds: float
) -> None:
    """It is over before the others have been heard; even who failed by names asked again alone."""
    run = sim(
        tmp_path,
        lambda ask: BAD if here(ask, START, seconds) else GOOD,
        operators=2,
        letters=13,
    ).run(60)
    assert not run.moves()
    assert {run.health(a) for a in run.addresses()} == {Health.HEALTHY}


@pytest.mark.long
def test_what_left_just_before_the_doubt_comes_home_when_it_is_raised(tmp_path: Path) -> None:
    """A fault of our own that reaches one operator's answers ten seconds before the other's."""

    def answer(ask: Ask) -> Outcome:
        since = START + 10 * net(ask)
        return BAD if ask.local and since <= ask.now < START + 90 else GOOD

    run = sim(tmp_path, answer, operators=2, letters=13)
    run.until(lambda: bool(run.installed), limit=20)
    took = run.until(lambda: not run.installed, limit=20)
    assert took <= 20
    assert {s.rule for _, s in run.steps if not s.now} == {"self"}
    moved = len(run.moves())
    run.run(300)
    assert not run.installed
    assert len(run.moves()) == moved, "once, and never again"


@pytest.mark.long
@pytest.mark.parametrize("operators", [2, 3])
@pytest.mark.parametrize(
    ("outcome", "share"), [(REFUSED, 1.0), (SERVFAIL, 1.0), (LOST, 0.5), (EXPIRED, 1.0)]
)
def test_what_one_family_of_all_operators_has_is_our_own_fault(
    tmp_path: Path, operators: int, outcome: Outcome, share: float
) -> None:
    def answer(ask: Ask) -> Outcome:
        return outcome if ask.v6 and here(ask, START, 60) and ask.lost(share) else GOOD

    run = sim(tmp_path, answer, operators=operators, letters=13).run(61)
    assert not run.installed
    assert ends(run, "self", limit=60) <= 40
    run.run(400)
    assert not run.installed
    assert not run.moves()


def test_a_fault_of_one_family_of_one_operator_moves_that_family(tmp_path: Path) -> None:
    run = sim(
        tmp_path,
        lambda ask: REFUSED if ask.v6 and net(ask) == 1 and here(ask, START, 1e9) else GOOD,
        operators=2,
        letters=13,
    ).run(60)
    bad = {t.address for t in run.index.targets if t.upstream == "u1" and ":" in t.address}
    assert set(run.installed) == bad


@pytest.mark.long
@pytest.mark.parametrize("share", [0.13, 0.4])
def test_who_was_bad_before_and_gets_clearly_worse_counts_for_the_doubt(
    tmp_path: Path, share: float
) -> None:
    own = START + 700

    def answer(ask: Ask) -> Outcome:
        real = net(ask) == 1 and here(ask, START, 1e9) and ask.unlucky(share)
        return EXPIRED if real else BAD if here(ask, own, 60) else GOOD

    run = sim(tmp_path, answer, operators=2, letters=13)
    run.run(own - run.now)
    bad = {t.address for t in run.index.targets if t.upstream == "u1"}
    assert set(run.installed) == bad, "it was a fault of one operator"
    run.run(61)
    assert set(run.installed) == bad, "what was ours moved nobody else"
    assert ends(run, "self", limit=60) <= 60
    run.run(200)
    assert set(run.installed) == bad


def obstacle_off(run: Simulation, *, there: bool) -> None:
    run.off = there


def obstacle_override(run: Simulation, *, there: bool) -> None:
    stay = Override(
        name="stay",
        match=Match(),
        action=Action.LOCAL,
        to=None,
        until=None,
        reason="work at the site",
        by="ops",
    )
    run.overrides = (stay,) if there else ()


@pytest.mark.long
@pytest.mark.parametrize("obstacle", [obstacle_off, obstacle_override])
@pytest.mark.parametrize("after", [20.0, 480.0])
@pytest.mark.parametrize("share", [1.0, 0.13])
def test_what_could_not_move_while_it_failed_does_not_move_when_it_is_well(
    tmp_path: Path, obstacle: Callable[..., None], after: float, share: float
) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if here(ask, START, 120) and ask.unlucky(share) else GOOD

    run = sim(tmp_path, answer, operators=1, letters=13)
    obstacle(run, there=True)
    run.run(120 + after)
    assert not run.installed
    obstacle(run, there=False)
    run.run(900)
    assert not run.moves()


@pytest.mark.long
@pytest.mark.parametrize("obstacle", [obstacle_off, obstacle_override])
def test_what_still_fails_moves_as_soon_as_it_can(
    tmp_path: Path, obstacle: Callable[..., None]
) -> None:
    run = sim(
        tmp_path,
        lambda ask: EXPIRED if here(ask, START, 1e9) and ask.unlucky(0.13) else GOOD,
        operators=1,
        letters=13,
    )
    obstacle(run, there=True)
    run.run(300)
    assert not run.installed
    obstacle(run, there=False)
    took = run.until(lambda: len(run.installed) == 26, limit=30)
    assert took <= 10


@pytest.mark.long
def test_who_waits_for_the_budget_moves_on_what_is_so_when_it_comes(tmp_path: Path) -> None:
    more = "budget: {at_once: 10}\n"
    run = sim(
        tmp_path,
        lambda ask: EXPIRED if here(ask, START, 120) else GOOD,
        operators=1,
        letters=13,
        more=more,
    )
    run.run(100)
    assert len(run.installed) == 10
    run.run(1200)
    assert not run.installed, "home, and the others never left"
    assert len(run.moves()) == 10


@pytest.mark.long
def test_a_site_that_comes_back_after_the_fault_gets_nobody(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if not ask.local:
            return GOOD if ask.now < START + 2 or ask.now > START + 200 else LOST
        return EXPIRED if here(ask, START + 10, 100) else GOOD

    run = sim(tmp_path, answer, operators=1, letters=13).run(1500)
    assert not run.moves()


def test_a_clock_one_hour_ahead_blames_no_zone(tmp_path: Path) -> None:
    text = many("u1", 1, 13) + "serial: epoch\n"

    def answer(ask: Ask) -> Shown:
        true = WALL + ask.now
        return Shown(serial=int(true - true % 60), expires=true + 6 * 86_400)

    run = Simulation(setup(tmp_path, text, many("u2", 2, 13), config=CONFIG), answer)
    run.run(300)
    run.clock_error = 3600.0
    run.run(500)
    assert "zone_late" not in run.state.alarms
    assert not run.told("alarm_raised")


@pytest.mark.long
def test_bursts_of_silence_at_one_upstream_are_no_doubt_of_ourselves(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return LOST if ask.local and net(ask) == 1 and ask.now % 500 < 3 else GOOD

    run = sim(tmp_path, answer, operators=2, letters=13).run(3600)
    assert not [e for _, e in run.told("alarm_raised") if e.now == "self"]
    assert not run.moves()


@pytest.mark.long
def test_what_is_steered_is_asked_as_often_as_its_way_home_needs(tmp_path: Path) -> None:
    healed = START + 250

    def answer(ask: Ask) -> Outcome:
        bad = here(ask, START, healed - START) and ask.unlucky(0.13)
        return EXPIRED if bad else GOOD

    run = sim(tmp_path, answer, operators=1, letters=13)
    run.until(lambda: len(run.installed) == 26, limit=60)
    run.run(60)
    before, at = run.asked, run.now
    run.run(100)
    assert (run.asked - before) / (run.now - at) <= 26 / 1.0 + 26 / 10 + 5
    run.run(healed - run.now)
    took = run.until(lambda: not run.installed, limit=900)
    assert took <= 2400 * 0.2 + 60, "three tokens of 800 clean answers, and half a minute"
