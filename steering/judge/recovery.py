"""Recovery: when may traffic return to a path that was bad?

While traffic is away, probes on the original path must empty a bucket that starts with two
tokens: each clean answer takes one point, each bogus or outdated one puts a token back (at
most three are held). Traffic returns when it is empty *and* the hold is over: `hold` after
the first breach, doubled for each further one until a day passes without, at most
`max_hold`. Three good answers in a row, as health checkers ask for, would bring traffic
back 30,000 times in 12 hours at a remaining failing share of 0.5 %.

A lost packet is not a stale copy: losses and errors put back eight points each, so that the
bucket empties at a normal loss of a few per cent and not above a ninth, however large it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from steering.model import Instant, Seconds

CALM: Seconds = 86_400.0
"""After this long without a breach the hold starts over."""

BRIEF = 25
"""Clean answers for a path that carries no traffic, or was only suspected: a wrong "mended"
there moves nothing. Fewer would end the suspicion of a small share between two failures."""

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
        """A bucket as it stands right after the breach."""
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
    """How long an address stays away at the least, growing with each repeat."""

    breaches: int = 0
    since: Instant = 0.0
    """Instant at which the latest breach began."""
    ended: Instant = 0.0
    """Instant at which the one before it was over. Calm counts from there: a fault of 35
    hours that comes back after five minutes has not been calm for a day."""

    def breach(self, now: Instant) -> Hold:
        """The hold after a breach confirmed now."""
        calm = self.breaches == 0 or now - self.ended >= CALM
        return Hold(breaches=1 if calm else self.breaches + 1, since=now, ended=now)

    def end(self, now: Instant) -> Hold:
        """The hold after the recovery."""
        return replace(self, ended=now)

    def unused(self) -> Hold:
        """The hold after a breach for which nothing was moved: it lengthens no later one."""
        return replace(self, breaches=max(0, self.breaches - 1))

    def until(self, hold: Seconds, max_hold: Seconds) -> Instant:
        """The first instant at which traffic may return."""
        doublings = min(self.breaches - 1, 32) if self.breaches else 0
        return self.since + min(hold * 2.0**doublings, max_hold)
