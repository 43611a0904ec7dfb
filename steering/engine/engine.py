"""One turn: judge the facts, decide, and report what changed.

Pure: no clock, socket, randomness or logging. Time is an argument, events are returned. The
same facts give the same turn. The whole plan is computed in each turn. No step relies on a
note of what was done before: what is installed is one of the facts.
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
from steering.judge.turn import judge
from steering.model import LOCAL, Event, Facts, Instant, Step


def turn(
    state: State, facts: Facts, now: Instant
) -> tuple[State, tuple[Step, ...], tuple[Event, ...]]:
    """The next state, the changes of the plan, and the events."""
    state, adopted = (state, ()) if state.started else _take_over(state, facts, now)
    if not state.layout.acts:
        facts = rehearsed(state, facts)
    ledger, judged = judge(state.ledger, state.layout, facts, now, away=state.plan > 0)
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
    planned = events_of(before, after, moves)
    after, alarmed = alarms(after, situation)
    return after, moves, (*adopted, *judged, *ordered, *proved, *planned, *alarmed)


def _take_over(state: State, facts: Facts, now: Instant) -> tuple[State, tuple[Event, ...]]:
    """Take over what an earlier agent left installed within its lease, and its memory.

    An agent that does not act takes over no steer: those end, and are reported as released.
    """
    state, recalled = recall(replace(state, now=now, wall=facts.wall), facts.memory)
    if not state.layout.acts:
        return replace(state, started=True), (*recalled, *_let_go(state, facts.installed))
    layout, plan = state.layout, state.plan.copy()
    override_state = read(state.override_state, layout, facts.overrides, facts.wall)
    ordered = override_state.decides != NONE
    for address, site in facts.installed.items():
        row, column = layout.row.get(address), layout.column.get(site)
        # What no policy names or sends that way any more is not in the plan, and so is removed.
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
    # Where an override sent it, the local path was perhaps never bad. A frozen address may have
    # been moved for a reason, and returns by a recovery when the freeze ends.
    sent = ordered & ~override_state.frozen
    ledger = adopt(state.ledger, layout, [a for a in rows if not sent[a]], now)
    # Known breaches go on: a restart is no further breach.
    ledger = replace(ledger, holds={**ledger.holds, **state.ledger.holds})
    state = replace(
        state, plan=plan, since=since, ledger=ledger, verifications=verifications, started=True
    )
    return state, (*recalled, *events)


def _let_go(state: State, installed: Mapping[str, str]) -> tuple[Event, ...]:
    """The events of real steers that are removed because this agent does not act."""
    because = "found installed within its lease; removed, as this agent steers nothing"
    return tuple(
        replace(
            state.event("released", a, because, path=LOCAL, was=site, now=LOCAL), event="released"
        )
        for address, site in sorted(installed.items())
        if (a := state.layout.row.get(address)) is not None
    )
