"""Damping: an address that moves too often stays where it is for a while.

Each move, to a site or back, adds 1 to the penalty of an address. The penalty decays evenly, by a
third of `recover.moves_per_day` a day. An address may return while two more moves fit below two
thirds of that number, and leave while one does. So the rules make at most `moves_per_day` moves in
any 24 hours (2/3 at once, 1/3 by the decay), and an address on the local path can always leave: a
flapping upstream stays on its proven detour for hours, not on its broken path.

BGP's route flap damping (RFC 2439) also adds a penalty for each flap, which decays. The growing
hold (`recovery`) slows the first repeats within a day, damping those after them. The return
from a detour that makes things worse is not damped, but adds a penalty, so the moves run out on the
local path. A move by an operator, by the switch or an override, sets the penalty to 0; a restart of
the agent keeps it (`carry_over`).
"""

from __future__ import annotations

from steering.index import Settings
from steering.model import Instant, Seconds

DAY: Seconds = 86_400.0
AT_ONCE = 2 / 3
"""Part of a day's moves that may follow one another directly."""
AWAY, HOME = 1.0, 2.0
"""Moves that must be left: one for the move itself; for a return one more, to leave again."""


def penalty(level: float, at: Instant, settings: Settings, now: Instant) -> float:
    """The penalty of an address now, in moves; `level`: what it was at `at`."""
    decay = _moves_per_day(settings) * (1 - AT_ONCE) / DAY
    return max(0.0, level - (now - at) * decay)


def room(level: float, settings: Settings) -> float:
    """The moves that are left."""
    return _moves_per_day(settings) * AT_ONCE - level + 1e-9


def time_to_reuse(level: float, settings: Settings, needs: float) -> Seconds:
    """Seconds until an address with this penalty has as many moves left as it needs."""
    moves = _moves_per_day(settings)
    missing = level + needs - moves * AT_ONCE
    return max(0.0, missing) * DAY / (moves * (1 - AT_ONCE))


def bounded(level: float, settings: Settings) -> float:
    """The penalty, limited to what moves can have added by this policy."""
    return min(level, _moves_per_day(settings) * AT_ONCE + 1)


def add_penalty(level: float, settings: Settings) -> float:
    """The penalty after one more move; at most one more move than is allowed."""
    return min(level, _moves_per_day(settings) * AT_ONCE) + 1


def _moves_per_day(settings: Settings) -> int:
    return settings.policy.recover.moves_per_day
