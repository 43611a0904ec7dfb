"""Thousands of overrides cost a turn nothing, and say what they say one by one."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import CONFIG, WALL, setup

from steering.cli.override.effect import Effect, Effects
from steering.config import Setup, load
from steering.decide.alarms import _NAMED
from steering.decide.override_events import AT_ONCE
from steering.decide.override_state import NONE, Conflict, OverrideState, OverrideStatus, read
from steering.decide.state import State
from steering.engine import engine
from steering.layout import Layout
from steering.matching import Matching
from steering.model import Action, Facts, Family, Match, Override

MANY = 9_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return setup(tmp_path_factory.mktemp("etc"))


@pytest.fixture(scope="module")
def layout(files: Setup) -> Layout:
    return Layout.of(files)


def matches(layout: Layout) -> st.SearchStrategy[Match]:
    targets = layout.targets
    return st.builds(
        Match,
        upstream=st.sampled_from([None, None, targets[0].upstream, "other"]),
        nameserver=st.sampled_from([None, None, *(t.nameserver for t in targets), "x.y."]),
        address=st.sampled_from([None, None, *(t.address for t in targets), "192.0.2.1"]),
        family=st.sampled_from([None, None, *Family]),
        site=st.sampled_from([None, None, layout.site, "elsewhere"]),
    )


def overrides(layout: Layout) -> st.SearchStrategy[tuple[Override, ...]]:
    said = st.sampled_from(
        [
            (Action.LOCAL, None),
            (Action.FREEZE, None),
            *(
                (action, to)
                for action in (Action.STEER, Action.AVOID)
                for to in ("pao", "fra", "x")
            ),
        ]
    )
    until = st.sampled_from([None, None, WALL - 1, WALL + 1])
    one = st.tuples(matches(layout), said, until)
    return st.lists(one, max_size=12).map(
        lambda several: tuple(
            Override(name=f"o{n}", match=m, action=a, to=to, until=until, reason="r", by="noc")
            for n, (m, (a, to), until) in enumerate(several)
        )
    )


def one_by_one(layout: Layout, every: tuple[Override, ...]) -> OverrideState:
    """The same by asking each address of each override, in order."""
    blank = OverrideState.blank(layout)
    decides, to, frozen = blank.decides.copy(), blank.to.copy(), blank.frozen.copy()
    banned, banned_by = blank.banned.copy(), dict[tuple[int, int], int]()
    states, covers, clashes = [], [], dict[tuple[str, str], list[str]]()
    for index, override in enumerate(every):
        rows = tuple(
            row
            for row, target in enumerate(layout.targets)
            if override.match.covers(target, here=layout.site)
        )
        covers.append(rows)
        here = override.match.site in (None, layout.site)
        status = (
            OverrideStatus.ACTIVE
            if rows
            else OverrideStatus.UNMATCHED
            if here
            else OverrideStatus.ELSEWHERE
        )
        if override.until is not None and override.until <= WALL:
            status = OverrideStatus.EXPIRED
        states.append(status)
        column = layout.column.get(override.to or "", NONE)
        for row in rows if status.active else ():
            for earlier in {int(decides[row]), banned_by.get((row, column), NONE)} - {NONE}:
                before = every[earlier]
                if (before.action, before.to) != (override.action, override.to):
                    clash = clashes.setdefault((before.name, override.name), [])
                    clash.append(layout.targets[row].address)
            if override.action is Action.AVOID:
                decides[row], to[row], frozen[row] = NONE, NONE, False
                if column > 0:
                    banned[row, column], banned_by[row, column] = True, index
                continue
            decides[row] = index
            to[row] = 0 if override.action is Action.LOCAL else column
            frozen[row] = override.action is Action.FREEZE
            if override.action is Action.STEER and column > 0:
                banned[row, column] = False
                banned_by.pop((row, column), None)
    return replace(
        blank,
        overrides=every,
        states=tuple(states),
        covers=tuple(covers),
        decides=decides,
        to=to,
        frozen=frozen,
        banned=banned,
        banned_by=banned_by,
        conflicts=tuple(
            Conflict(loser=loser, winner=winner, addresses=tuple(addresses))
            for (loser, winner), addresses in clashes.items()
        ),
    )


@given(data=st.data())
def test_all_at_once_they_say_what_they_say_one_by_one(layout: Layout, data: st.DataObject) -> None:
    every = data.draw(overrides(layout))
    found, wanted = (
        read(OverrideState.blank(layout), layout, every, WALL),
        one_by_one(layout, every),
    )
    assert (found.states, found.covers) == (wanted.states, wanted.covers)
    for name in ("decides", "to", "frozen", "banned"):
        assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
        assert getattr(found, name).dtype == getattr(wanted, name).dtype
    assert found.banned_by == wanted.banned_by
    assert Counter(found.conflicts) == Counter(wanted.conflicts)


@given(data=st.data())
def test_an_address_is_found_by_any_of_its_words(layout: Layout, data: st.DataObject) -> None:
    match = data.draw(matches(layout))
    covered = (match.covers(target, here=layout.site) for target in layout.targets)
    rows = tuple(row for row, covers in enumerate(covered) if covers)
    assert Matching(layout.targets, layout.site).rows(match) == rows


@given(data=st.data())
def test_whoever_has_the_word_instead_is_the_last_that_takes_it(
    files: Setup, data: st.DataObject
) -> None:
    layout = Layout.of(files)
    every = data.draw(overrides(layout))
    override_state = read(OverrideState.blank(layout), layout, every, WALL)
    reach = Effects.of(replace(files, overrides=every), WALL)
    for index, standing in enumerate(reach.each):
        assert dict(standing.shadowed) == _shadowed(override_state, reach, standing, index)


def _shadowed(
    override_state: OverrideState, reach: Effects, standing: Effect, index: int
) -> dict[str, str]:
    found = {}
    for row in override_state.covers[index] if override_state.states[index].active else ():
        address = override_state.targets[row].address
        if standing.override not in reach.orders[address].overrides:
            found[address] = next(
                later.name
                for i, later in reversed([*enumerate(override_state.overrides)])
                if override_state.states[i].active
                and row in override_state.covers[i]
                and _replaces(later, standing.override)
            )
    return found


def _replaces(later: Override, earlier: Override) -> bool:
    if earlier.action is Action.AVOID:
        return (later.action, later.to) in ((Action.STEER, earlier.to), (Action.AVOID, earlier.to))
    return True


def many(layout: Layout, number: int = MANY, until: float | None = None) -> tuple[Override, ...]:
    """Half for one address each, half for all, each against the one before."""
    addresses = [target.address for target in layout.targets]
    return tuple(
        Override(
            name=f"o{n}",
            match=Match(address=addresses[n % len(addresses)]) if n % 2 else Match(),
            action=Action.LOCAL if n % 3 else Action.STEER,
            to=None if n % 3 else "pao",
            until=until,
            reason="r",
            by="noc",
        )
        for n in range(number)
    )


def wide(tmp_path: Path) -> Layout:
    """A thousand addresses."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "steering.yaml").write_text(CONFIG)
    lines = "".join(f"  n{n}.x.: [192.5.{n // 200}.{n % 200 + 1}]\n" for n in range(1_000))
    text = f"upstream: wide\nzones: [wide.]\nnameservers:\n{lines}"
    (tmp_path / "policies" / "wide.yaml").write_text(text)
    return Layout.of(load(tmp_path / "steering.yaml"))


def test_a_turn_costs_nothing_by_overrides_that_neither_begin_nor_end(tmp_path: Path) -> None:
    layout = wide(tmp_path)
    every = many(layout)
    facts = Facts(wall=WALL, installed={}, off=False, overrides=every)
    started = time.process_time()
    state, _, events = engine.turn(State.blank(layout, 1000.0, WALL), facts, 1000.0)
    taken_up = time.process_time() - started
    assert taken_up < 3, "it took 14 s to ask each address of each override"
    assert len(events) <= 3 * (AT_ONCE + 1)
    assert any(f"and {MANY - AT_ONCE} more" in event.because for event in events)
    costs = []
    for second in range(1, 8):
        started = time.process_time()
        state, *_ = engine.turn(state, replace(facts, wall=WALL + second), 1000.0 + second)
        costs.append(time.process_time() - started)
    plain = State.blank(layout, 1000.0, WALL)
    for second in range(3):
        started = time.process_time()
        plain, *_ = engine.turn(plain, replace(facts, overrides=()), 1000.0 + second)
        without = time.process_time() - started
    assert min(costs) < without + 0.02


def test_the_alarm_names_a_handful_of_overrides_and_counts_the_rest(tmp_path: Path) -> None:
    layout = wide(tmp_path)
    every = tuple(
        Override(
            name=f"o{n}",
            match=Match(address=target.address),
            action=Action.STEER,
            to="nowhere",
            until=None,
            reason="r",
            by="noc",
        )
        for n, target in enumerate(layout.targets)
    )
    facts = Facts(wall=WALL, installed={}, off=False, overrides=every)
    state, *_ = engine.turn(State.blank(layout, 1000.0, WALL), facts, 1000.0)
    text = state.alarms["override"].because
    assert text.count("can't be obeyed") == _NAMED
    assert f"and {len(every) - _NAMED} more overrides" in text


def test_one_that_ends_is_seen_whatever_the_clock_does(layout: Layout) -> None:
    every = (*many(layout, 3), *many(layout, 3, until=WALL + 10))
    every = tuple(replace(one, name=f"n{n}") for n, one in enumerate(every))
    override_state = read(OverrideState.blank(layout), layout, every, WALL)
    assert read(override_state, layout, every, WALL + 9) is override_state
    assert read(override_state, layout, tuple(map(replace, every)), WALL + 9) is override_state
    ended = read(override_state, layout, every, WALL + 10)
    assert ended.states.count(OverrideStatus.EXPIRED) == 3
    again = read(ended, layout, every, WALL)
    assert again.states == override_state.states
