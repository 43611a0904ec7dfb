"""The plan put in force: what hangs on a change of it, the steps and what there is to tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steering.decide.because import because
from steering.decide.board import Board
from steering.decide.proof import AVOID, Proof
from steering.decide.rules import BY_NUMBER, Answer
from steering.judge.ledger import SILENCES
from steering.model import Event, Facts, Health, Step
from steering.world import World

_KEEPS = [rule.number for rule in BY_NUMBER.values() if rule.answer is Answer.KEEP]


def commit(
    world: World, facts: Facts, board: Board, rule: NDArray[np.int64], want: NDArray[np.int64]
) -> World:
    """The world with the decision in it."""
    now, rows = world.now, np.arange(len(want))
    # A steer that failed its proof is not kept, whatever rule would keep it.
    undone = (want > 0) & (world.avoid_until[rows, want] > now) & np.isin(rule, _KEEPS)
    plan = np.where(undone, 0, want)
    moved = np.flatnonzero(plan != world.plan)
    since, avoid = world.since, world.avoid_until
    proofs = {a: proof for a, proof in world.proofs.items() if plan[a] == proof.column}
    if moved.size:
        since, avoid = since.copy(), avoid.copy()
        since[moved] = facts.wall
    for a in moved.tolist():
        left, to = int(world.plan[a]), int(plan[a])
        if left and board.breached[a] and _turned_bad(world, a, left):
            avoid[a, left] = now + AVOID  # under load: not at once again
        if to:
            proofs[a] = Proof(column=to)
    return replace(
        world,
        plan=plan,
        rule=rule,
        since=since,
        breached=board.breached,
        open_groups=board.open_groups,
        avoid_until=avoid,
        proofs=proofs,
        off=facts.off,
    )


def _turned_bad(world: World, a: int, p: int) -> bool:
    ledger = world.ledger
    return bool(ledger.health[a, p] >= Health.SUSPECT or ledger.stuck[a, p] >= SILENCES)


def steps(before: World, after: World) -> tuple[Step, ...]:
    """Each change of the plan from one world to the next."""
    layout = after.layout
    return tuple(
        Step(
            address=layout.targets[a].address,
            was=layout.paths[before.plan[a]] if before.plan[a] else None,
            now=layout.paths[after.plan[a]] if after.plan[a] else None,
            rule=BY_NUMBER[int(after.rule[a])].name,
            because=because(after, a),
        )
        for a in np.flatnonzero(after.plan != before.plan).tolist()
    )


def tell(before: World, after: World, moves: tuple[Step, ...]) -> tuple[Event, ...]:
    """`steered` and `released` for each step, `held` where a rule keeps back a breached address.

    And, before them, that the switch was thrown or taken back.
    """
    layout = after.layout
    local = layout.paths[0]
    switched = (
        Event(event="switched_off", because="`steering off`: nothing is steered until `on`")
        if after.off
        else Event(event="switched_on", because="`steering on`: what is proven bad may move")
    )
    events = [] if after.off == before.off else [switched]
    events += [
        after.event(
            "steered" if step.now else "released",
            layout.row[step.address],
            step.because,
            path=step.now or local,
            was=step.was or local,
            now=step.now or local,
            rule=step.rule,
        )
        for step in moves
    ]
    held = (after.rule != before.rule) & after.breached & (after.plan == before.plan)
    for a in np.flatnonzero(held & np.isin(after.rule, _KEEPS)).tolist():
        rule = BY_NUMBER[int(after.rule[a])].name
        events.append(after.event("held", a, because(after, a), rule=rule))
    return tuple(events)
