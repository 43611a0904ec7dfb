"""Alarms: what people should know of, for as long as it lasts."""

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
    sites,
    waiting,
    worn_out,
)
from steering.decide.remedies import cause_of, with_remedy
from steering.decide.situation import Situation
from steering.decide.state import Alarm, State
from steering.format import duration, override_text
from steering.judge.forwarded import LASTS
from steering.judge.host_families import FamilyAnswers, ways
from steering.judge.reach import Leg, without_answers
from steering.judge.signals import LATE_ROUNDS
from steering.model import Event, Family, Forwarded, Health, WallTime

REMEDY = (
    "nothing moves for it: look for rules of a firewall or NAT that match the mark (`nft list "
    "ruleset`, `iptables-save`), or set act.kernel.mark and mask to bits that nobody else uses"
)


_OF_NONE: Mapping[str, NDArray[np.bool_]] = {}


def alarms(state: State, situation: Situation) -> tuple[State, tuple[Event, ...]]:
    """The world with this turn's alarms, and which were raised or cleared."""
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
    """The alarms for what is the matter now (name to text), and which that raises and clears.

    One that follows from another, of these or of the `others`, is neither raised nor cleared.
    `about`: which addresses, (A,), for those that are about some.
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
    told, tells = (
        {name: alarm for name, alarm in alarms.items() if alarm.cause is None}
        for alarms in (was, kept)
    )
    raised = (
        Event(event="alarm_raised", because=alarm.because, now=name)
        for name, alarm in tells.items()
        if name not in told
    )
    cleared = (
        Event(
            event="alarm_cleared",
            because=f"it follows from {kept[name].cause}" if name in kept else "no longer so",
            was=name,
        )
        for name in told
        if name not in tells
    )
    return kept, (*raised, *cleared)


def _now(state: State, situation: Situation) -> tuple[dict[str, str], dict[str, NDArray[np.bool_]]]:
    """Name -> what is the matter, and (A,) with which addresses where that is known."""
    worst: dict[str, str] = {}
    whose: dict[str, NDArray[np.bool_]] = {}
    if situation.clock_doubt:
        worst["clock"] = f"our clock, or all of them: {clock(state, situation)}"
    stuck = situation.breached & (situation.best == 0) & (state.plan == 0) & ~situation.all_bad
    stuck &= (situation.local >= Health.SUSPECT) & ~situation.ordered
    waits = situation.breached & (situation.held != Held.NOT)
    for name, where, text in (
        ("self", situation.self_doubt, "look bad in a way that speaks against ourselves"),
        (
            "marked",
            situation.marked,
            "fail when asked with our mark, and answer the same without it; " + REMEDY,
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
            _lasts(state) & (not situation.clock_doubt),
            "show an outdated zone on every path, unless our own clock is ahead",
        ),
    ):
        if where.any():
            whose[name], first = where, int(np.argmax(where))
            detail = {
                "self": own_fault(state, situation, first),
                "marked": by_mark(state, situation, first),
                "damped": worn_out(state, situation, first),
                "budget": waiting(state, situation, first),
            }.get(name)
            worst[name] = f"{those(state, where)} {text}{f': {detail}' if detail else ''}"
            if name in _THEIRS:
                worst[name] += _whom_to_tell(state, where)
    if found := intercepted(state):
        worst["intercepted"], whose["intercepted"] = found
    if gone := lost_legs(state):
        worst["reach"] = (
            f"{_legs(gone)}, while the local path is answered: these sites are not taken (for TCP"
            " or large answers alone they are, where the local path is mostly bad). Wanted: that"
            " the site's network knows the way back to this address, and carries TCP and large"
            " packets"
        )
    if said := _forwarded(state):
        worst["forwarded"] = said
    if mute := without_answers(state.ledger.legs, state.sources):
        worst["unanswered"] = (
            f"{_legs(mute)}, while another source is answered: does a resolver send from it?"
        )
    if (alone := _exclusive(state, situation) & ~stuck).any():
        whose["uncompared"], first = alone, int(np.argmax(alone))
        worst["uncompared"] = (
            f"{those(state, alone)} look bad here, and no other path can be compared, so nobody"
            f" can tell whose fault it is: {_uncompared(state, first)}"
        )
    if (shut := _shut_in(state)).any():
        told = [worst["self"]] if "self" in worst else []
        worst["self"] = "; ".join([*told, _no_way_out(state, shut)])
        whose["self"] = situation.self_doubt | shut
    if (lost := _unwatched(state)).any():
        whose["unwatched"] = lost
        worst["unwatched"] = (
            f"{those(state, lost)} are of families that this host has no route for and never had:"
            " nobody can tell how these upstreams do"
        )
    if situation.defied.any():
        worst["override"], whose["override"] = _defied(state, situation), situation.defied
    if unserved := _unserved(state):
        worst["unserved"], whose["unserved"] = unserved
    if situation.room.over.any():
        worst["capacity"] = (
            f"more {'is' if state.layout.acts else 'would be'} steered to a site than it may get:"
            f" {loads(situation)}; what dnstap shows beyond"
            " the policies' steer.queries_per_second holds nothing back: raise those if it is so,"
            " else see who writes to the dnstap sockets"
        )
    return worst, whose


def _exclusive(state: State, situation: Situation) -> NDArray[np.bool_]:
    """(A,) bad here for a while, and no remote path is known to be any better or as bad."""
    ledger, layout = state.ledger, state.layout
    usable, health = layout.order[:, 1:] >= 0, ledger.health[:, 1:]
    known = usable & ((health == Health.HEALTHY) | (health == Health.STALE))
    lasting = state.now - ledger.suspected_at >= ALONE  # NaN: not bad
    found = lasting & (state.plan == 0) & ~known.any(axis=1) & ~situation.all_bad
    return np.asarray(
        found & ~situation.self_doubt & ~situation.ordered & (not situation.clock_doubt)
    )


def _uncompared(state: State, a: int) -> str:
    """What each site lacks; or that none is asked at all."""
    if not state.layout.compares:
        return "`mode: observe` asks over no site (`mode: rehearse` does, and moves nothing)"
    return sites(state, a)


def _shut_in(state: State) -> NDArray[np.bool_]:
    """(A,) no question of this address's family gets out over the local path any more."""
    of_each = ways(state.ledger, state.layout)
    lost = [
        number for number, family in enumerate(Family) if of_each.get(family) is FamilyAnswers.LOST
    ]
    return np.isin(state.layout.family_of, lost)


def _unwatched(state: State) -> NDArray[np.bool_]:
    """(A,) addresses of upstreams of which no question to any ever got out of this host."""
    of_each, layout = ways(state.ledger, state.layout), state.layout
    none = [
        number for number, family in enumerate(Family) if of_each.get(family) is FamilyAnswers.NONE
    ]
    shut = np.isin(layout.family_of, none)
    return np.asarray(shut & ~np.isin(layout.upstream_of, layout.upstream_of[~shut]))


def _no_way_out(state: State, shut: NDArray[np.bool_]) -> str:
    names = sorted({str(state.layout.targets[a].family) for a in np.flatnonzero(shut).tolist()})
    return (
        f"no probe gets out over the local path ({' and '.join(names)}): see `ip route show"
        " default` for the default route, `ip rule` for `32766: from all lookup main`, and whether"
        " the uplink and its gateway are there"
    )


def _lasts(state: State) -> NDArray[np.bool_]:
    """(A,) zones that are outdated everywhere for as long as it takes one path to be called so."""
    lasting = state.now - state.ledger.zone_since >= LATE_ROUNDS * state.layout.interval
    return np.asarray(lasting)  # NaN: not outdated


def _unserved(state: State) -> tuple[str, NDArray[np.bool_]] | None:
    """Over which sites the resolvers got no answers, or worse ones, as long as that is acted on."""
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
                f"the resolvers' packets to {whose} do not come back over {sites}, while our own "
                f"questions are answered there: {shown}. Does the site know the resolvers' source "
                "address?"
            )
        else:
            said.append(
                f"the resolvers are answered worse over {sites} than over the local path by "
                f"{whose}, while our own questions are answered well there: {shown}."
            )
    if not said:
        return None
    return f"{' '.join(said)} Else see who writes to the dnstap sockets", rows_of(state, rows)


_NAMED = 12
"""Overrides, or addresses, that an alarm speaks of one by one."""
_THEIRS = ("everywhere", "unproven", "zone_late")
"""Alarms that somebody at an upstream's operator can do something about."""


def _whom_to_tell(state: State, where: NDArray[np.bool_]) -> str:
    """The contacts in the policies of these addresses."""
    policies = {p.upstream: p for a in np.flatnonzero(where) if (p := state.layout.policy(int(a)))}
    operators = [policy.operator for _, policy in sorted(policies.items())]
    contacts = dict.fromkeys(f"{o.name}, {o.contact}" for o in operators if o and o.contact)
    return f"; whom to tell: {'; '.join(contacts)}" if contacts else ""


def _defied(state: State, situation: Situation) -> str:
    """Which overrides are obeyed against what is measured, and which can't be."""
    said: list[str] = []
    by = np.unique(state.override_state.decides[situation.defied])
    for index in by[:_NAMED].tolist():
        override, mine = (
            state.override_state.overrides[index],
            situation.defied & (state.override_state.decides == index),
        )
        for where, text in (
            (mine & situation.ordered, "obeyed against what is measured"),
            (mine & ~situation.ordered, "can't be obeyed, as there is no such way"),
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
    """What sites do not carry of what this host forwards, or may not; empty: nothing."""
    said = []
    if legs := all_dropped(state):
        said.append(
            f"{_senders(legs)}: no answer comes back over the site to what this host forwards for"
            " it, while our own questions are answered there. No address of the family is sent"
            f" there for {duration(LASTS)}. Wanted: that it is translated on the way to the site"
            " as well, or routed back"
        )
    if legs := all_unknown(state):
        said.append(
            f"{_senders(legs)}: asks watched nameservers through this host, and nothing shows that"
            " the site carries it, so no address of the family is sent there. Wanted: that it is"
            " translated on the way to the site as well, or routed back, and that"
            " `forwarded_sources` says so"
        )
    return "; ".join(said)


def _senders(legs: Sequence[tuple[Leg, Forwarded]]) -> str:
    """Site, family, and who sends."""
    said = [
        f"{leg.site} ({leg.family}): {leg.source}"
        + (f" (by the local path: {who.translated})" if who.translated else "")
        for leg, who in sorted(legs, key=lambda each: each[0])
    ]
    more = f" and {len(said) - _SENDERS} more" if len(said) > _SENDERS else ""
    return "; ".join(said[:_SENDERS]) + more


_SENDERS = 3
