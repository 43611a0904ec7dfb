"""What the overrides come to at one moment, in the words of the rules: nothing is guessed here.

`decide.orders` works it out, for the agent and for whoever asks beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steering.config import Setup
from steering.decide import orders
from steering.decide.orders import Orders, State
from steering.layout import Layout
from steering.model import Action, Override, Target, WallTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What all overrides together say of one address."""

    by: Override | None = None
    """The one that says where it goes; None: the measurements do."""
    avoiding: tuple[Override, ...] = ()
    """Those that say where it may not go."""
    no_way: bool = False
    """It can't be obeyed: no next hop of the address's family leads to the site."""

    @property
    def speakers(self) -> tuple[Override, ...]:
        """All that have a word in it."""
        return (*([self.by] if self.by else []), *self.avoiding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What one override comes to."""

    override: Override
    state: State
    covers: tuple[str, ...]
    """The addresses it matches here, whether it has the word on them or not."""
    shadowed: Mapping[str, str]
    """Of these, those on which a later override has the word, and which one."""

    @property
    def decides(self) -> tuple[str, ...]:
        """The addresses on which it has the word."""
        if not self.state.active:
            return ()
        return tuple(a for a in self.covers if a not in self.shadowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """All overrides of one set of files, and what they come to."""

    targets: tuple[Target, ...]
    standings: tuple[Standing, ...]
    """In the order of the files."""
    said: Mapping[str, Said]
    """Address -> what they say of it."""

    @classmethod
    def of(cls, setup: Setup, wall: WallTime) -> Reach:
        """What the overrides of this setup come to at this moment."""
        layout = Layout.of(setup)
        read = orders.read(Orders.blank(layout), layout, setup.overrides, wall)
        said = {t.address: _said(read, layout, a) for a, t in enumerate(layout.targets)}
        standings = tuple(
            Standing(
                override=override,
                state=read.states[i],
                covers=tuple(layout.targets[a].address for a in read.covers[i]),
                shadowed=_shadows(read, override, i, said),
            )
            for i, override in enumerate(setup.overrides)
        )
        return cls(targets=layout.targets, standings=standings, said=said)


def _said(read: Orders, layout: Layout, a: int) -> Said:
    banned = (read.banned_by[key] for key in sorted(read.banned_by) if key[0] == a)
    by, to = read.of(a), int(read.to[a])
    return Said(
        by=by,
        avoiding=tuple(read.overrides[i] for i in banned),
        no_way=by is not None and by.action is Action.STEER and not layout.hop[a, to],
    )


def _shadows(
    read: Orders, override: Override, index: int, said: Mapping[str, Said]
) -> Mapping[str, str]:
    """Address -> the later override that has the word on it instead."""
    if not read.states[index].active:
        return {}
    found: dict[str, str] = {}
    for row in read.covers[index]:
        address = read.targets[row].address
        if override in said[address].speakers:
            continue
        found[address] = next(
            later.name
            for i, later in reversed([*enumerate(read.overrides)])
            if read.states[i].active and row in read.covers[i] and _replaces(later, override)
        )
    return found


def _replaces(later: Override, earlier: Override) -> bool:
    """Whether the later one takes the word from the earlier one, where both match."""
    if earlier.action is Action.AVOID:
        return (later.action, later.to) in ((Action.STEER, earlier.to), (Action.AVOID, earlier.to))
    return True
