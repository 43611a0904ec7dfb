"""The overrides of one turn: taken up, frozen paths noted, and what there is to tell of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from steering.decide.because import spell
from steering.decide.orders import Orders, State, read
from steering.model import Event, Facts, Frozen, Override
from steering.world import World

SHOWN = 16
"""Addresses that an event names; of the others it says how many."""
TOLD = 100
"""Events of one kind in one turn."""


def overrule(world: World, facts: Facts) -> tuple[World, tuple[Event, ...]]:
    """The world with this turn's overrides in it, and which of them came, ended or clash."""
    was = world.orders
    orders = read(was, world.layout, facts.overrides, facts.wall)
    frozen = _frozen(world, orders)
    if orders is was:
        return world if frozen == world.frozen else replace(world, frozen=frozen), ()
    return replace(world, orders=orders, frozen=frozen), _bounded(_told(world, was, orders))


def _frozen(world: World, orders: Orders) -> Mapping[str, Frozen]:
    """Where each frozen address stood when its freeze began.

    What another freeze kept it at says nothing: that one may have ended while nobody looked.
    """
    layout, frozen = world.layout, dict[str, Frozen]()
    for a in np.flatnonzero(orders.frozen).tolist():
        address, by = layout.targets[a].address, orders.overrides[orders.decides[a]].name
        known = world.frozen.get(address)
        path = known.path if known and known.by == by else layout.paths[world.plan[a]]
        frozen[address] = Frozen(path=path, by=by)
    return frozen


def _bounded(told: Iterator[Event]) -> tuple[Event, ...]:
    """The first of each kind, and how many more there are: a log holds so much at once."""
    first: list[Event] = []
    number = Counter[str]()
    for event in told:
        number[event.event] += 1
        if number[event.event] <= TOLD:
            first.append(event)
    for kind, all_of_them in number.items():
        if (more := all_of_them - TOLD) > 0:
            why = f"and {more} more at once: `steering override list` has them all"
            first.append(Event(event=kind, because=why, rule="override"))
    return tuple(first)


def _told(world: World, was: Orders, orders: Orders) -> Iterator[Event]:
    before = {override.name: (override, state, rows) for override, state, rows in _entries(was)}
    for override, state, rows in _entries(orders):
        old = before.pop(override.name, None)
        same = old is not None and old[:2] == (override, state)
        if old is not None and same and (rows == old[2] or state is State.EXPIRED):
            continue
        about = _About(override=override, addresses=len(rows))
        some = tuple(world.layout.targets[a].address for a in rows[:SHOWN])
        covered = _listed(some, of=len(rows))
        if state is State.ACTIVE:
            yield about.tell("override_applied", f"{spell(override)}; {covered}")
        elif state is State.EXPIRED:
            yield about.tell("override_expired", f"its time is over; {covered}")
        elif state is State.UNMATCHED:
            yield about.tell("override_unmatched", f"{spell(override)}; no policy has such")
    for override, state, rows in before.values():
        if state is not State.EXPIRED:
            about = _About(override=override, addresses=len(rows))
            yield about.tell("override_removed", spell(override))
    known = {(clash.loser, clash.winner): clash.addresses for clash in was.conflicts}
    for clash in orders.conflicts:
        if known.get((clash.loser, clash.winner)) != clash.addresses:
            covered = _listed(clash.addresses, of=len(clash.addresses))
            why = f"{clash.winner} comes after {clash.loser} and holds; {covered}"
            yield Event(
                event="override_conflict",
                because=why,
                was=clash.loser,
                now=clash.winner,
                rule="override",
                more={"addresses": len(clash.addresses)},
            )


def _entries(orders: Orders) -> Iterator[tuple[Override, State, tuple[int, ...]]]:
    return zip(orders.overrides, orders.states, orders.covers, strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """Whom an event is about."""

    override: Override
    addresses: int

    def tell(self, event: str, because: str) -> Event:
        """One thing to tell of the override."""
        return Event(
            event=event,
            because=because,
            upstream=self.override.match.upstream,
            path=self.override.to,
            rule="override",
            more={
                "override": self.override.name,
                "by": self.override.by,
                "covered": self.addresses,
            },
        )


def _listed(addresses: tuple[str, ...], *, of: int) -> str:
    if not addresses:
        return "covers no address"
    more = of - SHOWN
    return f"covers {', '.join(addresses[:SHOWN])}" + (f" and {more} more" if more > 0 else "")
