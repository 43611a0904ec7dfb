"""The changes that make a table or the rules equal to the wanted ones. Pure.

Additions and replacements come first and removals last. So wherever the changes stop, each address
has its old route or its new one, never none.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from steering.act.kernel.claim import Claim
from steering.act.kernel.rtnetlink import Numbers, Route
from steering.act.kernel.rules import Rule
from steering.model import Family


class ChangeKind(enum.StrEnum):
    """The kind of change to one route or rule."""

    ADD = "add"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One route or rule to add, replace or remove."""

    act: ChangeKind
    what: Route | Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupied:
    """A wanted route that a foreign route in our table prevents. The foreign one is left alone."""

    wanted: Route
    by: Route


def route_changes(
    wanted: Iterable[Route], present: Sequence[Route], protocol: int
) -> tuple[tuple[Change, ...], tuple[Occupied, ...]]:
    """The changes, and the wanted routes that foreign routes prevent.

    Only routes of our protocol number are ever replaced or removed. A foreign route to the same
    destination prevents ours whatever its metric: a second one beside it could turn it into a
    multipath route (IPv6) or hide it (IPv4).
    """
    ours = [route for route in present if route.protocol == protocol]
    by_place = {route.place: route for route in ours}
    foreign = {_target(route): route for route in present if route.protocol != protocol}
    added: list[Change] = []
    occupied: list[Occupied] = []
    keep: set[tuple[Family, int, str, int, int, int]] = set()
    for route in wanted:
        foreign_route = foreign.get(_target(route))
        if foreign_route is not None:
            occupied.append(Occupied(wanted=route, by=foreign_route))
            continue
        keep.add(route.place)
        there = by_place.get(route.place)
        if there is None:
            added.append(Change(act=ChangeKind.ADD, what=route))
        elif there != route:
            added.append(Change(act=ChangeKind.REPLACE, what=route))
    removed = [Change(act=ChangeKind.REMOVE, what=r) for r in ours if r.place not in keep]
    return (*added, *removed), tuple(occupied)


def _target(route: Route) -> tuple[Family, int, str, int]:
    return route.family, route.table, route.destination, route.length


def rule_changes(
    wanted: Iterable[Rule], present: Sequence[Rule], claim: Claim
) -> tuple[Change, ...]:
    """The changes to our rules; foreign rules are not considered.

    The rule that looks up the steers is removed first: the rules that exempt other sites' packets
    and the local path's probes from the steers must stay as long as it does.
    """
    surplus = [rule for rule in present if is_our_rule(rule, claim)]
    added: list[Change] = []
    for rule in wanted:
        if rule in surplus:
            surplus.remove(rule)
        else:
            added.append(Change(act=ChangeKind.ADD, what=rule))
    surplus.sort(key=lambda rule: rule.table != claim.table)
    return (*added, *(Change(act=ChangeKind.REMOVE, what=rule) for rule in surplus))


def is_our_rule(rule: Rule | Numbers, claim: Claim) -> bool:
    return rule.protocol == claim.protocol and rule.priority in claim.preferences


def askable(addresses: Collection[str], claim: Claim) -> tuple[str, ...]:
    """The addresses that may have routes in the sites' tables, in order.

    The next hops of sites may not. An address of this host may: the local table is looked up first.
    """
    return tuple(
        address
        for address in sorted(addresses)
        if not unfit(address, allowed=addresses, own=()) and claim.site_of(address) is None
    )


def objection(
    address: str, site: str, *, claim: Claim, allowed: Collection[str], own: Collection[str]
) -> str | None:
    """Why this address must never go through this site; None if it may.

    The last check before the kernel: only host routes, only for addresses that the policies name,
    never for a next hop of a site, never for an address of this host.
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
    """Why this address must never be steered, by routes or BGP; None if it may."""
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
