"""One turn: judge the facts, decide, and report what changed.

Pure: no clock, socket, randomness or logging. Time is an argument, events are returned. The
same facts give the same turn. The whole plan is computed in each turn. No step relies on a
note of what was done before: what is installed is one of the facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steering.decide.look import look
from steering.decide.messages.alarms import alarms
from steering.decide.overrides.override_events import apply_overrides
from steering.decide.overrides.override_state import read
from steering.decide.plan import commit, events_of, steps
from steering.decide.rehearsal import rehearsed
from steering.decide.state import State
from steering.decide.verification import Verification
from steering.decide.verify import verify
from steering.engine.carry_over import recall, steered_since, with_holds
from steering.facts import Facts
from steering.judge.probes.reach import in_use
from steering.judge.transitions import adopt
from steering.judge.turn import judge
from steering.model import LOCAL, Event, Instant, Step


def turn(
    state: State, facts: Facts, now: Instant
) -> tuple[State, tuple[Step, ...], tuple[Event, ...]]:
    """The next state, the changes of the plan, and the events."""
    state, adopted = (state, ()) if state.started else _take_over(state, facts, now)
    if not state.index.acts:
        facts = rehearsed(state, facts)
    ledger, judged = judge(state.ledger, state.index, facts, now, away=state.plan.keys())
    if facts.sources != state.sources:
        ledger = replace(ledger, legs=in_use(ledger.legs, facts.sources))
    before = replace(
        state,
        ledger=ledger,
        now=now,
        wall=facts.wall,
        sources=facts.sources,
        forwarded=facts.forwarded,
        bypassed=facts.bypassed,
    )
    state, ordered = apply_overrides(replace(before, off=facts.off), facts)
    state, proved = verify(state, facts)
    situation = look(state)
    after = commit(state, situation, ledger.changed)
    moves = steps(before, after)
    planned = events_of(before, after, moves)
    after, alarmed = alarms(after, situation)
    return after, moves, (*adopted, *judged, *ordered, *proved, *planned, *alarmed)


def _take_over(state: State, facts: Facts, now: Instant) -> tuple[State, tuple[Event, ...]]:
    """Take over what an earlier agent left installed within its lease, and its memory.

    An agent that does not act takes over no steer: those end, and are reported as released.
    """
    state, recalled = recall(replace(state, now=now, wall=facts.wall), facts.memory)
    if not state.index.acts:
        return replace(state, started=True), (*recalled, *_let_go(state, facts.installed))
    index = state.index
    override_state = read(state.override_state, index, facts.overrides, facts.wall)
    # What no policy names or sends that way any more is not in the plan, and so is removed.
    plan = {
        address: facts.installed[address]
        for address in index.in_order(facts.installed)
        if facts.installed[address] in index.sites
        and (
            address in override_state.decides
            or facts.installed[address] in index.settings[address].order
        )
    }
    events = tuple(
        state.event("adopted", address, "found installed within its lease", path=site, now=site)
        for address, site in plan.items()
    )
    known = steered_since(facts.memory, facts.wall)
    since = {key[0]: known[key] for key in plan.items() if key in known}
    verifications = {
        address: Verification(path=site, installed=now, proved=True)
        for address, site in plan.items()
    }
    # Where an override sent it, the local path was perhaps never bad. A frozen address may have
    # been moved for a reason, and returns by a recovery when the freeze ends.
    sent = override_state.decides.keys() - override_state.frozen
    ledger = adopt(state.ledger, index, [a for a in plan if a not in sent], now)
    # Known breaches go on: a restart is no further breach.
    state = replace(
        state,
        plan=plan,
        since={**state.since, **since},
        ledger=with_holds(ledger, state.ledger, plan),
        verifications=verifications,
        started=True,
    )
    return state, (*recalled, *events, *_not_used(state, facts.installed))


def _not_used(state: State, installed: Mapping[str, str]) -> tuple[Event, ...]:
    """The events of steers that are removed because the policy does not use their site."""
    index = state.index
    return tuple(
        state.event(
            "released",
            address,
            f"found installed within its lease; the policy does not use site {site} any more",
            path=LOCAL,
            was=site,
            now=LOCAL,
        )
        for address, site in sorted(installed.items())
        if address in index.settings and site in index.sites and address not in state.plan
    )


def _let_go(state: State, installed: Mapping[str, str]) -> tuple[Event, ...]:
    """The events of real steers that are removed because this agent does not act."""
    because = "found installed within its lease; removed, as this agent steers nothing"
    return tuple(
        replace(
            state.event("released", address, because, path=LOCAL, was=site, now=LOCAL),
            event="released",
        )
        for address, site in sorted(installed.items())
        if address in state.index.settings
    )
