"""Recovery: when may traffic return to a path that was bad?

While traffic is away, probes on the local path must empty a bucket that starts with two
tokens. Each clean answer takes one point; each bogus or outdated one puts a token back (it
holds three at most). Traffic returns when it is empty *and* the hold is over: `hold` after
the first breach, doubled for each further one until a day passes without one, at most
`max_hold`. With the three good answers in a row of usual health checks, traffic would return
30,000 times in 12 hours at a remaining failing share of 0.5 %.

A lost packet is not a stale copy: losses and errors put back eight points each. So the bucket
empties at a normal loss of a few per cent, and not above a ninth, whatever its size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from steering.model import Instant, Seconds

CALM: Seconds = 86_400.0
"""After this long without a breach the hold starts over."""

BRIEF = 25
"""Clean answers for a path that carries no traffic, or was only suspected: a wrong recovery there
moves no traffic. With fewer, a suspicion of a small share would end between two failures."""

LOST = 8
"""Points that a loss or an error puts back; never more than a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The recovery bucket of one (address, path), in points."""

    clean: int
    """Points at the start: two tokens, one point a clean answer."""
    points: int

    @classmethod
    def start(cls, clean: int) -> Bucket:
        """A bucket as it is right after the breach."""
        return cls(clean=clean, points=clean)

    @classmethod
    def brief(cls) -> Bucket:
        """The bucket of a path whose recovery moves no traffic back."""
        return cls.start(BRIEF)

    @property
    def token(self) -> int:
        """Points of one token."""
        return max(1, self.clean // 2)

    @property
    def empty(self) -> bool:
        """Enough clean answers have been seen."""
        return self.points == 0

    def count(self, *, clean: int = 0, bad: int = 0, lost: int = 0) -> Bucket:
        """The bucket after more answers.

        Args:
            clean: good ones.
            bad: bogus or outdated ones.
            lost: timeouts and errors.
        """
        put = bad * self.token + lost * min(LOST, self.token)
        points = min(self.points + put, 3 * self.token)
        return Bucket(clean=self.clean, points=max(0, points - clean))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The least time that an address stays away, growing with each repeat."""

    breaches: int = 0
    since: Instant = 0.0
    """Instant at which the latest breach began."""
    ended: Instant = 0.0
    """Instant at which the one before it ended. A calm day counts from there: a fault of 35
    hours that comes back after five minutes was not calm for a day."""

    def breach(self, now: Instant) -> Hold:
        """The hold after a breach confirmed now."""
        calm = self.breaches == 0 or now - self.ended >= CALM
        return Hold(breaches=1 if calm else self.breaches + 1, since=now, ended=now)

    def end(self, now: Instant) -> Hold:
        """The hold after the recovery."""
        return replace(self, ended=now)

    def unused(self) -> Hold:
        """The hold after a breach for which nothing was moved: it lengthens no later hold."""
        return replace(self, breaches=max(0, self.breaches - 1))

    def until(self, hold: Seconds, max_hold: Seconds) -> Instant:
        """The first instant at which traffic may return."""
        doublings = min(self.breaches - 1, 32) if self.breaches else 0
        return self.since + min(hold * 2.0**doublings, max_hold)
