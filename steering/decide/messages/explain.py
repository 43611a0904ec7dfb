"""Explain: every rule for one address, with its numbers, and what would change its result.

It reads the situation that the latest decision was based on, so it agrees with what the agent did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from steering.decide.messages.reasons import (
    Text,
    because,
    by_mark,
    clock,
    loads,
    one_of,
    own_fault,
    penalty,
    penalty_of,
    rate_of,
    sites,
    steered,
    time_to_reuse,
    unproven,
    waiting,
)
from steering.decide.moves import damping
from steering.decide.rules import RULES, Rule
from steering.decide.situation import Situation
from steering.decide.state import State
from steering.format import counted, duration
from steering.judge.known.paired_test import CONFIRM_AT
from steering.judge.known.reason import reason
from steering.judge.known.recovery import Hold
from steering.model import LOCAL, Health, Target
from steering.override import Action
from steering.override_text import override_text


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
    index, situation = state.index, state.situation
    if address not in index.settings or situation is None:
        return None
    one, deciding = one_of(state, situation, address), state.rule.get(address, 0)
    return Explanation(
        target=index.settings[address].target,
        path=state.path_of(address),
        because=because(state, address),
        rules=tuple(
            Considered(
                rule=rule,
                applies=rule.applies(situation, one) or rule.number == deciding,
                decides=rule.number == deciding,
                numbers=_NUMBERS[rule.name](state, situation, address),
                otherwise=_OTHERWISE[rule.name](state, situation, address),
            )
            for rule in RULES
        ),
        evidence={
            path: (
                state.ledger.path(address, path).health,
                reason(state.ledger, index, address, path, state.now),
            )
            for path in index.paths
        },
    )


def _off(state: State, situation: Situation, a: str) -> str:  # noqa: ARG001
    return "`steering off` is in force" if situation.off else "the agent is on"


def _off_otherwise(state: State, situation: Situation, a: str) -> str:  # noqa: ARG001
    return "`steering on`" if situation.off else "`steering off`"


def _override(state: State, situation: Situation, a: str) -> str:
    override_state, texts, one = state.override_state, [], one_of(state, situation, a)
    for override, status, covers in zip(
        override_state.overrides, override_state.states, override_state.covers, strict=True
    ):
        if a in covers and override.action is not Action.ACKNOWLEDGE:
            decides = ", decides" if override is override_state.of(a) else ""
            texts.append(f"{override_text(override)} ({status.value}{decides})")
    if one.defied:
        against = "obeyed although the measurements contradict it"
        texts.append(against if one.ordered else "can't be obeyed")
    return "; ".join(texts) or f"none of {len(override_state.overrides)} overrides covers it"


def _override_otherwise(state: State, situation: Situation, a: str) -> str:  # noqa: ARG001
    order = state.override_state.of(a)
    if order is None:
        return "an override for this address"
    if order.until is None:
        return f"the removal of the override {order.name}, or a later override"
    left = duration(max(0.0, order.until - state.wall))
    return f"the end of the override {order.name} in {left}, its removal, or a later override"


def _clock_otherwise(state: State, situation: Situation, a: str) -> str:  # noqa: ARG001
    if situation.clock_doubt:
        return "valid signatures over one path, for most upstreams (check this host's clock)"
    return "expired or not yet valid signatures on every path, for more than half of the upstreams"


def _self(state: State, situation: Situation, a: str) -> str:
    if found := own_fault(state, situation, a) or by_mark(state, situation, a):
        return found
    index, bad = state.index, (Health.SUSPECT, Health.FAILING)
    suspects = (one.address for one in situation.addresses.values() if one.local in bad)
    operators = {index.settings[address].operator for address in suspects}
    silent = state.ledger.path(a).streak
    return (
        f"{len(operators)} of {len(index.operators)} operators have bad addresses; "
        f"{counted(silent, 'question')} in a row unanswered"
    )


def _self_otherwise(state: State, situation: Situation, a: str) -> str:
    one = one_of(state, situation, a)
    if situation.common_causes[state.index.settings[a].family]:
        return "the recovery of all but one or two operators"
    if one.marked:
        return (
            "a good answer to a question with our mark, or a bad one to the same question without"
        )
    if one.self_doubt:
        return "an answer from any address of this family over the local path"
    return "faults of three unrelated operators, or of most of them, within a minute"


def _healthy(state: State, situation: Situation, a: str) -> str:
    group = state.index.groups[state.index.settings[a].group]
    breached = sum(one_of(state, situation, address).own for address in group)
    shown = f"{breached} of {len(group)} addresses of its group are breached"
    return f"local path {one_of(state, situation, a).local.word}; {shown}"


def _healthy_otherwise(state: State, situation: Situation, a: str) -> str:
    ledger, one = state.ledger, one_of(state, situation, a)
    if one.local is Health.HEALTHY and not one.breached:
        if one.returning:
            return "no change of the local path: it is healthy"
        return (
            "a full bucket of failing names, or three unanswered questions in a row while another "
            f"path answers; then a trial that reaches +{CONFIRM_AT}"
        )
    bucket = ledger.path(a).bucket
    if bucket is None:
        return "good answers over the local path"
    recover, hold = state.index.settings[a].policy.recover, ledger.address(a).hold or Hold()
    left = max(0.0, hold.until(recover.hold, recover.max_hold) - state.now)
    clean, breach = f"{bucket.points} more clean answers over the local path", hold.breaches
    if not left:
        return f"{clean} (the hold of breach number {breach} is over)"
    return f"{clean}, and the end of the hold in {duration(left)} (breach number {breach})"


def _everywhere_otherwise(state: State, situation: Situation, a: str) -> str:
    if one_of(state, situation, a).all_bad:
        return "one path that is not bad"
    return "faults on every path, the local one included"


def _unproven_otherwise(state: State, situation: Situation, a: str) -> str:
    one = one_of(state, situation, a)
    if not one.breached:
        trial = state.ledger.address(a).trial
        score = f" (now {trial.score:+d})" if trial else ""
        return f"a trial against a remote path that reaches +{CONFIRM_AT}{score}"
    if one.best:
        return "the loss of every proven site"
    return f"a proven site (healthy, with a recent good last answer): {sites(state, a)}"


def _unproven(state: State, situation: Situation, a: str) -> str:
    one = one_of(state, situation, a)
    if one.breached and one.best:
        return f"the local path is proven bad, or its group is breached; {sites(state, a)}"
    return unproven(state, a)


def _damped(state: State, situation: Situation, a: str) -> str:
    if one_of(state, situation, a).damped:
        return penalty(state, situation, a)
    level = penalty_of(state, a)
    moves = "no recent moves" if level < _NONE else f"penalty {level:.1f} of recent moves"
    return f"{moves} (moves_per_day: {state.index.settings[a].policy.recover.moves_per_day})"


_NONE = 0.05
"""A smaller penalty would be shown as 0.0."""


def _damped_otherwise(state: State, situation: Situation, a: str) -> str:
    if one_of(state, situation, a).damped:
        return f"{time_to_reuse(state, situation, a)} without a move"
    left = int(damping.room(penalty_of(state, a), state.index.settings[a]))
    return f"more than the {counted(left, 'move')} that it has left now"


def _budget(state: State, situation: Situation, a: str) -> str:
    if reasons := waiting(state, situation, a):
        return reasons
    room, settings = situation.room, state.index.settings[a]
    upstream, before = state.index.upstreams[settings.upstream], _plan_before(situation)
    at_once = "no limit" if room.budget.at_once is None else str(room.budget.at_once)
    return (
        f"{room.minute} of {room.budget.moves_per_minute} moves left in this minute; "
        f"{len(before)} steered (at_once: {at_once}); "
        f"{steered(upstream, before)} of its upstream steered (at_most: {settings.at_most}); "
        f"to this address {_rates(room.demand_of(settings), room.heard_of(settings))}; "
        f"{loads(situation)}"
    )


def _plan_before(situation: Situation) -> Mapping[str, str]:
    """The plan that the decision was based on."""
    return {a: one.path for a, one in situation.addresses.items() if one.path != LOCAL}


def _rates(by_policy: float | None, by_dnstap: float | None) -> str:
    """The load of an address; `by_dnstap` is the same where dnstap shows none."""
    if by_dnstap in (None, by_policy):
        return rate_of(by_policy)
    return f"{rate_of(by_policy)} by its policy, {rate_of(by_dnstap)} by dnstap"


def _budget_otherwise(state: State, situation: Situation, a: str) -> str:
    if one_of(state, situation, a).held:
        return "room that other addresses leave, or a larger budget"
    room, unknown = situation.room, situation.room.demand_of(state.index.settings[a]) is None
    if unknown and any(map(math.isfinite, room.allowed.values())):
        return (
            "more moves or more steered addresses than allowed; no site's capacity limits it, since"
            " its policy has no steer.queries_per_second"
        )
    return "more moves, more steered addresses or more queries to a site than allowed"


def _steer(state: State, situation: Situation, a: str) -> str:
    one = one_of(state, situation, a)
    if not one.best:
        return f"no site to steer to now; {sites(state, a)}"
    return f"best: {one.best}; proven: {', '.join(one.proven)}"


def _steer_otherwise(state: State, situation: Situation, a: str) -> str:
    if one_of(state, situation, a).best:
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
