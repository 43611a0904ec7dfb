"""What the overrides come to at one moment, in the words of the rules: nothing is guessed here.

`decide.override_state` works it out, for the agent and for whoever asks beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steering.config import Setup
from steering.decide import override_state
from steering.decide.override_state import OverrideState, OverrideStatus
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
class Effect:
    """What one override comes to."""

    override: Override
    state: OverrideStatus
    covers: tuple[str, ...]
    """The addresses it matches here, whether it has the word on them or not."""
    shadowed: Mapping[str, str]
    """Of these, those on which a later override has the word, and which one."""

    @property
    def decides(self) -> tuple[str, ...]:
        """The addresses on which it has the word."""
        if not self.state.active or self.override.action is Action.ACKNOWLEDGE:
            return ()
        return tuple(a for a in self.covers if a not in self.shadowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """All overrides of one set of files, and what they come to."""

    targets: tuple[Target, ...]
    standings: tuple[Effect, ...]
    """In the order of the files."""
    said: Mapping[str, Said]
    """Address -> what they say of it."""

    @classmethod
    def of(cls, setup: Setup, wall: WallTime) -> Effects:
        """What the overrides of this setup come to at this moment."""
        layout = Layout.of(setup)
        read = override_state.read(OverrideState.blank(layout), layout, setup.overrides, wall)
        said, last = _said_of_each(read, layout), _Last.of_each(read)
        standings = tuple(
            Effect(
                override=override,
                state=read.states[i],
                covers=tuple(layout.targets[a].address for a in read.covers[i]),
                shadowed=_shadows(read, override, i, said, last),
            )
            for i, override in enumerate(setup.overrides)
        )
        return cls(targets=layout.targets, standings=standings, said=said)


def _said_of_each(read: OverrideState, layout: Layout) -> Mapping[str, Said]:
    avoiding: dict[int, list[Override]] = {}
    for (row, _), index in sorted(read.banned_by.items()):
        avoiding.setdefault(row, []).append(read.overrides[index])
    said = {}
    for row, target in enumerate(layout.targets):
        by, to = read.of(row), int(read.to[row])
        said[target.address] = Said(
            by=by,
            avoiding=tuple(avoiding.get(row, ())),
            no_way=by is not None and by.action is Action.STEER and not layout.hop[row, to],
        )
    return said


class _Last:
    """Of one address, the last active override that takes the word from another one."""

    def __init__(self) -> None:
        self._any = 0
        self._of_site: dict[str | None, int] = {}

    @classmethod
    def of_each(cls, read: OverrideState) -> Mapping[int, _Last]:
        """By row."""
        last: dict[int, _Last] = {}
        for index, override in enumerate(read.overrides):
            if read.states[index].active and override.action is not Action.ACKNOWLEDGE:
                for row in read.covers[index]:
                    last.setdefault(row, cls()).note(index, override)
        return last

    def note(self, index: int, override: Override) -> None:
        self._any = index
        if override.action in (Action.STEER, Action.AVOID):
            self._of_site[override.to] = index

    def over(self, earlier: Override) -> int:
        """The index of the one that replaces an earlier one; of itself, where none does.

        Only a word on the same site ends an `avoid`; any word ends the others.
        """
        return self._of_site[earlier.to] if earlier.action is Action.AVOID else self._any


def _shadows(
    read: OverrideState,
    override: Override,
    index: int,
    said: Mapping[str, Said],
    last: Mapping[int, _Last],
) -> Mapping[str, str]:
    """Address -> the later override that has the word on it instead."""
    if not read.states[index].active or override.action is Action.ACKNOWLEDGE:
        return {}
    return {
        address: read.overrides[last[row].over(override)].name
        for row in read.covers[index]
        if override not in said[address := read.targets[row].address].speakers
    }
