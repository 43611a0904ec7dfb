"""Staleness: an outdated copy is seen before its first signature runs out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import CONFIG, WALL, Ask, Shown, Simulation, policy, setup

from steering.index import Index, Settings
from steering.judge.edit import Draft
from steering.judge.known.buckets import Levels
from steering.judge.known.ledger import Ledger, worst_lag
from steering.judge.known.zone_copies import SAMPLES, newer
from steering.judge.probes.shown_copies import note_expiry, note_serial
from steering.judge.probes.staleness import Lateness, late
from steering.model import LOCAL, Health, Outcome

NOW = 1000.0
HOUR, DAY = 3600.0, 86_400.0
PATHS = (LOCAL, "pao", "fra")
ZONE = "gtld."


class Seen:
    """What the paths of the first address have shown."""

    def __init__(self, tmp: Path, more: str = "") -> None:
        self.index = Index.of(setup(tmp, policy(letters=2, more=more)))
        assert self.index.paths == PATHS
        self.address, self.other = list(self.index.settings)[:2]
        self.ledger = Ledger.blank(NOW)

    def serials(self, *serials: int | None, now: float = NOW, proven: bool = True) -> None:
        """The serial that each path shows, in their order; None: none."""
        draft = self._draft(now, WALL + now)
        for path, serial in zip(PATHS, serials, strict=False):
            if serial is not None:
                note_serial(draft, self._settings, path, ZONE, serial, proven=proven)
        self.ledger = draft.done()

    def lives(self, *lives: float | None, answers: int = SAMPLES) -> None:
        """How long the signatures live that each path shows; None: none was seen."""
        draft = self._draft(NOW, WALL + NOW)
        for path, life in zip(PATHS, lives, strict=False):
            for _ in range(answers if life is not None else 0):
                note_expiry(draft, self._settings, path, ZONE, WALL + NOW + (life or 0))
        self.ledger = draft.done()

    def lags(self, now: float, address: str | None = None) -> list[float | None]:
        """The serial lag of each path."""
        settings = self.index.settings[address or self.address]
        return [worst_lag(self.ledger, settings, path, now) for path in PATHS]

    def late(self, now: float = NOW) -> Lateness:
        """What is outdated."""
        return late(self._draft(now, WALL + NOW), self._settings, ZONE)

    @property
    def _settings(self) -> Settings:
        return self.index.settings[self.address]

    def _draft(self, now: float, wall: float) -> Draft:
        # The windows are not what is tried here.
        return Draft(replace(self.ledger, window=now), self.index, wall, now)


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
    seen = Seen(tmp_path, f"serial: {kind}\n")
    seen.serials(2**32 - 1, 2**32 - 1, 2**32 - 1)
    assert seen.lags(NOW + 50) == [0, 0, 0]
    seen.serials(None, 3, now=NOW + 60)  # wraps, and is newer
    seen.serials(2**32 - 1, 4, now=NOW + 90)
    assert seen.lags(NOW + 100) == [40, 0, 40]
    seen.serials(4, now=NOW + 110)
    assert seen.lags(NOW + 120) == [0, 0, 60]
    assert seen.lags(NOW, seen.other) == [None, None, None]


def test_a_frozen_copy_stays_dated_however_much_news_there_is(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.serials(1, 1)
    for i in range(300):
        seen.serials(1, 2 + i, now=NOW + 10 + i)
    assert seen.lags(NOW + 310)[0] == 300


def test_an_epoch_serial_tells_its_age_at_once(tmp_path: Path) -> None:
    seen = Seen(tmp_path, "serial: epoch\n")
    edit = int(WALL + NOW)
    seen.serials(edit - 7200, edit)
    assert seen.lags(NOW)[:2] == [7200, 0]


def test_a_liar_makes_nobody_else_late(tmp_path: Path) -> None:
    for kind in ("opaque", "epoch"):
        seen = Seen(tmp_path, f"serial: {kind}\n")
        edit = int(WALL + NOW)
        seen.serials(edit, edit)
        seen.serials(None, None, edit + 1000, proven=False)
        assert seen.lags(NOW + DAY)[:2] == [0, 0]


def test_an_epoch_serial_of_next_week_is_a_mistake_and_no_news(tmp_path: Path) -> None:
    seen = Seen(tmp_path, "serial: epoch\n")
    edit = int(WALL + NOW)
    seen.serials(edit, edit, edit + 7 * 86_400)
    assert seen.lags(NOW)[:2] == [0, 0]


def test_late_when_twelve_lags_reach_the_shortest_life_elsewhere(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.lives(72 * HOUR, 72 * HOUR, 72 * HOUR)
    seen.serials(1, 1, 1)
    seen.serials(None, 2, 2)
    assert not seen.late(NOW + 6 * HOUR - 1).behind
    assert seen.late(NOW + 6 * HOUR).behind == {LOCAL}


def test_late_when_signatures_live_two_thirds_of_those_elsewhere(tmp_path: Path) -> None:
    for life, short in ((48.1 * HOUR, set[str]()), (48 * HOUR, {LOCAL})):
        seen = Seen(tmp_path)
        seen.lives(life, 72 * HOUR, 72 * HOUR)
        assert seen.late().short == short
        assert seen.late().floors[LOCAL] == pytest.approx(48 * HOUR)


@pytest.mark.parametrize(("life", "is_short"), [(108, False), (48.1, False), (48, True)])
def test_signatures_with_days_to_live_are_no_shortage(
    tmp_path: Path, life: float, is_short: bool
) -> None:
    seen = Seen(tmp_path)
    seen.lives(life * HOUR, 168 * HOUR, 168 * HOUR)
    assert seen.late().short == ({LOCAL} if is_short else set())
    assert seen.late().floors[LOCAL] == 48 * HOUR


def test_a_policy_s_limit_holds_above_two_days_as_well(tmp_path: Path) -> None:
    seen = Seen(tmp_path, "breach: {stale: {signature_remaining: 5d}}\n")
    seen.lives(108 * HOUR, 168 * HOUR, 168 * HOUR)
    assert seen.late().short == {LOCAL}


def test_a_few_answers_are_too_few_to_compare_lives(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    seen.lives(None, 72 * HOUR)
    seen.lives(HOUR, answers=1)
    assert not seen.late().short


def test_the_policy_s_limits_take_the_place_of_the_rule(tmp_path: Path) -> None:
    seen = Seen(tmp_path, "breach: {stale: {serial_lag: 1h, signature_remaining: 12h}}\n")
    seen.lives(12 * HOUR, 72 * HOUR, 13 * HOUR)
    seen.serials(1, 1, 1)
    seen.serials(None, 2)
    found = seen.late(NOW + HOUR)
    assert found.behind == {LOCAL, "fra"}
    assert found.short == {LOCAL}
    assert not seen.late(NOW + HOUR - 1).behind


def test_when_every_path_is_as_late_it_is_the_zone(tmp_path: Path) -> None:
    limits = "serial: epoch\nbreach: {stale: {serial_lag: 1h, signature_remaining: 12h}}\n"
    edit = int(WALL + NOW)
    for age, is_late in ((3599, False), (3600, True)):
        seen = Seen(tmp_path, limits)
        seen.serials(edit - age, edit - age, edit - age)
        assert not seen.late().behind
        assert seen.late().everywhere is is_late
    seen = Seen(tmp_path, limits)
    seen.lives(11 * HOUR, 12 * HOUR, 10 * HOUR)
    assert not seen.late().short
    assert seen.late().everywhere


def test_one_path_alone_blames_no_zone(tmp_path: Path) -> None:
    seen = Seen(tmp_path, "serial: epoch\nbreach: {stale: {serial_lag: 1h}}\n")
    seen.serials(int(WALL + NOW - 7200))
    assert not seen.late().everywhere


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


@pytest.mark.long
def test_acting_on_stale_steers_before_the_first_expired_answer(tmp_path: Path) -> None:
    sim = _frozen_sim(tmp_path, ACTS).run(FIRST_EXPIRY - 1000 - 1)
    assert set(sim.installed) == set(sim.addresses())
    assert not any(record.recent.bad for record in sim.state.ledger.paths.values())
    assert {sim.health(a) for a in sim.addresses()} == {Health.STALE}
    steps = len(sim.steps)
    sim.run(30)  # now its signatures fail, which is the same breach still
    assert {sim.health(a) for a in sim.addresses()} == {Health.FAILING}
    assert len(sim.steps) == steps
    holds = [sim.state.ledger.address(a).hold for a in sim.addresses()]
    assert {hold.breaches for hold in holds if hold} == {1}


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
    assert not any(sim.state.ledger.address(a).hold for a in sim.addresses())
    sim.until(lambda: sim.health(sim.addresses()[0]) is Health.HEALTHY, limit=30)
    assert not sim.steps


def test_lateness_that_moved_nobody_leaves_the_bogus_answers_counted(tmp_path: Path) -> None:
    fixed = 1250.0
    sim = _frozen_sim(tmp_path, WATCHES, until=fixed).run(fixed - 1000)
    draft = Draft(sim.state.ledger, sim.state.index, sim.state.wall, sim.state.now)
    for address in sim.addresses():
        record = draft.edit(address)
        # Close to full, from a fault that has not shown its share yet.
        record.levels = (Levels(5000, *record.levels[0][1:]), *record.levels[1:])
    sim.state = replace(sim.state, ledger=draft.done())
    sim.until(lambda: sim.health(sim.addresses()[0]) is Health.HEALTHY, limit=30)
    assert all(sim.state.ledger.path(a).levels[0].slow > 4000 for a in sim.addresses())
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
