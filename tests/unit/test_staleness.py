"""Staleness: an outdated copy is seen before its first signature runs out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import CONFIG, WALL, Ask, Shown, Simulation, policy, setup

from steering.judge.staleness import late
from steering.judge.zone_copies import SAMPLES, Copies, newer
from steering.layout import Layout
from steering.model import Health, Outcome

NOW = 1000.0
HOUR, DAY = 3600.0, 86_400.0
ROWS = np.array([0], dtype=np.int64)


def _layout(tmp: Path, more: str = "") -> Layout:
    return Layout.of(setup(tmp, policy(letters=2, more=more)))


def _see(
    copies: Copies,
    layout: Layout,
    serials: dict[int, int],
    now: float = NOW,
    *,
    proven: bool = True,
    a: int = 0,
) -> None:
    for p, serial in serials.items():
        copies.see_serial(layout, (0, a, p), serial, proven=proven, wall=WALL + now, now=now)


def _lives(copies: Copies, lives: dict[int, float], a: int = 0) -> None:
    for p, life in lives.items():
        for _ in range(SAMPLES):
            _expires(copies, a, p, WALL + NOW + life)


def _expires(copies: Copies, a: int, p: int, at: float) -> None:
    z, row, column = (np.array([i]) for i in (0, a, p))
    copies.see_expiries((z, row, column), np.array([at]))


def _blank(layout: Layout) -> Copies:
    return Copies.blank(layout, NOW).editable(layout, NOW)


@pytest.mark.parametrize(
    ("a", "b", "is_newer"),
    [
        (1, 0, True),
        (0, 1, False),
        (5, 5, False),
        (0, 2**32 - 1, True),
        (2**31 - 1, 0, True),
        (2**31, 0, False),  # undefined by RFC 1982: nobody is newer
    ],
)
def test_serials_are_compared_by_rfc_1982(a: int, b: int, is_newer: bool) -> None:
    assert newer(a, b) is is_newer


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_of_two_serials_at_most_one_is_newer(a: int, b: int) -> None:
    assert not (newer(a, b) and newer(b, a))
    assert newer(a, b) or newer(b, a) or a == b or (a - b) % 2**32 == 2**31


@pytest.mark.parametrize("kind", ["date", "opaque"])
def test_lag_counts_from_when_a_newer_serial_was_first_seen_anywhere(
    tmp_path: Path, kind: str
) -> None:
    layout = _layout(tmp_path, f"serial: {kind}\n")
    copies = _blank(layout)
    _see(copies, layout, {0: 2**32 - 1, 1: 2**32 - 1, 2: 2**32 - 1})
    assert copies.lag(layout, NOW + 50)[0].tolist() == [0, 0, 0]
    _see(copies, layout, {1: 3}, now=NOW + 60)  # wraps, and is newer
    _see(copies, layout, {1: 4, 0: 2**32 - 1}, now=NOW + 90)
    assert copies.lag(layout, NOW + 100)[0].tolist() == [40, 0, 40]
    _see(copies, layout, {0: 4}, now=NOW + 110)
    assert copies.lag(layout, NOW + 120)[0].tolist() == [0, 0, 60]
    assert np.isnan(copies.lag(layout, NOW)[1]).all()


def test_a_frozen_copy_stays_dated_however_much_news_there_is(tmp_path: Path) -> None:
    layout = _layout(tmp_path)
    copies = _blank(layout)
    _see(copies, layout, {0: 1, 1: 1})
    for i in range(300):
        _see(copies, layout, {0: 1, 1: 2 + i}, now=NOW + 10 + i)
    assert copies.lag(layout, NOW + 310)[0, 0] == 300


def test_an_epoch_serial_tells_its_age_at_once(tmp_path: Path) -> None:
    layout = _layout(tmp_path, "serial: epoch\n")
    copies = _blank(layout)
    edit = int(WALL + NOW)
    _see(copies, layout, {0: edit - 7200, 1: edit})
    assert copies.lag(layout, NOW)[0, :2].tolist() == [7200, 0]


def test_a_liar_makes_nobody_else_late(tmp_path: Path) -> None:
    for kind in ("opaque", "epoch"):
        layout = _layout(tmp_path, f"serial: {kind}\n")
        copies = _blank(layout)
        edit = int(WALL + NOW)
        _see(copies, layout, {0: edit, 1: edit})
        _see(copies, layout, {2: edit + 1000}, proven=False)
        assert copies.lag(layout, NOW + DAY)[0].tolist()[:2] == [0, 0]


def test_an_epoch_serial_of_next_week_is_a_mistake_and_no_news(tmp_path: Path) -> None:
    layout = _layout(tmp_path, "serial: epoch\n")
    copies = _blank(layout)
    edit = int(WALL + NOW)
    _see(copies, layout, {0: edit, 1: edit, 2: edit + 7 * 86_400})
    assert copies.lag(layout, NOW)[0].tolist()[:2] == [0, 0]


def test_late_when_twelve_lags_reach_the_shortest_life_elsewhere(tmp_path: Path) -> None:
    layout = _layout(tmp_path)
    copies = _blank(layout)
    _lives(copies, {0: 72 * HOUR, 1: 72 * HOUR, 2: 72 * HOUR})
    _see(copies, layout, {0: 1, 1: 1, 2: 1})
    _see(copies, layout, {1: 2, 2: 2})
    for lag, is_late in ((6 * HOUR - 1, False), (6 * HOUR, True)):
        found = late(copies, layout, ROWS, NOW + lag, WALL + NOW)
        assert found.behind[0].tolist() == [is_late, False, False]


def test_late_when_signatures_live_two_thirds_of_those_elsewhere(tmp_path: Path) -> None:
    layout = _layout(tmp_path)
    for life, is_late in ((48.1 * HOUR, False), (48 * HOUR, True)):
        copies = _blank(layout)
        _lives(copies, {0: life, 1: 72 * HOUR, 2: 72 * HOUR})
        found = late(copies, layout, ROWS, NOW, WALL + NOW)
        assert found.short[0].tolist() == [is_late, False, False]
        assert found.floor[0, 0, 0] == pytest.approx(48 * HOUR)


@pytest.mark.parametrize(("life", "is_short"), [(108, False), (48.1, False), (48, True)])
def test_signatures_with_days_to_live_are_no_shortage(
    tmp_path: Path, life: float, is_short: bool
) -> None:
    layout = _layout(tmp_path)
    copies = _blank(layout)
    _lives(copies, {0: life * HOUR, 1: 168 * HOUR, 2: 168 * HOUR})
    found = late(copies, layout, ROWS, NOW, WALL + NOW)
    assert found.short[0].tolist() == [is_short, False, False]
    assert found.floor[0, 0, 0] == 48 * HOUR


def test_a_policy_s_limit_holds_above_two_days_as_well(tmp_path: Path) -> None:
    layout = _layout(tmp_path, "breach: {stale: {signature_remaining: 5d}}\n")
    copies = _blank(layout)
    _lives(copies, {0: 108 * HOUR, 1: 168 * HOUR, 2: 168 * HOUR})
    assert late(copies, layout, ROWS, NOW, WALL + NOW).short[0].tolist() == [True, False, False]


def test_a_few_answers_are_too_few_to_compare_lives(tmp_path: Path) -> None:
    layout = _layout(tmp_path)
    copies = _blank(layout)
    _lives(copies, {1: 72 * HOUR})
    _expires(copies, 0, 0, WALL + NOW + HOUR)
    assert not late(copies, layout, ROWS, NOW, WALL + NOW).short.any()


def test_the_policy_s_limits_take_the_place_of_the_rule(tmp_path: Path) -> None:
    limits = "breach: {stale: {serial_lag: 1h, signature_remaining: 12h}}\n"
    layout = _layout(tmp_path, limits)
    copies = _blank(layout)
    _lives(copies, {0: 12 * HOUR, 1: 72 * HOUR, 2: 13 * HOUR})
    _see(copies, layout, {0: 1, 1: 1, 2: 1})
    _see(copies, layout, {1: 2})
    found = late(copies, layout, ROWS, NOW + HOUR, WALL + NOW)
    assert found.behind[0].tolist() == [True, False, True]
    assert found.short[0].tolist() == [True, False, False]
    assert not late(copies, layout, ROWS, NOW + HOUR - 1, WALL + NOW).behind.any()


def test_when_every_path_is_as_late_it_is_the_zone(tmp_path: Path) -> None:
    limits = "serial: epoch\nbreach: {stale: {serial_lag: 1h, signature_remaining: 12h}}\n"
    layout = _layout(tmp_path, limits)
    edit = int(WALL + NOW)
    for age, is_late in ((3599, False), (3600, True)):
        copies = _blank(layout)
        _see(copies, layout, {0: edit - age, 1: edit - age, 2: edit - age})
        found = late(copies, layout, ROWS, NOW, WALL + NOW)
        assert not found.behind.any()
        assert found.zone.tolist() == [is_late]
    copies = _blank(layout)
    _lives(copies, {0: 11 * HOUR, 1: 12 * HOUR, 2: 10 * HOUR})
    found = late(copies, layout, ROWS, NOW, WALL + NOW)
    assert not found.short.any()
    assert found.zone.tolist() == [True]


def test_one_path_alone_blames_no_zone(tmp_path: Path) -> None:
    layout = _layout(tmp_path, "serial: epoch\nbreach: {stale: {serial_lag: 1h}}\n")
    copies = _blank(layout)
    _see(copies, layout, {0: int(WALL + NOW - 7200)})
    assert not late(copies, layout, ROWS, NOW, WALL + NOW).zone.any()


# --- as stories ------------------------------------------------------------------------------

FROZEN, FIRST_EXPIRY = 1100.0, 1400.0
SHORT = CONFIG.replace("interval: 1s", "interval: 500ms")
ACTS = (
    "serial: epoch\n"
    "breach: {on: [bogus, timeout, error, stale], stale: {serial_lag: 60s}}\n"
    "recover: {hold: 10s, max_hold: 60s, clean: 20}\n"
)
WATCHES = ACTS.replace(", stale]", "]")


def _frozen(ask: Ask, until: float = 1e9) -> Shown:
    """The local instance freezes; its signatures start to fail 300 seconds later."""
    at = FROZEN if ask.local and FROZEN < ask.now < until else ask.now
    expired = ask.now - at > FIRST_EXPIRY - FROZEN and ask.unlucky(0.3)
    return Shown(
        outcome=Outcome.EXPIRED if expired else Outcome.SECURE,
        serial=int(WALL + at),
        expires=WALL + at + 3600,
    )


def _frozen_sim(tmp: Path, more: str, until: float = 1e9) -> Simulation:
    return Simulation(
        setup(tmp, policy(letters=1, more=more), config=SHORT),
        lambda ask: _frozen(ask, until),
        step=0.1,
    )


def test_acting_on_stale_steers_before_the_first_expired_answer(tmp_path: Path) -> None:
    sim = _frozen_sim(tmp_path, ACTS).run(FIRST_EXPIRY - 1000 - 1)
    assert set(sim.installed) == set(sim.addresses())
    assert not sim.state.ledger.recent_bad.any()
    assert {sim.health(a) for a in sim.addresses()} == {Health.STALE}
    steps = len(sim.steps)
    sim.run(30)  # now its signatures fail, which is the same breach still
    assert {sim.health(a) for a in sim.addresses()} == {Health.FAILING}
    assert len(sim.steps) == steps
    assert {hold.breaches for hold in sim.state.ledger.holds.values()} == {1}


def test_a_stale_path_is_taken_back_when_its_copy_is_fresh_again(tmp_path: Path) -> None:
    fixed = 1250.0
    sim = _frozen_sim(tmp_path, ACTS, until=fixed).run(fixed - 1000)
    assert set(sim.installed) == set(sim.addresses())
    assert sim.until(lambda: not sim.installed, limit=60) < 15
    sim.run(30)
    assert not sim.installed
    assert {sim.health(a) for a in sim.addresses()} == {Health.HEALTHY}


def test_a_policy_that_does_not_act_on_stale_only_shows_it(tmp_path: Path) -> None:
    fixed = 1250.0
    sim = _frozen_sim(tmp_path, WATCHES, until=fixed).run(fixed - 1000)
    assert {sim.health(a) for a in sim.addresses()} == {Health.STALE}
    assert {sim.rule(a) for a in sim.addresses()} == {5}
    assert not sim.state.ledger.holds
    sim.until(lambda: sim.health(sim.addresses()[0]) is Health.HEALTHY, limit=30)
    assert not sim.steps


def test_lateness_that_moved_nobody_leaves_the_bogus_answers_counted(tmp_path: Path) -> None:
    fixed = 1250.0
    sim = _frozen_sim(tmp_path, WATCHES, until=fixed).run(fixed - 1000)
    levels = sim.state.ledger.levels.copy()
    levels[0, :, 0, 0] = 5000  # close to full, from a fault that has not shown its share yet
    sim.state = replace(sim.state, ledger=replace(sim.state.ledger, levels=levels))
    sim.until(lambda: sim.health(sim.addresses()[0]) is Health.HEALTHY, limit=30)
    assert (sim.state.ledger.levels[0, :, 0, 0] > 4000).all()
    assert not sim.told("recovered")


def test_a_zone_late_everywhere_raises_an_alarm_and_moves_nothing(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Shown:
        at = min(ask.now, FROZEN)
        return Shown(serial=int(WALL + at), expires=WALL + at + 3600)

    sim = Simulation(
        setup(tmp_path, policy(letters=1, more=ACTS), config=SHORT), answer, step=0.1
    ).run(250)
    assert "zone_late" in sim.state.alarms
    assert not sim.steps
