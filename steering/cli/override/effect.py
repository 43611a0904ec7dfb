"""The effect of the overrides at one time.

`decide.overrides.override_state` computes it, for the agent and for the commands alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steering.config import Setup
from steering.decide.overrides import override_state
from steering.decide.overrides.override_state import OverrideState, OverrideStatus
from steering.index import Index
from steering.model import Target, WallTime
from steering.override import Action, Override


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What all overrides together order for one address."""

    by: Override | None = None
    """The one that decides its path; None: the rules do."""
    avoiding: tuple[Override, ...] = ()
    """Those that exclude a site."""
    no_next_hop: bool = False
    """It can't be obeyed: no next hop of the address's family leads to the site."""

    @property
    def overrides(self) -> tuple[Override, ...]:
        """All of them."""
        return (*([self.by] if self.by else []), *self.avoiding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The effect of one override."""

    override: Override
    state: OverrideStatus
    covers: tuple[str, ...]
    """The addresses it matches here, whether it decides for them or not."""
    shadowed: Mapping[str, str]
    """Of these, the ones that a later override decides for -> that override."""

    @property
    def decides(self) -> tuple[str, ...]:
        """The addresses that it decides for."""
        if not self.state.active or self.override.action is Action.ACKNOWLEDGE:
            return ()
        return tuple(a for a in self.covers if a not in self.shadowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """All overrides of one set of files, and their effects."""

    targets: tuple[Target, ...]
    each: tuple[Effect, ...]
    """In the order of the files."""
    orders: Mapping[str, Orders]
    """Address -> what they order for it."""

    @classmethod
    def of(cls, setup: Setup, wall: WallTime) -> Effects:
        """The effects of the overrides of this setup at this time."""
        index = Index.of(setup)
        read = override_state.read(OverrideState.blank(index), index, setup.overrides, wall)
        orders, last = _orders_of_each(read, index), _Last.of_each(read)
        each = tuple(
            Effect(
                override=override,
                state=read.states[i],
                covers=read.covers[i],
                shadowed=_shadows(read, override, i, orders, last),
            )
            for i, override in enumerate(setup.overrides)
        )
        return cls(targets=index.targets, each=each, orders=orders)


def _orders_of_each(read: OverrideState, index: Index) -> Mapping[str, Orders]:
    orders = {}
    for address, settings in index.settings.items():
        by, to = read.of(address), read.to.get(address)
        orders[address] = Orders(
            by=by,
            avoiding=tuple(read.overrides[i] for i in read.banned.get(address, {}).values()),
            no_next_hop=by is not None and by.action is Action.STEER and to not in settings.hops,
        )
    return orders


class _Last:
    """Of one address, the last active override that replaces others."""

    def __init__(self) -> None:
        self._any = 0
        self._of_site: dict[str | None, int] = {}

    @classmethod
    def of_each(cls, read: OverrideState) -> Mapping[str, _Last]:
        """By address."""
        last: dict[str, _Last] = {}
        for index, override in enumerate(read.overrides):
            if read.states[index].active and override.action is not Action.ACKNOWLEDGE:
                for address in read.covers[index]:
                    last.setdefault(address, cls()).note(index, override)
        return last

    def note(self, index: int, override: Override) -> None:
        self._any = index
        if override.action in (Action.STEER, Action.AVOID):
            self._of_site[override.to] = index

    def over(self, earlier: Override) -> int:
        """The index of the override that replaces an earlier one; its own, if none does.

        An `avoid` is ended only by an override about the same site, the others by any.
        """
        return self._of_site[earlier.to] if earlier.action is Action.AVOID else self._any


def _shadows(
    read: OverrideState,
    override: Override,
    index: int,
    orders: Mapping[str, Orders],
    last: Mapping[str, _Last],
) -> Mapping[str, str]:
    """Address -> the later override that decides for it instead."""
    if not read.states[index].active or override.action is Action.ACKNOWLEDGE:
        return {}
    return {
        address: read.overrides[last[address].over(override)].name
        for address in read.covers[index]
        if override not in orders[address].overrides
    }
