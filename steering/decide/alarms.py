"""Alarms: conditions that an operator should look at, for as long as they last."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steering.decide.budget import Held
from steering.decide.intercepted import ALONE, intercepted, rows_of, those
from steering.decide.reasons import (
    all_dropped,
    all_unknown,
    by_mark,
    clock,
    loads,
    lost_legs,
    no_answer,
    own_fault,
    penalty,
    sites,
    waiting,
)
from steering.decide.remedies import cause_of, with_remedy
from steering.decide.situation import Situation
from steering.decide.state import Alarm, State
from steering.format import duration, override_text
from steering.judge.forwarded import LASTS
from steering.judge.host_families import FamilyAnswers, family_answers
from steering.judge.reach import Leg, without_answers
from steering.judge.signals import LATE_ROUNDS
from steering.model import Event, Family, Forwarded, Health, WallTime

REMEDY = (
    "nothing moves because of it. To do: look for firewall or NAT rules that match the mark "
    "(`nft list ruleset`, `iptables-save`), or set act.kernel.mark and mask to bits that no other "
    "program uses"
)


_OF_NONE: Mapping[str, NDArray[np.bool_]] = {}


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
    about: Mapping[str, NDArray[np.bool_]] = _OF_NONE,
) -> tuple[Mapping[str, Alarm], tuple[Event, ...]]:
    """The alarms of this turn (`now`: name to text), and the events for those raised or cleared.

    An alarm that follows from another one, of these or of `others`, has no events of its own.
    `about`: (A,) the addresses, for alarms that are about addresses.
    """
    there = {*now, *others}
    kept = {
        name: Alarm(
            since=was[name].since if name in was else wall,
            because=with_remedy(name, text),
            cause=cause_of(name, there),
            about=tuple(np.flatnonzero(about[name]).tolist()) if name in about else (),
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


def _now(state: State, situation: Situation) -> tuple[dict[str, str], dict[str, NDArray[np.bool_]]]:
    """Name -> text of the alarm; and, for alarms about addresses, name -> (A,) which."""
    texts: dict[str, str] = {}
    about: dict[str, NDArray[np.bool_]] = {}
    if situation.clock_doubt:
        texts["clock"] = (
            f"this host's clock is wrong, or their signatures: {clock(state, situation)}"
        )
    stuck = situation.breached & (situation.best == 0) & (state.plan == 0) & ~situation.all_bad
    stuck &= (situation.local >= Health.SUSPECT) & ~situation.ordered
    waits = situation.breached & (situation.held != Held.NOT)
    for name, where, text in (
        ("self", situation.self_doubt, "fail, most likely because of this host"),
        (
            "marked",
            situation.marked,
            "fail when probed with our mark, and answer the same questions without it; " + REMEDY,
        ),
        (
            "everywhere",
            situation.all_bad,
            "are bad on every path",
        ),
        ("unproven", stuck, "are bad here and no remote path is proven good"),
        ("damped", situation.damped, "moved too often and stay where they are"),
        ("budget", waits, "are bad here and wait"),
        (
            "zone_late",
            _outdated(state) & (not situation.clock_doubt),
            "have an outdated zone on every path, unless this host's clock is ahead",
        ),
    ):
        if where.any():
            about[name], first = where, int(np.argmax(where))
            detail = {
                "self": own_fault(state, situation, first),
                "marked": by_mark(state, situation, first),
                "damped": penalty(state, situation, first),
                "budget": waiting(state, situation, first),
            }.get(name)
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
    if (alone := _uncompared_rows(state, situation) & ~stuck).any():
        about["uncompared"], first = alone, int(np.argmax(alone))
        texts["uncompared"] = (
            f"{those(state, alone)} look bad here, and no other path can be compared, so it is not"
            f" known whose fault it is: {_uncompared(state, first)}"
        )
    if (shut := _no_probe_leaves(state)).any():
        others = [texts["self"]] if "self" in texts else []
        texts["self"] = "; ".join([*others, _no_route(state, shut)])
        about["self"] = situation.self_doubt | shut
    if (lost := _unwatched(state)).any():
        about["unwatched"] = lost
        texts["unwatched"] = (
            f"{those(state, lost)} are of families that this host has no route for and never had:"
            " these upstreams can't be measured"
        )
    if situation.defied.any():
        texts["override"], about["override"] = _defied(state, situation), situation.defied
    if unserved := _unserved(state):
        texts["unserved"], about["unserved"] = unserved
    if situation.room.over.any():
        texts["capacity"] = (
            f"more {'is' if state.layout.acts else 'would be'} steered to a site than its limit:"
            f" {loads(situation)}. Load that only dnstap shows holds no move back. To do: if dnstap"
            " is right, raise steer.queries_per_second in the policies; if not, check which program"
            " writes to the dnstap sockets"
        )
    return texts, about


def _uncompared_rows(state: State, situation: Situation) -> NDArray[np.bool_]:
    """(A,) bad here for a while, with no remote path known to be better or as bad."""
    ledger, layout = state.ledger, state.layout
    usable, health = layout.order[:, 1:] >= 0, ledger.health[:, 1:]
    known = usable & ((health == Health.HEALTHY) | (health == Health.STALE))
    lasting = state.now - ledger.suspected_at >= ALONE  # NaN: not bad
    found = lasting & (state.plan == 0) & ~known.any(axis=1) & ~situation.all_bad
    return np.asarray(
        found & ~situation.self_doubt & ~situation.ordered & (not situation.clock_doubt)
    )


def _uncompared(state: State, a: int) -> str:
    """What each site lacks, or that no site is probed in this mode."""
    if not state.layout.compares:
        return "`mode: observe` probes no site (`mode: rehearse` does, and moves nothing)"
    return sites(state, a)


def _no_probe_leaves(state: State) -> NDArray[np.bool_]:
    """(A,) no probe of this address's family leaves this host over the local path any more."""
    of_each = family_answers(state.ledger, state.layout)
    lost = [
        number for number, family in enumerate(Family) if of_each.get(family) is FamilyAnswers.LOST
    ]
    return np.isin(state.layout.family_of, lost)


def _unwatched(state: State) -> NDArray[np.bool_]:
    """(A,) addresses of upstreams to which no probe ever left this host."""
    of_each, layout = family_answers(state.ledger, state.layout), state.layout
    none = [
        number for number, family in enumerate(Family) if of_each.get(family) is FamilyAnswers.NONE
    ]
    shut = np.isin(layout.family_of, none)
    return np.asarray(shut & ~np.isin(layout.upstream_of, layout.upstream_of[~shut]))


def _no_route(state: State, shut: NDArray[np.bool_]) -> str:
    names = sorted({str(state.layout.targets[a].family) for a in np.flatnonzero(shut).tolist()})
    return (
        f"no probe leaves this host over the local path ({' and '.join(names)}): check the default"
        " route (`ip route show default`), `ip rule` for `32766: from all lookup main`, the uplink"
        " and its gateway"
    )


def _outdated(state: State) -> NDArray[np.bool_]:
    """(A,) the zone is outdated on every path, for as long as makes one path `stale`."""
    lasting = state.now - state.ledger.zone_since >= LATE_ROUNDS * state.layout.interval
    return np.asarray(lasting)  # NaN: not outdated


def _unserved(state: State) -> tuple[str, NDArray[np.bool_]] | None:
    """The sites over which the resolvers got no answers, or worse ones, while they are avoided."""
    said, rows = [], set[int]()
    for silent in (True, False):
        found = {
            key: unserved
            for key, unserved in state.unserved.items()
            if unserved.silent is silent and state.avoid_until[key] > state.now
        }
        if not found:
            continue
        layout = state.layout
        rows |= {a for a, _ in found}
        sites = ", ".join(layout.paths[p] for p in sorted({p for _, p in found}))
        addresses = sorted({layout.targets[a].address for a, _ in found})
        more = f" and {len(addresses) - _NAMED} more" if len(addresses) > _NAMED else ""
        whose = f"{', '.join(addresses[:_NAMED])}{more}"
        last = max(found, key=lambda key: found[key].at)
        shown = f"at {layout.targets[last[0]].address} {found[last].shown}"
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
    return f"{' '.join(said)} {todo}", rows_of(state, rows)


_NAMED = 12
"""Overrides, or addresses, that an alarm lists one by one."""
_OF_OPERATORS = ("everywhere", "unproven", "zone_late")
"""Alarms that an upstream's operator can do something about."""


def _contacts(state: State, where: NDArray[np.bool_]) -> str:
    """The contacts in the policies of these addresses."""
    policies = {p.upstream: p for a in np.flatnonzero(where) if (p := state.layout.policy(int(a)))}
    operators = [policy.operator for _, policy in sorted(policies.items())]
    contacts = dict.fromkeys(f"{o.name}, {o.contact}" for o in operators if o and o.contact)
    return f"; contact: {'; '.join(contacts)}" if contacts else ""


def _defied(state: State, situation: Situation) -> str:
    """Which overrides contradict the measurements, and which can't be obeyed."""
    said: list[str] = []
    by = np.unique(state.override_state.decides[situation.defied])
    for index in by[:_NAMED].tolist():
        override, mine = (
            state.override_state.overrides[index],
            situation.defied & (state.override_state.decides == index),
        )
        for where, text in (
            (mine & situation.ordered, "obeyed although the measurements contradict it"),
            (mine & ~situation.ordered, "can't be obeyed without a next hop"),
        ):
            if where.any():
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
