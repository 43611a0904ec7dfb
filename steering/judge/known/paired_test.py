"""Confirmation: does the fault belong to this path, or is it everywhere, or planted?

The same question goes over the local path and over a candidate site's path in the same
instant. Bad here and good there counts +1, good here and bad there -3, equal 0. At +12 the
breach is confirmed; after 256 pairs it is rejected.

For a fault that is equal on both paths the score is a random walk with steps +1 and -3 of
equal probability; it ever reaches 12 with probability 1.839**-12 = 7e-4 (Wald; 1.839 is the
root of x + x**-3 = 2), whatever the fault's rate. The score has no floor: with a floor any
fault would reach 12 in the end.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from steering.model import Instant

CONFIRM_AT = 12
REJECT_AFTER = 256
BAD_HERE = 1
BAD_THERE = -3


class Confirmation(enum.Enum):
    """The result of the test of one address, so far."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The confirmation test of one address against one candidate path."""

    candidate: str
    """The path compared with."""
    since: Instant
    """Only probes sent from then on are pairs. Answers that were under way then raised the
    suspicion, and would count twice."""
    score: int = 0
    pairs: int = 0
    hasty: int = 0
    """Points of the score from losses and errors of fast probes (`backoff`)."""
    eased: Instant | None = None
    """Since when the address is probed slowly, to find out whether fast probing caused these."""

    def pair(self, *, bad_here: bool, bad_there: bool) -> Trial:
        """The trial after one more pair of answers."""
        step = 0 if bad_here == bad_there else BAD_HERE if bad_here else BAD_THERE
        return replace(self, score=self.score + step, pairs=self.pairs + 1)

    @property
    def result(self) -> Confirmation:
        """Whether the trial is over, and how."""
        if self.score >= CONFIRM_AT:
            return Confirmation.CONFIRMED
        if self.pairs >= REJECT_AFTER:
            return Confirmation.REJECTED
        return Confirmation.OPEN
