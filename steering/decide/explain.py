"""Explain: every rule for one address, with its numbers, and what would change its result.

It reads the situation that the latest decision was based on, so it agrees with what the agent did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from steering.decide import damping
from steering.decide.reasons import (
    because,
    by_mark,
    clock,
    loads,
    own_fault,
    penalty,
    sites,
    unproven,
    waiting,
)
from steering.decide.rules import RULES, Rule
from steering.decide.situation import Situation
from steering.decide.state import State
from steering.format import counted, duration, override_text, rate
from steering.judge.ledger import reason
from steering.judge.paired_test import CONFIRM_AT
from steering.judge.recovery import Hold
from steering.model import Action, Health, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One rule and its result for one address."""

    rule: Rule
    applies: bool
    decides: bool
    numbers: str
    """The numbers by which it applies or not."""
    otherwise: str
    """What would change that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one address has its path."""

    target: Target
    path: str
    """The planned path."""
    because: str
    rules: tuple[Considered, ...]
    evidence: Mapping[str, tuple[Health, str]]
    """Path -> its health, and the evidence."""


def explain(state: State, address: str) -> Explanation | None:
    """Why the address has its path; None for one of no policy, or before the first turn."""
    row, situation = state.layout.row.get(address), state.situation
    if row is None or situation is None:
        return None
    layout, deciding = state.layout, int(state.rule[row])
    return Explanation(
        target=layout.targets[row],
        path=layout.paths[state.plan[row]],
        because=because(state, row),
        rules=tuple(
            Considered(
                rule=rule,
                applies=bool(rule.applies(situation)[row]) or rule.number == deciding,
                decides=rule.number == deciding,
                numbers=_NUMBERS[rule.name](state, situation, row),
                otherwise=_OTHERWISE[rule.name](state, situation, row),
            )
            for rule in RULES
        ),
        evidence={
            path: (
                Health(int(state.ledger.health[row, p])),
                reason(state.ledger, layout, row, p, state.now),
            )
            for p, path in enumerate(layout.paths)
        },
    )


Text = Callable[[State, Situation, int], str]


def _off(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    return "`steering off` is in force" if situation.off else "the agent is on"


def _off_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    return "`steering on`" if situation.off else "`steering off`"


def _override(state: State, situation: Situation, a: int) -> str:
    override_state, texts = state.override_state, []
    for override, status, rows in zip(
        override_state.overrides, override_state.states, override_state.covers, strict=True
    ):
        if a in rows and override.action is not Action.ACKNOWLEDGE:
            decides = ", decides" if override is override_state.of(a) else ""
            texts.append(f"{override_text(override)} ({status.value}{decides})")
    if situation.defied[a]:
        obeyed = (
            "obeyed although the measurements contradict it"
            if situation.ordered[a]
            else "can't be obeyed"
        )
        texts.append(obeyed)
    return "; ".join(texts) or f"none of {len(override_state.overrides)} overrides covers it"


def _override_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    order = state.override_state.of(a)
    if order is None:
        return "an override for this address"
    if order.until is None:
        return f"the removal of the override {order.name}, or a later override"
    left = duration(max(0.0, order.until - state.wall))
    return f"the end of the override {order.name} in {left}, its removal, or a later override"


def _clock_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    if situation.clock_doubt:
        return "valid signatures over one path, for most upstreams (check this host's clock)"
    return "expired or not yet valid signatures on every path, for more than half of the upstreams"


def _self(state: State, situation: Situation, a: int) -> str:
    if found := own_fault(state, situation, a) or by_mark(state, situation, a):
        return found
    suspects = situation.local == Health.SUSPECT
    suspects |= situation.local == Health.FAILING
    layout = state.layout
    bad = len(set(layout.operator_of[suspects].tolist()))
    silent = int(state.ledger.streak[a, 0])
    return (
        f"{bad} of {layout.operators} operators have bad addresses; "
        f"{counted(silent, 'question')} in a row unanswered"
    )


def _self_otherwise(state: State, situation: Situation, a: int) -> str:
    if situation.common_causes[int(state.layout.family_of[a])]:
        return "the recovery of all but one or two operators"
    if situation.marked[a]:
        return (
            "a good answer to a question with our mark, or a bad one to the same question without"
        )
    if situation.self_doubt[a]:
        return "an answer from any address of this family over the local path"
    return "faults of three unrelated operators, or of most of them, within a minute"


def _healthy(state: State, situation: Situation, a: int) -> str:
    group = state.layout.group_of == state.layout.group_of[a]
    breached = int((group & situation.own).sum())
    shown = f"{breached} of {int(group.sum())} addresses of its group are breached"
    return f"local path {Health(int(situation.local[a])).word}; {shown}"


def _healthy_otherwise(state: State, situation: Situation, a: int) -> str:
    ledger, layout = state.ledger, state.layout
    if situation.local[a] == Health.HEALTHY and not situation.breached[a]:
        if situation.returning[a]:
            return "no change of the local path: it is healthy"
        return (
            "a full bucket of failing names, or three unanswered questions in a row while another "
            f"path answers; then a trial that reaches +{CONFIRM_AT}"
        )
    bucket = ledger.buckets.get((a, 0))
    if bucket is None:
        return "good answers over the local path"
    recover, hold = layout.policy(a).recover, ledger.holds.get(a, Hold())
    left = max(0.0, hold.until(recover.hold, recover.max_hold) - state.now)
    clean, breach = f"{bucket.points} more clean answers over the local path", hold.breaches
    if not left:
        return f"{clean} (the hold of breach number {breach} is over)"
    return f"{clean}, and the end of the hold in {duration(left)} (breach number {breach})"


def _everywhere_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    if situation.all_bad[a]:
        return "one path that is not bad"
    return "faults on every path, the local one included"


def _unproven_otherwise(state: State, situation: Situation, a: int) -> str:
    if not situation.breached[a]:
        trial = state.ledger.trials.get(a)
        score = f" (now {trial.score:+d})" if trial else ""
        return f"a trial against a remote path that reaches +{CONFIRM_AT}{score}"
    if situation.best[a]:
        return "the loss of every proven site"
    return f"a proven site (healthy, with a recent good last answer): {sites(state, a)}"


def _unproven(state: State, situation: Situation, a: int) -> str:
    if situation.breached[a] and situation.best[a]:
        return f"the local path is proven bad, or its group is breached; {sites(state, a)}"
    return unproven(state, a)


def _damped(state: State, situation: Situation, a: int) -> str:
    if situation.damped[a]:
        return penalty(state, situation, a)
    level = float(damping.penalty(state.worn, state.worn_at, state.layout, state.now)[a])
    moves = "no recent moves" if level < _NONE else f"penalty {level:.1f} of recent moves"
    return f"{moves} (moves_per_day: {state.layout.moves_per_day[a]})"


_NONE = 0.05
"""A smaller penalty would be shown as 0.0."""


def _damped_otherwise(state: State, situation: Situation, a: int) -> str:
    layout = state.layout
    level = float(damping.penalty(state.worn, state.worn_at, layout, state.now)[a])
    if situation.damped[a]:
        needs = damping.HOME if situation.returning[a] else damping.AWAY
        return f"{duration(damping.time_to_reuse(level, a, layout, needs))} without a move"
    left = int(layout.moves_per_day[a] * damping.AT_ONCE - level + 1e-9)
    return f"more than the {counted(left, 'move')} that it has left now"


def _budget(state: State, situation: Situation, a: int) -> str:
    if reasons := waiting(state, situation, a):
        return reasons
    room, layout = situation.room, state.layout
    upstream = layout.upstream_of == layout.upstream_of[a]
    at_once = "no limit" if room.budget.at_once is None else str(room.budget.at_once)
    return (
        f"{room.minute} of {room.budget.moves_per_minute} moves left in this minute; "
        f"{int((situation.plan > 0).sum())} steered (at_once: {at_once}); "
        f"{int((upstream & (situation.plan > 0)).sum())} of its upstream steered "
        f"(at_most: {situation.at_most[a]}); "
        f"to this address {_rates(room.demand[a], room.heard[a])}; {loads(situation)}"
    )


def _rates(by_policy: float, by_dnstap: float) -> str:
    """The load of an address; `by_dnstap` is the same where dnstap shows none."""
    if by_policy == by_dnstap or np.isnan(by_dnstap):
        return rate(by_policy)
    return f"{rate(by_policy)} by its policy, {rate(by_dnstap)} by dnstap"


def _budget_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    if situation.held[a]:
        return "room that other addresses leave, or a larger budget"
    room = situation.room
    if np.isnan(room.demand[a]) and np.isfinite(room.allowed).any():
        return (
            "more moves or more steered addresses than allowed; no site's capacity limits it, since"
            " its policy has no steer.queries_per_second"
        )
    return "more moves, more steered addresses or more queries to a site than allowed"


def _steer(state: State, situation: Situation, a: int) -> str:
    if not situation.best[a]:
        return f"no site to steer to now; {sites(state, a)}"
    proven = [state.layout.paths[p] for p in np.flatnonzero(situation.proven[a]).tolist()]
    return f"best: {state.layout.paths[situation.best[a]]}; proven: {', '.join(proven)}"


def _steer_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    if situation.best[a]:
        return "another site in the policy's order, proven and with room"
    return "a proven site"


_NUMBERS: Mapping[str, Text] = {
    "off": _off,
    "override": _override,
    "clock": lambda state, situation, _: clock(state, situation),
    "self": _self,
    "healthy": _healthy,
    "everywhere": lambda state, _, a: sites(state, a),
    "unproven": _unproven,
    "damped": _damped,
    "budget": _budget,
    "steer": _steer,
}
_OTHERWISE: Mapping[str, Text] = {
    "off": _off_otherwise,
    "override": _override_otherwise,
    "clock": _clock_otherwise,
    "self": _self_otherwise,
    "healthy": _healthy_otherwise,
    "everywhere": _everywhere_otherwise,
    "unproven": _unproven_otherwise,
    "damped": _damped_otherwise,
    "budget": _budget_otherwise,
    "steer": _steer_otherwise,
}
