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

import enum
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from steering.layout import Layout
from steering.model import LOCAL, Family, Observation, Outcome, Target

if TYPE_CHECKING:
    from steering.judge.edit import Draft

Mask = NDArray[np.bool_]
Sources = Mapping[Family, tuple[str, ...]]
"""What the resolvers send from; in a family that is left out, the kernel chooses."""

LOST = 8
"""Unanswered probes in a row after which a usable leg is lost: if a tenth of all packets get lost,
this happens once in a hundred million probes."""
AT_FIRST = 3
"""So many are enough if nothing was ever answered."""
BACK = 3
"""Answers in a row after which a lost leg is usable again."""
FORGOTTEN = 500
"""Smaller answers since a large one was lost or came, after which its loss is forgotten: the
nameservers may not have such answers any more."""
ADDRESSES = 3
"""Addresses that these probes must be spread over, if there are so many."""
SILENT = (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)
"""Outcomes of probes without an answer. Whatever the cause, a resolver's query would end alike."""


class LegState(enum.StrEnum):
    """What is known of one leg."""

    USABLE = "usable"
    LOST = "lost"
    UNTRIED = "not tried"


@dataclass(frozen=True, slots=True, order=True)
class Leg:
    """The path from one source over one site and back, by one transport."""

    site: str
    family: Family
    source: str
    """Empty: the address that the kernel chooses."""
    tcp: bool
    large: str = ""
    """The upstream whose large answers it is about; empty: other answers, of any upstream."""

    @property
    def sender(self) -> str:
        """The source as text: `kernel` if the kernel chooses it."""
        return self.source or "kernel"

    @property
    def partial(self) -> bool:
        """Whether it concerns only a part of a resolver's queries: TCP, or large answers."""
        return self.tcp or bool(self.large)

    @property
    def any_size(self) -> Leg:
        """The same for answers that are not large."""
        return replace(self, large="")

    def concerns(self, target: Target) -> bool:
        """Whether queries to this address may take it."""
        return self.family is target.family and self.large in ("", target.upstream)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What became of the latest probes over a leg."""

    state: LegState = LegState.UNTRIED
    came: int = 0
    """Answers in a row."""
    lost: int = 0
    """Probes in a row without one."""
    asked: frozenset[str] = frozenset()
    """Addresses that these were sent to."""
    least: int = 0
    """Octets of the smallest of the lost large answers, by its size over the local path."""
    most: int = 0
    """Octets of the largest answer that came meanwhile."""
    beside: int = 0
    """Smaller answers since the latest loss; 1 if any came before it."""

    def answered(self, octets: int = 0) -> Reach:
        """After one more answer; `octets`: its size if it is large."""
        if octets < self.least:
            return replace(self.smaller(), most=max(self.most, octets))
        if self.came == BACK:
            return self
        came = self.came + 1
        if self.state is LegState.LOST and came < BACK:
            return Reach(state=LegState.LOST, came=came, least=self.least)
        return Reach(state=LegState.USABLE, came=came)

    def unanswered(self, address: str, addresses: int, octets: int = 0) -> Reach:
        """After one more probe without an answer, to this address of `addresses`."""
        before = self
        if self.most >= octets > 0:  # one as large came meanwhile
            if self.state is LegState.LOST:
                return self
            before = replace(self, lost=0, asked=frozenset(), least=0, most=0)
        after = replace(
            before,
            came=0,
            lost=min(before.lost + 1, LOST),
            asked=before.asked | {address},
            least=min(octets, before.least or octets),
            beside=min(before.beside, 1),
        )
        enough = LOST if self.state is LegState.USABLE else AT_FIRST
        is_lost = after.lost >= enough and len(after.asked) >= min(ADDRESSES, addresses)
        if is_lost and (after.beside or not octets):
            return replace(after, state=LegState.LOST)
        return after

    def smaller(self, here: int = 0) -> Reach:
        """After an answer that is smaller than the lost ones; `here`: its octets over the local
        path, if it is large there.
        """
        if self.state is not LegState.LOST and not self.lost:
            return self
        if here >= self.least or self.beside + 1 == FORGOTTEN:
            # The nameservers reached by the site, or all by now, give smaller answers.
            return Reach(state=LegState.USABLE) if self.state is LegState.USABLE else NOTHING
        if self.state is not LegState.LOST and not self.beside:
            # During these losses perhaps no answer of any size came.
            return Reach(state=self.state, beside=1)
        return replace(self, beside=self.beside + 1)


NOTHING = Reach()
_leg = functools.lru_cache(maxsize=4096)(Leg)


def count_reach(draft: Draft, a: int, seen: Mapping[int, Observation]) -> None:
    """Count one round of the address in row `a`; `seen`: its observations by column.

    An answer always counts. A loss counts only if the local path was answered by the same
    transport: otherwise the cause may be the address, or this host.
    """
    here = seen.get(0)
    layout, target = draft.layout, draft.layout.targets[a]
    for p, there in seen.items():
        leg = _leg(layout.paths[p], target.family, there.source, there.tcp)
        compared = here is not None and here.outcome not in SILENT and here.tcp == there.tcp
        large = here.large if here is not None and compared else 0
        if p:
            _count_large(draft, a, p, there, large)
        was = draft.legs.get(leg, NOTHING)
        came = there.outcome not in SILENT or there.stalled
        if came or (there.reached and not large):
            after = was.answered()
        elif p and (not compared or large):
            continue  # there is nothing to compare with, or its size may be the cause
        else:
            after = was.unanswered(target.address, _addresses(layout, a, p))
        if after is not was:
            draft.legs[leg] = after


def _count_large(draft: Draft, a: int, p: int, there: Observation, here: int) -> None:
    """Count a probe over a site; `here`: octets of the answer over the local path, if large."""
    layout, target = draft.layout, draft.layout.targets[a]
    leg = _leg(layout.paths[p], target.family, there.source, there.tcp, target.upstream)
    was = after = draft.legs.get(leg, NOTHING)
    if there.large:
        after = was.answered(max(there.large, here))
    elif there.outcome not in SILENT:
        after = was.smaller(here)
    elif here and _is_lost(there):
        addresses = _addresses(layout, a, p, upstream=True)
        # A connection that was made counts as a smaller answer.
        before = replace(was, beside=max(was.beside, there.stalled))
        after = before.unanswered(target.address, addresses, here)
    if after is not was:
        draft.legs[leg] = after


def _is_lost(seen: Observation) -> bool:
    """Whether an answer may have got lost for its size."""
    if seen.tcp:
        return seen.stalled
    return seen.outcome is Outcome.TIMEOUT and not seen.reached


def _addresses(layout: Layout, a: int, p: int, *, upstream: bool = False) -> int:
    """Addresses of the family, or of the upstream in it, that this path may be used for."""
    mine = layout.family_of == layout.family_of[a]
    if upstream:
        mine &= layout.upstream_of == layout.upstream_of[a]
    return int((layout.hop[:, p] & mine if p else mine).sum())


@dataclass(frozen=True, slots=True)
class SiteReach:
    """What is known of the path from a source over a site and back."""

    leg: Leg
    transport: str
    """`udp` or `tcp`; `large`: large answers by either."""
    state: LegState


def states(legs: Mapping[Leg, Reach], sources: Sources, layout: Layout) -> Iterator[SiteReach]:
    """What is known of each leg that the resolvers' packets could take."""
    large: dict[Leg, set[LegState]] = {}
    for leg, reach in legs.items():
        if leg.large:
            large.setdefault(replace(leg, large="", tcp=False), set()).add(reach.state)
    for family in Family:
        hops = layout.hop[layout.family_of == list(Family).index(family)].any(axis=0)
        for p in np.flatnonzero(hops).tolist():
            for source in sources.get(family) or ("",):
                by_udp = Leg(layout.paths[p], family, source, tcp=False)
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


def usable(legs: Mapping[Leg, Reach], sources: Sources, layout: Layout) -> Mask:
    """(A, P) sites over which datagrams come back to each source, as far as is known."""
    found = np.ones(layout.shape, dtype=np.bool_)
    for number, family in enumerate(Family):
        for site in layout.paths[1:] if any(sources.get(family, ())) else ():
            if not comes_back(legs, sources, family, site):
                found[layout.family_of == number, layout.column[site]] = False
    return found


def comes_back(legs: Mapping[Leg, Reach], sources: Sources, family: Family, site: str) -> bool:
    """Whether datagrams come back over a site to each source that gets them over the local path."""
    return all(
        legs.get(Leg(site, family, source, tcp=False), NOTHING).state is LegState.USABLE
        for source in sources.get(family, ())
        if source and _served(legs, family, source)
    )


def cut(legs: Mapping[Leg, Reach], sources: Sources, layout: Layout, *, partial: bool) -> Mask:
    """(A, P) sites over which answers do not come back to some source; `partial` as in `lost`."""
    found = np.zeros(layout.shape, dtype=np.bool_)
    for leg in lost(legs, sources, partial=partial):
        if leg.site in layout.column:
            mine = layout.family_of == list(Family).index(leg.family)
            if leg.large:
                named = [policy.upstream == leg.large for policy in layout.policies]
                mine &= np.array(named)[layout.upstream_of]
            found[mine, layout.column[leg.site]] = True
    return found


def in_use(legs: Mapping[Leg, Reach], sources: Sources) -> Mapping[Leg, Reach]:
    """Without the legs of sources that are not in use any more."""
    known = {"", *(source for each in sources.values() for source in each)}
    return {leg: reach for leg, reach in legs.items() if leg.source in known}
