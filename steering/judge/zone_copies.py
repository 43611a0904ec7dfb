"""Which copy of each zone every path shows: its serial, and when its signatures end.

A path is late only against serials with a good signature: a forged serial would make all other
paths look outdated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from steering.judge.copy_on_write import fork, own, put
from steering.layout import Layout
from steering.model import Instant, Seconds, WallTime

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Rows = NDArray[np.int64] | slice

ALL = slice(None)
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Copies:
    """What each path shows of each zone; Z is the zone's index in its policy."""

    serial: NDArray[np.int64]
    """(Z, A, P), -1 where unknown."""
    newest: NDArray[np.int64]
    """(Z, U) newest proven serial of each upstream's zones, -1 where unknown."""
    overtaken: Floats
    """(Z, A, P) instant at which a newer serial was first seen anywhere; NaN: up to date."""
    soonest: Floats
    """(2, Z, A, P) soonest expiration (UNIX seconds) in this window and the one before."""
    samples: NDArray[np.int64]
    """(2, Z, A, P) answers with signatures in these windows."""
    window: Instant
    """When this window began."""
    news: Mapping[tuple[int, int], tuple[tuple[int, Instant], ...]] = field(default_factory=dict)
    """(zone, upstream) -> serials in order, each with the instant it was first seen."""

    @classmethod
    def blank(cls, layout: Layout, now: Instant) -> Copies:
        """Nothing seen yet."""
        a, p = layout.shape
        z = max((len(policy.zones) for policy in layout.policies), default=1)
        return cls(
            serial=np.full((z, a, p), -1, dtype=np.int64),
            newest=np.full((z, len(layout.policies)), -1, dtype=np.int64),
            overtaken=np.full((z, a, p), np.nan),
            soonest=np.full((2, z, a, p), np.nan),
            samples=np.zeros((2, z, a, p), dtype=np.int64),
            window=now,
        )

    def aged(self, layout: Layout, now: Instant) -> bool:
        """Whether this window is over."""
        return now - self.window >= WINDOW_ROUNDS * layout.interval

    def editable(self, layout: Layout, now: Instant) -> Copies:
        """A copy to write to in this turn; a new window begins if it is due."""
        made = fork(self)
        put(made, "news", dict(self.news))
        if self.aged(layout, now):
            put(made, "window", now)
            for name, none in (("soonest", np.nan), ("samples", 0)):
                pair = own(made, name)
                pair[1], pair[0] = pair[0], none
        return made

    def forget(self, a: int, p: int) -> None:
        """Drop what was seen on a path, as another instance answers now."""
        own(self, "serial")[:, a, p] = -1
        own(self, "overtaken")[:, a, p] = np.nan
        self.forget_life(a, p)

    def forget_life(self, a: int, p: int) -> None:
        """Drop the expirations seen, as the windows have those of a copy that was replaced."""
        own(self, "soonest")[:, :, a, p] = np.nan
        own(self, "samples")[:, :, a, p] = 0

    def see_expiries(self, keys: tuple[Counts, Counts, Counts], expires: Floats) -> None:
        """Note answers for distinct `keys` = (z, a, p): when their first signatures expire."""
        where = (0, *keys)
        known = self.soonest[where]
        sooner = ~(known <= expires)
        if sooner.any():
            own(self, "soonest")[where] = np.where(sooner, expires, known)
        own(self, "samples")[where] += 1

    def see_serial(
        self,
        layout: Layout,
        key: tuple[int, int, int],
        serial: int,
        *,
        proven: bool,
        wall: WallTime,
        now: Instant,
    ) -> None:
        """Note one SOA serial for `key` = (z, a, p); `proven`: its signature is good."""
        z, a, _ = key
        if proven:
            self.learn(layout, (z, a), serial, wall=wall, now=now)
        if serial == self.serial[key]:
            return  # as late as it was
        news = self.news.get((z, int(layout.upstream_of[a])), ())
        own(self, "serial")[key] = serial
        # The history is in RFC 1982 order: this copy is late since the first newer serial.
        overtook = next((at for known, at in news if newer(known, serial)), None)
        own(self, "overtaken")[key] = np.nan if overtook is None else overtook

    def learn(
        self, layout: Layout, of: tuple[int, int], serial: int, *, wall: WallTime, now: Instant
    ) -> None:
        """Note a signed serial of the zone `of` = (z, a), whichever path showed it."""
        (z, a), u = of, int(layout.upstream_of[of[1]])
        news = self.news.get((z, u), ())
        if layout.epoch[a] and serial > wall + TRUST_AHEAD:
            return
        if news and not newer(serial, news[-1][0]):
            return
        assert isinstance(self.news, dict)
        self.news[z, u] = (*news, (serial, now))[-HISTORY:]
        own(self, "newest")[z, u] = serial
        rows = np.flatnonzero(layout.upstream_of == u)
        held = self.serial[z, rows]
        behind = (held >= 0) & (held != serial) & np.isnan(self.overtaken[z, rows])
        if behind.any():
            own(self, "overtaken")[z, rows] = np.where(behind, now, self.overtaken[z, rows])

    def zone_lag(self, layout: Layout, now: Instant, rows: Rows = ALL) -> Floats:
        """(Z, rows, P) serial lag in seconds; NaN: no serial seen."""
        serial = self.serial[:, rows]
        lag = np.nan_to_num(now - self.overtaken[:, rows], nan=0.0)
        newest = self.newest[:, layout.upstream_of[rows]][:, :, None]
        behind = (newest - serial) & _MASK
        edits = layout.epoch[rows, None] & (newest >= 0) & (behind < _HALF)
        lag = np.where(edits, np.maximum(lag, behind), lag)
        return np.where(serial >= 0, lag, np.nan)

    def lag(self, layout: Layout, now: Instant, rows: Rows = ALL) -> Floats:
        """(rows, P) serial lag in seconds, the worst of the address's zones; NaN: unknown."""
        return np.asarray(np.fmax.reduce(self.zone_lag(layout, now, rows), axis=0))

    def zone_age(self, layout: Layout, wall: WallTime, rows: Rows = ALL) -> Floats:
        """(Z, rows, P) seconds since the edit shown, if the serial is a time; else NaN."""
        serial = self.serial[:, rows]
        return np.where((serial >= 0) & layout.epoch[rows, None], wall - serial, np.nan)

    def zone_life(self, wall: WallTime, rows: Rows = ALL) -> Floats:
        """(Z, rows, P) shortest remaining signature lifetime in seconds; below 0: expired."""
        return np.asarray(np.fmin(self.soonest[0][:, rows], self.soonest[1][:, rows]) - wall)

    def life(self, wall: WallTime, rows: Rows = ALL) -> Floats:
        """(rows, P) shortest remaining signature lifetime in seconds; may be negative."""
        return np.asarray(np.fmin.reduce(self.zone_life(wall, rows), axis=0))

    def comparable_life(self, wall: WallTime, rows: Rows = ALL) -> Floats:
        """Like `zone_life`; NaN where too few answers were seen to compare it."""
        enough = self.samples[:, :, rows].sum(axis=0) >= SAMPLES
        return np.where(enough, self.zone_life(wall, rows), np.nan)
