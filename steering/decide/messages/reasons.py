"""The reason for a decision, in one sentence with its numbers: for events, status and `explain`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from steering.decide.moves import damping
from steering.decide.moves.common_cause import AT_ONCE
from steering.decide.moves.groups import SETTLE
from steering.decide.moves.room import Held
from steering.decide.moves.usable_sites import worse
from steering.decide.rules import BY_NUMBER, Answer
from steering.decide.situation import AddressSituation, Situation
from steering.decide.state import State
from steering.facts import Forwarded
from steering.format import counted, duration, rate
from steering.index import Index
from steering.judge.known.carriage import Carriage
from steering.judge.known.ledger import SILENCES
from steering.judge.known.legs import Leg
from steering.judge.known.paired_test import CONFIRM_AT
from steering.judge.known.reason import reason
from steering.judge.probes.reach import comes_back, lost
from steering.judge.traffic.forwarded import Senders, dropped, unknown
from steering.model import LOCAL, NEVER, Family, Health, Instant
from steering.override import Action
from steering.override_text import override_text

Text = Callable[[State, Situation, str], str]
"""What is so of an address, in words."""


def one_of(state: State, situation: Situation, address: str) -> AddressSituation:
    """The situation of one address."""
    family = state.index.settings[address].family
    return situation.of(address, family, state.ledger.path(address).health)


def because(state: State, address: str) -> str:
    """Why the address has its path: the reason of the rule that decided."""
    rule, situation = BY_NUMBER.get(state.rule.get(address, 0)), state.situation
    if rule is None or situation is None:
        return "no turn yet"
    why, one = _why(state, situation, address), one_of(state, situation, address)
    if (
        one.path != LOCAL
        and address not in state.plan
        and one.detour_worse
        and rule.answer is Answer.KEEP
    ):
        there = unreached(state, address, one.path) or _reason(state, address, one.path)
        return f"the detour is worse: {one.path}: {there}; {why}"
    return why


def _reason(state: State, address: str, path: str = LOCAL) -> str:
    return reason(state.ledger, state.index, address, path, state.now)


def _why(state: State, situation: Situation, a: str) -> str:
    rule, local = BY_NUMBER[state.rule[a]], _reason(state, a)
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
            site = state.path_of(a)
            there, suspect = _reason(state, a, site), state.ledger.path(a).health >= Health.SUSPECT
            why = local if suspect else "its group is breached"
            return f"local: {why}; {site}: {there}{_defied(state, situation, a)}"
    return f"{unproven(state, a)}{_defied(state, situation, a)}; local: {local}"


def _override(state: State, situation: Situation, a: str) -> str:
    override_state, one = state.override_state, one_of(state, situation, a)
    if not one.ordered:
        banned = override_state.banned.get(a, {}).get(one.path)
        says = "an override" if banned is None else override_text(override_state.overrides[banned])
        return f"{says}; no other site is available now"
    order, path = override_state.of(a), one.ordered_to
    assert order is not None
    kept = f"; frozen at {path}" if order.action is Action.FREEZE else ""
    evidence = _reason(state, a, path)
    against = "obeyed although the measurements contradict it; " if one.defied else ""
    return f"{override_text(order)}{kept}; {against}{path}: {evidence}"


def _defied(state: State, situation: Situation, a: str) -> str:
    order = state.override_state.of(a)
    if order is None or one_of(state, situation, a).ordered:
        return ""
    family, where = state.index.settings[a].family, f"site {order.to}" if order.to else "its path"
    return f"; the override {order.name} can't be obeyed: {where} has no {family} next hop"


def clock(state: State, situation: Situation) -> str:
    """The upstreams whose signatures are expired or not yet valid on every path."""
    names = [name for name in state.index.upstreams if name in situation.dated]
    every = f"{counted(len(state.index.policies), 'upstream')} in all"
    if not names:
        return f"at most half of the upstreams have such signatures ({every})"
    return (
        f"most answers of {', '.join(names)} have signatures that are expired or not yet valid on "
        f"every path ({every})"
    )


def own_fault(state: State, situation: Situation, a: str) -> str:
    """The evidence that the cause is this host; empty if there is none."""
    family = state.index.settings[a].family
    if operators := situation.common_causes[family]:
        probed = sum(of is family for _, of in state.index.sample)
        return (
            f"{len(operators)} of {probed} unrelated operators failed here within "
            f"{duration(AT_ONCE)} ({', '.join(operators)}): the common cause is most likely this "
            "host or its uplink"
        )
    if one_of(state, situation, a).self_doubt:
        unanswered = state.ledger.path(a).streak
        return (
            f"{unanswered} questions in a row unanswered over the local path, and no answer of "
            "this family came back over it since"
        )
    return ""


def by_mark(state: State, situation: Situation, a: str) -> str:
    """The evidence that only packets with our mark fail; empty if there is none."""
    known = state.ledger.address(a).control
    if known is None or not one_of(state, situation, a).marked:
        return ""
    return (
        "questions with our mark fail, and the same questions without it are answered "
        f"(score {known.score:+d}, latest {duration(max(0.0, state.now - known.at))} ago)"
    )


def penalty_of(state: State, a: str) -> float:
    """The penalty of an address now, in moves."""
    settings, level = state.index.settings[a], state.worn.get(a, 0.0)
    return damping.penalty(level, state.worn_at, settings, state.now)


def time_to_reuse(state: State, situation: Situation, a: str) -> str:
    """How long an address stays where it is because of its penalty."""
    needs = damping.HOME if one_of(state, situation, a).returning else damping.AWAY
    settings = state.index.settings[a]
    return duration(damping.time_to_reuse(penalty_of(state, a), settings, needs))


def penalty(state: State, situation: Situation, a: str) -> str:
    """The penalty of an address, and how long it stays where it is."""
    most = state.index.settings[a].policy.recover.moves_per_day
    return (
        f"penalty {penalty_of(state, a):.1f} of {most * damping.AT_ONCE:.0f} recent moves "
        f"(moves_per_day: {most}): can move again in {time_to_reuse(state, situation, a)}"
    )


def waiting(state: State, situation: Situation, a: str) -> str:
    """The limit of the budget that an address waits for, with its numbers; empty: none."""
    index, room, settings = state.index, situation.room, state.index.settings[a]
    are = "are" if index.acts else "would be"
    match one_of(state, situation, a).held:
        case Held.PER_MINUTE:
            return f"waits: the {room.budget.moves_per_minute} moves_per_minute are used up"
        case Held.AT_ONCE:
            return (
                f"waits: {len(state.plan)} addresses {are} steered (at_once: {room.budget.at_once})"
            )
        case Held.AT_MOST:
            away = steered(index.upstreams[settings.upstream], state.plan)
            return f"waits: {away} of its upstream {are} steered (at_most: {settings.at_most})"
        case Held.CAPACITY:
            asked = rate_of(room.demand_of(settings))
            return f"waits: no proven site has room for {asked}: {loads(situation)}"
        case Held.GRADUAL:
            away = steered(index.groups[settings.group], state.plan)
            return (
                f"waits with {away} of its group: the first address back on the local path is being"
                " verified"
            )
    return ""


def steered(addresses: Collection[str], plan: Mapping[str, str]) -> int:
    """How many of the addresses are steered by a plan."""
    return sum(address in plan for address in addresses)


def rate_of(queries: float | None) -> str:
    """Queries per second; None is unknown."""
    return rate(math.nan if queries is None else queries)


def loads(situation: Situation) -> str:
    """The load on each site with a limit, by the policies and by dnstap."""
    room = situation.room
    return (
        ", ".join(
            f"{site} {room.load[site]:.0f} of {allowed:.0f} queries/s"
            f"{_shown(room.heard_load[site], room.load[site])}"
            for site, allowed in room.allowed.items()
            if math.isfinite(allowed)
        )
        or "no site has a capacity set"
    )


def _shown(by_dnstap: float, estimate: float) -> str:
    """The load by dnstap, where it differs from the estimate of the policies."""
    return "" if by_dnstap == estimate else f" ({by_dnstap:.0f} by dnstap)"


def unproven(state: State, a: str) -> str:
    """What is missing for a move."""
    health, known = state.ledger.path(a).health, state.ledger.address(a)
    if health is Health.SUSPECT:
        trial = known.trial
        if trial is None:
            return "suspect, and no remote path is proven good to compare with"
        return f"suspect, on trial ({trial.score:+d} of +{CONFIRM_AT})"
    if a not in state.breached:
        if state.situation is not None and one_of(state, state.situation, a).unshown:
            return (
                "confirmed earlier, but the last few seconds do not show the fault: waiting for"
                " fresh evidence"
            )
        if health is Health.FAILING:
            return "confirmed just now, waiting for probes of the other operators (common cause?)"
        return "the local path is not proven bad"
    confirmed = known.confirmed_at
    if a not in state.plan and confirmed is not None and state.now - confirmed < SETTLE:
        return "confirmed just now, waiting for the trials of its group"
    if a in state.bypassed:
        return "a detour would have no effect: another program's routing rule comes before ours"
    return f"no remote path is proven good right now ({sites(state, a)})"


def sites(state: State, a: str) -> str:
    """The state of each site that the policy would use for this address."""
    through, order = all_unknown(state), state.index.settings[a].order
    states = ", ".join(
        f"{site} {_state(state, a, site, through)}" for site in state.index.sites if site in order
    )
    return states or "no site has a next hop for this family"


def _lost_over(state: State, a: str) -> str:
    sites = ((site, unreached(state, a, site)) for site in state.index.sites)
    return "".join(f"; {site}: {said}" for site, said in sites if said)


def unreached(state: State, a: str, site: str) -> str:
    """Which answers do not come back over a site to the resolvers; empty: none known."""
    target = state.index.settings[a].target
    gone = [leg for leg in lost_legs(state) if leg.site == site and leg.concerns(target)]
    through = [leg for leg, _ in all_dropped(state) if leg.site == site and leg.concerns(target)]
    return "; ".join([*map(no_answer, sorted(gone)), *map(not_carried, sorted(through))])


def _through(state: State) -> tuple[Mapping[Leg, Carriage], Senders, Index, Instant]:
    """The arguments of `judge.traffic.forwarded`, out of the state."""
    return state.ledger.carried, state.forwarded, state.index, state.now


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


def _state(state: State, a: str, site: str, through: Collection[tuple[Leg, Forwarded]]) -> str:
    """The state of one site for one address; `through`: the result of `all_unknown`."""
    record, family = state.ledger.path(a, site), state.index.settings[a].family
    word = record.health.word
    if site in state.override_state.banned.get(a, ()):
        return f"{word}, avoided by an override"
    if state.avoids(a, site):
        avoided = f"avoided for {duration(state.avoid_until[a, site] - state.now)}"
        why = (
            ": the resolvers got no answers, or worse ones, over it"
            if (a, site) in state.unserved
            else ""
        )
        return f"{word}, {avoided}{why}"
    if a in state.breached and site in _worse(_Judged(state)).get(a, ()):
        return f"{word}, but it fails more than the local path"
    if said := unreached(state, a, site):
        return f"{word}, but {said}"
    if not comes_back(state.ledger.legs, state.sources, family, site):
        return f"{word}, but not probed yet from every source of the resolvers"
    if said := _not_known(through, family, site):
        return f"{word}, but {said}"
    if record.stuck >= SILENCES:
        return f"{word}, but probes over it do not leave this host now"
    if record.seen == NEVER:
        return f"{word}, not measured yet"
    return f"{word}, but its last answer was bad" if record.run == 0 else word


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """A state, the same as another one after the same turn of judging."""

    state: State

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Judged)
            and other.state.ledger is self.state.ledger
            and other.state.now == self.state.now
        )

    def __hash__(self) -> int:
        return id(self.state.ledger)


@lru_cache(maxsize=1)
def _worse(judged: _Judged) -> Mapping[str, frozenset[str]]:
    """`worse`, found once for the reasons of thousands of addresses."""
    return worse(judged.state)


def _not_known(through: Collection[tuple[Leg, Forwarded]], family: Family, site: str) -> str:
    """Why a site is not proven for forwarded sources; empty: it is, or there are none."""
    who = [leg.source for leg, _ in through if (leg.family, leg.site) == (family, site)]
    more = f" and {len(who) - 1} more" if len(who) > 1 else ""
    return f"not known whether it carries what this host forwards for {who[0]}{more}" if who else ""
