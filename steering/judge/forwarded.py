"""Whether a site carries what this host only forwards: packets of pods, containers, other hosts.

None of our questions can tell: what is translated on one link may leave by another as it came. So
a source that is seen to ask through this host keeps its family from a site, until it is known
that the site carries it: the configuration says so, or answers came back over a detour that was
there before. And over a detour that its packets do take, so many in a row without an answer, while
our own questions to the same addresses are answered, say that the site does not, whatever the
configuration says. That lasts for a while, or a stranger behind this host could end all detours for
ever with questions that nobody answers.
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
"""So many are enough where nothing was ever answered."""
LASTS: Seconds = 3600.0
"""So long it is believed that a site does not carry a source."""
MOST = 512
"""Sources and sites that are kept in mind beside those in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carriage:
    """What became of the latest questions that were forwarded for a source over a path."""

    state: LegState = LegState.UNTRIED
    lost: int = 0
    """Questions in a row without an answer."""
    asked: frozenset[str] = frozenset()
    """Addresses that these were asked of."""
    since: Instant = math.nan
    """When it was lost."""

    def answered(self) -> Carriage:
        """After an answer."""
        return _USABLE

    def unanswered(self, address: str, number: int, addresses: int, now: Instant) -> Carriage:
        """After so many more questions without an answer, to this address of so many."""
        if self.is_old(now):
            return _NOTHING.unanswered(address, number, addresses, now)
        after = replace(self, lost=min(self.lost + number, LOST), asked=self.asked | {address})
        enough = LOST if self.state is LegState.USABLE else AT_FIRST
        if after.lost >= enough and len(after.asked) >= min(ADDRESSES, addresses):
            return replace(after, state=LegState.LOST, since=now)
        return after

    def is_old(self, now: Instant) -> bool:
        """Whether it was lost so long ago that nobody believes it: then it is tried anew."""
        return self.state is LegState.LOST and now - self.since >= LASTS


_NOTHING, _USABLE = Carriage(), Carriage(state=LegState.USABLE)


def count_forwarded(
    draft: Draft, passed: Sequence[Passed], senders: Senders, installed: Mapping[str, str]
) -> None:
    """Count what became of the questions that this host forwarded.

    That none was answered counts where our own are: else it may be the nameserver, or the path.
    What was answered in one turn counts for all of it: nobody knows what came first. Where very
    many sources are known, `senders` alone are kept.
    """
    layout, book = draft.layout, draft.book
    back = {(each.path, each.source) for each in passed if each.answered}
    ways = Counter(
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
            beside = ways[leg.site, leg.family] or ADDRESSES  # they were moved meanwhile
            after = after.unanswered(each.address, each.lost, beside, draft.now)
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
                said = carried.get(leg, _NOTHING)
                yield leg, sender, LegState.UNTRIED if said.is_old(now) else said.state


@functools.lru_cache(maxsize=1024)
def _leg(site: str, family: Family, source: str) -> Leg:
    return Leg(site, family, source, tcp=False)


def unknown(
    carried: Mapping[Leg, Carriage], senders: Senders, layout: Layout, now: Instant
) -> tuple[tuple[Leg, Forwarded], ...]:
    """Sources in use of which nothing says that a site carries them."""
    return tuple(
        (leg, sender)
        for leg, sender, state in _legs(carried, senders, layout, now)
        if state is LegState.UNTRIED and not sender.carried
    )


def dropped(
    carried: Mapping[Leg, Carriage], senders: Senders, layout: Layout, now: Instant
) -> tuple[tuple[Leg, Forwarded], ...]:
    """Sources in use whose questions a site has not brought an answer to.

    One that gets nothing over the local path either has nothing to lose.
    """
    if not any(said.state is LegState.LOST and leg.site != LOCAL for leg, said in carried.items()):
        return ()  # as a rule; this is asked for each site of each address
    return tuple(
        (leg, sender)
        for leg, sender, state in _legs(carried, senders, layout, now)
        if state is LegState.LOST
        and carried.get(_leg(LOCAL, leg.family, leg.source), _NOTHING).state is not LegState.LOST
    )


def unproven(
    carried: Mapping[Leg, Carriage], senders: Senders, layout: Layout, now: Instant
) -> Mask:
    """(A, P) sites of which nothing says that they carry every source in use."""
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
    """What is known of each source and site, or said of it, by UDP alone."""
    for leg, sender, state in _legs(carried, senders, layout, now):
        said = LegState.USABLE if state is LegState.UNTRIED and sender.carried else state
        yield SiteReach(leg, "udp", said)
