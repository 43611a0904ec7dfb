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
from steering.decide.override_events import apply_overrides
from steering.decide.override_state import NONE, read
from steering.decide.plan import commit, events_of, steps
from steering.decide.rehearsal import rehearsed
from steering.decide.rules import decide
from steering.decide.situation import look
from steering.decide.state import State
from steering.decide.verification import Verification
from steering.decide.verify import verify
from steering.engine.carry_over import recall, steered_since
from steering.judge.reach import in_use
from steering.judge.transitions import adopt
from steering.judge.turn import post
from steering.model import LOCAL, Event, Facts, Instant, Step


def turn(
    state: State, facts: Facts, now: Instant
) -> tuple[State, tuple[Step, ...], tuple[Event, ...]]:
    """The next world, the changes of plan on the way to it, and what there is to tell."""
    state, adopted = (state, ()) if state.started else _take_over(state, facts, now)
    if not state.layout.acts:
        facts = rehearsed(state, facts)
    ledger, judged = post(state.ledger, state.layout, facts, now, away=state.plan > 0)
    before = replace(state, ledger=ledger, now=now, wall=facts.wall)
    if facts.sources != state.sources:
        before = replace(before, ledger=replace(ledger, legs=in_use(ledger.legs, facts.sources)))
    before = replace(
        before, sources=facts.sources, forwarded=facts.forwarded, bypassed=facts.bypassed
    )
    state, ordered = apply_overrides(replace(before, off=facts.off), facts)
    state, proved = verify(state, facts)
    situation = look(state)
    after = commit(state, situation, *decide(situation))
    moves = steps(before, after)
    told = events_of(before, after, moves)
    after, alarmed = alarms(after, situation)
    return after, moves, (*adopted, *judged, *ordered, *proved, *told, *alarmed)


def _take_over(state: State, facts: Facts, now: Instant) -> tuple[State, tuple[Event, ...]]:
    """Take over what a predecessor left installed within its lease, and what it knew.

    An agent that does not act takes over no steer: those end, and that is told as what it is.
    """
    state, recalled = recall(replace(state, now=now, wall=facts.wall), facts.memory)
    if not state.layout.acts:
        return replace(state, started=True), (*recalled, *_let_go(state, facts.installed))
    layout, plan = state.layout, state.plan.copy()
    override_state = read(state.override_state, layout, facts.overrides, facts.wall)
    ordered = override_state.decides != NONE
    for address, site in facts.installed.items():
        row, column = layout.row.get(address), layout.column.get(site)
        # What no policy names any more, or sends that way, is in no plan: so it goes.
        if row is not None and column is not None:
            plan[row] = column if ordered[row] or layout.order[row, column] >= 0 else 0
    rows = np.flatnonzero(plan).tolist()
    events = tuple(
        state.event(
            "adopted",
            a,
            "found installed within its lease",
            path=layout.paths[plan[a]],
            now=layout.paths[plan[a]],
        )
        for a in rows
    )
    since, known = state.since.copy(), steered_since(facts.memory, facts.wall)
    for a in rows:
        taken_over = layout.targets[a].address, layout.paths[plan[a]]
        since[a] = known.get(taken_over, since[a])
    verifications = {a: Verification(column=int(plan[a]), installed=now, proved=True) for a in rows}
    # Where men sent it, nothing says that the local path was ever bad; what is frozen may have
    # gone for a reason, and is to come home by a recovery when the freeze ends.
    sent = ordered & ~override_state.frozen
    ledger = adopt(state.ledger, layout, [a for a in rows if not sent[a]], now)
    # What is known of a breach goes on: that somebody was started anew is no further one.
    ledger = replace(ledger, holds={**ledger.holds, **state.ledger.holds})
    state = replace(
        state, plan=plan, since=since, ledger=ledger, verifications=verifications, started=True
    )
    return state, (*recalled, *events)


def _let_go(state: State, installed: Mapping[str, str]) -> tuple[Event, ...]:
    """What there is to tell of real steers that an agent found which does not act."""
    because = "found installed within its lease; this agent steers nothing, so it goes"
    return tuple(
        replace(
            state.event("released", a, because, path=LOCAL, was=site, now=LOCAL), event="released"
        )
        for address, site in sorted(installed.items())
        if (a := state.layout.row.get(address)) is not None
    )
