"""Which copy of each zone every path shows: its serial, and when its signatures end.

A path is late only against serials with a good signature: a forged serial would make all other
paths look outdated.
"""

from __future__ import annotations

from dataclasses import dataclass

from steering.model import Instant, Seconds, WallTime

HISTORY = 64
"""Serials remembered per zone: enough to date the one that first overtook a frozen copy."""
WINDOW_ROUNDS = 60
"""The shortest life is taken over the last one to two windows of this many slow rounds."""
SAMPLES = 5
"""Answers needed on a path before its shortest lifetime is compared."""
TRUST_AHEAD: Seconds = 86_400.0
"""An epoch serial further in the future than this is an error, and ignored."""
_HALF = 0x80000000
_MASK = 0xFFFFFFFF


def newer(a: int, b: int) -> bool:
    """Whether serial `a` is newer than `b` in RFC 1982 arithmetic (32 bits)."""
    return 0 < (a - b) & _MASK < _HALF


@dataclass(frozen=True, slots=True, kw_only=True)
class Soonest:
    """The soonest expiration among the signatures of this window of time and the one before."""

    window: int = 0
    """Number of this window (`Ledger.windows`)."""
    now: WallTime | None = None
    before: WallTime | None = None
    samples: int = 0
    """Answers with signatures in this window."""
    samples_before: int = 0

    def at(self, window: int) -> Soonest:
        """The same when this window has begun."""
        if window == self.window:
            return self
        if window == self.window + 1:
            return Soonest(window=window, before=self.now, samples_before=self.samples)
        return Soonest(window=window)

    def see(self, window: int, expires: WallTime) -> Soonest:
        """After one more answer."""
        then = self.at(window)
        return Soonest(
            window=window,
            now=expires if then.now is None else min(then.now, expires),
            before=then.before,
            samples=then.samples + 1,
            samples_before=then.samples_before,
        )

    def life(self, window: int, wall: WallTime) -> Seconds | None:
        """Shortest remaining lifetime; below 0: expired; None: none was seen."""
        then = self.at(window)
        now, before = then.now, then.before
        if now is None or before is None:
            soonest = before if now is None else now
            return None if soonest is None else soonest - wall
        return min(now, before) - wall

    def comparable_life(self, window: int, wall: WallTime) -> Seconds | None:
        """The same; None where too few answers were seen to compare it."""
        then = self.at(window)
        enough = then.samples + then.samples_before >= SAMPLES
        return then.life(window, wall) if enough else None


NOT_SEEN = Soonest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneCopy:
    """What one path shows of one zone at one address."""

    serial: int | None = None
    overtaken: Instant | None = None
    """When a newer serial was first seen anywhere; None: it is up to date."""
    soonest: Soonest = NOT_SEEN


UNSEEN = ZoneCopy()


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneHistory:
    """The signed serials of one zone of an upstream, whichever path showed them."""

    serials: tuple[tuple[int, Instant], ...] = ()
    """In RFC 1982 order, each with the instant it was first seen."""

    @property
    def newest(self) -> int | None:
        """The newest one; None: none was seen."""
        return self.serials[-1][0] if self.serials else None

    def overtook(self, serial: int) -> Instant | None:
        """When the first serial that is newer than this one was seen; None: there is none."""
        return next((at for known, at in self.serials if newer(known, serial)), None)

    def learn(self, serial: int, now: Instant) -> ZoneHistory:
        """After a signed serial; itself if that is no news."""
        if self.serials and not newer(serial, self.serials[-1][0]):
            return self
        return ZoneHistory(serials=(*self.serials, (serial, now))[-HISTORY:])


NO_HISTORY = ZoneHistory()


def lag(copy: ZoneCopy, history: ZoneHistory, now: Instant, *, epoch: bool) -> Seconds | None:
    """Serial lag in seconds; None: no serial was seen. `epoch`: serials are UNIX seconds."""
    if copy.serial is None:
        return None
    late = 0.0 if copy.overtaken is None else now - copy.overtaken
    if epoch and history.newest is not None:
        behind = (history.newest - copy.serial) & _MASK
        if behind < _HALF:
            late = max(late, float(behind))
    return late


def age(copy: ZoneCopy, wall: WallTime, *, epoch: bool) -> Seconds | None:
    """Seconds since the edit shown, if the serial is a time; else None."""
    return wall - copy.serial if epoch and copy.serial is not None else None
