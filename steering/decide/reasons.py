"""The reason for a decision, in one sentence with its numbers: for events, status and `explain`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from steering.decide import damping
from steering.decide.budget import Held
from steering.decide.common_cause import AT_ONCE
from steering.decide.groups import SETTLE
from steering.decide.override_state import NONE
from steering.decide.rules import BY_NUMBER, Answer
from steering.decide.situation import Situation
from steering.decide.state import State
from steering.decide.usable_sites import worse
from steering.format import counted, duration, override_text, rate
from steering.judge.forwarded import Carriage, Senders, dropped, unknown
from steering.judge.ledger import SILENCES, reason
from steering.judge.paired_test import CONFIRM_AT
from steering.judge.reach import Leg, comes_back, lost
from steering.layout import Layout
from steering.model import Action, Family, Forwarded, Health, Instant


def because(state: State, a: int) -> str:
    """Why the address in row `a` has its path: the reason of the rule that decided."""
    rule, situation = BY_NUMBER.get(int(state.rule[a])), state.situation
    if rule is None or situation is None:
        return "no turn yet"
    left = int(situation.plan[a])
    if left and not state.plan[a] and situation.detour_worse[a] and rule.answer is Answer.KEEP:
        there = reason(state.ledger, state.layout, a, left, state.now)
        if missing := unreached(state, a, left):
            there = missing
        return (
            f"the detour is worse: {state.layout.paths[left]}: {there}; {_why(state, situation, a)}"
        )
    return _why(state, situation, a)


def _why(state: State, situation: Situation, a: int) -> str:
    rule = BY_NUMBER[int(state.rule[a])]
    local = reason(state.ledger, state.layout, a, 0, state.now)
    match rule.name:
        case "off":
            return "switched off by `steering off`"
        case "override":
            return _override(state, situation, a)
        case "clock":
            return f"{clock(state, situation)}; local: {local}"
        case "self":
            mark = by_mark(state, situation, a)
            return own_fault(state, situation, a) or (f"{mark}; local: {local}" if mark else local)
        case "healthy":
            first = (
                "first of its group to return to the local path; " if a in situation.scouts else ""
            )
            return f"{first}local: {local}"
        case "everywhere":
            return f"every path is bad; local: {local}{_lost_over(state, a)}"
        case "damped":
            return f"{penalty(state, situation, a)}; local: {local}"
        case "budget":
            return f"{waiting(state, situation, a)}; local: {local}"
        case "steer":
            site = state.layout.paths[state.plan[a]]
            there = reason(state.ledger, state.layout, a, int(state.plan[a]), state.now)
            why = local if state.ledger.health[a, 0] >= Health.SUSPECT else "its group is breached"
            return f"local: {why}; {site}: {there}{_defied(state, situation, a)}"
    return f"{unproven(state, a)}{_defied(state, situation, a)}; local: {local}"


def _override(state: State, situation: Situation, a: int) -> str:
    override_state, layout = state.override_state, state.layout
    if not situation.ordered[a]:
        banned = override_state.banned_by.get((a, int(situation.plan[a])), NONE)
        says = override_text(override_state.overrides[banned]) if banned != NONE else "an override"
        return f"{says}; no other site is available now"
    order = override_state.of(a)
    assert order is not None
    path = layout.paths[situation.ordered_to[a]]
    kept = f"; frozen at {path}" if order.action is Action.FREEZE else ""
    evidence = reason(state.ledger, layout, a, int(situation.ordered_to[a]), state.now)
    against = "obeyed although the measurements contradict it; " if situation.defied[a] else ""
    return f"{override_text(order)}{kept}; {against}{path}: {evidence}"


def _defied(state: State, situation: Situation, a: int) -> str:
    order = state.override_state.of(a)
    if order is None or situation.ordered[a]:
        return ""
    family, where = state.layout.targets[a].family, f"site {order.to}" if order.to else "its path"
    return f"; the override {order.name} can't be obeyed: {where} has no {family} next hop"


def clock(state: State, situation: Situation) -> str:
    """The upstreams whose signatures are expired or not yet valid on every path."""
    names = [state.layout.policies[u].upstream for u in np.flatnonzero(situation.dated).tolist()]
    every = f"{counted(len(state.layout.policies), 'upstream')} in all"
    if not names:
        return f"at most half of the upstreams have such signatures ({every})"
    return (
        f"most answers of {', '.join(names)} have signatures that are expired or not yet valid on "
        f"every path ({every})"
    )


def own_fault(state: State, situation: Situation, a: int) -> str:
    """The evidence that the cause is this host; empty if there is none."""
    layout = state.layout
    family = int(layout.family_of[a])
    if operators := situation.common_causes[family]:
        names = []
        for operator in operators:
            policy = layout.policy(int(np.argmax(layout.operator_of == operator)))
            names.append(policy.operator.name if policy.operator else policy.upstream)
        probed = layout.sample & (layout.family_of == family)
        return (
            f"{len(names)} of {len(np.unique(layout.operator_of[probed]))} unrelated operators "
            f"failed here within {duration(AT_ONCE)} ({', '.join(names)}): the common cause is "
            "most likely this host or its uplink"
        )
    if situation.self_doubt[a]:
        unanswered = int(state.ledger.streak[a, 0])
        return (
            f"{unanswered} questions in a row unanswered over the local path, and no answer of "
            "this family came back over it since"
        )
    return ""


def by_mark(state: State, situation: Situation, a: int) -> str:
    """The evidence that only packets with our mark fail; empty if there is none."""
    known = state.ledger.controls.get(a)
    if known is None or not situation.marked[a]:
        return ""
    return (
        "questions with our mark fail, and the same questions without it are answered "
        f"(score {known.score:+d}, latest {duration(max(0.0, state.now - known.at))} ago)"
    )


def penalty(state: State, situation: Situation, a: int) -> str:
    """The penalty of an address, and how long it stays where it is."""
    layout = state.layout
    level = float(damping.penalty(state.worn, state.worn_at, layout, state.now)[a])
    needs = damping.HOME if situation.returning[a] else damping.AWAY
    left = duration(damping.time_to_reuse(level, a, layout, needs))
    return (
        f"penalty {level:.1f} of {layout.moves_per_day[a] * damping.AT_ONCE:.0f} recent moves "
        f"(moves_per_day: {layout.moves_per_day[a]}): can move again in {left}"
    )


def waiting(state: State, situation: Situation, a: int) -> str:
    """The limit of the budget that an address waits for, with its numbers; empty: none."""
    layout, room = state.layout, situation.room
    upstream = layout.upstream_of == layout.upstream_of[a]
    are = "are" if layout.acts else "would be"
    match Held(int(situation.held[a])):
        case Held.PER_MINUTE:
            return f"waits: the {room.budget.moves_per_minute} moves_per_minute are used up"
        case Held.AT_ONCE:
            away = int((state.plan > 0).sum())
            return f"waits: {away} addresses {are} steered (at_once: {room.budget.at_once})"
        case Held.AT_MOST:
            away = int((upstream & (state.plan > 0)).sum())
            return f"waits: {away} of its upstream {are} steered (at_most: {situation.at_most[a]})"
        case Held.CAPACITY:
            return f"waits: no proven site has room for {rate(room.demand[a])}: {loads(situation)}"
        case Held.GRADUAL:
            away = int(((layout.group_of == layout.group_of[a]) & (state.plan > 0)).sum())
            return (
                f"waits with {away} of its group: the first address back on the local path is being"
                " verified"
            )
    return ""


def loads(situation: Situation) -> str:
    """The load on each site with a limit, by the policies and by dnstap."""
    room = situation.room
    return (
        ", ".join(
            f"{path} {room.load[p]:.0f} of {room.allowed[p]:.0f} queries/s"
            f"{_shown(room.heard_load[p], room.load[p])}"
            for p, path in enumerate(situation.layout.paths)
            if p and np.isfinite(room.allowed[p])
        )
        or "no site has a capacity set"
    )


def _shown(by_dnstap: float, estimate: float) -> str:
    """The load by dnstap, where it differs from the estimate of the policies."""
    return "" if by_dnstap == estimate else f" ({by_dnstap:.0f} by dnstap)"


def unproven(state: State, a: int) -> str:
    """What is missing for a move."""
    health = Health(int(state.ledger.health[a, 0]))
    if health is Health.SUSPECT:
        trial = state.ledger.trials.get(a)
        if trial is None:
            return "suspect, and no remote path is proven good to compare with"
        return f"suspect, on trial ({trial.score:+d} of +{CONFIRM_AT})"
    if not state.breached[a]:
        if state.situation is not None and state.situation.unshown[a]:
            return (
                "confirmed earlier, but the last few seconds do not show the fault: waiting for"
                " fresh evidence"
            )
        if health is Health.FAILING:
            return "confirmed just now, waiting for probes of the other operators (common cause?)"
        return "the local path is not proven bad"
    if not state.plan[a] and state.now - state.ledger.confirmed_at[a] < SETTLE:
        return "confirmed just now, waiting for the trials of its group"
    if state.layout.targets[a].address in state.bypassed:
        return "a detour would have no effect: another program's routing rule comes before ours"
    return f"no remote path is proven good right now ({sites(state, a)})"


def sites(state: State, a: int) -> str:
    """The state of each site that the policy would use for this address."""
    through = all_unknown(state)
    states = ", ".join(
        f"{path} {_state(state, a, p, through)}"
        for p, path in enumerate(state.layout.paths)
        if p and state.layout.order[a, p] >= 0
    )
    return states or "no site has a next hop for this family"


def _lost_over(state: State, a: int) -> str:
    sites = (
        (state.layout.paths[p], unreached(state, a, p)) for p in range(1, state.layout.shape[1])
    )
    return "".join(f"; {site}: {said}" for site, said in sites if said)


def unreached(state: State, a: int, p: int) -> str:
    """Which answers do not come back over a site to the resolvers; empty: none known."""
    target, site = state.layout.targets[a], state.layout.paths[p]
    gone = [leg for leg in lost_legs(state) if leg.site == site and leg.concerns(target)]
    through = [leg for leg, _ in all_dropped(state) if leg.site == site and leg.concerns(target)]
    return "; ".join([*map(no_answer, sorted(gone)), *map(not_carried, sorted(through))])


def _through(state: State) -> tuple[Mapping[Leg, Carriage], Senders, Layout, Instant]:
    """The arguments of `judge.forwarded`, out of the state."""
    return state.ledger.carried, state.forwarded, state.layout, state.now


def all_unknown(state: State) -> tuple[tuple[Leg, Forwarded], ...]:
    """The sources that this host forwards for, and it is not known whether a site carries them."""
    return unknown(*_through(state))


def all_dropped(state: State) -> tuple[tuple[Leg, Forwarded], ...]:
    """The sources that this host forwards for and a site does not carry."""
    return dropped(*_through(state))


def not_carried(leg: Leg) -> str:
    """In words: answers to a forwarded source are lost."""
    return f"no answer comes back to {leg.source}, for which this host forwards"


def lost_legs(state: State) -> tuple[Leg, ...]:
    """The legs over which answers do not come back."""
    legs, sources = state.ledger.legs, state.sources
    return (*lost(legs, sources, partial=False), *lost(legs, sources, partial=True))


def no_answer(leg: Leg) -> str:
    """In words: which answers are lost on a leg."""
    what = f"no large answer of {leg.large}" if leg.large else "no answer"
    return f"{what} comes back to {leg.source or 'this host'} by {'TCP' if leg.tcp else 'UDP'}"


def _state(state: State, a: int, p: int, through: Collection[tuple[Leg, Forwarded]]) -> str:
    """The state of one site for one address; `through`: the result of `all_unknown`."""
    word = Health(int(state.ledger.health[a, p])).word
    if state.override_state.banned[a, p]:
        return f"{word}, avoided by an override"
    if state.avoid_until[a, p] > state.now:
        avoided = f"avoided for {duration(float(state.avoid_until[a, p]) - state.now)}"
        why = (
            ": the resolvers got no answers, or worse ones, over it"
            if (a, p) in state.unserved
            else ""
        )
        return f"{word}, {avoided}{why}"
    if state.breached[a] and worse(state)[a, p]:
        return f"{word}, but it fails more than the local path"
    if said := unreached(state, a, p):
        return f"{word}, but {said}"
    site, family = state.layout.paths[p], state.layout.targets[a].family
    if not comes_back(state.ledger.legs, state.sources, family, site):
        return f"{word}, but not probed yet from every source of the resolvers"
    if said := _not_known(through, family, site):
        return f"{word}, but {said}"
    if state.ledger.stuck[a, p] >= SILENCES:
        return f"{word}, but probes over it do not leave this host now"
    if np.isnan(state.ledger.seen[a, p]):
        return f"{word}, not measured yet"
    return f"{word}, but its last answer was bad" if state.ledger.run[a, p] == 0 else word


def _not_known(through: Collection[tuple[Leg, Forwarded]], family: Family, site: str) -> str:
    """Why a site is not proven for forwarded sources; empty: it is, or there are none."""
    who = [leg.source for leg, _ in through if (leg.family, leg.site) == (family, site)]
    more = f" and {len(who) - 1} more" if len(who) > 1 else ""
    return f"not known whether it carries what this host forwards for {who[0]}{more}" if who else ""
