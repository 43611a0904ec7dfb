"""Looks at all that the rules decide by: the situation of this turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from steering.decide.moves import breaches, damping
from steering.decide.moves.budget import allot
from steering.decide.moves.common_cause import HASTY, affected, common_causes
from steering.decide.moves.dates import out_of_date
from steering.decide.moves.detours import worse_detours
from steering.decide.moves.ranking import Choice, Costs, best, costs, lasting, surely_failing
from steering.decide.moves.room import Held, Room, room
from steering.decide.moves.usable_sites import proven
from steering.decide.situation import AddressSituation, Situation
from steering.decide.state import State
from steering.index import Index
from steering.judge.known.ledger import Ledger
from steering.judge.probes.peer_paths import cut_off, others_asked
from steering.model import LOCAL, NEVER, Family, Health


def look(state: State) -> Situation:
    """The situation of this turn, with the budget applied."""
    index, ledger, now = state.index, state.ledger, state.now
    was = state.common_causes
    causes = common_causes(index, ledger, now, was)
    ones, opened = breaches.begin(state)
    dated = out_of_date(state)
    mute = cut_off(ledger, index, ones)
    asked = others_asked(ledger, index, mute)
    worse = worse_detours(state, dates_count=not dated)
    common = {family for family in Family if affected(causes, family)}
    sudden = {family for family in common if not affected(was, family)}
    for address, one in ones.items():
        family = index.settings[address].family
        one.self_doubt = family in common or (address in mute and address in asked)
        one.settling |= address in mute and one.path == LOCAL
        one.hasty = family in sudden and one.path != LOCAL and _left_just_now(state, address)
        one.all_bad = (one.own or one.local is Health.SUSPECT) and _all_bad(state, address)
        one.detour_worse = address in worse
    _find_ways(state, ones)
    standing = {a: one.ordered_to for a, one in ones.items() if one.ordered_to != LOCAL}
    there = room(index, standing, ledger, state.moves, now)
    cost = _choose(state, ones, there)
    free = {
        address
        for address, one in ones.items()
        if not (one.ordered or one.self_doubt or address in mute or dated or state.off)
    }
    leaving = _move(state, ones, free)
    scouting, scouted = _scouts(state)
    return with_budget(
        Situation(
            off=state.off,
            clock_doubt=bool(dated),
            dated=dated,
            common_causes=causes,
            open_groups=opened,
            addresses=ones,
            room=there,
            leaving=leaving,
            cost={address: cost[address] for address in leaving},
            scouting=scouting,
            scouted=scouted,
        ),
        index,
    )


def with_budget(situation: Situation, index: Index) -> Situation:
    """The situation with the budget applied."""
    ones = situation.addresses
    allotted = allot(
        situation.leaving,
        situation.cost,
        [address for address, one in ones.items() if one.returning and not one.damped],
        addresses=ones,
        index=index,
        scouting=situation.scouting,
        scouted=situation.scouted,
        room=situation.room,
    )
    after = dict(ones)
    for address, one in ones.items():
        site = allotted.best.get(address, one.best)
        held = allotted.held.get(address, Held.NOT)
        if site != one.best or held is not one.held:
            after[address] = replace(one, best=site, held=held)
    return replace(situation, addresses=after, scouts=allotted.scouts)


def _left_just_now(state: State, address: str) -> bool:
    return state.now - state.left_at.get(address, NEVER) <= HASTY


def _all_bad(state: State, address: str) -> bool:
    """Whether an address with a bad local path is bad on every path that could be used."""
    sites = state.index.settings[address].order
    bad = (state.ledger.path(address, site).health >= Health.SUSPECT for site in sites)
    return bool(sites) and all(bad)


def _find_ways(state: State, ones: Mapping[str, AddressSituation]) -> None:
    """Note what overrides order, and the proven sites."""
    decided = state.override_state.decides
    ways = proven(state, [a for a, one in ones.items() if one.own or one.breached or a in decided])
    for address, one in ones.items():
        mine = ways.get(address, ())
        one.proven = tuple(s for s in mine if s not in one.banned) if one.banned else mine
        one.ordered_to = one.path
        if address in decided:
            to = _order(state, address)
            one.ordered, one.ordered_to = to is not None, to or one.path
            one.defied = not one.ordered or _contradicts(state, one, proven=bool(mine))


def _order(state: State, address: str) -> str | None:
    """The path that an override sets; None if it can't be obeyed."""
    to = state.override_state.to[address]
    if address in state.override_state.frozen:
        to = state.frozen[address].path if address in state.frozen else LOCAL
    return to if to == LOCAL or to in state.index.settings[address].hops else None


def _contradicts(state: State, one: AddressSituation, *, proven: bool) -> bool:
    """Whether an override contradicts the measurements; `proven`: there is a proven site."""
    to = one.ordered_to
    if to == LOCAL:
        return one.own and proven
    proof = state.verifications.get(one.address)
    failed = proof is not None and proof.shouted and proof.path == to
    return failed or not _is_fit(state, one.address, to)


def _is_fit(state: State, address: str, site: str) -> bool:
    """Whether a site is healthy by recent answers, whether the policy uses it or not."""
    record = state.ledger.path(address, site)
    recent = state.now - record.answered < state.index.fresh
    return record.health is Health.HEALTHY and not record.late and recent


def _choose(state: State, ones: Mapping[str, AddressSituation], room: Room) -> Mapping[str, Costs]:
    """Note the best site of each breached address; what each site costs those that may change."""
    index, ledger = state.index, state.ledger
    choices: list[Choice] = []
    for address, one in ones.items():
        if not one.breached:
            continue
        settings = index.settings[address]
        if _is_content(one, settings.order, ledger):
            one.best = one.path
            continue
        choices.append(
            Choice(
                address=address,
                group=settings.group,
                path=one.path,
                proven=one.proven,
                order=settings.order,
                record=partial(ledger.path, address),
            )
        )
    cost = costs(lasting(choices), index.paths, room.busy)
    for address, mine in cost.items():
        ones[address].best = best(mine)
    return cost


def _is_content(one: AddressSituation, order: Mapping[str, int], ledger: Ledger) -> bool:
    """Whether an address is on a proven detour that no other site can beat: it seldom fails, and no
    proven site comes before it in the policy's order.
    """
    if one.path not in one.proven or surely_failing(ledger.path(one.address, one.path)):
        return False
    return all(order[one.path] <= order[site] for site in one.proven)


def _move(state: State, ones: Mapping[str, AddressSituation], free: set[str]) -> tuple[str, ...]:
    """Note which addresses would move; those that would take another site, in order.

    `free`: those that no order keeps where they are, and no doubt.
    """
    leaving: list[str] = []
    for address, one in ones.items():
        steered = one.path != LOCAL
        if not (steered or one.breached):
            continue
        may_leave = address in free or (steered and not one.ordered and not state.off)
        leaves = (
            may_leave
            and one.breached
            and one.best not in (None, one.path)
            and not one.settling
            and not one.all_bad
        )
        fit = one.local is Health.HEALTHY or (one.local is Health.STALE and not one.own)
        one.returning = address in free and fit and not one.breached and steered
        one.onward = leaves and steered
        if leaves or one.returning:
            settings = state.index.settings[address]
            worn = state.worn.get(address, 0.0)
            left = damping.room(damping.penalty(worn, state.worn_at, settings, state.now), settings)
            one.damped = left < (damping.AWAY if leaves else damping.HOME)
        if leaves and not one.damped:
            leaving.append(address)
    return tuple(leaving)


def _scouts(state: State) -> tuple[frozenset[str], frozenset[str]]:
    """Groups whose first address back is being verified, and those where it is verified."""
    back = {
        (state.index.settings[address].group, proof.proved)
        for address, proof in state.verifications.items()
        if proof.path == LOCAL
    }
    return (
        frozenset(group for group, proved in back if not proved),
        frozenset(group for group, proved in back if proved),
    )
