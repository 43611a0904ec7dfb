"""Staleness: an outdated copy of a zone, found before its first signature expires.

Two signals, both relative to the *other paths* of the same address and zone at the same time, so
that no format or schedule has to be configured:

- serial lag: how long some path has shown a newer serial (RFC 1982) than this one; for
  zones whose serial is the time of the edit also how much older the edit is.
- signature life: the shortest remaining RRSIG lifetime here beside the shortest elsewhere.

A copy is late when lag * 12 reaches the shortest remaining lifetime over all paths (6 h for com
and net, about a day for the root), or when the local lifetime is at most 2/3 of the others' and no
more than two days. The limits of a policy's `stale` replace these. By the share alone, a copy that
gets a new signing some minutes after the others would be late: of signatures that live seven days
and are renewed at four and a half, it shows less than 2/3 until then. com and net never show less
than three days, so a frozen copy is found with two of them left.

If every path is equally late, the zone is late, and no detour would help.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steering.judge.peer_paths import others_best
from steering.judge.zone_copies import Copies, Floats
from steering.layout import Layout
from steering.model import Instant, Seconds, WallTime

Mask = NDArray[np.bool_]

LAG_PARTS = 12
LIFE_SHARE = 2 / 3
SHORT: Seconds = 2 * 86_400.0
"""Signatures that live longer than this are not late, whatever other paths show."""
TWO = 2
"""Paths that must agree before the zone itself counts as late."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lateness:
    """What is outdated at some addresses."""

    behind: Mask
    """(rows, P) late by serial."""
    short: Mask
    """(rows, P) late by the life of its signatures."""
    floor: Floats
    """(Z, rows, P) an answer with a signature that ends within so many seconds is outdated;
    NaN: none is."""
    zone: Mask
    """(rows,) every path is late: the zone itself is."""


def late(
    copies: Copies, layout: Layout, rows: NDArray[np.int64], now: Instant, wall: WallTime
) -> Lateness:
    """How late the zone copies of the addresses in `rows` are over each path."""
    lag = copies.zone_lag(layout, now, rows)
    life = copies.comparable_life(wall, rows)
    lag_limit = layout.lag_limit[rows, None]
    life_limit = layout.life_limit[rows, None]
    # NaN compares false throughout: what is not known is not late.
    elsewhere = others_best(life)
    limit = np.where(np.isnan(lag_limit), elsewhere / LAG_PARTS, lag_limit)
    floor = np.where(np.isnan(life_limit), np.minimum(elsewhere * LIFE_SHARE, SHORT), life_limit)
    behind = (lag >= limit) & (limit > 0) & (lag > -others_best(-lag))
    floor = np.where(elsewhere > np.fmax(life_limit, 0.0), floor, np.nan)

    oldest = np.fmax(lag, copies.zone_age(layout, wall, rows))
    fleet = np.fmax.reduce(life, axis=2, keepdims=True)
    zone_limit = np.where(np.isnan(lag_limit), fleet / LAG_PARTS, lag_limit)
    return Lateness(
        behind=np.asarray(behind.any(axis=0)),
        short=np.asarray((life <= floor).any(axis=0)),
        floor=floor,
        zone=_all_known(oldest, (oldest >= zone_limit) & (zone_limit > 0))
        | _all_known(life, life <= life_limit),
    )


def _all_known(values: Floats, late_there: Mask) -> Mask:
    """(rows,) whether, for some zone, all paths with known values are late."""
    known = ~np.isnan(values)
    every = np.where(known, late_there, True).all(axis=2) & (known.sum(axis=2) >= TWO)
    return np.asarray(every.any(axis=0))
