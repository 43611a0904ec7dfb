"""Properties of the turn, whatever the facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_facts import ADDRESSES, INDEX, turns
from simulation import WALL, Simulation, setup

from steering.decide.fast_probing import attention
from steering.decide.look import look
from steering.decide.messages.reasons import because
from steering.decide.overrides.override_state import OverrideState
from steering.decide.plan import commit
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.judge.known.reason import reason
from steering.model import (
    LOCAL,
    Event,
    Health,
    Outcome,
    Step,
)

MODERATE = settings(max_examples=20, deadline=None)


def _run(told: list[tuple[Facts, float]]) -> tuple[State, list[Step], list[Event]]:
    state = State.blank(INDEX, 1000.0, WALL)
    steps: list[Step] = []
    events: list[Event] = []
    for facts, now in told:
        state, moved, happened = engine.turn(state, facts, now)
        steps += moved
        events += happened
    return state, steps, events


def _same(one: object, other: object) -> bool:
    if isinstance(one, State | OverrideState):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return one == other


@MODERATE
@given(turns())
def test_the_same_facts_give_the_same_turn(told: list[tuple[Facts, float]]) -> None:
    one, other = _run(told), _run(told)
    assert one[1:] == other[1:]
    assert _same(one[0], other[0])


@pytest.mark.long
@MODERATE
@given(turns(), turns())
def test_a_turn_changes_nothing_of_the_world_it_began_with(
    told: list[tuple[Facts, float]], more: list[tuple[Facts, float]]
) -> None:
    state, _, _ = _run(told)
    untouched, _, _ = _run(told)
    for facts, now in more:
        engine.turn(state, facts, now + 1e6)
    assert _same(state, untouched)


@MODERATE
@given(turns())
def test_steers_go_only_where_a_path_is_proven_and_only_for_the_breached(
    told: list[tuple[Facts, float]],
) -> None:
    state = State.blank(INDEX, 1000.0, WALL)
    for facts, now in told:
        started = state.started
        after, steps, _ = engine.turn(state, facts, now)
        for step in steps:
            assert step.now != step.was
            if step.now is None:
                continue
            key = step.address, step.now
            assert step.now in INDEX.settings[step.address].hops
            if step.rule == "override":
                assert after.override_state.of(step.address) is not None
                continue
            assert step.rule == "steer"
            assert step.now not in after.override_state.banned.get(step.address, {})
            assert step.address in after.breached
            assert after.ledger.path(*key).health is Health.HEALTHY
            assert after.ledger.path(*key).run > 0
            assert not after.avoids(*key) or key in after.turned
            assert not facts.off
        if started:  # what a predecessor left may be more than the policy allows
            for address in after.plan.keys() - state.plan.keys():
                mine = INDEX.settings[address]
                if after.rule[address] == 10:
                    away = after.plan.keys() & set(INDEX.upstreams[mine.upstream])
                    assert len(away) <= mine.at_most
        if facts.off:
            assert not after.steers()
        state = after


@MODERATE
@given(turns())
def test_everything_can_be_asked_of_any_world(told: list[tuple[Facts, float]]) -> None:
    state, _, events = _run(told)
    for address in ADDRESSES:
        assert because(state, address)
        for path in INDEX.paths:
            assert reason(state.ledger, INDEX, address, path, state.now)
            share = state.ledger.path(address, path).recent.share(state.now)
            assert share is None or 0 <= share <= 1
        wanted = attention(state).get(address)
        assert wanted is None or wanted.paths <= set(INDEX.paths)
    assert all(event.because for event in events)


@MODERATE
@given(turns())
def test_a_plan_converges_when_nothing_more_is_heard(told: list[tuple[Facts, float]]) -> None:
    state, _, _ = _run(told)
    now, off = state.now, state.off
    plans = []
    for _ in range(4):
        now += 0.01
        state, _, _ = engine.turn(
            state, Facts(wall=WALL + now, installed=state.steers(), off=off), now
        )
        plans.append(state.plan)
    assert plans[-1] == plans[-2]


@MODERATE
@given(turns(), st.integers(0, 3))
def test_a_tighter_limit_only_shrinks_the_plan(told: list[tuple[Facts, float]], limit: int) -> None:
    state, _, _ = _run(told)
    state = replace(state, off=False, override_state=OverrideState.blank(INDEX), plan={})

    def plan(at_most: int, *, doubted: bool = False) -> Mapping[str, str]:
        settings = {a: replace(each, at_most=at_most) for a, each in INDEX.settings.items()}
        limited = replace(state, index=replace(INDEX, settings=settings))
        situation = look(limited)
        for one in situation.addresses.values():
            one.self_doubt |= doubted
        return commit(limited, situation, set()).plan

    assert plan(limit).items() <= plan(99).items()
    assert not plan(99, doubted=True)


@pytest.mark.parametrize("fault", [Outcome.EXPIRED, Outcome.SERVFAIL, Outcome.TIMEOUT])
def test_under_a_constant_fault_the_plan_stands_still(tmp_path: Path, fault: Outcome) -> None:
    dead = "192.5.1.30"

    sim = Simulation(
        setup(tmp_path),
        lambda ask: fault if ask.path == LOCAL and ask.address == dead else Outcome.SECURE,
    ).run(30)
    steps = len(sim.steps)
    assert set(sim.installed) == {dead}
    sim.run(60)
    assert len(sim.steps) == steps


@MODERATE
@given(turns())
def test_overrides_say_where_addresses_go_and_nothing_of_what_is_believed(
    told: list[tuple[Facts, float]],
) -> None:
    state, _, _ = _run(told)
    override_state = state.override_state
    situation = state.situation
    assert situation is not None
    for one in situation.addresses.values():
        if one.ordered and not state.off:
            assert override_state.of(one.address) is not None
            assert state.rule[one.address] == 2
            assert state.path_of(one.address) == one.ordered_to
    for address, site in state.plan.items():
        if state.rule[address] != 2:
            assert site not in override_state.banned.get(address, {})
    assert set(state.frozen) == override_state.frozen


@MODERATE
@given(turns())
def test_who_goes_home_first_is_alone_of_its_group(told: list[tuple[Facts, float]]) -> None:
    state = State.blank(INDEX, 1000.0, WALL)
    for facts, now in told:
        before = state.plan
        state, _, _ = engine.turn(state, facts, now)
        assert state.situation is not None
        home = [a for a in before.keys() - state.plan.keys() if state.rule[a] == 5]
        number = Counter(INDEX.settings[address].group for address in home)
        for group, many in number.items():
            assert many == 1 or group in state.situation.scouted
