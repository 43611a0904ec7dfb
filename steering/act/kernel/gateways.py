"""The route and the first gateway of a packet of this host, and whether that gateway answers.

The kernel knows from ARP and neighbour discovery whether the next hop answers, and from the driver
whether the link is up. Without that, a pulled cable here would look like a dead upstream.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import product
from socket import IPPROTO_TCP, IPPROTO_UDP

from steering.act.kernel import decoding, messages, rtnetlink
from steering.act.kernel.claim import Claim
from steering.act.kernel.decoding import Link
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.rtnetlink import Route, RouteKind
from steering.act.kernel.rules import Flow
from steering.model import LOCAL, Family

LOOKUP_TARGETS = 16
"""Lookup targets of a family: the addresses for which each kind of packet is looked up."""


def gateway_dead(address: str, mark: int = 0) -> bool:
    """Whether a packet with this mark can't reach its first router.

    There is no route, its link is down, or its gateway does not answer ARP or neighbour discovery.
    A gateway that was not asked for recently counts as alive. An address on a link of this host has
    no gateway; whether it answers is not checked. Raises OSError if the kernel can't be queried.
    """
    with QuerySocket() as query:
        route = route_for(query, Flow(destination=address, mark=mark))
        return route is None or not _carries(query, route)


def pinned(
    query: QuerySocket,
    claim: Claim,
    addresses: Mapping[str, Family],
    *,
    sources: Collection[str] = (),
    beside_others: bool = False,
    named: Collection[str] = (),
    chosen: bool = True,
) -> Mapping[tuple[str, str], int | None]:
    """The (path, address) pairs whose mark leads over the path, and by which interface.

    It is looked up in the kernel: a site's mark must lead to its next hop, the local mark must use
    none of our tables. If a rule, or a route of a site's table, was removed, answers to probes with
    that mark come over another path and must not count for this one.
    With `beside_others`, if foreign rules come before ours, that has to hold by UDP and TCP and
    from each source (`variants`), for the addresses that such a rule has `named` and for some of
    each family; if it holds for none of these, no address of the family counts.
    """
    found: dict[tuple[str, str], int | None] = {}
    for path, family in product((LOCAL, *claim.sites), Family):
        if path != LOCAL and claim.next_hop(path, family) is None:
            continue
        ours = [address for address, of in addresses.items() if of is family]
        flows = [Flow(destination=address, mark=claim.mark_of(path)) for address in ours]
        leading = _leading(query, claim, path, family, flows)
        if beside_others:
            some = {*list(leading)[:: -(-len(leading) // LOOKUP_TARGETS) or 1]}
            some |= {flow for flow in leading if flow.destination in named}
            every = [v for f in some for v in variants(query, f, sources, chosen=chosen)]
            right = _leading(query, claim, path, family, every).keys()
            misled = {f.destination for f in set(every) - right}
            if len(misled) == len(some):
                continue
            leading = {flow: by for flow, by in leading.items() if flow.destination not in misled}
        found |= {(path, flow.destination): by for flow, by in leading.items()}
    return found


def _leading(
    query: QuerySocket, claim: Claim, path: str, family: Family, flows: Collection[Flow]
) -> dict[Flow, int | None]:
    """The packets that take this path, and by which interface."""
    return {
        flow: route.oif
        for flow, route in zip(flows, routes_for(query, flows), strict=True)
        if route is not None and leads(route, claim, path, family)
    }


def leads(route: Route | None, claim: Claim, path: str, family: Family) -> bool:
    """Whether this route leads over a path."""
    if route is None:
        return False
    if path == LOCAL:
        return route.table not in claim.tables
    return route.hop is not None and route.hop == claim.next_hop(path, family)


def variants(
    query: QuerySocket, flow: Flow, sources: Collection[str] = (), *, chosen: bool = True
) -> tuple[Flow, ...]:
    """The packets of such a probe: by UDP and TCP, and from each source.

    Without `sources`, or if one of them is empty, the kernel chooses the source. An unbound socket
    has no source at the first look-up, and the chosen one at the second, which `connect` makes.
    With `chosen` false the second is left out: if no rule selects by source, both find the same.
    """
    family = Family.of(flow.destination)
    found: list[Flow] = []
    for protocol in (IPPROTO_UDP, IPPROTO_TCP):
        one = replace(flow, protocol=protocol)
        ours: list[str | None] = [s for s in sources if s and Family.of(s) is family]
        if not ours or "" in sources:
            ours += dict.fromkeys((None, chosen_source(query, one) if chosen else None))
        found += (replace(one, source=source) for source in ours)
    return tuple(found)


def chosen_source(query: QuerySocket, flow: Flow) -> str | None:
    """The source address that the kernel chooses for such packets; None: there is no route."""
    route = route_for(query, flow)
    return None if route is None else route.source


def route_for(query: QuerySocket, flow: Flow, *, whole: bool = False) -> Route | None:
    """The route that such packets of this host take; None if there is none.

    `whole`: the route with its own prefix and all its next hops, as it is in its table.
    """
    (route,) = routes_for(query, [flow], whole=whole)
    return route


def routes_for(
    query: QuerySocket, flows: Iterable[Flow], *, whole: bool = False
) -> list[Route | None]:
    """As `route_for`, for each of many."""
    lookups = [messages.lookup_of(flow, whole=whole) for flow in flows]
    bodies = query.get_each(rtnetlink.GETROUTE, lookups)
    return [None if body is None else decoding.route_from(body) for body in bodies]


def links(
    query: QuerySocket, claim: Claim, targets: Mapping[tuple[str, Family], str]
) -> Mapping[tuple[str, Family], int]:
    """The interface that a site's packets leave by, and its answers arrive by, by (site, family).

    It is looked up for one address that is probed through the site. A pair is left out if the
    interface says nothing: a route of several links, or a link that the local path may use too.
    """
    found: dict[tuple[str, Family], int] = {}
    for pair, target in targets.items():
        used = _links_to(query, target, claim.mark_of(pair[0]))
        if len(used) == 1 and not used & _links_to(query, target, claim.mark):
            (found[pair],) = used
    return found


def _links_to(query: QuerySocket, address: str, mark: int) -> frozenset[int]:
    route = route_for(query, Flow(destination=address, mark=mark), whole=True)
    return frozenset() if route is None else route.links


def _carries(query: QuerySocket, route: Route) -> bool:
    if route.kind is RouteKind.LOCAL:
        return True
    link = link_at(query, route.oif)
    if link is None or route.oif is None or not link.carries:
        return False
    return route.gateway is None or _answers(query, route.gateway, route.oif)


def link_at(query: QuerySocket, index: int | None) -> Link | None:
    """The interface of this index; None: there is none."""
    body = None if index is None else query.get(rtnetlink.GETLINK, messages.link_of(index))
    return None if body is None else decoding.link_from(body)


def _answers(query: QuerySocket, gateway: str, index: int) -> bool:
    # The gateway's own family: IPv4 may use an IPv6 next hop (RFC 8950).
    found = query.get(rtnetlink.GETNEIGH, messages.neighbour_of(gateway, index))
    return found is None or decoding.neighbour_answers(found)  # None: not asked for recently
