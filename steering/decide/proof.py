"""Proof: a steer must show the improvement in live answers, or it is undone.

Live questions carry no mark, so they go where the host's own traffic to the address goes.
Good live answers prove that the routes work and that the site does; bad ones, or none in
time, undo the steer, and that site is avoided for a while.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from steering.model import Instant, Seconds

GOOD_ENOUGH = 5
TOO_BAD = 3
AVOID: Seconds = 300.0
"""How long a site that did not help is not tried again for the address."""


class Standing(enum.Enum):
    """How far a proof has come."""

    WAITING = "waiting"
    PROVED = "proved"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The proof of one address's steer to one site."""

    column: int
    """Column of the site's path."""
    deadline: Instant
    """By then it must be proved; counted from the moment the route was seen installed."""
    installed: bool = False
    good: int = 0
    bad: int = 0
    proved: bool = False

    def live(self, *, good: bool) -> Proof:
        """The proof after one live answer (or its absence)."""
        return replace(self, good=self.good + good, bad=self.bad + (not good))

    def standing(self, now: Instant) -> Standing:
        """Where it stands at this instant."""
        if self.proved:
            return Standing.PROVED
        if self.bad >= TOO_BAD and self.bad > self.good // 4:
            return Standing.FAILED
        if self.good >= GOOD_ENOUGH:
            return Standing.PROVED
        return Standing.FAILED if now >= self.deadline else Standing.WAITING


def allowance(fast_interval: Seconds, timeout: Seconds) -> Seconds:
    """Time a proof may take: some rounds more than it needs, and the slowest answers."""
    return 4 * GOOD_ENOUGH * fast_interval + 3 * timeout
