"""The overrides in effect for each address.

They are read from first to last. `steer`, `local` and `freeze` replace earlier ones; `avoid`
cancels an earlier decision and excludes its site, until a later `steer` to that site. So the last
one that matches wins, and the rules decide all else. `acknowledge` is about an alarm and does not
affect paths (`acknowledge`). Measuring goes on meanwhile: when an override ends, nothing has
to be learnt anew.
"""

from __future__ import annotations

import enum
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import compress
from typing import Generic, TypeVar

from steering.config.matching import Matching
from steering.index import Index
from steering.model import LOCAL, WallTime
from steering.override import Action, Override
from steering.remedies import EVERY_ALARM, OF_ADDRESSES

T = TypeVar("T")


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
    """All overrides, and their effect on each address. Its mappings are in the order of the
    policies.
    """

    overrides: tuple[Override, ...]
    """In the order of the files."""
    states: tuple[OverrideStatus, ...]
    covers: tuple[tuple[str, ...], ...]
    """Addresses that each one matches, whether it is active or not."""
    index: Index
    """What this was computed for."""
    decides: Mapping[str, int]
    """Address -> number of the override that decides its path, from 0; left out: none does."""
    to: Mapping[str, str | None]
    """Address -> the path that this one orders: the local one for `local`; None for `freeze` or an
    unknown site."""
    frozen: frozenset[str]
    """Addresses for which it orders `freeze`."""
    banned: Mapping[str, Mapping[str, int]]
    """Address -> site that must be avoided -> number of the override that says so."""
    conflicts: tuple[Conflict, ...]

    @classmethod
    def blank(cls, index: Index) -> OverrideState:
        """No overrides."""
        return _computed(index, (), ())

    def of(self, address: str) -> Override | None:
        """The override that decides for the address."""
        number = self.decides.get(address)
        return None if number is None else self.overrides[number]

    def state(self, name: str) -> OverrideStatus | None:
        """The status of the override of that name; None: there is none."""
        for override, state in zip(self.overrides, self.states, strict=True):
            if override.name == name:
                return state
        return None


def read(
    was: OverrideState, index: Index, overrides: tuple[Override, ...], wall: WallTime
) -> OverrideState:
    """The overrides at this time; `was` itself if nothing has changed."""
    same = was.index is index and (was.overrides is overrides or was.overrides == overrides)
    past = bisect_right(_untils(_Same(overrides)), wall)
    # Those that have ended are those that end first: the same number are the same ones.
    if same and past == _expired(_Same(was.states)):
        return was
    over = tuple(o.until is not None and o.until <= wall for o in overrides)
    return _computed(index, overrides, over)


@dataclass(frozen=True, slots=True, eq=False)
class _Same(Generic[T]):
    """A tuple that is compared by identity, not by its thousands of items in each turn."""

    items: tuple[T, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.items is self.items

    def __hash__(self) -> int:
        return id(self.items)


@lru_cache(maxsize=4)
def _untils(overrides: _Same[Override]) -> list[WallTime]:
    """Their ends, sorted."""
    return sorted(o.until for o in overrides.items if o.until is not None)


@lru_cache(maxsize=4)
def _expired(states: _Same[OverrideStatus]) -> int:
    return sum(state is OverrideStatus.EXPIRED for state in states.items)


def carried(was: OverrideState, index: Index) -> OverrideState:
    """The overrides under another index: what events have reported; the next turn reads them
    anew.
    """
    sets = {id(about): about for about in was.covers}  # thousands share a few
    stay = {key: tuple(index.in_order(about)) for key, about in sets.items()}
    return replace(
        _computed(index, (), ()),
        overrides=was.overrides,
        states=was.states,
        covers=tuple(stay[id(about)] for about in was.covers),
        index=was.index,  # not the other one: so they are read
        conflicts=was.conflicts,
    )


def _computed(
    index: Index, overrides: tuple[Override, ...], over: tuple[bool, ...]
) -> OverrideState:
    matching, sets = Matching(index.targets, index.site), _Sets(index)
    path, sites = _Latest(), {site: _Latest() for site in index.sites}
    states: list[OverrideStatus] = []
    covers: list[tuple[str, ...]] = []
    conflicts: list[Conflict] = []
    for number, override in enumerate(overrides):
        addresses = matching.addresses(override.match)
        covers.append(addresses)
        states.append(_state(index, override, matched=bool(addresses), over=over[number]))
        if not states[-1].active or override.action is Action.ACKNOWLEDGE:
            continue
        about = sets.of(addresses)
        for latest, ends in ((path, Action.AVOID), (sites.get(override.to or ""), Action.STEER)):
            if latest is None:
                continue
            for loser, lost in sorted(latest.among(about)):
                says = overrides[loser].action, overrides[loser].to
                if says[0] is not ends and says != (override.action, override.to):
                    conflicts.append(
                        Conflict(
                            loser=overrides[loser].name,
                            winner=override.name,
                            addresses=sets.named(lost),
                        )
                    )
            latest.note(about, number)

    def decided(latest: _Latest, ends: Action) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for number, of in latest.among(sets.all):
            if overrides[number].action is not ends:
                found |= dict.fromkeys(sets.named(of), number)
        return {address: found[address] for address in index.settings if address in found}

    decides = decided(path, Action.AVOID)
    banned: dict[str, dict[str, int]] = {}
    for site, latest in sites.items():
        for address, number in decided(latest, Action.STEER).items():
            banned.setdefault(address, {})[site] = number
    to = [_to(index, override) for override in overrides]
    return OverrideState(
        overrides=overrides,
        states=tuple(states),
        covers=tuple(covers),
        index=index,
        decides=decides,
        to={address: to[number] for address, number in decides.items()},
        frozen=frozenset(a for a, n in decides.items() if overrides[n].action is Action.FREEZE),
        banned={address: banned[address] for address in index.in_order(banned)},
        conflicts=tuple(conflicts),
    )


def _to(index: Index, override: Override) -> str | None:
    if override.action is Action.LOCAL:
        return LOCAL
    return override.to if override.to in index.path_number else None


@dataclass(frozen=True, slots=True, eq=False)
class _Set:
    """A set of addresses, and the same as the bits of a number: those of two are soon compared."""

    addresses: tuple[str, ...]
    bits: int


class _Sets:
    """The sets of addresses that the overrides cover: thousands of overrides share a few."""

    def __init__(self, index: Index) -> None:
        self._addresses = tuple(index.settings)
        self._number = {address: number for number, address in enumerate(self._addresses)}
        self._of: dict[int, _Set] = {}
        self._named: dict[int, tuple[str, ...]] = {}
        self.all = _Set(self._addresses, (1 << len(self._addresses)) - 1)

    def of(self, addresses: tuple[str, ...]) -> _Set:
        """The set of these; the very same tuple (`Matching`) has the same set."""
        known = self._of.get(id(addresses))
        if known is None:
            bits = 0
            for address in addresses:
                bits |= 1 << self._number[address]
            known = self._of[id(addresses)] = _Set(addresses, bits)
            self._named[bits] = addresses
        return known

    def named(self, bits: int) -> tuple[str, ...]:
        """The addresses of these bits, in the order of the policies."""
        known = self._named.get(bits)
        if known is None:
            ones = bin(bits)[:1:-1].encode().translate(_ONES)
            known = self._named[bits] = tuple(compress(self._addresses, ones))
        return known


_ONES = bytes.maketrans(b"01", b"\0\1")


class _Latest:
    """The overrides so far that order the path, or are about one site: for each address the latest.

    Of those that cover the same set only the latest is kept. An address is found in the sets from
    the latest on, which for the most part ends after a few of them.
    """

    def __init__(self) -> None:
        self._by: dict[_Set, int] = {}
        """In the order of the overrides."""
        self._around: dict[str, list[_Set]] = {}

    def note(self, about: _Set, number: int) -> None:
        """Note the override of this number, later than all before."""
        if self._by.pop(about, None) is None:
            for address in about.addresses:
                self._around.setdefault(address, []).append(about)
        self._by[about] = number

    def among(self, about: _Set) -> Iterator[tuple[int, int]]:
        """The latest overrides for these addresses: the number of each, and the bits of its
        addresses.
        """
        rest = about.bits
        for each in self._from_the_latest(about):
            if found := rest & each.bits:
                yield self._by[each], found
                rest ^= found
                if not rest:
                    return

    def _from_the_latest(self, about: _Set) -> Iterable[_Set]:
        """The sets that may have addresses in common with this one."""
        if len(about.addresses) * _SETS > len(self._by):
            return reversed(self._by)
        around = {each for address in about.addresses for each in self._around.get(address, ())}
        return sorted(around, key=self._by.__getitem__, reverse=True)


_SETS = 8
"""An address is in about so many sets at most: its own, its nameserver's, its upstream's and all,
each also by family."""


def _state(index: Index, override: Override, *, matched: bool, over: bool) -> OverrideStatus:
    if over:
        return OverrideStatus.EXPIRED
    here = override.match.site in (None, index.site)
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
