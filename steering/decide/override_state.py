"""The overrides in effect for each address.

They are read from first to last. `steer`, `local` and `freeze` replace earlier ones; `avoid`
cancels an earlier decision and excludes its site, until a later `steer` to that site. So the last
one that matches wins, and the rules decide all else. `acknowledge` is about an alarm and does not
affect paths (`decide.acknowledge`). Measuring goes on meanwhile: when an override ends, nothing has
to be learnt anew.
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
    """The status of one override."""

    ACTIVE = "active"
    EXPIRED = "expired"
    UNMATCHED = "matches nothing"
    ELSEWHERE = "for another site"

    @property
    def active(self) -> bool:
        """Whether it is in effect here and now."""
        return self is OverrideStatus.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two active overrides with different orders for one address."""

    loser: str
    winner: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverrideState:
    """All overrides, and their effect on each address."""

    overrides: tuple[Override, ...]
    """In the order of the files."""
    states: tuple[OverrideStatus, ...]
    covers: tuple[tuple[int, ...], ...]
    """Rows that each one matches, whether it is active or not."""
    targets: tuple[Target, ...]
    """The addresses that this was computed for."""
    decides: NDArray[np.int64]
    """(A,) index of the override that decides the path; -1: none."""
    to: NDArray[np.int64]
    """(A,) the column that it orders: 0 for `local`; -1 for `freeze` or an unknown site, and where
    none decides."""
    frozen: NDArray[np.bool_]
    """(A,) where it orders `freeze`."""
    banned: NDArray[np.bool_]
    """(A, P) sites that must be avoided."""
    banned_by: Mapping[tuple[int, int], int]
    """(row, column) -> index of the override that avoids it."""
    conflicts: tuple[Conflict, ...]

    @classmethod
    def blank(cls, layout: Layout) -> OverrideState:
        """No overrides."""
        return _computed(layout, (), ())

    def of(self, a: int) -> Override | None:
        """The override that decides for the address in row `a`."""
        index = int(self.decides[a])
        return self.overrides[index] if index != NONE else None

    def state(self, name: str) -> OverrideStatus | None:
        """The status of the override of that name; None: there is none."""
        for override, state in zip(self.overrides, self.states, strict=True):
            if override.name == name:
                return state
        return None


def read(
    was: OverrideState, layout: Layout, overrides: tuple[Override, ...], wall: WallTime
) -> OverrideState:
    """The overrides at this time; `was` itself if nothing has changed."""
    same = was.targets is layout.targets and (
        was.overrides is overrides or was.overrides == overrides
    )
    past = int(np.searchsorted(_untils(_Same(overrides)), wall, side="right"))
    # Those that have ended are those that end first: the same number are the same ones.
    if same and past == _expired(_Same(was.states)):
        return was
    over = tuple(o.until is not None and o.until <= wall for o in overrides)
    return _computed(layout, overrides, over)


@dataclass(frozen=True, slots=True, eq=False)
class _Same(Generic[T]):
    """A tuple that is compared by identity, not by its thousands of items in each turn."""

    items: tuple[T, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.items is self.items

    def __hash__(self) -> int:
        return id(self.items)


@lru_cache(maxsize=4)
def _untils(overrides: _Same[Override]) -> NDArray[np.float64]:
    """Their ends, sorted."""
    ends = [o.until for o in overrides.items if o.until is not None]
    return np.sort(np.array(ends, dtype=np.float64))


@lru_cache(maxsize=4)
def _expired(states: _Same[OverrideStatus]) -> int:
    return sum(state is OverrideStatus.EXPIRED for state in states.items)


def carried(was: OverrideState, layout: Layout, rows: Mapping[int, int]) -> OverrideState:
    """The overrides on another layout: what events have reported; the next turn reads them anew.

    Args:
        was: the overrides.
        layout: the other one.
        rows: old number -> new number, of the addresses that stay.
    """
    covers = (tuple(sorted(rows[a] for a in about if a in rows)) for about in was.covers)
    return replace(
        _computed(layout, (), ()),
        overrides=was.overrides,
        states=was.states,
        covers=tuple(covers),
        targets=was.targets,  # not those of the layout: so they are read
        conflicts=was.conflicts,
    )


def _computed(
    layout: Layout, overrides: tuple[Override, ...], over: tuple[bool, ...]
) -> OverrideState:
    a, p = layout.shape
    matching = Matching(layout.targets, layout.site)
    column = np.array([layout.column.get(o.to or "", NONE) for o in overrides], dtype=np.int64)
    decides = np.full(a, NONE, dtype=np.int64)
    bans = np.full((p, a), NONE, dtype=np.int64)
    states: list[OverrideStatus] = []
    covers: list[tuple[int, ...]] = []
    found = _Conflicts(layout, overrides)
    for index, override in enumerate(overrides):
        rows = matching.rows(override.match)
        covers.append(rows)
        states.append(_state(layout, override, matched=bool(rows), over=over[index]))
        if not states[-1].active or override.action is Action.ACKNOWLEDGE:
            continue
        about, to = matching.array(rows), int(column[index])
        avoided = bans[to] if to != NONE else None
        found.note(index, about, decides[about])
        if avoided is not None:
            found.note(index, about, avoided[about])
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
    column = np.append(column, NONE)  # the last one: where none decides
    frozen = decided & (actions[decides] == _DECIDES[Action.FREEZE])
    local = decided & (actions[decides] == _DECIDES[Action.LOCAL])
    banned = np.ascontiguousarray((bans != NONE).T)
    return OverrideState(
        overrides=overrides,
        states=tuple(states),
        covers=tuple(covers),
        targets=layout.targets,
        decides=decides,
        to=np.where(local, 0, np.where(decided, column[decides], NONE)),
        frozen=frozen,
        banned=banned,
        banned_by={(row, col): int(bans[col, row]) for row, col in np.argwhere(banned).tolist()},
        conflicts=found.conflicts(),
    )


_DECIDES = {action: number for number, action in enumerate(Action)}


class _Conflicts:
    """Which overrides have different orders for which addresses."""

    def __init__(self, layout: Layout, overrides: tuple[Override, ...]) -> None:
        self._layout, self._overrides = layout, overrides
        words = {word: n for n, word in enumerate({(o.action, o.to): None for o in overrides})}
        says = [words[o.action, o.to] for o in overrides]
        self._says = np.array([*says, NONE], dtype=np.int64)
        """By override: equal numbers are equal orders."""
        self._found: dict[tuple[int, int], tuple[str, ...]] = {}
        self._known: dict[bytes, tuple[str, ...]] = {}

    def note(self, later: int, rows: Array, earlier: Array) -> None:
        """Note a later override, and the earlier one that decided each of the rows."""
        self._says[NONE] = self._says[later]  # where none decides, there is no conflict
        against = self._says[earlier] != self._says[later]
        if not np.count_nonzero(against):
            return
        rows, earlier = rows[against], earlier[against]
        first = int(earlier[0])
        losers = (first,) if (earlier == first).all() else np.unique(earlier).tolist()
        for loser in losers:
            lost = rows if len(losers) == 1 else rows[earlier == loser]
            self._found[loser, later] = self._named(lost)

    def conflicts(self) -> tuple[Conflict, ...]:
        """Each pair once, with its addresses in the order of the rows."""
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
    """Whether an acknowledgement matches anything: a known alarm, and addresses of policies if it
    names some.
    """
    if override.match.narrow:
        return matched and override.alarm in OF_ADDRESSES
    return override.alarm in EVERY_ALARM
