"""Orders: what the operators' overrides say of each address.

They are read from first to last. `steer`, `local` and `freeze` replace what came before;
`avoid` ends a decision that came before it and adds its site to those not to be used, until a
later `steer` to that site. So the last one that matches wins, and everything it does not speak
of stays as the rules would have it. Measuring goes on beside it: when an override ends nothing
has to be learnt anew.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steering.layout import Layout
from steering.model import Action, Override, Target, WallTime

NONE = -1


class State(enum.StrEnum):
    """Where one override stands."""

    ACTIVE = "active"
    EXPIRED = "expired"
    UNMATCHED = "matches nothing"
    ELSEWHERE = "for another site"

    @property
    def active(self) -> bool:
        """Whether it says anything here and now."""
        return self is State.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two active overrides that say different things of one address."""

    loser: str
    winner: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Orders:
    """All overrides, and what follows from them for each address."""

    overrides: tuple[Override, ...]
    """In the order of the files."""
    states: tuple[State, ...]
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
    def blank(cls, layout: Layout) -> Orders:
        """No overrides."""
        return _worked_out(layout, (), ())

    def of(self, a: int) -> Override | None:
        """The override that decides for the address in row `a`."""
        index = int(self.decides[a])
        return self.overrides[index] if index != NONE else None

    def state(self, name: str) -> State | None:
        """Where the override of that name stands; None: there is none."""
        for override, state in zip(self.overrides, self.states, strict=True):
            if override.name == name:
                return state
        return None


def read(was: Orders, layout: Layout, overrides: tuple[Override, ...], wall: WallTime) -> Orders:
    """The orders at this moment; those that were, if nothing about them has changed."""
    over = tuple(o.until is not None and o.until <= wall for o in overrides)
    same = was.targets is layout.targets and was.overrides == overrides
    if same and over == tuple(state is State.EXPIRED for state in was.states):
        return was
    return _worked_out(layout, overrides, over)


def carried(was: Orders, layout: Layout, rows: Mapping[int, int]) -> Orders:
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


def _worked_out(layout: Layout, overrides: tuple[Override, ...], over: tuple[bool, ...]) -> Orders:
    a, p = layout.shape
    decides, to = np.full(a, NONE, dtype=np.int64), np.full(a, NONE, dtype=np.int64)
    frozen, banned = np.zeros(a, dtype=np.bool_), np.zeros((a, p), dtype=np.bool_)
    banned_by: dict[tuple[int, int], int] = {}
    states: list[State] = []
    covers: list[tuple[int, ...]] = []
    clashes: dict[tuple[str, str], list[str]] = {}
    for index, override in enumerate(overrides):
        rows = tuple(
            row
            for row, target in enumerate(layout.targets)
            if override.match.covers(target, here=layout.site)
        )
        covers.append(rows)
        states.append(_state(layout, override, matched=bool(rows), over=over[index]))
        if not states[-1].active:
            continue
        column = layout.column.get(override.to, NONE) if override.to is not None else NONE
        for row in rows:
            earlier = {
                i for i in (int(decides[row]), banned_by.get((row, column))) if i is not None
            }
            for i in earlier - {NONE}:
                if _contradict(overrides[i], override):
                    clash = clashes.setdefault((overrides[i].name, override.name), [])
                    clash.append(layout.targets[row].address)
            if override.action is Action.AVOID:
                decides[row] = to[row] = NONE
                frozen[row] = False
                if column > 0:
                    banned[row, column] = True
                    banned_by[row, column] = index
                continue
            decides[row] = index
            to[row] = 0 if override.action is Action.LOCAL else column
            frozen[row] = override.action is Action.FREEZE
            if override.action is Action.STEER and column > 0:
                banned[row, column] = False
                banned_by.pop((row, column), None)
    return Orders(
        overrides=overrides,
        states=tuple(states),
        covers=tuple(covers),
        targets=layout.targets,
        decides=decides,
        to=to,
        frozen=frozen,
        banned=banned,
        banned_by=banned_by,
        conflicts=tuple(
            Conflict(loser=loser, winner=winner, addresses=tuple(addresses))
            for (loser, winner), addresses in clashes.items()
        ),
    )


def _state(layout: Layout, override: Override, *, matched: bool, over: bool) -> State:
    if over:
        return State.EXPIRED
    if matched:
        return State.ACTIVE
    here = override.match.site in (None, layout.site)
    return State.UNMATCHED if here else State.ELSEWHERE


def _contradict(earlier: Override, later: Override) -> bool:
    """Whether what the earlier one said of an address does not hold after the later one."""
    return (earlier.action, earlier.to) != (later.action, later.to)
