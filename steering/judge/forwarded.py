"""Whether a site carries what this host only forwards: packets of pods, containers, other hosts.

Probes can't show it: packets that are translated (NAT) on one link may leave another untranslated.
So if a source is seen to send queries through this host, its family does not use a site until it is
known that the site carries the source: by the configuration, or by answers over a detour that was
there before. If its packets take a detour and many in a row get no answer, while probes to the
same addresses are answered, then the site does not carry it, whatever the configuration has. That
holds for a limited time; otherwise a host behind this one could end all detours for ever with
queries that no server answers.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from steering.judge.reach import ADDRESSES, LOST, Leg, LegState, SiteReach
from steering.layout import Layout
from steering.model import LOCAL, Family, Forwarded, Health, Instant, Passed, Seconds

if TYPE_CHECKING:
    from steering.judge.edit import Draft

Mask = NDArray[np.bool_]
Senders = Mapping[Family, tuple[Forwarded, ...]]

AT_FIRST = 5
"""Losses that are enough if nothing was ever answered."""
LASTS: Seconds = 3600.0
"""How long the result holds that a site does not carry a source."""
MOST = 512
"""Pairs of source and site that are kept beside those in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carriage:
    """What became of the latest queries that were forwarded for a source over a path."""

    state: LegState = LegState.UNTRIED
    lost: int = 0
    """Queries in a row without an answer."""
    asked: frozenset[str] = frozenset()
    """Addresses that these were sent to."""
    since: Instant = math.nan
    """When it was lost."""

    def answered(self) -> Carriage:
        """After an answer."""
        return _USABLE

    def unanswered(self, address: str, number: int, addresses: int, now: Instant) -> Carriage:
        """After `number` more queries without an answer, to this address of `addresses`."""
        if self.is_old(now):
            return _NOTHING.unanswered(address, number, addresses, now)
        after = replace(self, lost=min(self.lost + number, LOST), asked=self.asked | {address})
        enough = LOST if self.state is LegState.USABLE else AT_FIRST
        if after.lost >= enough and len(after.asked) >= min(ADDRESSES, addresses):
            return replace(after, state=LegState.LOST, since=now)
        return after

    def is_old(self, now: Instant) -> bool:
        """Whether it was lost so long ago that it is tried anew."""
        return self.state is LegState.LOST and now - self.since >= LASTS


_NOTHING, _USABLE = Carriage(), Carriage(state=LegState.USABLE)


def count_forwarded(
    draft: Draft, passed: Sequence[Passed], senders: Senders, installed: Mapping[str, str]
) -> None:
    """Count what became of the queries that this host forwarded.

    Losses count only where probes are answered: otherwise the cause may be the nameserver or the
    path. One answer in a turn counts for the whole turn, as the order within it is not known. If
    very many sources are known, only `senders` are kept.
    """
    layout, book = draft.layout, draft.book
    back = {(each.path, each.source) for each in passed if each.answered}
    addresses = Counter(
        (installed.get(target.address, LOCAL), target.family) for target in layout.targets if passed
    )
    for each in passed:
        a, p = layout.row.get(each.address), layout.column.get(each.path)
        if a is None or p is None:
            continue  # asked before the files changed
        leg = Leg(each.path, layout.targets[a].family, each.source, tcp=False)
        after = was = draft.carried.get(leg, _NOTHING)
        if (each.path, each.source) in back:
            after = after.answered()
        elif each.lost and book.health[a, p] == Health.HEALTHY:
            number = addresses[leg.site, leg.family] or ADDRESSES  # 0: they were moved meanwhile
            after = after.unanswered(each.address, each.lost, number, draft.now)
        if after is not was:
            draft.carried[leg] = after
    if len(draft.carried) > MOST:
        known = {sender.source for those in senders.values() for sender in those}
        for leg in [leg for leg in draft.carried if leg.source not in known]:
            del draft.carried[leg]


def _legs(
    carried: Mapping[Leg, Carriage], senders: Senders, layout: Layout, now: Instant
) -> Iterator[tuple[Leg, Forwarded, LegState]]:
    """What is known of each source in use over each site."""
    for family, each in senders.items():
        hops = layout.hop[layout.family_of == list(Family).index(family)].any(axis=0)
        for p in np.flatnonzero(hops).tolist():
            for sender in each if p else ():
                leg = _leg(layout.paths[p], family, sender.source)
                known = carried.get(leg, _NOTHING)
                yield leg, sender, LegState.UNTRIED if known.is_old(now) else known.state


@functools.lru_cache(maxsize=1024)
def _leg(site: str, family: Family, source: str) -> Leg:
    return Leg(site, family, source, tcp=False)


def unknown(
    carried: Mapping[Leg, Carriage], senders: Senders, layout: Layout, now: Instant
) -> tuple[tuple[Leg, Forwarded], ...]:
    """Sources in use of which it is not known whether a site carries them."""
    return tuple(
        (leg, sender)
        for leg, sender, state in _legs(carried, senders, layout, now)
        if state is LegState.UNTRIED and not sender.carried
    )


def dropped(
    carried: Mapping[Leg, Carriage], senders: Senders, layout: Layout, now: Instant
) -> tuple[tuple[Leg, Forwarded], ...]:
    """Sources in use that a site does not carry.

    A source that gets no answers over the local path either is left out.
    """
    if not any(one.state is LegState.LOST and leg.site != LOCAL for leg, one in carried.items()):
        return ()  # the usual case; this is called for each site of each address
    return tuple(
        (leg, sender)
        for leg, sender, state in _legs(carried, senders, layout, now)
        if state is LegState.LOST
        and carried.get(_leg(LOCAL, leg.family, leg.source), _NOTHING).state is not LegState.LOST
    )


def unproven(
    carried: Mapping[Leg, Carriage], senders: Senders, layout: Layout, now: Instant
) -> Mask:
    """(A, P) sites of which it is not known whether they carry every source in use."""
    return _sites(unknown(carried, senders, layout, now), layout)


def dropping(
    carried: Mapping[Leg, Carriage], senders: Senders, layout: Layout, now: Instant
) -> Mask:
    """(A, P) sites that do not carry some source in use."""
    return _sites(dropped(carried, senders, layout, now), layout)


def _sites(legs: Sequence[tuple[Leg, Forwarded]], layout: Layout) -> Mask:
    """(A, P) the sites of these, for all addresses of their families."""
    found = np.zeros(layout.shape, dtype=np.bool_)
    for leg, _ in legs:
        found[layout.family_of == list(Family).index(leg.family), layout.column[leg.site]] = True
    return found


def states(
    carried: Mapping[Leg, Carriage], senders: Senders, layout: Layout, now: Instant
) -> Iterator[SiteReach]:
    """What is known, or configured, of each source and site, by UDP alone."""
    for leg, sender, state in _legs(carried, senders, layout, now):
        by_config = state is LegState.UNTRIED and sender.carried
        yield SiteReach(leg, "udp", LegState.USABLE if by_config else state)
