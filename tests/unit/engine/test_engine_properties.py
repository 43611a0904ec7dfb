"""Properties of the turn, whatever the facts."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import WALL, Simulation, policy, setup

from steering.decide.fast_probing import attention
from steering.decide.look import look
from steering.decide.messages.reasons import because
from steering.decide.overrides.override_state import OverrideState
from steering.decide.plan import commit
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Breaches, Facts, Memory
from steering.index import Index
from steering.judge.known.ledger import reason
from steering.model import (
    LOCAL,
    Event,
    Evidence,
    Failure,
    Family,
    Health,
    Heard,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
    Step,
)
from steering.override import Action, Frozen, Match, Override

MODERATE = settings(max_examples=20, deadline=None)


def _index() -> Index:
    with tempfile.TemporaryDirectory() as folder:
        more = "serial: epoch\nbreach: {on: [bogus, timeout, error, stale]}\n"
        return Index.of(
            setup(
                Path(folder),
                policy(letters=2, more=more + "steer: {at_most: 3}\n"),
                policy("root", letters=1, net=6),
            )
        )


INDEX = _index()
ADDRESSES = tuple(INDEX.settings)
ILL = ADDRESSES[:2]


def observation(draw: random.Random, address: str, path: str, fault: Outcome | None) -> Observation:
    """Anything; with a fault mostly that, over the local path to two addresses."""
    if fault is not None and draw.random() < 0.9:
        outcome = fault if path == LOCAL and address in ILL else Outcome.SECURE
        return Observation(address=address, path=path, outcome=outcome, reached=True, rtt=0.02)
    return Observation(
        address=address,
        path=path,
        live=path == "live",
        outcome=draw.choice([Outcome.SECURE, Outcome.SECURE, Outcome.EXPIRED, *Outcome]),
        judged=draw.random() < 0.75,
        reached=draw.random() < 0.5,
        rtt=draw.choice([None, draw.uniform(0.0001, 2)]),
        nsid=draw.choice([None, "a", "b"]),
        serial=draw.choice([None, 0, 2**32 - 1, draw.getrandbits(32)]),
        expires=draw.choice([None, WALL + draw.uniform(-1e6, 1e6)]),
        large=draw.choice([0, 0, 1000, draw.randint(1000, 65535)]),
        stalled=draw.random() < 0.1,
    )


def round_of(draw: random.Random, now: float, fault: Outcome | None) -> Round:
    address = draw.choice([*ADDRESSES, "198.51.100.7"])
    paths = [*INDEX.paths, "live", "gone"]
    zone = draw.choice(["gtld.", "root.", "other."])
    return Round(
        address=address,
        question=Question(
            zone=zone,
            name=f"n{draw.randrange(100)}.{zone}",
            rdtype="A",
            kind=draw.choice(list(Kind)),
        ),
        at=now - draw.choice([0.0, draw.uniform(0, 1.5)]),
        observations=tuple(
            observation(draw, address, path, fault)
            for path in draw.sample(paths, draw.randint(1, len(paths)))
        ),
    )


def failure(draw: random.Random) -> Failure:
    name, other = (f"{draw.randrange(90)}.com." for _ in range(2))
    return Failure(
        name=name,
        outcome=draw.choice([Outcome.EXPIRED, Outcome.BAD_SIGNATURE]),
        evidence=Evidence(owner=other, rdtype="NSEC3", detail="expired"),
        ask=draw.choice([None, name]),
    )


def traffic(draw: random.Random, now: float) -> Heard:
    """Something of the resolvers' traffic."""
    few = draw.sample(list(Outcome), draw.randrange(4))
    return Heard(
        address=draw.choice(ADDRESSES),
        path=draw.choice([*INDEX.paths, "gone"]),
        at=now - 0.2,
        answers=draw.randrange(1001),
        counts={outcome: draw.randrange(1001) for outcome in few},
        failures=tuple(failure(draw) for _ in range(draw.randrange(11))),
        expires=draw.choice([None, WALL - 1, WALL + 500_000]),
        proved=draw.randrange(101),
        disproved=tuple(failure(draw) for _ in range(draw.randrange(3))),
        serials=draw.choice([{}, {"com.": draw.getrandbits(32)}]),
    )


def override(draw: random.Random, name: str, now: float) -> Override:
    """An operator's word, sense or nonsense."""
    action = draw.choice(list(Action))
    to = draw.choice([*INDEX.sites, "gone"])
    return Override(
        name=name,
        match=Match(
            upstream=draw.choice([None, None, "gtld", "nobody"]),
            address=draw.choice([None, None, *ADDRESSES]),
            family=draw.choice([None, None, *Family]),
            site=draw.choice([None, None, "sin", "lhr"]),
        ),
        action=action,
        to=to if action in (Action.STEER, Action.AVOID) else None,
        until=draw.choice([None, WALL + now + draw.uniform(-5, 20)]),
        reason="r",
        by="b",
    )


def memory_of(draw: random.Random, now: float, sites: list[str]) -> Memory | None:
    """What an agent before it left, or none did: of yesterday, of just now, of tomorrow."""
    if draw.random() < 0.3:
        return None
    length = draw.choice([0.0, 30.0, 900.0, 80_000.0])
    return Memory(
        at=WALL + now - draw.choice([0.0, 2.0, 3600.0, 100_000.0, -30.0]),
        frozen={
            draw.choice(ADDRESSES): Frozen(path=draw.choice(sites), by=draw.choice(["x", "o0"]))
        },
        worn={a: draw.choice([0.5, 7.0, 1e9]) for a in draw.sample(ADDRESSES, 2)},
        breaches={draw.choice(ADDRESSES): Breaches(number=3, since=length, ended=length / 2)},
        moves=((draw.choice([0.0, 59.0]), draw.choice([1, 200])),),
    )


def turns_of(seed: int) -> list[tuple[Facts, float]]:
    """Some turns of arbitrary facts; half of the stories go on from one fault for a while.

    Out of one number: drawn one by one they are more than hypothesis takes for one example.
    """
    draw = random.Random(seed)
    now = 1000.0
    told: list[tuple[Facts, float]] = []
    fault = draw.choice([None, Outcome.EXPIRED])
    said: tuple[Override, ...] = ()
    pauses = [0.05, 0.5, 3.0] if fault else [0.05, 0.5, 3.0, 400.0, 90_000.0]
    for _ in range(draw.randint(1, 24 if fault else 12)):
        now += draw.choice(pauses)
        sites = [*INDEX.sites, "gone"]
        if draw.random() < 0.15:
            said = tuple(override(draw, f"o{n}", now) for n in range(draw.randrange(4)))
        facts = Facts(
            wall=WALL + now,
            rounds=tuple(round_of(draw, now, fault) for _ in range(draw.randrange(9))),
            heard=tuple(traffic(draw, now) for _ in range(draw.randrange(5))),
            installed={a: draw.choice(sites) for a in draw.sample(ADDRESSES, draw.randrange(4))},
            off=draw.random() < (0.02 if fault else 0.25),
            overrides=said,
            memory=memory_of(draw, now, sites) if not told else None,
        )
        told.append((facts, now))
    return told


def turns() -> st.SearchStrategy[list[tuple[Facts, float]]]:
    return st.integers(0, 2**32).map(turns_of)


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
            share = state.ledger.share_of(address, path, state.now)
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
