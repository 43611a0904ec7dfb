"""What must change so that a table holds what it shall hold: pure.

Additions and replacements come first and removals last, so that stopping anywhere leaves
every address on its old way or its new one, never on none.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from steering.act.kernel.claim import Claim
from steering.act.kernel.rtnetlink import Route, Rule
from steering.model import Family


class ChangeKind(enum.StrEnum):
    """What is done to one route or rule."""

    ADD = "add"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One route or rule to put in, put over another, or take out."""

    act: ChangeKind
    what: Route | Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupied:
    """A place in our table where someone else's route stands: left as it is."""

    wanted: Route
    by: Route


def route_changes(
    wanted: Iterable[Route], present: Sequence[Route], protocol: int
) -> tuple[tuple[Change, ...], tuple[Occupied, ...]]:
    """The changes, and the wanted routes that can't be because of someone else's.

    Only routes of our protocol number are ever replaced or removed. A foreign route to the
    same destination stops ours whatever its metric: adding a second one beside it could turn
    it into a multipath route or hide it (IPv6 does the first, IPv4 the second).
    """
    ours = [route for route in present if route.protocol == protocol]
    places = {route.place: route for route in ours}
    foreign = {_target(route): route for route in present if route.protocol != protocol}
    put: list[Change] = []
    occupied: list[Occupied] = []
    keep: set[tuple[Family, int, str, int, int, int]] = set()
    for route in wanted:
        stranger = foreign.get(_target(route))
        if stranger is not None:
            occupied.append(Occupied(wanted=route, by=stranger))
            continue
        keep.add(route.place)
        there = places.get(route.place)
        if there is None:
            put.append(Change(act=ChangeKind.ADD, what=route))
        elif there != route:
            put.append(Change(act=ChangeKind.REPLACE, what=route))
    taken = [Change(act=ChangeKind.REMOVE, what=route) for route in ours if route.place not in keep]
    return (*put, *taken), tuple(occupied)


def _target(route: Route) -> tuple[Family, int, str, int]:
    return route.family, route.table, route.destination, route.length


def rule_changes(
    wanted: Iterable[Rule], present: Sequence[Rule], claim: Claim
) -> tuple[Change, ...]:
    """The changes to our block of rules; rules of others don't enter into it.

    The first to go is the one that leads to the steers: while it is there, those that keep other
    sites' packets and questions to the local path off them are.
    """
    left = [rule for rule in present if is_our_rule(rule, claim)]
    put: list[Change] = []
    for rule in wanted:
        if rule in left:
            left.remove(rule)
        else:
            put.append(Change(act=ChangeKind.ADD, what=rule))
    left.sort(key=lambda rule: rule.table != claim.table)
    return (*put, *(Change(act=ChangeKind.REMOVE, what=rule) for rule in left))


def is_our_rule(rule: Rule, claim: Claim) -> bool:
    return rule.protocol == claim.protocol and rule.priority in claim.preferences


def askable(addresses: Collection[str], claim: Claim) -> tuple[str, ...]:
    """Those of the addresses that may have routes in the sites' tables, in order.

    Not what packets to a site need themselves. Whether one is this host is no matter there: the
    local table comes first.
    """
    return tuple(
        address
        for address in sorted(addresses)
        if not unfit(address, allowed=addresses, own=()) and claim.site_of(address) is None
    )


def objection(
    address: str, site: str, *, claim: Claim, allowed: Collection[str], own: Collection[str]
) -> str | None:
    """Why this address must never go through this site; None where it may.

    The last gate before the kernel: host routes only, for addresses that the policies name,
    never one that packets to a site need themselves, never one that is this host.
    """
    if because := unfit(address, allowed=allowed, own=own):
        return because
    if claim.site_of(address) is not None:
        return f"it is the next hop of {claim.site_of(address)}"
    if site not in claim.sites:
        return f"there is no site {site}"
    family = Family.of(address)
    if claim.next_hop(site, family) is None:
        return f"site {site} has no {family} next hop"
    return None


def unfit(address: str, *, allowed: Collection[str], own: Collection[str]) -> str | None:
    """Why this address must never be steered, by whatever means; None where it may."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "not an address: only host routes are ever installed"
    if str(ip) != address:
        return f"not in its usual form ({ip}): it could be steered twice"
    if ip.is_multicast or ip.is_unspecified or ip.is_loopback or ip.is_link_local:
        return "not the address of a nameserver: only global unicast can be steered"
    if address not in allowed:
        return "no policy names this address"
    if address in own:
        return "it is one of this host's own addresses"
    return None
