"""Staleness: an outdated copy of a zone, seen before its first signature runs out.

Two signals, both relative to what the *other paths* show for the same address and zone at
the same time, so that no format or schedule has to be configured:

- serial lag: how long some path has shown a newer serial (RFC 1982) than this one; for
  zones whose serial is the time of the edit also how much older the edit is.
- signature life: the shortest remaining RRSIG lifetime here beside the shortest elsewhere.

Late when lag * 12 reaches the fleet's shortest remaining lifetime (6 h for com and net,
about a day for the root), or when the local life is at most 2/3 of the fleet's; the limits
of a policy's `stale` take their place. If every path is equally late, the zone is late, and
no detour would help.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from steering.layout import Layout
from steering.model import Instant, Seconds, WallTime

Floats = NDArray[np.float64]

LAG_PARTS = 12
LIFE_SHARE = 2 / 3
HISTORY = 64
"""Serials remembered per zone: enough to date the one that first overtook a frozen copy."""
WINDOW_ROUNDS = 60
"""The shortest life is taken over the last one to two windows of this many slow rounds."""
SAMPLES = 5
"""Answers needed on a path before its shortest lifetime is worth comparing."""
TRUST_AHEAD: Seconds = 86_400.0
"""An epoch serial further in the future than this is a mistake, not news."""


def newer(a: int, b: int) -> bool:
    """Whether serial `a` is newer than `b` in RFC 1982 arithmetic (32 bits)."""
    return 0 < (a - b) & 0xFFFFFFFF < 0x80000000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Copies:
    """What each path shows of each zone. NaN: not seen yet."""

    serial: NDArray[np.int64]
    """(Z, A, P), -1 where unknown; Z: the zone's place in its policy."""
    overtaken: Floats
    """(Z, A, P) instant at which a newer serial was first seen anywhere; NaN: up to date."""
    soonest: Floats
    """(2, A, P) soonest expiration (UNIX seconds) in this window and the one before."""
    samples: NDArray[np.int64]
    """(2, A, P) answers with signatures in these windows."""
    window: Instant
    """When this window began."""
    news: Mapping[tuple[int, int], tuple[tuple[int, Instant], ...]] = field(default_factory=dict)
    """(upstream, zone) -> serials in order, each with the instant it was first seen."""

    @classmethod
    def blank(cls, layout: Layout, now: Instant) -> Copies:
        """Nothing seen yet."""
        a, p = layout.shape
        z = max((len(policy.zones) for policy in layout.policies), default=1)
        return cls(
            serial=np.full((z, a, p), -1, dtype=np.int64),
            overtaken=np.full((z, a, p), np.nan),
            soonest=np.full((2, a, p), np.nan),
            samples=np.zeros((2, a, p), dtype=np.int64),
            window=now,
        )

    def editable(self, layout: Layout, now: Instant) -> Copies:
        """A copy that `see` may write to; begins a new window when this one is over."""
        soonest, samples, window = self.soonest.copy(), self.samples.copy(), self.window
        if now - window >= WINDOW_ROUNDS * layout.interval:
            soonest[1], samples[1], window = soonest[0], samples[0], now
            soonest[0], samples[0] = np.nan, 0
        return replace(
            self,
            serial=self.serial.copy(),
            overtaken=self.overtaken.copy(),
            soonest=soonest,
            samples=samples,
            window=window,
            news=dict(self.news),
        )

    def forget(self, a: int, p: int) -> None:
        """Another instance answers now: what the last one showed says nothing of it."""
        self.serial[:, a, p] = -1
        self.overtaken[:, a, p] = np.nan
        self.soonest[:, a, p] = np.nan
        self.samples[:, a, p] = 0

    def see_expiry(self, a: int, p: int, expires: WallTime) -> None:
        """One answer over path `p`, whose soonest signature ends at `expires`."""
        self.soonest[0, a, p] = np.fmin(self.soonest[0, a, p], expires)
        self.samples[0, a, p] += 1

    def see_serial(
        self, layout: Layout, key: tuple[int, int, int], serial: int, *, proven: bool, now: Instant
    ) -> None:
        """One SOA of zone `z`, address `a`, over path `p`, `key` being (z, a, p).

        Only a proven serial is news that others can be late against: a liar's would make
        everybody else look outdated.
        """
        z, a, p = key
        u = int(layout.upstream_of[a])
        assert isinstance(self.news, dict)
        news = self.news.get((u, z), ())
        if proven and (not news or newer(serial, news[-1][0])):
            news = (*news, (serial, now))[-HISTORY:]
            self.news[u, z] = news
            rows = np.flatnonzero(layout.upstream_of == u)
            held = self.serial[z, rows]
            behind = (held >= 0) & np.isnan(self.overtaken[z, rows])
            self.overtaken[z, rows] = np.where(behind, now, self.overtaken[z, rows])
        self.serial[z, a, p] = serial
        later = [at for known, at in news if newer(known, serial)]
        self.overtaken[z, a, p] = later[0] if later else np.nan

    def lag(self, layout: Layout, now: Instant) -> Floats:
        """Serial lag of each (address, path) in seconds, the worst of its zones; NaN: unknown."""
        known = self.serial >= 0
        lag = np.where(known, np.nan_to_num(now - self.overtaken, nan=0.0), np.nan)
        for (u, z), news in self.news.items():
            if str(layout.policies[u].serial) != "epoch":
                continue
            rows = layout.upstream_of == u
            behind = (news[-1][0] - self.serial[z, rows]) & 0xFFFFFFFF
            behind = np.where(behind < 0x80000000, behind, 0)
            lag[z, rows] = np.where(
                known[z, rows], np.fmax(lag[z, rows], np.where(behind > 0, behind, 0)), np.nan
            )
        return _nanmax(lag)

    def life(self, wall: WallTime) -> Floats:
        """Shortest remaining signature lifetime of each (address, path) in seconds; may be negative."""
        return np.fmin(self.soonest[0], self.soonest[1]) - wall

    def comparable(self) -> NDArray[np.bool_]:
        """(A, P) whether enough signatures were seen for `life` to mean something."""
        return self.samples.sum(axis=0) >= SAMPLES


def late(copies: Copies, layout: Layout, now: Instant, wall: WallTime) -> NDArray[np.bool_]:
    """(A, P) which paths show an outdated copy, measured against the best other path."""
    a, p = layout.shape
    result = np.zeros((a, p), dtype=np.bool_)
    if p < 2:
        return result
    lag = copies.lag(layout, now)
    life = np.where(copies.comparable(), copies.life(wall), np.nan)
    lag_limit = np.full(a, np.nan)
    life_limit = np.full(a, np.nan)
    for u, policy in enumerate(layout.policies):
        rows = layout.upstream_of == u
        if policy.breach.stale.serial_lag is not None:
            lag_limit[rows] = policy.breach.stale.serial_lag
        if policy.breach.stale.signature_remaining is not None:
            life_limit[rows] = policy.breach.stale.signature_remaining
    for column in range(p):
        others = [other for other in range(p) if other != column]
        elsewhere = _nanmax(life[:, others].T)
        least_lag = -_nanmax(-lag[:, others].T)
        # NaN compares false throughout: what is not known is not late.
        by_lag = np.where(
            np.isnan(lag_limit),
            (lag[:, column] * LAG_PARTS >= elsewhere) & (elsewhere > 0),
            lag[:, column] >= lag_limit,
        ) & (lag[:, column] > least_lag)
        by_life = np.where(
            np.isnan(life_limit),
            (life[:, column] <= elsewhere * LIFE_SHARE) & (elsewhere > 0),
            (life[:, column] <= life_limit) & (elsewhere > life_limit),
        )
        result[:, column] = by_lag | by_life
    return result


def _nanmax(values: Floats) -> Floats:
    return np.asarray(np.fmax.reduce(values, axis=0))
