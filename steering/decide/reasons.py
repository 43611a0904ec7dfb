"""Why, in one sentence with the numbers: for the events, the status and `explain`."""

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
from steering.format import duration, override_text, rate
from steering.judge.forwarded import Carriage, Senders, dropped, unknown
from steering.judge.ledger import SILENCES, reason
from steering.judge.paired_test import CONFIRM_AT
from steering.judge.reach import Leg, comes_back, lost
from steering.layout import Layout
from steering.model import Action, Family, Forwarded, Health, Instant


def because(state: State, a: int) -> str:
    """Why the rule in force for the address in row `a` decided as it did."""
    rule, situation = BY_NUMBER.get(int(state.rule[a])), state.situation
    if rule is None or situation is None:
        return "no turn yet"
    left = int(situation.plan[a])
    if left and not state.plan[a] and situation.detour_worse[a] and rule.answer is Answer.KEEP:
        there = reason(state.ledger, state.layout, a, left, state.now)
        if said := unreached(state, a, left):
            there = said
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
            first = "first of its group to go home; " if a in situation.scouts else ""
            return f"{first}local: {local}"
        case "everywhere":
            return f"every path is bad; local: {local}{_lost_over(state, a)}"
        case "damped":
            return f"{worn_out(state, situation, a)}; local: {local}"
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
        return f"{says}; no other site is to be had right now"
    order = override_state.of(a)
    assert order is not None
    path = layout.paths[situation.ordered_to[a]]
    kept = f" at {path}, as it stood when the freeze began" if order.action is Action.FREEZE else ""
    evidence = reason(state.ledger, layout, a, int(situation.ordered_to[a]), state.now)
    against = "against what is measured; " if situation.defied[a] else ""
    return f"{override_text(order)}{kept}; {against}{path}: {evidence}"


def _defied(state: State, situation: Situation, a: int) -> str:
    order = state.override_state.of(a)
    if order is None or situation.ordered[a]:
        return ""
    family = state.layout.targets[a].family
    return f"; the override {order.name} can't be obeyed: {order.to or 'it'} has no {family} way"


def clock(state: State, situation: Situation) -> str:
    """Whose signatures look out of date on every path."""
    names = [state.layout.policies[u].upstream for u in np.flatnonzero(situation.dated).tolist()]
    return (
        f"most answers of {', '.join(names) or 'no upstream'} are out of date by their signatures "
        f"on every path, of {len(state.layout.policies)} upstreams"
    )


def own_fault(state: State, situation: Situation, a: int) -> str:
    """What speaks against ourselves; empty if nothing does."""
    layout = state.layout
    family = int(layout.family_of[a])
    if crowd := situation.common_causes[family]:
        names = []
        for operator in crowd:
            policy = layout.policy(int(np.argmax(layout.operator_of == operator)))
            names.append(policy.operator.name if policy.operator else policy.upstream)
        heard = layout.sample & (layout.family_of == family)
        return (
            f"{len(names)} of {len(np.unique(layout.operator_of[heard]))} unrelated operators went "
            f"bad here within {AT_ONCE:.0f} s ({', '.join(names)}): what they share is us"
        )
    if situation.self_doubt[a]:
        unanswered = int(state.ledger.streak[a, 0])
        return (
            f"{unanswered} questions unanswered over the local path, and nothing of this family "
            "came back over it since"
        )
    return ""


def by_mark(state: State, situation: Situation, a: int) -> str:
    """What speaks against our own mark; empty if nothing does."""
    known = state.ledger.controls.get(a)
    if known is None or not situation.marked[a]:
        return ""
    return (
        f"questions with our mark fail and the same without it are answered ({known.score:+d}, the "
        f"latest {duration(max(0.0, state.now - known.at))} ago)"
    )


def worn_out(state: State, situation: Situation, a: int) -> str:
    """How often an address moved, and how long it stays."""
    layout = state.layout
    level = float(damping.worn(state.worn, state.worn_at, layout, state.now)[a])
    needs = damping.HOME if situation.returning[a] else damping.AWAY
    left = duration(damping.patience(level, a, layout, needs))
    return (
        f"{level:.1f} moves not worn off, of {layout.moves_per_day[a] * damping.AT_ONCE:.0f} "
        f"(moves_per_day: {layout.moves_per_day[a]}): stays where it is for another {left}"
    )


def waiting(state: State, situation: Situation, a: int) -> str:
    """What the budget lets an address wait for, with the numbers; empty if for nothing."""
    layout, room = state.layout, situation.room
    upstream = layout.upstream_of == layout.upstream_of[a]
    are = "are" if layout.acts else "would be"
    match Held(int(situation.held[a])):
        case Held.PER_MINUTE:
            return f"waits: moves_per_minute: {room.budget.moves_per_minute} are used up"
        case Held.AT_ONCE:
            away = int((state.plan > 0).sum())
            return f"waits: {away} addresses {are} steered, at_once: {room.budget.at_once}"
        case Held.AT_MOST:
            away = int((upstream & (state.plan > 0)).sum())
            return f"waits: {away} of its upstream {are} steered, at_most: {situation.at_most[a]}"
        case Held.CAPACITY:
            return f"waits: no proven site has room for {rate(room.demand[a])}: {loads(situation)}"
        case Held.GRADUAL:
            away = int(((layout.group_of == layout.group_of[a]) & (state.plan > 0)).sum())
            return f"waits with {away} of its group until the first one home has done well"
    return ""


def loads(situation: Situation) -> str:
    """What steered traffic takes of each site that has a limit, and what dnstap shows of it."""
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


def _shown(heard: float, estimate: float) -> str:
    """What dnstap shows, where that is not what the policies estimate."""
    return "" if heard == estimate else f" ({heard:.0f} by dnstap)"


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
            return "confirmed a while ago, and not shown by the last few seconds: to be shown anew"
        if health is Health.FAILING:
            return "confirmed just now, waiting for the other operators to be heard"
        return "the local path is not proven bad"
    if not state.plan[a] and state.now - state.ledger.confirmed_at[a] < SETTLE:
        return "confirmed just now, waiting for the trials of its group"
    if state.layout.targets[a].address in state.bypassed:
        return "no detour would carry its packets: a rule of somebody else comes before ours"
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
    """What does not come back over a site to the resolvers, as far as is known; empty: nothing."""
    target, site = state.layout.targets[a], state.layout.paths[p]
    gone = [leg for leg in lost_legs(state) if leg.site == site and leg.concerns(target)]
    through = [leg for leg, _ in all_dropped(state) if leg.site == site and leg.concerns(target)]
    return "; ".join([*map(no_answer, sorted(gone)), *map(not_carried, sorted(through))])


def _through(state: State) -> tuple[Mapping[Leg, Carriage], Senders, Layout, Instant]:
    """What is known of what this host forwards."""
    return state.ledger.carried, state.forwarded, state.layout, state.now


def all_unknown(state: State) -> tuple[tuple[Leg, Forwarded], ...]:
    """Whom this host forwards for without anybody knowing whether a site carries it."""
    return unknown(*_through(state))


def all_dropped(state: State) -> tuple[tuple[Leg, Forwarded], ...]:
    """Whom this host forwards for, and a site does not carry."""
    return dropped(*_through(state))


def not_carried(leg: Leg) -> str:
    """That what is forwarded for a source is lost, in words."""
    return f"no answer comes back to {leg.source}, for which this host forwards"


def lost_legs(state: State) -> tuple[Leg, ...]:
    """What does not come back over the sites."""
    legs, sources = state.ledger.legs, state.sources
    return (*lost(legs, sources, partial=False), *lost(legs, sources, partial=True))


def no_answer(leg: Leg) -> str:
    """What is lost on a leg, in words."""
    what = f"no large answer of {leg.large}" if leg.large else "no answer"
    return f"{what} comes back to {leg.source or 'this host'} by {'TCP' if leg.tcp else 'UDP'}"


def _state(state: State, a: int, p: int, through: Collection[tuple[Leg, Forwarded]]) -> str:
    """In words; `through` is whom this host forwards for without anybody knowing of a site."""
    word = Health(int(state.ledger.health[a, p])).word
    if state.override_state.banned[a, p]:
        return f"{word}, to be avoided by an override"
    if state.avoid_until[a, p] > state.now:
        avoided = f"avoided for {duration(float(state.avoid_until[a, p]) - state.now)}"
        why = ", as the resolvers were not served over it" if (a, p) in state.unserved else ""
        return f"{word}, {avoided}{why}"
    if state.breached[a] and worse(state)[a, p]:
        return f"{word}, but it fails more than the local path"
    if said := unreached(state, a, p):
        return f"{word}, but {said}"
    site, family = state.layout.paths[p], state.layout.targets[a].family
    if not comes_back(state.ledger.legs, state.sources, family, site):
        return f"{word}, but not asked yet from every source of the resolvers"
    if said := _nobody_knows(through, family, site):
        return f"{word}, but {said}"
    if state.ledger.stuck[a, p] >= SILENCES:
        return f"{word}, but nothing gets out over it now"
    if np.isnan(state.ledger.seen[a, p]):
        return f"{word}, not measured yet"
    return f"{word}, its last answer bad" if state.ledger.run[a, p] == 0 else word


def _nobody_knows(through: Collection[tuple[Leg, Forwarded]], family: Family, site: str) -> str:
    """What keeps a site from being proven for what is forwarded; empty: nothing does."""
    who = [leg.source for leg, _ in through if (leg.family, leg.site) == (family, site)]
    more = f" and {len(who) - 1} more" if len(who) > 1 else ""
    return (
        f"nothing shows that it carries what this host forwards for {who[0]}{more}" if who else ""
    )
