"""Whether answers come back over a site: to each source of the resolvers, by UDP and by TCP.

A site's networks may know the way back to one address of this host and not to another, or carry
datagrams and no streams. A detour through it would carry our questions, and not the resolvers'.
What is counted is the site's, whichever address was asked: a question that was answered over the
local path, and not over the site's in the same instant. An address that the site does not reach
says nothing of the site; several do.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from steering.layout import Layout
from steering.model import LOCAL, Family, Observation, Outcome

if TYPE_CHECKING:
    from steering.judge.draft import Draft

Mask = NDArray[np.bool_]
Sources = Mapping[Family, tuple[str, ...]]
"""What the resolvers send from; of a family that is left out, what the kernel chooses."""

LOST = 8
"""Questions in a row without an answer, after which what was answered is lost: with a tenth of all
packets lost, once in a hundred million questions."""
AT_FIRST = 3
"""So many are enough where nothing was ever answered."""
BACK = 3
"""Answers in a row by which what was lost is found again."""
ADDRESSES = 3
"""Addresses that these were asked of, where there are so many."""
SILENT = (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)
"""How a question ends that no answer came to; whatever kept it, a resolver's would fare alike."""


class State(enum.StrEnum):
    """What is known of one leg."""

    USABLE = "usable"
    LOST = "lost"
    UNTRIED = "not tried"


@dataclass(frozen=True, slots=True, order=True)
class Leg:
    """The way from one source over one site and back, by one transport."""

    site: str
    family: Family
    source: str
    """Empty: the address that the kernel chooses."""
    tcp: bool

    @property
    def sender(self) -> str:
        """The source as it is shown: `kernel` for what the kernel chooses."""
        return self.source or "kernel"

    @property
    def transport(self) -> str:
        """As it is shown."""
        return "tcp" if self.tcp else "udp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What became of the latest questions over a leg."""

    state: State = State.UNTRIED
    came: int = 0
    """Answers in a row."""
    lost: int = 0
    """Questions in a row without one."""
    asked: frozenset[str] = frozenset()
    """Addresses that these were asked of."""

    def answered(self) -> Reach:
        """After one more answer."""
        came = min(self.came + 1, BACK)
        found = self.state is not State.LOST or came == BACK
        return Reach(state=State.USABLE if found else State.LOST, came=came)

    def unanswered(self, address: str, addresses: int) -> Reach:
        """After one more question without an answer, to this address of so many."""
        after = Reach(state=self.state, lost=min(self.lost + 1, LOST), asked=self.asked | {address})
        enough = LOST if self.state is State.USABLE else AT_FIRST
        if after.lost >= enough and len(after.asked) >= min(ADDRESSES, addresses):
            return replace(after, state=State.LOST)
        return after


NOTHING = Reach()


def count_reach(draft: Draft, a: int, seen: Mapping[int, Observation]) -> None:
    """Count one round of the address in row `a`: what there is of it, by column.

    What comes back, comes back; that nothing did counts only where the local path was answered, by
    the same transport: else it may be the address, or we.
    """
    here = seen.get(0)
    layout, target = draft.layout, draft.layout.targets[a]
    for p, there in seen.items():
        leg = Leg(layout.paths[p], target.family, there.source, there.tcp)
        was = draft.legs.get(leg, NOTHING)
        if there.outcome not in SILENT or there.reached:
            after = was.answered()
        elif p and (here is None or here.outcome in SILENT or there.tcp != here.tcp):
            continue
        else:
            mine = layout.family_of == layout.family_of[a]
            addresses = int((layout.hop[:, p] & mine if p else mine).sum())
            after = was.unanswered(target.address, addresses)
        if after != was:
            draft.legs[leg] = after


def states(
    legs: Mapping[Leg, Reach], sources: Sources, layout: Layout
) -> Iterator[tuple[Leg, State]]:
    """What is known of each leg that the resolvers' packets could take."""
    for family in Family:
        hops = layout.hop[layout.family_of == list(Family).index(family)].any(axis=0)
        for p in np.flatnonzero(hops).tolist():
            for source in sources.get(family) or ("",):
                for tcp in (False, True):
                    leg = Leg(layout.paths[p], family, source, tcp)
                    yield leg, legs.get(leg, NOTHING).state


def lost(legs: Mapping[Leg, Reach], sources: Sources, *, tcp: bool) -> tuple[Leg, ...]:
    """The legs over sites that the resolvers' packets would take, by UDP or by TCP, and be lost on.

    Where the kernel chooses the address, whether datagrams come back is what each path's own
    answers show: nothing is added to it here. A source that gets nothing over the local path either
    has nothing to lose.
    """
    return tuple(
        leg
        for leg, reach in legs.items()
        if reach.state is State.LOST
        and leg.tcp is tcp
        and leg.site != LOCAL
        and leg.source in (sources.get(leg.family) or ("",))
        and (leg.tcp or (leg.source and _served(legs, leg.family, leg.source)))
    )


def without_answers(legs: Mapping[Leg, Reach], sources: Sources) -> tuple[Leg, ...]:
    """Sources that get nothing over the local path, while another one does."""
    return tuple(
        leg
        for family, named in sources.items()
        for leg in (Leg(LOCAL, family, source, tcp=False) for source in named if source)
        if legs.get(leg, NOTHING).state is State.LOST
        and any(_served(legs, family, other) for other in named)
    )


def _served(legs: Mapping[Leg, Reach], family: Family, source: str) -> bool:
    """Whether answers come back to it over the local path."""
    return legs.get(Leg(LOCAL, family, source, tcp=False), NOTHING).state is State.USABLE


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
        legs.get(Leg(site, family, source, tcp=False), NOTHING).state is State.USABLE
        for source in sources.get(family, ())
        if source and _served(legs, family, source)
    )


def cut(legs: Mapping[Leg, Reach], sources: Sources, layout: Layout, *, tcp: bool) -> Mask:
    """(A, P) sites over which answers do not come back to some source, by UDP or by TCP."""
    found = np.zeros(layout.shape, dtype=np.bool_)
    for leg in lost(legs, sources, tcp=tcp):
        if leg.site in layout.column:
            mine = layout.family_of == list(Family).index(leg.family)
            found[mine, layout.column[leg.site]] = True
    return found


def in_use(legs: Mapping[Leg, Reach], sources: Sources) -> Mapping[Leg, Reach]:
    """Without those of sources that are in use no more."""
    known = {"", *(source for each in sources.values() for source in each)}
    return {leg: reach for leg, reach in legs.items() if leg.source in known}
