"""The budget: how many addresses move at once. The first in order move, the others wait.

First the addresses that leave the local path, or a detour for a better one, in the order of the
policies: each takes the best site that has room for it; all of a group take the same one if one has
room for all. Then the addresses that return, where the policy says so one address of a group first,
and the others after its verification. Both use the same moves per minute.

The load allowed at a site is compared with the policies' estimates. Load by dnstap only makes
another site better: a program that writes false dnstap must neither prevent a move nor overload a
site.

The budget only removes moves and adds none. A steered address keeps its site when limits shrink.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from steering.config.configuration import Budget
from steering.decide.ranking import BUSY
from steering.layout import Layout
from steering.model import Instant, Seconds

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MINUTE: Seconds = 60.0


class Held(enum.IntEnum):
    """Why a move waits."""

    NOT = 0
    PER_MINUTE = 1
    AT_ONCE = 2
    AT_MOST = 3
    CAPACITY = 4
    GRADUAL = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Room:
    """What may be used in this turn."""

    budget: Budget
    minute: int
    """Moves left in this minute."""
    allowed: Floats
    """(P,) queries per second that steered traffic may add to a site; infinite: no limit."""
    demand: Floats
    """(A,) queries per second of each address by the policies' estimates; NaN: no estimate, which
    counts as 0."""
    load: Floats
    """(P,) present load by these estimates, in queries per second."""
    heard: Floats
    """(A,) queries per second by dnstap, where it shows them, else the same; NaN: unknown."""
    heard_load: Floats
    """(P,) present load by these, in queries per second."""

    @property
    def busy(self) -> Mask:
        """(P,) sites with more than half of the allowed load."""
        return np.asarray(self.most > self.allowed * BUSY)

    @property
    def over(self) -> Mask:
        """(P,) sites with more than the allowed load: it was unknown, or has grown since."""
        return np.asarray(self.most > self.allowed)

    @property
    def most(self) -> Floats:
        """(P,) the load on each site, by the estimates or by dnstap, whichever is more."""
        return np.maximum(self.load, self.heard_load)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Allotment:
    """Which addresses may move this turn, and to which site."""

    best: Ints
    """(A,) the site for each address, if it moves to one; 0: none is proven."""
    held: NDArray[np.int8]
    """(A,) why it has to wait (`Held`)."""
    scouts: tuple[int, ...] = ()
    """Rows that return to the local path before the others of their group."""


def room(
    layout: Layout,
    plan: Ints,
    heard: Floats,
    moves: tuple[tuple[Instant, int], ...],
    now: Instant,
) -> Room:
    """What may be used. `heard` is the demand of each address by dnstap."""
    used = sum(number for at, number in moves if now - at < MINUTE)
    return Room(
        budget=layout.budget,
        minute=max(0, layout.budget.moves_per_minute - used),
        allowed=layout.capacity * layout.budget.capacity_share,
        demand=layout.estimate,
        load=_load(layout.estimate, plan, layout),
        heard=heard,
        heard_load=_load(heard, plan, layout),
    )


def _load(demand: Floats, plan: Ints, layout: Layout) -> Floats:
    weights = np.nan_to_num(demand) * (plan > 0)
    return np.bincount(plan, weights=weights, minlength=len(layout.paths)).astype(np.float64)


def allot(
    leaving: Ints,
    cost: Floats,
    returning: Ints,
    *,
    best: Ints,
    plan: Ints,
    standing: Ints,
    layout: Layout,
    at_most: Ints,
    scouting: Mask,
    scouted: Mask,
    room: Room,
) -> Allotment:
    """Which addresses move.

    Args:
        leaving: rows that should take another site than they have, in order.
        cost: (N, P) the cost of each path for each of them (`ranking.costs`).
        returning: rows that could return to the local path, in order.
        best: (A,) the best site of each address, with room or without.
        plan: (A,) the present column of each address.
        standing: (A,) the same, or the column that an override orders: both use room.
        layout: the rows.
        at_most: (A,) addresses of the upstream that may be steered at once.
        scouting: (groups,) whose first address back is being verified.
        scouted: (groups,) whose first address back is verified.
        room: what may be used.
    """
    best, held = best.copy(), np.zeros(len(plan), dtype=np.int8)
    if not (leaving.size or returning.size):
        return Allotment(best=best, held=held)
    minute, away = room.minute, int((standing > 0).sum())
    at_once = room.budget.at_once
    mine = np.bincount(layout.upstream_of, weights=standing > 0, minlength=len(layout.policies))
    sites = _SiteRoom(leaving, cost, plan, room, layout)
    for i, a in enumerate(leaving.tolist()):
        new, u = bool(plan[a] == 0), layout.upstream_of[a]
        if minute <= 0:
            held[a] = Held.PER_MINUTE
        elif new and at_once is not None and away >= at_once:
            held[a] = Held.AT_ONCE
        elif new and mine[u] >= at_most[a]:
            held[a] = Held.AT_MOST
        elif (site := sites.take(i)) == 0:
            held[a] = Held.CAPACITY
        elif site == plan[a]:
            best[a] = site  # the better one has no room
        else:
            best[a] = site
            minute -= 1
            away += new
            mine[u] += new
    scouts: dict[int, int] = {}
    sizes = np.bincount(layout.group_of[plan > 0], minlength=len(scouting))
    for a in returning.tolist():
        group = int(layout.group_of[a])
        gradual = bool(layout.gradual[a]) and not scouted[group]
        if gradual and (scouting[group] or group in scouts):
            held[a] = Held.GRADUAL
        elif minute <= 0:
            held[a] = Held.PER_MINUTE
        else:
            minute -= 1
            if gradual and sizes[group] > 1:
                scouts[group] = a
    return Allotment(best=best, held=held, scouts=tuple(scouts.values()))


@dataclass(slots=True)
class _SiteRoom:
    """The room at the sites, while one address after the other takes some."""

    rows: Ints
    cost: Floats
    plan: Ints
    room: Room
    layout: Layout
    free: Floats = field(init=False)
    """(2, P) by the estimates, and by what dnstap shows."""
    need: Floats = field(init=False)
    """(2, N) likewise."""
    _common: dict[int, int] = field(init=False, default_factory=dict)
    """Group -> the best site with room for all of it, at the time of its first address."""

    def __post_init__(self) -> None:
        room = self.room
        self.free = room.allowed - np.array([room.load, room.heard_load])
        self.need = np.nan_to_num(np.array([room.demand, room.heard]))[:, self.rows]

    def take(self, i: int) -> int:
        """The site for the i-th of the rows, with its room taken; 0: no proven site has room."""
        cost, need = self.cost[i], self.need[:, i, None]
        if np.isinf(self.free[0, 1:]).all():
            return _least(cost)
        here = int(self.plan[self.rows[i]])
        site = self._for_all(int(self.layout.group_of[self.rows[i]]))
        fits, likely = self.free >= need
        if not site or not (fits & likely)[site]:
            if here and np.isfinite(cost[here]):
                return here  # only a whole group changes from a good site to a better one
            site = _least(np.where(fits & likely, cost, np.inf))
            site = site or _least(np.where(fits, cost, np.inf))
        self.free[:, site] -= need[:, 0]
        return site

    def _for_all(self, group: int) -> int:
        if group not in self._common:
            members = self.layout.group_of[self.rows] == group
            whole = self.cost[members].sum(axis=0)  # infinite where it is not proven for one
            fits = (self.free >= self.need[:, members].sum(axis=1, keepdims=True)).all(axis=0)
            self._common[group] = _least(np.where(fits, whole, np.inf))
        return self._common[group]


def _least(cost: Floats) -> int:
    site = int(np.argmin(cost))
    return site if np.isfinite(cost[site]) else 0
