"""Properties of the turn, whatever the facts."""

from __future__ import annotations

import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulation import WALL, Simulation, policy, setup

from steering import engine
from steering.decide.attention import attention
from steering.decide.because import because
from steering.decide.board import Board, look, with_budget
from steering.decide.budget import Room
from steering.decide.orders import Orders
from steering.judge.copies import Copies
from steering.judge.hearsay import Hearsay
from steering.judge.ledger import Ledger, reason
from steering.layout import Layout
from steering.model import (
    LOCAL,
    Event,
    Evidence,
    Facts,
    Failure,
    Health,
    Heard,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
    Step,
)
from steering.world import World

MODERATE = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


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


@st.composite
def observations(draw: st.DrawFn, address: str, path: str) -> Observation:
    return Observation(
        address=address,
        path=path,
        live=path == "live",
        outcome=draw(st.sampled_from([Outcome.SECURE, Outcome.EXPIRED, *Outcome])),
        judged=draw(st.sampled_from([True, True, True, False])),
        reached=draw(st.booleans()),
        rtt=draw(st.none() | st.floats(0.0001, 2)),
        nsid=draw(st.sampled_from([None, "a", "b"])),
        serial=draw(st.none() | st.integers(0, 2**32 - 1)),
        expires=draw(st.none() | st.floats(WALL - 1e6, WALL + 1e6)),
    )


@st.composite
def rounds(draw: st.DrawFn, now: float) -> Round:
    address = draw(st.sampled_from([*ADDRESSES, "198.51.100.7"]))
    paths = draw(st.sets(st.sampled_from([*LAYOUT.paths, "live", "gone"]), min_size=1))
    zone = draw(st.sampled_from(["gtld.", "root.", "other."]))
    return Round(
        address=address,
        question=Question(
            zone=zone,
            name=f"n{draw(st.integers(0, 99))}.{zone}",
            rdtype="A",
            kind=draw(st.sampled_from(list(Kind))),
        ),
        at=now - draw(st.floats(0, 1.5)),
        observations=tuple(draw(observations(address, path)) for path in sorted(paths)),
    )


@st.composite
def hearsay(draw: st.DrawFn, now: float) -> Heard:
    """Something of the resolvers' traffic."""
    names = st.sampled_from([f"{n}.com." for n in range(90)])
    said = st.builds(
        Failure,
        name=names,
        outcome=st.sampled_from([Outcome.EXPIRED, Outcome.BAD_SIGNATURE]),
        evidence=st.builds(
            Evidence, owner=names, rdtype=st.just("NSEC3"), detail=st.just("expired")
        ),
        ask=st.none() | names,
    )
    return Heard(
        address=draw(st.sampled_from(ADDRESSES)),
        path=draw(st.sampled_from([*LAYOUT.paths, "gone"])),
        at=now - 0.2,
        answers=draw(st.integers(0, 1000)),
        counts=draw(st.dictionaries(st.sampled_from(list(Outcome)), st.integers(0, 1000))),
        failures=tuple(draw(st.lists(said, max_size=10))),
        expires=draw(st.none() | st.just(WALL - 1) | st.just(WALL + 500_000)),
        proved=draw(st.integers(0, 100)),
        disproved=tuple(draw(st.lists(said, max_size=2))),
        serials=draw(st.dictionaries(st.just("com."), st.integers(0, 2**32 - 1))),
    )


@st.composite
def turns(draw: st.DrawFn) -> list[tuple[Facts, float]]:
    """Some turns of arbitrary facts; most of them go on from one fault and one installed plan."""
    now, told = 1000.0, []
    for _ in range(draw(st.integers(1, 12))):
        now += draw(st.sampled_from([0.05, 0.5, 3.0, 400.0, 90_000.0]))
        sites = st.sampled_from([*LAYOUT.paths[1:], "gone"])
        facts = Facts(
            wall=WALL + now,
            rounds=tuple(draw(st.lists(rounds(now), max_size=8))),
            heard=tuple(draw(st.lists(hearsay(now), max_size=4))),
            installed=draw(st.dictionaries(st.sampled_from(ADDRESSES), sites, max_size=3)),
            off=draw(st.sampled_from([False, False, False, True])),
        )
        told.append((facts, now))
    return told


def _run(told: list[tuple[Facts, float]]) -> tuple[World, list[Step], list[Event]]:
    world = World.blank(LAYOUT, 1000.0, WALL)
    steps: list[Step] = []
    events: list[Event] = []
    for facts, now in told:
        world, moved, happened = engine.turn(world, facts, now)
        steps += moved
        events += happened
    return world, steps, events


def _same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, np.asarray(other), equal_nan=one.dtype.kind == "f"))
    if isinstance(one, World | Ledger | Copies | Hearsay | Board | Room | Orders):
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
    world, _, _ = _run(told)
    untouched, _, _ = _run(told)
    for facts, now in more:
        engine.turn(world, facts, now + 1e6)
    assert _same(world, untouched)


@MODERATE
@given(turns())
def test_steers_go_only_where_a_path_is_proven_and_only_for_the_breached(
    told: list[tuple[Facts, float]],
) -> None:
    world = World.blank(LAYOUT, 1000.0, WALL)
    for facts, now in told:
        started = world.started
        after, steps, _ = engine.turn(world, facts, now)
        for step in steps:
            a = LAYOUT.row[step.address]
            assert step.now != step.was
            if step.now is None:
                continue
            p = LAYOUT.column[step.now]
            assert step.rule == "steer"
            assert after.breached[a]
            assert after.ledger.health[a, p] == Health.HEALTHY
            assert after.ledger.run[a, p] > 0
            assert after.avoid_until[a, p] <= now
            assert not facts.off
        if started:  # what a predecessor left may be more than the policy allows
            new = np.flatnonzero((after.plan > 0) & (world.plan == 0))
            for a in new.tolist():
                mine = LAYOUT.upstream_of == LAYOUT.upstream_of[a]
                assert (after.plan[mine] > 0).sum() <= LAYOUT.at_most[a]
        if facts.off:
            assert not after.steers()
        world = after


@MODERATE
@given(turns())
def test_everything_can_be_asked_of_any_world(told: list[tuple[Facts, float]]) -> None:
    world, _, events = _run(told)
    for a, address in enumerate(ADDRESSES):
        assert because(world, a)
        for p in range(len(LAYOUT.paths)):
            assert reason(world.ledger, LAYOUT, a, p, world.now)
        wanted = attention(world).get(address)
        assert wanted is None or wanted.paths <= set(LAYOUT.paths)
    assert all(event.because for event in events)
    share = world.ledger.share(world.now)
    assert ((share >= 0) & (share <= 1) | np.isnan(share)).all()


@MODERATE
@given(turns())
def test_a_plan_converges_when_nothing_more_is_heard(told: list[tuple[Facts, float]]) -> None:
    world, _, _ = _run(told)
    now, off = world.now, world.off
    plans = []
    for _ in range(4):
        now += 0.01
        world, _, _ = engine.turn(
            world, Facts(wall=WALL + now, installed=world.steers(), off=off), now
        )
        plans.append(world.plan.tolist())
    assert plans[-1] == plans[-2]


@MODERATE
@given(turns(), st.integers(0, 3))
def test_a_tighter_limit_only_shrinks_the_plan(told: list[tuple[Facts, float]], limit: int) -> None:
    from dataclasses import replace

    from steering.decide.rules import decide

    world, _, _ = _run(told)
    board = look(replace(world, off=False, plan=np.zeros(len(ADDRESSES), np.int64)))
    _, free = decide(with_budget(replace(board, at_most=np.full(len(ADDRESSES), 99))))
    _, held = decide(with_budget(replace(board, at_most=np.full(len(ADDRESSES), limit))))
    assert ((held == free) | (held == 0)).all()
    doubted = replace(board, self_doubt=np.ones(len(ADDRESSES), np.bool_))
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
