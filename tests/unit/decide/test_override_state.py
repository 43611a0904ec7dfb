"""Thousands of overrides cost a turn nothing, and say what they say one by one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import CONFIG, WALL, setup

from steering.cli.override.effect import Effect, Effects
from steering.config import Setup, load
from steering.config.matching import Matching
from steering.decide.messages.alarms import _NAMED
from steering.decide.overrides.override_events import AT_ONCE
from steering.decide.overrides.override_state import Conflict, OverrideState, OverrideStatus, read
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.index import Index
from steering.model import LOCAL, Family
from steering.override import Action, Match, Override

MANY = 9_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return setup(tmp_path_factory.mktemp("etc"))


@pytest.fixture(scope="module")
def index(files: Setup) -> Index:
    return Index.of(files)


def matches(index: Index) -> st.SearchStrategy[Match]:
    targets = index.targets
    return st.builds(
        Match,
        upstream=st.sampled_from([None, None, targets[0].upstream, "other"]),
        nameserver=st.sampled_from([None, None, *(t.nameserver for t in targets), "x.y."]),
        address=st.sampled_from([None, None, *(t.address for t in targets), "192.0.2.1"]),
        family=st.sampled_from([None, None, *Family]),
        site=st.sampled_from([None, None, index.site, "elsewhere"]),
    )


def overrides(index: Index) -> st.SearchStrategy[tuple[Override, ...]]:
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
    one = st.tuples(matches(index), said, until)
    return st.lists(one, max_size=12).map(
        lambda several: tuple(
            Override(name=f"o{n}", match=m, action=a, to=to, until=until, reason="r", by="noc")
            for n, (m, (a, to), until) in enumerate(several)
        )
    )


def one_by_one(index: Index, every: tuple[Override, ...]) -> OverrideState:
    """The same by asking each address of each override, in order."""
    decides, to, frozen = dict[str, int](), dict[str, str | None](), set[str]()
    banned: dict[str, dict[str, int]] = {address: {} for address in index.settings}
    states, covers, clashes = [], [], list[Conflict]()
    for number, override in enumerate(every):
        about = tuple(t.address for t in index.targets if override.match.covers(t, here=index.site))
        covers.append(about)
        here = override.match.site in (None, index.site)
        status = (
            OverrideStatus.ACTIVE
            if about
            else OverrideStatus.UNMATCHED
            if here
            else OverrideStatus.ELSEWHERE
        )
        if override.until is not None and override.until <= WALL:
            status = OverrideStatus.EXPIRED
        states.append(status)
        said, site = override.action, override.to if override.to in index.sites else None
        of_path, of_site = dict[int, list[str]](), dict[int, list[str]]()
        for address in about if status.active else ():
            for earlier, lost in (
                (decides.get(address), of_path),
                (banned[address].get(site or ""), of_site),
            ):
                if earlier is not None:
                    before = every[earlier]
                    if (before.action, before.to) != (said, override.to):
                        lost.setdefault(earlier, []).append(address)
            if said is Action.AVOID:
                decides.pop(address, None)
                to.pop(address, None)
                frozen.discard(address)
                if site:
                    banned[address][site] = number
                continue
            decides[address] = number
            to[address] = LOCAL if said is Action.LOCAL else site
            frozen.discard(address)
            if said is Action.FREEZE:
                frozen.add(address)
            if said is Action.STEER and site:
                banned[address].pop(site, None)
        clashes += (
            Conflict(loser=every[loser].name, winner=override.name, addresses=tuple(addresses))
            for lost in (of_path, of_site)
            for loser, addresses in sorted(lost.items())
        )
    return replace(
        OverrideState.blank(index),
        overrides=every,
        states=tuple(states),
        covers=tuple(covers),
        decides=decides,
        to=to,
        frozen=frozenset(frozen),
        banned={address: sites for address, sites in banned.items() if sites},
        conflicts=tuple(clashes),
    )


@given(data=st.data())
def test_all_at_once_they_say_what_they_say_one_by_one(index: Index, data: st.DataObject) -> None:
    every = data.draw(overrides(index))
    found, wanted = (
        read(OverrideState.blank(index), index, every, WALL),
        one_by_one(index, every),
    )
    for name in ("states", "covers", "decides", "to", "frozen", "banned"):
        assert getattr(found, name) == getattr(wanted, name), name
    for name in ("decides", "to", "banned"):
        addresses = [*getattr(found, name)]
        assert addresses == index.in_order(addresses), name
    assert all(
        [*sites] == [s for s in index.sites if s in sites] for sites in found.banned.values()
    )
    assert found.conflicts == wanted.conflicts


@given(data=st.data())
def test_an_address_is_found_by_any_of_its_words(index: Index, data: st.DataObject) -> None:
    match = data.draw(matches(index))
    covered = tuple(t.address for t in index.targets if match.covers(t, here=index.site))
    matching = Matching(index.targets, index.site)
    assert matching.addresses(match) == covered
    every = matching.addresses(Match())
    assert (matching.addresses(match) is every) is (covered == every)


@given(data=st.data())
def test_whoever_has_the_word_instead_is_the_last_that_takes_it(
    files: Setup, data: st.DataObject
) -> None:
    index = Index.of(files)
    every = data.draw(overrides(index))
    override_state = read(OverrideState.blank(index), index, every, WALL)
    reach = Effects.of(replace(files, overrides=every), WALL)
    for number, standing in enumerate(reach.each):
        assert dict(standing.shadowed) == _shadowed(override_state, reach, standing, number)


def _shadowed(
    override_state: OverrideState, reach: Effects, standing: Effect, number: int
) -> dict[str, str]:
    found = {}
    for address in override_state.covers[number] if override_state.states[number].active else ():
        if standing.override not in reach.orders[address].overrides:
            found[address] = next(
                later.name
                for i, later in reversed([*enumerate(override_state.overrides)])
                if override_state.states[i].active
                and address in override_state.covers[i]
                and _replaces(later, standing.override)
            )
    return found


def _replaces(later: Override, earlier: Override) -> bool:
    if earlier.action is Action.AVOID:
        return (later.action, later.to) in ((Action.STEER, earlier.to), (Action.AVOID, earlier.to))
    return True


def many(index: Index, number: int = MANY, until: float | None = None) -> tuple[Override, ...]:
    """Half for one address each, half for all, each against the one before."""
    addresses = [target.address for target in index.targets]
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


def wide(tmp_path: Path) -> Index:
    """A thousand addresses."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "steering.yaml").write_text(CONFIG)
    lines = "".join(f"  n{n}.x.: [192.5.{n // 200}.{n % 200 + 1}]\n" for n in range(1_000))
    text = f"upstream: wide\nzones: [wide.]\nnameservers:\n{lines}"
    (tmp_path / "policies" / "wide.yaml").write_text(text)
    return Index.of(load(tmp_path / "steering.yaml"))


@pytest.mark.long
def test_a_turn_costs_nothing_by_overrides_that_neither_begin_nor_end(tmp_path: Path) -> None:
    index = wide(tmp_path)
    every = many(index)
    facts = Facts(wall=WALL, installed={}, off=False, overrides=every)
    started = time.process_time()
    state, _, events = engine.turn(State.blank(index, 1000.0, WALL), facts, 1000.0)
    taken_up = time.process_time() - started
    assert taken_up < 3, "it took 14 s to ask each address of each override"
    assert len(events) <= 3 * (AT_ONCE + 1)
    assert any(f"and {MANY - AT_ONCE} more" in event.because for event in events)
    costs = []
    for second in range(1, 8):
        started = time.process_time()
        state, *_ = engine.turn(state, replace(facts, wall=WALL + second), 1000.0 + second)
        costs.append(time.process_time() - started)
    plain = State.blank(index, 1000.0, WALL)
    for second in range(3):
        started = time.process_time()
        plain, *_ = engine.turn(plain, replace(facts, overrides=()), 1000.0 + second)
        without = time.process_time() - started
    assert min(costs) < without + 0.02


def test_the_alarm_names_a_handful_of_overrides_and_counts_the_rest(tmp_path: Path) -> None:
    index = wide(tmp_path)
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
        for n, target in enumerate(index.targets)
    )
    facts = Facts(wall=WALL, installed={}, off=False, overrides=every)
    state, *_ = engine.turn(State.blank(index, 1000.0, WALL), facts, 1000.0)
    text = state.alarms["override"].because
    assert text.count("can't be obeyed") == _NAMED
    assert f"and {len(every) - _NAMED} more overrides" in text


def test_one_that_ends_is_seen_whatever_the_clock_does(index: Index) -> None:
    every = (*many(index, 3), *many(index, 3, until=WALL + 10))
    every = tuple(replace(one, name=f"n{n}") for n, one in enumerate(every))
    override_state = read(OverrideState.blank(index), index, every, WALL)
    assert read(override_state, index, every, WALL + 9) is override_state
    assert read(override_state, index, tuple(map(replace, every)), WALL + 9) is override_state
    ended = read(override_state, index, every, WALL + 10)
    assert ended.states.count(OverrideStatus.EXPIRED) == 3
    again = read(ended, index, every, WALL)
    assert again.states == override_state.states
