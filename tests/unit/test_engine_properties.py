"""Properties of the turn, whatever the facts."""

from __future__ import annotations

import random
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import WALL, Simulation, policy, setup

from steering.decide.budget import Room
from steering.decide.fast_probing import attention
from steering.decide.override_state import OverrideState
from steering.decide.reasons import because
from steering.decide.situation import Situation, look, with_budget
from steering.decide.state import State
from steering.engine import engine
from steering.judge.ledger import Ledger, reason
from steering.judge.traffic_ledger import TrafficLedger
from steering.judge.zone_copies import Copies
from steering.layout import Layout
from steering.model import (
    LOCAL,
    Action,
    Breaches,
    Event,
    Evidence,
    Facts,
    Failure,
    Family,
    Frozen,
    Health,
    Heard,
    Kind,
    Match,
    Memory,
    Observation,
    Outcome,
    Override,
    Question,
    Round,
    Step,
)

MODERATE = settings(max_examples=20, deadline=None)


def _layout() -> Layout:
    with tempfile.TemporaryDirectory() as folder:
        more = "serial: epoch\nbreach: {on: [bogus, timeout, error, stale]}\n"
        return Layout.of(
            setup(
                Path(folder),
                policy(letters=2, more=more + "steer: {at_most: 3}\n"),
                policy("root", letters=1, net=6),
            )
        )


LAYOUT = _layout()
ADDRESSES = tuple(t.address for t in LAYOUT.targets)
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
    paths = [*LAYOUT.paths, "live", "gone"]
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
        path=draw.choice([*LAYOUT.paths, "gone"]),
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
    to = draw.choice([*LAYOUT.paths[1:], "gone"])
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
        sites = [*LAYOUT.paths[1:], "gone"]
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
    state = State.blank(LAYOUT, 1000.0, WALL)
    steps: list[Step] = []
    events: list[Event] = []
    for facts, now in told:
        state, moved, happened = engine.turn(state, facts, now)
        steps += moved
        events += happened
    return state, steps, events


def _same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, np.asarray(other), equal_nan=one.dtype.kind == "f"))
    if isinstance(one, State | Ledger | Copies | TrafficLedger | Situation | Room | OverrideState):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return one is other or one == other


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
    state = State.blank(LAYOUT, 1000.0, WALL)
    for facts, now in told:
        started = state.started
        after, steps, _ = engine.turn(state, facts, now)
        for step in steps:
            a = LAYOUT.row[step.address]
            assert step.now != step.was
            if step.now is None:
                continue
            p = LAYOUT.column[step.now]
            assert LAYOUT.hop[a, p]
            if step.rule == "override":
                assert after.override_state.of(a) is not None
                continue
            assert step.rule == "steer"
            assert not after.override_state.banned[a, p]
            assert after.breached[a]
            assert after.ledger.health[a, p] == Health.HEALTHY
            assert after.ledger.run[a, p] > 0
            assert after.avoid_until[a, p] <= now or (a, p) in after.turned
            assert not facts.off
        if started:  # what a predecessor left may be more than the policy allows
            new = np.flatnonzero((after.plan > 0) & (state.plan == 0) & (after.rule == 10))
            for a in new.tolist():
                mine = LAYOUT.upstream_of == LAYOUT.upstream_of[a]
                assert (after.plan[mine] > 0).sum() <= LAYOUT.at_most[a]
        if facts.off:
            assert not after.steers()
        state = after


@MODERATE
@given(turns())
def test_everything_can_be_asked_of_any_world(told: list[tuple[Facts, float]]) -> None:
    state, _, events = _run(told)
    for a, address in enumerate(ADDRESSES):
        assert because(state, a)
        for p in range(len(LAYOUT.paths)):
            assert reason(state.ledger, LAYOUT, a, p, state.now)
        wanted = attention(state).get(address)
        assert wanted is None or wanted.paths <= set(LAYOUT.paths)
    assert all(event.because for event in events)
    share = state.ledger.share(state.now)
    assert ((share >= 0) & (share <= 1) | np.isnan(share)).all()


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
        plans.append(state.plan.tolist())
    assert plans[-1] == plans[-2]


@MODERATE
@given(turns(), st.integers(0, 3))
def test_a_tighter_limit_only_shrinks_the_plan(told: list[tuple[Facts, float]], limit: int) -> None:
    from dataclasses import replace

    from steering.decide.rules import decide

    state, _, _ = _run(told)
    situation = look(
        replace(
            state,
            off=False,
            override_state=OverrideState.blank(LAYOUT),
            plan=np.zeros(len(ADDRESSES), np.int64),
        )
    )
    _, free = decide(with_budget(replace(situation, at_most=np.full(len(ADDRESSES), 99))))
    _, held = decide(with_budget(replace(situation, at_most=np.full(len(ADDRESSES), limit))))
    assert ((held == free) | (held == 0)).all()
    doubted = replace(situation, self_doubt=np.ones(len(ADDRESSES), np.bool_))
    assert not decide(doubted)[1].any()


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
    for a in range(len(ADDRESSES)):
        order = override_state.of(a)
        if situation.ordered[a] and not state.off:
            assert order is not None
            assert state.rule[a] == 2
            assert state.plan[a] == situation.ordered_to[a]
        if state.plan[a] and state.rule[a] != 2:
            assert not override_state.banned[a, state.plan[a]]
    assert set(state.frozen) == {
        ADDRESSES[a] for a in np.flatnonzero(override_state.frozen).tolist()
    }


@MODERATE
@given(turns())
def test_who_goes_home_first_is_alone_of_its_group(told: list[tuple[Facts, float]]) -> None:
    state = State.blank(LAYOUT, 1000.0, WALL)
    for facts, now in told:
        before = state.plan
        state, _, _ = engine.turn(state, facts, now)
        assert state.situation is not None
        home = np.flatnonzero((before > 0) & (state.plan == 0) & (state.rule == 5))
        for group in set(LAYOUT.group_of[home].tolist()):
            mine = home[LAYOUT.group_of[home] == group]
            alone = len(mine) == 1
            assert alone or state.situation.scouted[group]
