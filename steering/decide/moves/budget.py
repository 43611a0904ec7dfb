"""The budget: how many addresses move at once. The first in order move, the others wait.

First the addresses that leave the local path, or a detour for a better one, in the order of the
policies: each takes the best site that has room for it; all of a group take the same one if one has
room for all. Then the addresses that return, where the policy says so one address of a group first,
and the others after its verification. Both use the same moves per minute.

The budget only removes moves and adds none. A steered address keeps its site when limits shrink.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from steering.decide.moves.ranking import Costs, best
from steering.decide.moves.room import Held, Room
from steering.decide.situation import AddressSituation
from steering.index import Index
from steering.model import LOCAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """Which addresses may move this turn, and to which site."""

    best: Mapping[str, str]
    """Address -> the site that it may take; the others keep the best one."""
    held: Mapping[str, Held]
    """Address -> why it has to wait; the others do not wait."""
    scouts: tuple[str, ...] = ()
    """Addresses that return to the local path before the others of their group."""


def allot(
    leaving: Sequence[str],
    cost: Mapping[str, Costs],
    returning: Sequence[str],
    *,
    addresses: Mapping[str, AddressSituation],
    index: Index,
    scouting: frozenset[str],
    scouted: frozenset[str],
    room: Room,
) -> Allotment:
    """Which addresses move.

    Args:
        leaving: addresses that should take another site than they have, in order.
        cost: what each proven site costs each of them (`ranking.costs`).
        returning: addresses that could return to the local path, in order.
        addresses: the situation of all that are steered, ordered, leaving or returning.
        index: all addresses.
        scouting: groups whose first address back is being verified.
        scouted: groups whose first address back is verified.
        room: what may be used.
    """
    taken: dict[str, str] = {}
    held: dict[str, Held] = {}
    if not (leaving or returning):
        return Allotment(best=taken, held=held)
    minute, at_once = room.minute, room.budget.at_once
    # The path that an override orders uses room too.
    standing = [a for a, one in addresses.items() if one.ordered_to != LOCAL]
    away, mine = len(standing), dict.fromkeys(index.upstreams, 0)
    for address in standing:
        mine[index.settings[address].upstream] += 1
    sites = _SiteRoom(leaving, cost, addresses, room, index)
    for address in leaving:
        settings, path = index.settings[address], addresses[address].path
        new = path == LOCAL
        if minute <= 0:
            held[address] = Held.PER_MINUTE
        elif new and at_once is not None and away >= at_once:
            held[address] = Held.AT_ONCE
        elif new and mine[settings.upstream] >= settings.at_most:
            held[address] = Held.AT_MOST
        elif (site := sites.take(address)) is None:
            held[address] = Held.CAPACITY
        else:
            taken[address] = site
            if site != path:  # otherwise the better one has no room
                minute -= 1
                away += new
                mine[settings.upstream] += new
    scouts: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for address, one in addresses.items():
        if one.path != LOCAL:
            group = index.settings[address].group
            sizes[group] = sizes.get(group, 0) + 1
    for address in returning:
        settings = index.settings[address]
        group = settings.group
        gradual = settings.policy.recover.gradual and group not in scouted
        if gradual and (group in scouting or group in scouts):
            held[address] = Held.GRADUAL
        elif minute <= 0:
            held[address] = Held.PER_MINUTE
        else:
            minute -= 1
            if gradual and sizes[group] > 1:
                scouts[group] = address
    return Allotment(best=taken, held=held, scouts=tuple(scouts.values()))


@dataclass(slots=True)
class _SiteRoom:
    """The room at the sites, while one address after the other takes some."""

    leaving: Sequence[str]
    cost: Mapping[str, Costs]
    addresses: Mapping[str, AddressSituation]
    room: Room
    index: Index
    free: dict[str, float] = field(init=False)
    """By the estimates."""
    likely: dict[str, float] = field(init=False)
    """By what dnstap shows."""
    _groups: dict[str, list[str]] = field(init=False, default_factory=dict)
    """Group -> those of `leaving`."""
    _common: dict[str, str | None] = field(init=False, default_factory=dict)
    """Group -> the best site with room for all of it, at the time of its first address."""

    def __post_init__(self) -> None:
        room = self.room
        self.free = {site: room.allowed[site] - load for site, load in room.load.items()}
        self.likely = {site: room.allowed[site] - load for site, load in room.heard_load.items()}
        for address in self.leaving:
            self._groups.setdefault(self.index.settings[address].group, []).append(address)

    def take(self, address: str) -> str | None:
        """The site for an address, with its room taken; None: no proven site has room."""
        cost, settings = self.cost[address], self.index.settings[address]
        if all(map(math.isinf, self.free.values())):
            return best(cost)
        here, (need, asked) = self.addresses[address].path, self._need(address)
        site = self._for_all(settings.group)
        if site is None or not self._fits(site, need, asked):
            if here in cost:
                return here  # only a whole group changes from a good site to a better one
            fits = {s: each for s, each in cost.items() if self.free[s] >= need}
            likely = {s: each for s, each in fits.items() if self.likely[s] >= asked}
            site = best(likely or fits)
        if site is not None:
            self.free[site] -= need
            self.likely[site] -= asked
        return site

    def _need(self, address: str) -> tuple[float, float]:
        """Queries per second by the estimate, and by what dnstap shows."""
        settings = self.index.settings[address]
        return self.room.demand_of(settings) or 0.0, self.room.heard_of(settings) or 0.0

    def _fits(self, site: str, need: float, asked: float) -> bool:
        return self.free[site] >= need and self.likely[site] >= asked

    def _for_all(self, group: str) -> str | None:
        if group not in self._common:
            members = self._groups[group]
            needs = [self._need(address) for address in members]
            need, asked = sum(each for each, _ in needs), sum(each for _, each in needs)
            first, *others = (self.cost[address] for address in members)
            whole = {
                site: one + sum(each[site] for each in others)
                for site, one in first.items()
                if all(site in each for each in others) and self._fits(site, need, asked)
            }
            self._common[group] = best(whole)
        return self._common[group]
