"""Explain: every rule for one address, with the numbers, and what would give another answer.

It reads the board that the latest decision was made from, so it can't tell another story than
the agent acted on.
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
    sites,
    unproven,
    waiting,
    worn_out,
)
from steering.decide.rules import RULES, Rule
from steering.decide.situation import Situation
from steering.decide.state import State
from steering.format import duration, override_text, rate
from steering.judge.ledger import reason
from steering.judge.paired_test import CONFIRM_AT
from steering.judge.recovery import Hold
from steering.model import Action, Health, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """One rule, looked at for one address."""

    rule: Rule
    applies: bool
    decides: bool
    numbers: str
    """What it applies, or does not apply, on."""
    otherwise: str
    """What would have to change for it to say the opposite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one address goes where it goes."""

    target: Target
    path: str
    """Where it shall go."""
    because: str
    rules: tuple[Considered, ...]
    evidence: Mapping[str, tuple[Health, str]]
    """Path -> its health, and why it is believed."""


def explain(state: State, address: str) -> Explanation | None:
    """Why the address goes where it goes; None for one of no policy, or before the first turn."""
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


Say = Callable[[State, Situation, int], str]


def _off(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    return "`steering off` is in force" if situation.off else "the agent is on"


def _off_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    return "`steering on`" if situation.off else "`steering off`"


def _override(state: State, situation: Situation, a: int) -> str:
    override_state, said = state.override_state, []
    for override, status, rows in zip(
        override_state.overrides, override_state.states, override_state.covers, strict=True
    ):
        if a in rows and override.action is not Action.ACKNOWLEDGE:
            decides = ", decides" if override is override_state.of(a) else ""
            said.append(f"{override_text(override)} ({status.value}{decides})")
    if situation.defied[a]:
        obeyed = "obeyed against what is measured" if situation.ordered[a] else "can't be obeyed"
        said.append(obeyed)
    return "; ".join(said) or f"none of {len(override_state.overrides)} overrides covers it"


def _override_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    order = state.override_state.of(a)
    if order is None:
        return "an override that covers it"
    if order.until is None:
        return f"removing the override {order.name}, or a later one"
    left = duration(max(0.0, order.until - state.wall))
    return f"the end of the override {order.name} in {left}, its removal, or a later one"


def _clock_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    if situation.clock_doubt:
        return "good signatures over one path, for most upstreams: is the clock right?"
    return "signatures out of date on every path, for more than half of the upstreams"


def _self(state: State, situation: Situation, a: int) -> str:
    if found := own_fault(state, situation, a) or by_mark(state, situation, a):
        return found
    suspects = situation.local == Health.SUSPECT
    suspects |= situation.local == Health.FAILING
    layout = state.layout
    ill = len(set(layout.operator_of[suspects].tolist()))
    silent = int(state.ledger.streak[a, 0])
    return f"{ill} of {layout.operators} operators have bad addresses; {silent} unanswered in a row"


def _self_otherwise(state: State, situation: Situation, a: int) -> str:
    if situation.common_causes[int(state.layout.family_of[a])]:
        return "the operators being well again, but for one or two"
    if situation.marked[a]:
        return "a good answer to a question with our mark, or a bad one to the same without it"
    if situation.self_doubt[a]:
        return "an answer from any address of this family over the local path"
    return "three unrelated operators, or most of them, going bad within a minute"


def _healthy(state: State, situation: Situation, a: int) -> str:
    mates = state.layout.group_of == state.layout.group_of[a]
    group = f"{int((mates & situation.own).sum())} of {int(mates.sum())} of its group are breached"
    return f"local path {Health(int(situation.local[a])).word}; {group}"


def _healthy_otherwise(state: State, situation: Situation, a: int) -> str:
    ledger, layout = state.ledger, state.layout
    if situation.local[a] == Health.HEALTHY and not situation.breached[a]:
        if situation.returning[a]:
            return "nothing more of the local path: it is well"
        need = "a full bucket of failing names, or three silences while another path answers"
        return f"{need}; then a trial that reaches +{CONFIRM_AT}"
    bucket = ledger.buckets.get((a, 0))
    if bucket is None:
        return "good answers over the local path"
    recover, hold = layout.policy(a).recover, ledger.holds.get(a, Hold())
    left = max(0.0, hold.until(recover.hold, recover.max_hold) - state.now)
    return (
        f"{bucket.points} more clean answers over the local path, and the hold of another "
        f"{duration(left)} (breach number {hold.breaches})"
    )


def _everywhere_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    if situation.all_bad[a]:
        return "one path that is not bad"
    return "every path being bad, the local one among them"


def _unproven_otherwise(state: State, situation: Situation, a: int) -> str:
    if not situation.breached[a]:
        trial = state.ledger.trials.get(a)
        against = f", it is at {trial.score:+d}" if trial else " against a remote path"
        return f"+{CONFIRM_AT} in a trial{against}"
    if situation.best[a]:
        return "the loss of every proven site"
    return (
        f"a proven site: healthy by answers that are fresh, the last one good ({sites(state, a)})"
    )


def _unproven(state: State, situation: Situation, a: int) -> str:
    if situation.breached[a] and situation.best[a]:
        return f"proven bad here, or its group is; {sites(state, a)}"
    return unproven(state, a)


def _damped(state: State, situation: Situation, a: int) -> str:
    if situation.damped[a]:
        return worn_out(state, situation, a)
    level = float(damping.worn(state.worn, state.worn_at, state.layout, state.now)[a])
    return f"{level:.1f} moves not worn off (moves_per_day: {state.layout.moves_per_day[a]})"


def _damped_otherwise(state: State, situation: Situation, a: int) -> str:
    layout = state.layout
    level = float(damping.worn(state.worn, state.worn_at, layout, state.now)[a])
    if situation.damped[a]:
        needs = damping.HOME if situation.returning[a] else damping.AWAY
        return f"{duration(damping.patience(level, a, layout, needs))} without a move"
    left = int(layout.moves_per_day[a] * damping.AT_ONCE - level + 1e-9)
    return f"{left} more moves soon"


def _budget(state: State, situation: Situation, a: int) -> str:
    if reasons := waiting(state, situation, a):
        return reasons
    room, layout = situation.room, state.layout
    upstream = layout.upstream_of == layout.upstream_of[a]
    at_once = "no limit" if room.budget.at_once is None else str(room.budget.at_once)
    return (
        f"{room.minute} of {room.budget.moves_per_minute} moves left of this minute; "
        f"{int((situation.plan > 0).sum())} steered of {at_once}; "
        f"{int((upstream & (situation.plan > 0)).sum())} of its upstream "
        f"of {situation.at_most[a]}; "
        f"{rate(room.demand[a])} to this address by its policy, {rate(room.heard[a])} by what is "
        f"known; {loads(situation)}"
    )


def _budget_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    if situation.held[a]:
        return "those before it moving on, or a larger budget"
    room = situation.room
    if np.isnan(room.demand[a]) and np.isfinite(room.allowed).any():
        return (
            "more moves, or more addresses away, than allowed; no site's capacity holds it: its "
            "policy has no steer.queries_per_second"
        )
    return "more moves, more addresses away or more queries to a site than allowed"


def _steer(state: State, situation: Situation, a: int) -> str:
    if not situation.best[a]:
        return f"no site to steer to now; {sites(state, a)}"
    proven = [state.layout.paths[p] for p in np.flatnonzero(situation.proven[a]).tolist()]
    return f"best: {state.layout.paths[situation.best[a]]}; proven: {', '.join(proven)}"


def _steer_otherwise(state: State, situation: Situation, a: int) -> str:  # noqa: ARG001
    if situation.best[a]:
        return "another site in the policy's order, proven and with room"
    return "a proven site"


_NUMBERS: Mapping[str, Say] = {
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
_OTHERWISE: Mapping[str, Say] = {
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
