"""What became of the queries that this host forwards for one source over one path.

Why this is counted, and how, is in `forwarded`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from steering.judge.known.legs import ADDRESSES, LOST, LegState
from steering.model import NEVER, Instant, Seconds

AT_FIRST = 5
"""Losses that are enough if nothing was ever answered."""
LASTS: Seconds = 3600.0
"""How long the result holds that a site does not carry a source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carriage:
    """What became of the latest queries that were forwarded for a source over a path."""

    state: LegState = LegState.UNTRIED
    lost: int = 0
    """Queries in a row without an answer."""
    asked: frozenset[str] = frozenset()
    """Addresses that these were sent to."""
    since: Instant = NEVER
    """When it was lost."""

    def answered(self) -> Carriage:
        """After an answer."""
        return USABLE

    def unanswered(self, address: str, number: int, addresses: int, now: Instant) -> Carriage:
        """After `number` more queries without an answer, to this address of `addresses`."""
        if self.is_old(now):
            return NOTHING.unanswered(address, number, addresses, now)
        after = replace(self, lost=min(self.lost + number, LOST), asked=self.asked | {address})
        enough = LOST if self.state is LegState.USABLE else AT_FIRST
        if after.lost >= enough and len(after.asked) >= min(ADDRESSES, addresses):
            return replace(after, state=LegState.LOST, since=now)
        return after

    def is_old(self, now: Instant) -> bool:
        """Whether it was lost so long ago that it is tried anew."""
        return self.state is LegState.LOST and now - self.since >= LASTS


NOTHING, USABLE = Carriage(), Carriage(state=LegState.USABLE)
