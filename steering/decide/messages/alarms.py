"""Alarms: conditions that an operator should look at, for as long as they last."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from steering.decide.messages.intercepted import ALONE, intercepted, those
from steering.decide.messages.reasons import (
    Text,
    all_dropped,
    all_unknown,
    by_mark,
    clock,
    loads,
    lost_legs,
    no_answer,
    one_of,
    own_fault,
    penalty,
    sites,
    waiting,
)
from steering.decide.moves.room import Held
from steering.decide.situation import AddressSituation, Situation
from steering.decide.state import Alarm, State
from steering.facts import Forwarded
from steering.format import duration
from steering.index import Index
from steering.judge.known.carriage import LASTS
from steering.judge.known.legs import Leg
from steering.judge.probes.host_families import FamilyAnswers, family_answers
from steering.judge.probes.reach import without_answers
from steering.judge.signals import LATE_ROUNDS
from steering.model import Event, Family, Health, WallTime
from steering.override_text import override_text
from steering.remedies import cause_of, with_remedy

REMEDY = (
    "nothing moves because of it. To do: look for firewall or NAT rules that match the mark "
    "(`nft list ruleset`, `iptables-save`), or set act.kernel.mark and mask to bits that no other "
    "program uses"
)

_OF_NONE: Mapping[str, Collection[str]] = {}


def alarms(state: State, situation: Situation) -> tuple[State, tuple[Event, ...]]:
    """The state with this turn's alarms, and the events for those raised or cleared."""
    now, about = _now(state, situation)
    kept, events = settle(state.alarms, now, state.wall, about=about)
    return replace(state, alarms=kept), events


def settle(
    was: Mapping[str, Alarm],
    now: Mapping[str, str],
    wall: WallTime,
    others: Collection[str] = (),
    *,
    about: Mapping[str, Collection[str]] = _OF_NONE,
) -> tuple[Mapping[str, Alarm], tuple[Event, ...]]:
    """The alarms of this turn (`now`: name to text), and the events for those raised or cleared.

    An alarm that follows from another one, of these or of `others`, has no events of its own.
    `about`: the addresses in order, for alarms that are about addresses.
    """
    there = {*now, *others}
    kept = {
        name: Alarm(
            since=was[name].since if name in was else wall,
            because=with_remedy(name, text),
            cause=cause_of(name, there),
            about=tuple(about.get(name, ())),
        )
        for name, text in now.items()
    }
    before, after = (
        {name: alarm for name, alarm in alarms.items() if alarm.cause is None}
        for alarms in (was, kept)
    )
    raised = (
        Event(event="alarm_raised", because=alarm.because, now=name)
        for name, alarm in after.items()
        if name not in before
    )
    cleared = (
        Event(
            event="alarm_cleared",
            because=f"it follows from {kept[name].cause}" if name in kept else "no longer so",
            was=name,
        )
        for name in before
        if name not in after
    )
    return kept, (*raised, *cleared)


def _now(state: State, situation: Situation) -> tuple[dict[str, str], dict[str, Collection[str]]]:
    """Name -> text of the alarm; and, for alarms about addresses, name -> which, in order."""
    texts: dict[str, str] = {}
    about: dict[str, Collection[str]] = {}
    if situation.clock_doubt:
        texts["clock"] = (
            f"this host's clock is wrong, or their signatures: {clock(state, situation)}"
        )
    of_each = situation.addresses.values()
    stuck = {one.address: None for one in of_each if _is_stuck(state, one)}
    doubted = _doubted(state, situation)
    defied = [one.address for one in of_each if one.defied]
    for name, where, text in (
        ("self", doubted, "fail, most likely because of this host"),
        (
            "marked",
            [one.address for one in of_each if one.marked],
            "fail when probed with our mark, and answer the same questions without it; " + REMEDY,
        ),
        (
            "everywhere",
            [one.address for one in of_each if one.all_bad],
            "are bad on every path",
        ),
        ("unproven", [*stuck], "are bad here and no remote path is proven good"),
        (
            "damped",
            [one.address for one in of_each if one.damped],
            "moved too often and stay where they are",
        ),
        (
            "budget",
            [one.address for one in of_each if one.breached and one.held is not Held.NOT],
            "are bad here and wait",
        ),
        (
            "zone_late",
            [] if situation.clock_doubt else _outdated(state),
            "have an outdated zone on every path, unless this host's clock is ahead",
        ),
    ):
        if where:
            about[name] = where
            detail = _DETAIL[name](state, situation, where[0]) if name in _DETAIL else ""
            texts[name] = f"{those(state, where)} {text}{f': {detail}' if detail else ''}"
            if name in _OF_OPERATORS:
                texts[name] += _contacts(state, where)
    if found := intercepted(state):
        texts["intercepted"], about["intercepted"] = found
    if gone := lost_legs(state):
        texts["reach"] = (
            f"{_legs(gone)}, while answers come back over the local path. These sites are not used"
            " (where only TCP or large answers are lost, they are if the local path is mostly bad)."
            " To do: make the site's network route answers back to this address, and carry TCP and"
            " large packets"
        )
    if said := _forwarded(state):
        texts["forwarded"] = said
    if mute := without_answers(state.ledger.legs, state.sources):
        texts["unanswered"] = (
            f"{_legs(mute)}, while another source gets answers: does a resolver send from it?"
        )
    if alone := [a for a in _uncompared_addresses(state, situation) if a not in stuck]:
        about["uncompared"] = alone
        texts["uncompared"] = (
            f"{those(state, alone)} look bad here, and no other path can be compared, so it is not"
            f" known whose fault it is: {_uncompared(state, alone[0])}"
        )
    of_family = family_answers(state.ledger, state.index)
    if shut := [family for family, said in of_family.items() if said is FamilyAnswers.LOST]:
        texts["self"] = "; ".join([*([texts["self"]] if doubted else []), _no_route(shut)])
        every = (address for family in shut for address in state.index.families[family])
        about["self"] = state.index.in_order([*doubted, *every])
    none = frozenset(family for family, said in of_family.items() if said is FamilyAnswers.NONE)
    if lost := _unwatched(state.index, none):
        about["unwatched"] = lost
        texts["unwatched"] = (
            f"{those(state, lost)} are of families that this host has no route for and never had:"
            " these upstreams can't be measured"
        )
    if defied:
        texts["override"], about["override"] = _defied(state, situation, defied), defied
    if unserved := _unserved(state):
        texts["unserved"], about["unserved"] = unserved
    if situation.room.over:
        texts["capacity"] = (
            f"more {'is' if state.index.acts else 'would be'} steered to a site than its limit:"
            f" {loads(situation)}. Load that only dnstap shows holds no move back. To do: if dnstap"
            " is right, raise steer.queries_per_second in the policies; if not, check which program"
            " writes to the dnstap sockets"
        )
    return texts, about


_DETAIL: Mapping[str, Text] = {
    "self": own_fault,
    "marked": by_mark,
    "damped": penalty,
    "budget": waiting,
}
"""Alarm -> what is known of the first of its addresses."""


def _is_stuck(state: State, one: AddressSituation) -> bool:
    """Whether an address is bad here, and there is no site for it."""
    return (
        one.breached
        and one.best is None
        and one.address not in state.plan
        and not one.all_bad
        and one.local >= Health.SUSPECT
        and not one.ordered
    )


def _doubted(state: State, situation: Situation) -> list[str]:
    """The addresses whose fault is most likely this host's: by a common cause, all of a family."""
    found = {one.address for one in situation.addresses.values() if one.self_doubt}
    for family, operators in situation.common_causes.items():
        if operators:
            found.update(state.index.families[family])
    return state.index.in_order(found)


def _uncompared_addresses(state: State, situation: Situation) -> list[str]:
    """Bad here for a while, with no remote path known to be better or as bad."""
    if situation.clock_doubt:
        return []
    ledger, index = state.ledger, state.index
    known = (Health.HEALTHY, Health.STALE)

    def lasting(address: str) -> bool:
        since = ledger.address(address).suspected_at
        return since is not None and state.now - since >= ALONE and address not in state.plan

    def alone(address: str) -> bool:
        one, order = one_of(state, situation, address), index.settings[address].order
        return not (
            any(ledger.path(address, site).health in known for site in order)
            or one.all_bad
            or one.self_doubt
            or one.ordered
        )

    return [a for a in index.in_order(filter(lasting, ledger.open)) if alone(a)]


def _uncompared(state: State, address: str) -> str:
    """What each site lacks, or that no site is probed in this mode."""
    if not state.index.compares:
        return "`mode: observe` probes no site (`mode: rehearse` does, and moves nothing)"
    return sites(state, address)


@lru_cache(maxsize=4)
def _unwatched(index: Index, none: frozenset[Family]) -> tuple[str, ...]:
    """The addresses of upstreams to which no probe ever left this host; `none`: the families of
    which none ever did.
    """
    return tuple(
        address
        for addresses in index.upstreams.values()
        if all(index.settings[address].family in none for address in addresses)
        for address in addresses
    )


def _no_route(shut: Collection[Family]) -> str:
    return (
        f"no probe leaves this host over the local path ({' and '.join(sorted(shut))}): check the"
        " default route (`ip route show default`), `ip rule` for `32766: from all lookup main`, the"
        " uplink and its gateway"
    )


def _outdated(state: State) -> list[str]:
    """The zone is outdated on every path, for as long as makes one path `stale`."""
    ledger, least = state.ledger, LATE_ROUNDS * state.index.interval

    def lasting(address: str) -> bool:
        since = ledger.address(address).zone_since
        return since is not None and state.now - since >= least

    return state.index.in_order(filter(lasting, ledger.open))


def _unserved(state: State) -> tuple[str, list[str]] | None:
    """The sites over which the resolvers got no answers, or worse ones, while they are avoided."""
    said, about, index = [], set[str](), state.index
    for silent in (True, False):
        found = {
            key: unserved
            for key, unserved in state.unserved.items()
            if unserved.silent is silent and state.avoids(*key)
        }
        if not found:
            continue
        about |= {address for address, _ in found}
        sites = ", ".join(sorted({site for _, site in found}, key=index.path_number.__getitem__))
        addresses = sorted({address for address, _ in found})
        more = f" and {len(addresses) - _NAMED} more" if len(addresses) > _NAMED else ""
        whose = f"{', '.join(addresses[:_NAMED])}{more}"
        last = max(found, key=lambda key: found[key].at)
        shown = f"at {last[0]} {found[last].shown}"
        if silent:
            said.append(
                f"the resolvers get no answers from {whose} over {sites}, while our own probes are "
                f"answered there: {shown}. Does the site have a route back to the resolvers' source"
                " address?"
            )
        else:
            said.append(
                f"the resolvers get worse answers from {whose} over {sites} than over the local "
                f"path, while our own probes get good answers there: {shown}."
            )
    if not said:
        return None
    todo = "If the site is in order, check which program writes to the dnstap sockets"
    return f"{' '.join(said)} {todo}", index.in_order(about)


_NAMED = 12
"""Overrides, or addresses, that an alarm lists one by one."""
_OF_OPERATORS = ("everywhere", "unproven", "zone_late")
"""Alarms that an upstream's operator can do something about."""


def _contacts(state: State, addresses: Collection[str]) -> str:
    """The contacts in the policies of these addresses."""
    every = (state.index.settings[address].policy for address in addresses)
    policies = {policy.upstream: policy for policy in every}
    operators = [policy.operator for _, policy in sorted(policies.items())]
    contacts = dict.fromkeys(f"{o.name}, {o.contact}" for o in operators if o and o.contact)
    return f"; contact: {'; '.join(contacts)}" if contacts else ""


def _defied(state: State, situation: Situation, addresses: Collection[str]) -> str:
    """Which overrides contradict the measurements, and which can't be obeyed."""
    said: list[str] = []
    by: dict[int, list[str]] = {}
    for address in addresses:
        by.setdefault(state.override_state.decides[address], []).append(address)
    for number in sorted(by)[:_NAMED]:
        override = state.override_state.overrides[number]
        for obeyed, text in (
            (True, "obeyed although the measurements contradict it"),
            (False, "can't be obeyed without a next hop"),
        ):
            if where := [a for a in by[number] if situation.addresses[a].ordered is obeyed]:
                said.append(f"{override_text(override)}: {text} for {those(state, where)}")
    more = f"; and {len(by) - _NAMED} more overrides" if len(by) > _NAMED else ""
    return "; ".join(said) + more


def _legs(gone: Collection[Leg]) -> str:
    said = [f"{leg.site} ({leg.family}): {no_answer(leg)}" for leg in sorted(gone)]
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return "; ".join(said[:_NAMED]) + more


def _forwarded(state: State) -> str:
    """Forwarded sources that a site does not carry, or may not; empty: none."""
    said = []
    if legs := all_dropped(state):
        said.append(
            f"{_senders(legs)}: no answer comes back over the site to what this host forwards for"
            " it, while our own probes are answered there. No address of the family is steered"
            f" there for {duration(LASTS)}. To do: translate (NAT) its packets to the site too, or"
            " route them back"
        )
    if legs := all_unknown(state):
        said.append(
            f"{_senders(legs)}: sends to watched nameservers through this host, and it is not known"
            " whether the site carries its packets, so no address of the family is steered there."
            " To do: translate (NAT) its packets to the site too, or route them back, and add the"
            " source to `forwarded_sources`"
        )
    return "; ".join(said)


def _senders(legs: Sequence[tuple[Leg, Forwarded]]) -> str:
    """Site, family, and the address that sends."""
    said = [
        f"{leg.site} ({leg.family}): {leg.source}"
        + (f" (over the local path: {who.translated})" if who.translated else "")
        for leg, who in sorted(legs, key=lambda each: each[0])
    ]
    more = f" and {len(said) - _SENDERS} more" if len(said) > _SENDERS else ""
    return "; ".join(said[:_SENDERS]) + more


_SENDERS = 3
