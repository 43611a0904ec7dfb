"""One turn: observe is behind us, judge, decide, and what follows from it.

Pure: no clock, socket, randomness or logging. Time is an argument, events are returned; the
same facts give the same turn. The plan is worked out whole each turn; no step depends on a
remembered "I did that": what is installed is one of the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from steering.decide.alarms import alarms
from steering.decide.board import look
from steering.decide.orders import NONE, read
from steering.decide.overrides import overrule
from steering.decide.plan import commit, steps, tell
from steering.decide.proof import Proof
from steering.decide.prove import prove
from steering.decide.rehearsal import rehearsed
from steering.decide.rules import decide
from steering.judge.post import post
from steering.judge.reach import in_use
from steering.judge.settle import adopt
from steering.memory import recall, steered_since
from steering.model import LOCAL, Event, Facts, Instant, Step
from steering.world import World


def turn(
    world: World, facts: Facts, now: Instant
) -> tuple[World, tuple[Step, ...], tuple[Event, ...]]:
    """The next world, the changes of plan on the way to it, and what there is to tell."""
    world, adopted = (world, ()) if world.started else _take_over(world, facts, now)
    if not world.layout.acts:
        facts = rehearsed(world, facts)
    ledger, judged = post(world.ledger, world.layout, facts, now, away=world.plan > 0)
    before = replace(world, ledger=ledger, now=now, wall=facts.wall)
    if facts.sources != world.sources:
        before = replace(before, ledger=replace(ledger, legs=in_use(ledger.legs, facts.sources)))
    before = replace(
        before, sources=facts.sources, forwarded=facts.forwarded, bypassed=facts.bypassed
    )
    world, ordered = overrule(replace(before, off=facts.off), facts)
    world, proved = prove(world, facts)
    board = look(world)
    after = commit(world, board, *decide(board))
    moves = steps(before, after)
    told = tell(before, after, moves)
    after, alarmed = alarms(after, board)
    return after, moves, (*adopted, *judged, *ordered, *proved, *told, *alarmed)


def _take_over(world: World, facts: Facts, now: Instant) -> tuple[World, tuple[Event, ...]]:
    """Take over what a predecessor left installed within its lease, and what it knew.

    An agent that does not act takes over no steer: those end, and that is told as what it is.
    """
    world, recalled = recall(replace(world, now=now, wall=facts.wall), facts.memory)
    if not world.layout.acts:
        return replace(world, started=True), (*recalled, *_let_go(world, facts.installed))
    layout, plan = world.layout, world.plan.copy()
    orders = read(world.orders, layout, facts.overrides, facts.wall)
    ordered = orders.decides != NONE
    for address, site in facts.installed.items():
        row, column = layout.row.get(address), layout.column.get(site)
        # What no policy names any more, or sends that way, is in no plan: so it goes.
        if row is not None and column is not None:
            plan[row] = column if ordered[row] or layout.order[row, column] >= 0 else 0
    rows = np.flatnonzero(plan).tolist()
    events = tuple(
        world.event(
            "adopted",
            a,
            "found installed within its lease",
            path=layout.paths[plan[a]],
            now=layout.paths[plan[a]],
        )
        for a in rows
    )
    since, known = world.since.copy(), steered_since(facts.memory, facts.wall)
    for a in rows:
        taken_over = layout.targets[a].address, layout.paths[plan[a]]
        since[a] = known.get(taken_over, since[a])
    proofs = {a: Proof(column=int(plan[a]), installed=now, proved=True) for a in rows}
    # Where men sent it, nothing says that the local path was ever bad; what is frozen may have
    # gone for a reason, and is to come home by a recovery when the freeze ends.
    sent = ordered & ~orders.frozen
    ledger = adopt(world.ledger, layout, [a for a in rows if not sent[a]], now)
    # What is known of a breach goes on: that somebody was started anew is no further one.
    ledger = replace(ledger, holds={**ledger.holds, **world.ledger.holds})
    world = replace(world, plan=plan, since=since, ledger=ledger, proofs=proofs, started=True)
    return world, (*recalled, *events)


def _let_go(world: World, installed: Mapping[str, str]) -> tuple[Event, ...]:
    """What there is to tell of real steers that an agent found which does not act."""
    because = "found installed within its lease; this agent steers nothing, so it goes"
    return tuple(
        replace(
            world.event("released", a, because, path=LOCAL, was=site, now=LOCAL), event="released"
        )
        for address, site in sorted(installed.items())
        if (a := world.layout.row.get(address)) is not None
    )
