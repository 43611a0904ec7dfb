"""Puts the plan into force: what follows from a change, the steps, and the events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steering.decide import damping
from steering.decide.budget import MINUTE
from steering.decide.override_state import NONE
from steering.decide.reasons import because
from steering.decide.rules import BY_NUMBER, RULES, Answer
from steering.decide.situation import Situation
from steering.decide.state import State
from steering.decide.usable_sites import gives_way
from steering.decide.verification import AVOID, Verification
from steering.judge.ledger import SILENCES
from steering.model import Event, Health, Step

_KEEPS = np.array([False, *(rule.answer is Answer.KEEP for rule in RULES)])
"""By number: the rules that keep the path."""
_BY_OPERATOR = np.array([False, *(rule.name in ("off", "override") for rule in RULES)])
"""By number: the rules by which operators move an address. Such a move ends the penalty for earlier
moves, and does not count in `moves_per_minute`."""


def commit(
    state: State, situation: Situation, rule: NDArray[np.int64], want: NDArray[np.int64]
) -> State:
    """The state with the decision in it."""
    now, rows = state.now, np.arange(len(want))
    # A steer that failed its verification is not kept, whatever rule would keep it.
    avoided = (state.avoid_until > now) & ~gives_way(state)
    undone = (want > 0) & avoided[rows, want] & _KEEPS[rule]
    plan = np.where(undone, 0, want)
    moved = np.flatnonzero(plan != state.plan)
    after = replace(
        state,
        plan=plan,
        rule=rule,
        breached=situation.breached,
        open_groups=situation.open_groups,
        situation=situation,
        moves=tuple((at, number) for at, number in state.moves if now - at < MINUTE),
    )
    return _moved(after, state.plan, situation, moved) if moved.size else _settled(after)


def _moved(
    state: State, was: NDArray[np.int64], situation: Situation, moved: NDArray[np.int64]
) -> State:
    """The state with all that follows from these rows' change of path."""
    layout, plan, now = state.layout, state.plan, state.now
    since, avoid = state.since.copy(), state.avoid_until
    since[moved] = state.wall
    left_at, away = state.left_at.copy(), (plan[moved] > 0) & ~_BY_OPERATOR[state.rule[moved]]
    left_at[moved[~away]] = np.nan
    left_at[moved[away & (was[moved] == 0)]] = now
    turned = {key: at for key, at in state.turned.items() if avoid[key] > now}
    bad = [
        a for a in moved.tolist() if situation.breached[a] and _turned_bad(state, a, int(was[a]))
    ]
    if bad:
        # Avoided for a while. The first time it may be used again if there is no other site.
        left = [(a, int(was[a])) for a in bad]
        again = {key for key in left if avoid[key] > now}
        turned = {**turned, **dict.fromkeys(left, now)}
        turned = {key: at for key, at in turned.items() if key not in again}
        avoid = avoid.copy()
        avoid[bad, was[bad]] = now + AVOID
    verifications = {
        a: proof for a, proof in state.verifications.items() if plan[a] == proof.column
    }
    verifications |= {a: Verification(column=int(plan[a])) for a in moved.tolist() if plan[a]}
    verifications |= {a: Verification(column=0) for a in situation.scouts if not plan[a]}
    worn = damping.penalty(state.worn, state.worn_at, layout, now)
    by_operator, back = _BY_OPERATOR[state.rule[moved]], situation.hasty[moved] & (plan[moved] == 0)
    own = moved[~by_operator & ~back]
    worn[moved[by_operator]] = 0.0
    # A move that is taken back because this host was at fault does not count.
    worn[moved[back]] = np.maximum(0.0, worn[moved[back]] - 1)
    return _settled(
        replace(
            state,
            since=since,
            left_at=left_at,
            avoid_until=avoid,
            turned=turned,
            verifications=verifications,
            moves=(*state.moves, (now, own.size)) if own.size else state.moves,
            worn=damping.add_penalty(worn, own, layout),
            worn_at=np.full_like(state.worn_at, now),
        )
    )


def _settled(state: State) -> State:
    """The state without verifications of a return in groups of which nothing is steered now."""
    home = [a for a, proof in state.verifications.items() if proof.column == 0]
    if not home:
        return state
    ours = (state.plan > 0) & (state.override_state.decides == NONE)
    away = set(state.layout.group_of[ours].tolist())
    over = {a for a in home if int(state.layout.group_of[a]) not in away or state.off}
    kept = {a: proof for a, proof in state.verifications.items() if a not in over}
    return replace(state, verifications=kept) if over else state


def _turned_bad(state: State, a: int, p: int) -> bool:
    ledger = state.ledger
    return bool(p and (ledger.health[a, p] >= Health.SUSPECT or ledger.stuck[a, p] >= SILENCES))


def steps(before: State, after: State) -> tuple[Step, ...]:
    """Each change of the plan from one state to the next."""
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


def events_of(before: State, after: State, moves: tuple[Step, ...]) -> tuple[Event, ...]:
    """`steered` and `released` for each step, `held` where a rule holds back a move; before them
    `switched_off` or `switched_on`.
    """
    layout = after.layout
    local = layout.paths[0]
    switched = (
        Event(
            event="switched_off", because="`steering off`: nothing is steered until `steering on`"
        )
        if after.off
        else Event(
            event="switched_on", because="`steering on`: addresses that are proven bad may move"
        )
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
    assert after.situation is not None
    held = after.breached | after.situation.returning
    held &= (after.rule != before.rule) & (after.plan == before.plan)
    for a in np.flatnonzero(held & _KEEPS[after.rule]).tolist():
        rule = BY_NUMBER[int(after.rule[a])].name
        events.append(after.event("held", a, because(after, a), rule=rule))
    return tuple(events)
