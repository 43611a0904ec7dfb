"""Orders: what the operators' overrides say of each address.

They are read from first to last. `steer`, `local` and `freeze` replace what came before;
`avoid` ends a decision that came before it and adds its site to those not to be used, until a
later `steer` to that site. So the last one that matches wins, and everything it does not speak
of stays as the rules would have it. `acknowledge` is about an alarm and says nothing of where
addresses go (`decide.acknowledge`). Measuring goes on beside it: when an override ends nothing
has to be learnt anew.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from steering.decide.remedies import EVERY_ALARM, OF_ADDRESSES
from steering.layout import Layout
from steering.matching import Array, Matching
from steering.model import Action, Override, Target, WallTime

T = TypeVar("T")

NONE = -1


class OverrideStatus(enum.StrEnum):
    """Where one override stands."""

    ACTIVE = "active"
    EXPIRED = "expired"
    UNMATCHED = "matches nothing"
    ELSEWHERE = "for another site"

    @property
    def active(self) -> bool:
        """Whether it says anything here and now."""
        return self is OverrideStatus.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two active overrides that say different things of one address."""

    loser: str
    winner: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverrideState:
    """All overrides, and what follows from them for each address."""

    overrides: tuple[Override, ...]
    """In the order of the files."""
    states: tuple[OverrideStatus, ...]
    covers: tuple[tuple[int, ...], ...]
    """Rows that each one is about, whether it is active or not."""
    targets: tuple[Target, ...]
    """What they were read for."""
    decides: NDArray[np.int64]
    """(A,) index of the override that says where the address goes; -1: none."""
    to: NDArray[np.int64]
    """(A,) the column it says: 0 for `local`, -1 for `freeze`, for a site that is not there, and
    where none decides."""
    frozen: NDArray[np.bool_]
    """(A,) where it says `freeze`."""
    banned: NDArray[np.bool_]
    """(A, P) sites that are to be avoided."""
    banned_by: Mapping[tuple[int, int], int]
    """(row, column) -> index of the override that says so."""
    conflicts: tuple[Conflict, ...]

    @classmethod
    def blank(cls, layout: Layout) -> OverrideState:
        """No overrides."""
        return _worked_out(layout, (), ())

    def of(self, a: int) -> Override | None:
        """The override that decides for the address in row `a`."""
        index = int(self.decides[a])
        return self.overrides[index] if index != NONE else None

    def state(self, name: str) -> OverrideStatus | None:
        """Where the override of that name stands; None: there is none."""
        for override, state in zip(self.overrides, self.states, strict=True):
            if override.name == name:
                return state
        return None


def read(
    was: OverrideState, layout: Layout, overrides: tuple[Override, ...], wall: WallTime
) -> OverrideState:
    """The orders at this moment; those that were, if nothing about them has changed."""
    same = was.targets is layout.targets and (
        was.overrides is overrides or was.overrides == overrides
    )
    past = int(np.searchsorted(_untils(_Same(overrides)), wall, side="right"))
    # Those that are over are those that end first: as many are the same ones.
    if same and past == _expired(_Same(was.states)):
        return was
    over = tuple(o.until is not None and o.until <= wall for o in overrides)
    return _worked_out(layout, overrides, over)


@dataclass(frozen=True, slots=True, eq=False)
class _Same(Generic[T]):
    """A tuple that is known by what it is, and not by what is in it: thousands, each turn."""

    items: tuple[T, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.items is self.items

    def __hash__(self) -> int:
        return id(self.items)


@lru_cache(maxsize=4)
def _untils(overrides: _Same[Override]) -> NDArray[np.float64]:
    """When they end, in that order."""
    ends = [o.until for o in overrides.items if o.until is not None]
    return np.sort(np.array(ends, dtype=np.float64))


@lru_cache(maxsize=4)
def _expired(states: _Same[OverrideStatus]) -> int:
    return sum(state is OverrideStatus.EXPIRED for state in states.items)


def carried(was: OverrideState, layout: Layout, rows: Mapping[int, int]) -> OverrideState:
    """The orders on another layout: what was told of them, for the next turn to read anew.

    Args:
        was: the orders.
        layout: the other one.
        rows: old number -> new number, of the addresses that stay.
    """
    covers = (tuple(sorted(rows[a] for a in about if a in rows)) for about in was.covers)
    return replace(
        _worked_out(layout, (), ()),
        overrides=was.overrides,
        states=was.states,
        covers=tuple(covers),
        targets=was.targets,  # not those of the layout: so they are read
        conflicts=was.conflicts,
    )


def _worked_out(
    layout: Layout, overrides: tuple[Override, ...], over: tuple[bool, ...]
) -> OverrideState:
    a, p = layout.shape
    matching = Matching(layout.targets, layout.site)
    column = np.array([layout.column.get(o.to or "", NONE) for o in overrides], dtype=np.int64)
    decides = np.full(a, NONE, dtype=np.int64)
    bans = np.full((p, a), NONE, dtype=np.int64)
    states: list[OverrideStatus] = []
    covers: list[tuple[int, ...]] = []
    clashes = _Clashes(layout, overrides)
    for index, override in enumerate(overrides):
        rows = matching.rows(override.match)
        covers.append(rows)
        states.append(_state(layout, override, matched=bool(rows), over=over[index]))
        if not states[-1].active or override.action is Action.ACKNOWLEDGE:
            continue
        about, to = matching.array(rows), int(column[index])
        avoided = bans[to] if to != NONE else None
        clashes.note(index, about, decides[about])
        if avoided is not None:
            clashes.note(index, about, avoided[about])
        if override.action is Action.AVOID:
            decides[about] = NONE
            if avoided is not None and to > 0:
                avoided[about] = index
            continue
        decides[about] = index
        if override.action is Action.STEER and avoided is not None and to > 0:
            avoided[about] = NONE
    decided = decides != NONE
    actions = np.array([_DECIDES.get(o.action, NONE) for o in overrides] or [NONE], dtype=np.int64)
    column = np.append(column, NONE)  # for what none decides, the last one
    frozen = decided & (actions[decides] == _DECIDES[Action.FREEZE])
    home = decided & (actions[decides] == _DECIDES[Action.LOCAL])
    banned = np.ascontiguousarray((bans != NONE).T)
    return OverrideState(
        overrides=overrides,
        states=tuple(states),
        covers=tuple(covers),
        targets=layout.targets,
        decides=decides,
        to=np.where(home, 0, np.where(decided, column[decides], NONE)),
        frozen=frozen,
        banned=banned,
        banned_by={(row, col): int(bans[col, row]) for row, col in np.argwhere(banned).tolist()},
        conflicts=clashes.told(),
    )


_DECIDES = {action: number for number, action in enumerate(Action)}


class _Clashes:
    """Which overrides say different things of which addresses."""

    def __init__(self, layout: Layout, overrides: tuple[Override, ...]) -> None:
        self._layout, self._overrides = layout, overrides
        words = {word: n for n, word in enumerate({(o.action, o.to): None for o in overrides})}
        says = [words[o.action, o.to] for o in overrides]
        self._says = np.array([*says, NONE], dtype=np.int64)
        """By override: equal numbers contradict each other in nothing."""
        self._found: dict[tuple[int, int], tuple[str, ...]] = {}
        self._known: dict[bytes, tuple[str, ...]] = {}

    def note(self, later: int, rows: Array, earlier: Array) -> None:
        """Take note of a later override, and of the earlier one that spoke of each of the rows."""
        self._says[NONE] = self._says[later]  # what none decides contradicts nothing
        against = self._says[earlier] != self._says[later]
        if not np.count_nonzero(against):
            return
        rows, earlier = rows[against], earlier[against]
        first = int(earlier[0])
        losers = (first,) if (earlier == first).all() else np.unique(earlier).tolist()
        for loser in losers:
            lost = rows if len(losers) == 1 else rows[earlier == loser]
            self._found[loser, later] = self._named(lost)

    def told(self) -> tuple[Conflict, ...]:
        """Each pair once, with the addresses in the order of the rows."""
        overrides = self._overrides
        return tuple(
            Conflict(
                loser=overrides[loser].name, winner=overrides[winner].name, addresses=addresses
            )
            for (loser, winner), addresses in self._found.items()
        )

    def _named(self, rows: Array) -> tuple[str, ...]:
        key = rows.tobytes()
        if key not in self._known:
            targets = self._layout.targets
            self._known[key] = tuple(targets[row].address for row in rows.tolist())
        return self._known[key]


def _state(layout: Layout, override: Override, *, matched: bool, over: bool) -> OverrideStatus:
    if over:
        return OverrideStatus.EXPIRED
    here = override.match.site in (None, layout.site)
    if not here:
        return OverrideStatus.ELSEWHERE
    if override.action is Action.ACKNOWLEDGE:
        matched = seen_by(override, matched=matched)
    return OverrideStatus.ACTIVE if matched else OverrideStatus.UNMATCHED


def seen_by(override: Override, *, matched: bool) -> bool:
    """Whether an acknowledgement is of anything: of an alarm that there is, and of addresses of
    policies where it is about some.
    """
    if override.match.narrow:
        return matched and override.alarm in OF_ADDRESSES
    return override.alarm in EVERY_ALARM
