"""Damping: an address that moves too often stays where it is for a while.

Each move, away or back, wears an address by one; a third of `recover.moves_per_day` wears off
in a day, evenly. An address may go home while two more moves are left below two thirds of that
number, and away while one is. So no span of 24 hours sees more than `moves_per_day` of its own
accord (2/3 at once, 1/3 as they wear off), and who is at home can always leave: an upstream that
flaps is left on its proven detour for hours, not on its broken path.

BGP's route flap damping (RFC 2439) adds a penalty for each flap likewise, and lets it fade. The
growing hold (`judge.recover`) paces the first repeats within a day, this the ones after them.
The way back from a detour that makes things worse is not damped, but it wears: the moves run
out at home. What people moved, by the switch or an override, starts afresh; a restart of the
agent does not (`carry_over`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.layout import Layout
from steering.model import Instant, Seconds

DAY: Seconds = 86_400.0
AT_ONCE = 2 / 3
"""Part of a day's moves that may come one after the other."""
AWAY, HOME = 1.0, 2.0
"""Room that a move needs: its own, and on the way home that of leaving again."""

Floats = NDArray[np.float64]


def worn(level: Floats, at: Floats, layout: Layout, now: Instant) -> Floats:
    """(A,) how worn each address is now, in moves."""
    off = layout.moves_per_day * (1 - AT_ONCE) / DAY
    return np.maximum(0.0, level - (now - at) * off)


def room(level: Floats, layout: Layout) -> Floats:
    """(A,) moves that are left."""
    return np.asarray(layout.moves_per_day * AT_ONCE - level + 1e-9)


def patience(level: float, a: int, layout: Layout, needs: float) -> Seconds:
    """Seconds until the address in row `a`, as worn as this, has the room it needs."""
    moves = int(layout.moves_per_day[a])
    missing = level + needs - moves * AT_ONCE
    return max(0.0, missing) * DAY / (moves * (1 - AT_ONCE))


def bounded(level: Floats, layout: Layout) -> Floats:
    """The levels as far as moves can have worn them, by the policies of this layout."""
    return np.asarray(np.minimum(level, layout.moves_per_day * AT_ONCE + 1))


def add_penalty(level: Floats, rows: NDArray[np.int64], layout: Layout) -> Floats:
    """The levels after one more move of these rows; at most one more than they have room for."""
    after = level.copy()
    after[rows] = np.minimum(after[rows], layout.moves_per_day[rows] * AT_ONCE) + 1
    return after
