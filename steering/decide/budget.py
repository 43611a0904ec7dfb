"""The budget: how much moves at once. The first in order go, the rest wait.

Of those that want to leave the local path, or a detour for a better one, in the order of the
policies: each takes the best site that has room for it, all of a group the same one where one
has room for all. Then those that go home, where the policy says so one address of a group
first, the others when it has done well. Both spend of the same moves per minute.

What a site may take is held against the policies' estimates. What dnstap shows only makes another
site the better one: who writes it must neither forbid a move nor send a site too much.

A guard: it takes moves back and adds none. Who is steered keeps the place he has, whatever the
limits have become since.
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
    """What there is to spend this turn."""

    budget: Budget
    minute: int
    """Moves left of this minute."""
    allowed: Floats
    """(P,) queries per second that steered traffic may bring to a site; infinite: no limit."""
    demand: Floats
    """(A,) queries per second of each address by the policies' estimates: what a site has room
    for; NaN: no estimate, which counts as none."""
    load: Floats
    """(P,) queries per second by them that it brings now."""
    heard: Floats
    """(A,) queries per second as far as dnstap shows, else the same; NaN: nobody knows."""
    heard_load: Floats
    """(P,) queries per second by these that it brings now."""

    @property
    def busy(self) -> Mask:
        """(P,) sites of which more than half of what is allowed is taken."""
        return np.asarray(self.most > self.allowed * BUSY)

    @property
    def over(self) -> Mask:
        """(P,) sites that get more than is allowed: it was not known, or has grown since."""
        return np.asarray(self.most > self.allowed)

    @property
    def most(self) -> Floats:
        """(P,) what each site gets, by the estimates or by dnstap, whichever is more."""
        return np.maximum(self.load, self.heard_load)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Allotment:
    """Who may move this turn, and whereto."""

    best: Ints
    """(A,) the site each address is to take if it is to take one; 0: none is proven."""
    held: NDArray[np.int8]
    """(A,) why it has to wait (`Held`)."""
    scouts: tuple[int, ...] = ()
    """Rows that go home before the others of their group."""


def room(
    layout: Layout,
    plan: Ints,
    heard: Floats,
    moves: tuple[tuple[Instant, int], ...],
    now: Instant,
) -> Room:
    """What there is to spend. `heard` is the demand of each address as dnstap shows it."""
    spent = sum(number for at, number in moves if now - at < MINUTE)
    return Room(
        budget=layout.budget,
        minute=max(0, layout.budget.moves_per_minute - spent),
        allowed=layout.capacity * layout.budget.capacity_share,
        demand=layout.estimate,
        load=_brought(layout.estimate, plan, layout),
        heard=heard,
        heard_load=_brought(heard, plan, layout),
    )


def _brought(demand: Floats, plan: Ints, layout: Layout) -> Floats:
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
    """Who moves.

    Args:
        leaving: rows that want another site than they have, in order.
        cost: (N, P) what each path costs each of them (`rank.costs`).
        returning: rows that want to go home, in order.
        best: (A,) the best site of each address, full or not.
        plan: (A,) the column each address takes now.
        standing: (A,) the same, or where an override says: what takes up room either way.
        layout: the rows.
        at_most: (A,) addresses of the upstream that may be steered at once.
        scouting: (groups,) that have sent one address home and watch it.
        scouted: (groups,) of which one address is home and does well.
        room: what there is to spend.
    """
    best, held = best.copy(), np.zeros(len(plan), dtype=np.int8)
    if not (leaving.size or returning.size):
        return Allotment(best=best, held=held)
    minute, away = room.minute, int((standing > 0).sum())
    at_once = room.budget.at_once
    mine = np.bincount(layout.upstream_of, weights=standing > 0, minlength=len(layout.policies))
    seats = _Seats(leaving, cost, plan, room, layout)
    for i, a in enumerate(leaving.tolist()):
        new, u = bool(plan[a] == 0), layout.upstream_of[a]
        if minute <= 0:
            held[a] = Held.PER_MINUTE
        elif new and at_once is not None and away >= at_once:
            held[a] = Held.AT_ONCE
        elif new and mine[u] >= at_most[a]:
            held[a] = Held.AT_MOST
        elif (site := seats.take(i)) == 0:
            held[a] = Held.CAPACITY
        elif site == plan[a]:
            best[a] = site  # what it would rather have is full
        else:
            best[a] = site
            minute -= 1
            away += new
            mine[u] += new
    scouts: dict[int, int] = {}
    sizes = np.bincount(layout.group_of[plan > 0], minlength=len(scouting))
    for a in returning.tolist():
        group = int(layout.group_of[a])
        watched = bool(layout.gradual[a]) and not scouted[group]
        if watched and (scouting[group] or group in scouts):
            held[a] = Held.GRADUAL
        elif minute <= 0:
            held[a] = Held.PER_MINUTE
        else:
            minute -= 1
            if watched and sizes[group] > 1:
                scouts[group] = a
    return Allotment(best=best, held=held, scouts=tuple(scouts.values()))


@dataclass(slots=True)
class _Seats:
    """The room at the sites, as one after the other takes of it."""

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
    """Group -> the best site with room for all of it, when its first address was asked for."""

    def __post_init__(self) -> None:
        room = self.room
        self.free = room.allowed - np.array([room.load, room.heard_load])
        self.need = np.nan_to_num(np.array([room.demand, room.heard]))[:, self.rows]

    def take(self, i: int) -> int:
        """The site for the i-th of the rows, its room taken; 0: all that are proven are full."""
        cost, need = self.cost[i], self.need[:, i, None]
        if np.isinf(self.free[0, 1:]).all():
            return _least(cost)
        here = int(self.plan[self.rows[i]])
        site = self._for_all(int(self.layout.group_of[self.rows[i]]))
        fits, likely = self.free >= need
        if not site or not (fits & likely)[site]:
            if here and np.isfinite(cost[here]):
                return here  # only whole groups change a good site for one that is liked better
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
