"""Damping: an address that moves too often stays where it is for a while.

Each move, to a site or back, adds 1 to the penalty of an address. The penalty decays evenly, by a
third of `recover.moves_per_day` a day. An address may return while two more moves fit below two
thirds of that number, and leave while one does. So the rules make at most `moves_per_day` moves in
any 24 hours (2/3 at once, 1/3 by the decay), and an address on the local path can always leave: a
flapping upstream stays on its proven detour for hours, not on its broken path.

BGP's route flap damping (RFC 2439) also adds a penalty for each flap, which decays. The growing
hold (`judge.recovery`) slows the first repeats within a day, damping those after them. The return
from a detour that makes things worse is not damped, but adds a penalty, so the moves run out on the
local path. A move by an operator, by the switch or an override, sets the penalty to 0; a restart of
the agent keeps it (`carry_over`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.layout import Layout
from steering.model import Instant, Seconds

DAY: Seconds = 86_400.0
AT_ONCE = 2 / 3
"""Part of a day's moves that may follow one another directly."""
AWAY, HOME = 1.0, 2.0
"""Moves that must be left: one for the move itself; for a return one more, to leave again."""

Floats = NDArray[np.float64]


def penalty(level: Floats, at: Floats, layout: Layout, now: Instant) -> Floats:
    """(A,) the penalty of each address now, in moves."""
    decay = layout.moves_per_day * (1 - AT_ONCE) / DAY
    return np.maximum(0.0, level - (now - at) * decay)


def room(level: Floats, layout: Layout) -> Floats:
    """(A,) the moves that are left."""
    return np.asarray(layout.moves_per_day * AT_ONCE - level + 1e-9)


def time_to_reuse(level: float, a: int, layout: Layout, needs: float) -> Seconds:
    """Seconds until an address with this penalty has as many moves left as it needs."""
    moves = int(layout.moves_per_day[a])
    missing = level + needs - moves * AT_ONCE
    return max(0.0, missing) * DAY / (moves * (1 - AT_ONCE))


def bounded(level: Floats, layout: Layout) -> Floats:
    """The penalties, limited to what moves can have added by the policies of this layout."""
    return np.asarray(np.minimum(level, layout.moves_per_day * AT_ONCE + 1))


def add_penalty(level: Floats, rows: NDArray[np.int64], layout: Layout) -> Floats:
    """The penalties after one more move of these rows; at most one more move than is allowed."""
    after = level.copy()
    after[rows] = np.minimum(after[rows], layout.moves_per_day[rows] * AT_ONCE) + 1
    return after
