"""Whether answers come back over a site: to each source of the resolvers, by UDP and by TCP.

A site's networks may have a route back to one address of this host and not to another, or carry
datagrams and no TCP connections. A detour through it would carry probes, and not the resolvers'
queries. Losses are counted for the site, over all addresses: a probe that was answered over the
local path, and not over the site's in the same instant. If the site does not reach one address,
that is no fault of the site; with several it is.

Large answers must not get lost either: in a tunnel with a smaller MTU and no ICMP message about
it, or where datagrams over some size are dropped. An answer is large if it is so over the local
path (`model.LARGE`), in the same instant and by the same transport. By UDP it is lost if nothing
comes, though smaller answers do; by TCP if a connection is made and the answer does not come over
it. An answer shows that answers up to its size come: a series of losses ends with an answer as
large as the smallest in it, here or there. All this is counted by upstream, and keeps only the
addresses of this upstream from the site, as the nameserver decides how large its answers are, and
what becomes of them.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from steering.index import Index, Settings
from steering.judge.edit import Draft
from steering.judge.known.legs import NOTHING, SILENT, Leg, LegState, Reach, SiteReach
from steering.model import LOCAL, Family, Observation, Outcome

Sources = Mapping[Family, tuple[str, ...]]
"""What the resolvers send from; in a family that is left out, the kernel chooses."""

_leg = functools.lru_cache(maxsize=4096)(Leg)


def count_reach(draft: Draft, address: str, seen: Mapping[str, Observation]) -> None:
    """Count one round of an address; `seen`: its observations by path.

    An answer always counts. A loss counts only if the local path was answered by the same
    transport: otherwise the cause may be the address, or this host.
    """
    here, settings = seen.get(LOCAL), draft.index.settings[address]
    for path, there in seen.items():
        leg = _leg(path, settings.family, there.source, there.tcp)
        compared = here is not None and here.outcome not in SILENT and here.tcp == there.tcp
        large = here.large if here is not None and compared else 0
        if path != LOCAL:
            _count_large(draft, settings, path, there, large)
        was = draft.legs[leg]
        came = there.outcome not in SILENT or there.stalled
        if came or (there.reached and not large):
            after = was.answered()
        elif path != LOCAL and (not compared or large):
            continue  # there is nothing to compare with, or its size may be the cause
        else:
            usable = path == LOCAL or path in settings.hops
            addresses = len(draft.index.families[settings.family]) if usable else 0
            after = was.unanswered(address, addresses)
        if after is not was:
            draft.legs[leg] = after


def _count_large(
    draft: Draft, settings: Settings, path: str, there: Observation, here: int
) -> None:
    """Count a probe over a site; `here`: octets of the answer over the local path, if large."""
    leg = _leg(path, settings.family, there.source, there.tcp, settings.upstream)
    was = after = draft.legs[leg]
    if there.large:
        after = was.answered(max(there.large, here))
    elif there.outcome not in SILENT:
        after = was.smaller(here)
    elif here and _is_lost(there):
        of = draft.index.settings
        mine = draft.index.upstreams[settings.upstream] if path in settings.hops else ()
        addresses = sum(of[a].family is settings.family for a in mine)
        # A connection that was made counts as a smaller answer.
        before = replace(was, beside=max(was.beside, there.stalled))
        after = before.unanswered(settings.address, addresses, here)
    if after is not was:
        draft.legs[leg] = after


def _is_lost(seen: Observation) -> bool:
    """Whether an answer may have got lost for its size."""
    if seen.tcp:
        return seen.stalled
    return seen.outcome is Outcome.TIMEOUT and not seen.reached


def sites_of(index: Index, family: Family) -> tuple[str, ...]:
    """The sites with a next hop of a family, if any address is of it; in the order of the paths."""
    hops = {site for address in index.families[family][:1] for site in index.settings[address].hops}
    return tuple(site for site in index.sites if site in hops)


def states(legs: Mapping[Leg, Reach], sources: Sources, index: Index) -> Iterator[SiteReach]:
    """What is known of each leg that the resolvers' packets could take."""
    large: dict[Leg, set[LegState]] = {}
    for leg, reach in legs.items():
        if leg.large:
            large.setdefault(replace(leg, large="", tcp=False), set()).add(reach.state)
    for family in Family:
        for site in sites_of(index, family):
            for source in sources.get(family) or ("",):
                by_udp = Leg(site, family, source, tcp=False)
                by_tcp = replace(by_udp, tcp=True)
                known = large.get(by_udp, set())
                yield SiteReach(by_udp, "udp", legs.get(by_udp, NOTHING).state)
                yield SiteReach(by_udp, "tcp", legs.get(by_tcp, NOTHING).state)
                worst = (state for state in (LegState.LOST, LegState.USABLE) if state in known)
                yield SiteReach(by_udp, "large", next(worst, LegState.UNTRIED))


def lost(legs: Mapping[Leg, Reach], sources: Sources, *, partial: bool) -> tuple[Leg, ...]:
    """The lost legs over sites that the resolvers' packets would take: those that concern a part
    of the queries (`partial`), or those that concern all.

    If the kernel chooses the address, the health of each path already shows whether datagrams come
    back, so nothing is added here. A source that gets no answers over the local path either is
    left out. If no answers come back at all, the size is not the cause.
    """
    return tuple(
        leg
        for leg, reach in legs.items()
        if reach.state is LegState.LOST
        and leg.partial is partial
        and leg.site != LOCAL
        and leg.source in (sources.get(leg.family) or ("",))
        and (partial or (leg.source and _served(legs, leg.family, leg.source)))
        and not (leg.large and legs.get(leg.any_size, NOTHING).state is LegState.LOST)
    )


def without_answers(legs: Mapping[Leg, Reach], sources: Sources) -> tuple[Leg, ...]:
    """Sources that get nothing over the local path, while another one does."""
    return tuple(
        leg
        for family, named in sources.items()
        for leg in (Leg(LOCAL, family, source, tcp=False) for source in named if source)
        if legs.get(leg, NOTHING).state is LegState.LOST
        and any(_served(legs, family, other) for other in named)
    )


def _served(legs: Mapping[Leg, Reach], family: Family, source: str) -> bool:
    """Whether answers come back to it over the local path."""
    return legs.get(Leg(LOCAL, family, source, tcp=False), NOTHING).state is LegState.USABLE


def comes_back(legs: Mapping[Leg, Reach], sources: Sources, family: Family, site: str) -> bool:
    """Whether datagrams come back over a site to each source that gets them over the local path."""
    return all(
        legs.get(Leg(site, family, source, tcp=False), NOTHING).state is LegState.USABLE
        for source in sources.get(family, ())
        if source and _served(legs, family, source)
    )


def is_cut(gone: Collection[Leg], settings: Settings, site: str) -> bool:
    """Whether one of these legs, which are `lost`, is over this site and concerns the address."""
    return any(leg.site == site and leg.concerns(settings.target) for leg in gone)


def in_use(legs: Mapping[Leg, Reach], sources: Sources) -> Mapping[Leg, Reach]:
    """Without the legs of sources that are not in use any more."""
    known = {"", *(source for each in sources.values() for source in each)}
    return {leg: reach for leg, reach in legs.items() if leg.source in known}
