"""What is really the matter in a long story, and what of that a decision may rest on.

A truth is a list of faults. The answers to the probes follow from it, and so do the questions that
a checker asks: was there anything wrong with this path lately, has a doubt of ourselves a cause?
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from simulation import WALL, Ask, Shown

from steering.index import Index
from steering.model import LOCAL, Family, Instant, Outcome, Seconds, Verdict

LATELY: Seconds = 60.0
"""A move or a doubt may rest on what was so within this time."""
LOSSY = 1 / 21
"""A path that loses less, where others do not, is no bad one: from here on its losses are meant to
be found in the end (`judge/probes/losses.py`)."""
DOUBTFUL = 0.2
"""What fails less, but for signatures, says nothing against ourselves."""
DATED = 0.3
"""Signatures live for six days and are made anew each day: a clock that is out by less than this
share of that dates nothing."""
LIFE: Seconds = 6 * 86_400.0
RENEWED: Seconds = 86_400.0
EDITED: Seconds = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that is wrong for a while, somewhere; what is left out is everything."""

    begin: Instant
    lasts: Seconds
    outcome: Outcome | None
    """None: the copy is outdated."""
    share: float = 1.0
    by_packet: bool = False
    """Independent for each packet, instead of the same names at every address and time."""
    judged: bool = True
    """False: the key set can't be had, and answers say nothing."""
    operators: frozenset[int] | None = None
    family: Family | None = None
    paths: frozenset[str] | None = None
    addresses: frozenset[str] | None = None
    most: int | None = None
    """Questions a second that are answered, if it is a limit of the rate."""

    @property
    def end(self) -> Instant:
        """The first instant at which it is over."""
        return self.begin + self.lasts

    @property
    def here(self) -> bool:
        """Whether the local path has it."""
        return self.paths is None or LOCAL in self.paths

    def overlaps(self, since: Instant, until: Instant) -> bool:
        """Whether it was there at any time of these."""
        return self.begin <= until and self.end > since

    def says_nothing(self) -> bool:
        """Whether it gives nobody a reason to leave: no answers, or too few bad ones."""
        if not self.judged or self.outcome is None:
            return True
        return self.outcome is Outcome.TIMEOUT and self.by_packet and self.share < LOSSY


@dataclass
class Truth:
    """All faults of a story, those to come too."""

    faults: tuple[Fault, ...] = ()
    clock: tuple[tuple[Instant, Seconds], ...] = ()
    """How far our clock is out at some instants, and evenly between them; first and last hold."""
    dates: bool = False
    """Answers carry serials and dates."""
    operator: Mapping[str, int] = field(default_factory=dict)
    """Of each address; set by `know`."""
    mates: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Address -> those of its family that move together with it, itself included."""

    def __post_init__(self) -> None:
        self._from, self._until = math.inf, -math.inf
        self._active: tuple[Fault, ...] = ()
        self._second = -1
        self._counted: dict[tuple[int, str, str], int] = {}
        self._edges = sorted({e for f in self.faults for e in (f.begin, f.end)})
        self._operators = 1

    def know(self, index: Index) -> None:
        """Who runs what, and who moves together."""
        numbers = {operator: number for number, operator in enumerate(index.operators)}
        self.operator = {a: numbers[each.operator] for a, each in index.settings.items()}
        half = {a: (each.group, each.family) for a, each in index.settings.items()}
        groups: dict[tuple[str, Family], set[str]] = {}
        for address, mine in half.items():
            groups.setdefault(mine, set()).add(address)
        whole = {mine: frozenset(those) for mine, those in groups.items()}
        self.mates = {address: whole[mine] for address, mine in half.items()}
        self._operators = len(index.operators)

    def active(self, now: Instant) -> tuple[Fault, ...]:
        """The faults of this instant."""
        if not self._from <= now < self._until:
            place = bisect_right(self._edges, now)
            self._from = self._edges[place - 1] if place else -math.inf
            self._until = self._edges[place] if place < len(self._edges) else math.inf
            self._active = tuple(f for f in self.faults if f.begin <= now < f.end)
        return self._active

    def clock_error(self, now: Instant) -> Seconds:
        """How far our clock is ahead."""
        if not self.clock:
            return 0.0
        before = [point for point in self.clock if point[0] <= now]
        after = [point for point in self.clock if point[0] > now]
        if not before or not after:
            return (before[-1] if before else after[0])[1]
        (a, x), (b, y) = before[-1], after[0]
        return x + (y - x) * (now - a) / (b - a)

    def about(self, fault: Fault, address: str, path: str) -> bool:
        """Whether it is a fault of this key."""
        return (
            (fault.paths is None or path in fault.paths)
            and (fault.operators is None or self.operator[address] in fault.operators)
            and (fault.family is None or Family.of(address) is fault.family)
            and (fault.addresses is None or address in fault.addresses)
        )

    def answer(self, ask: Ask) -> Outcome | Shown:
        """What comes back."""
        active = self.active(ask.now)
        if not active and not self.dates:
            return Outcome.SECURE
        outcome, made = Outcome.SECURE, ask.now
        for number, fault in enumerate(active):
            if not self.about(fault, ask.address, ask.path):
                continue
            if not fault.judged:
                return Shown(judged=False)
            if fault.outcome is None:
                made = fault.begin
            elif outcome is not Outcome.TIMEOUT and self._strikes(fault, number, ask):
                outcome = fault.outcome
        if outcome.verdict in (Verdict.TIMEOUT, Verdict.ERROR) or not self.dates:
            return outcome
        expires = WALL + made - made % RENEWED + LIFE
        wall = WALL + ask.now + self.clock_error(ask.now)
        if outcome is Outcome.SECURE and expires <= wall:
            outcome = Outcome.EXPIRED
        if outcome is Outcome.SECURE and expires - LIFE - RENEWED > wall:
            outcome = Outcome.NOT_YET_VALID
        return Shown(outcome=outcome, serial=int(WALL + made - made % EDITED), expires=expires)

    def _strikes(self, fault: Fault, number: int, ask: Ask) -> bool:
        if fault.most is not None:
            if int(ask.now) != self._second:
                self._second, self._counted = int(ask.now), {}
            key = number, ask.address, ask.path
            self._counted[key] = asked = self._counted.get(key, 0) + 1
            return asked > fault.most
        if fault.share >= 1.0:
            return True
        salt = f"{fault.begin}{number}"
        return ask.lost(fault.share, salt) if fault.by_packet else ask.unlucky(fault.share, salt)

    # --- what a decision may rest on -------------------------------------------------------

    def bad(self, address: str, path: str, now: Instant, *, beside: str | None = None) -> bool:
        """Whether the path of the address, or of a mate, was bad within the last minute.

        Args:
            address: who moves; his mates go along, so their faults count as his.
            path: the one left.
            now: when.
            beside: the path taken; what that has too is no reason to leave.
        """
        return any(
            self.about(fault, mate, path)
            and not (beside is not None and self.about(fault, mate, beside))
            for fault in self.faults
            if fault.overlaps(now - LATELY, now) and not fault.says_nothing()
            for mate in self.mates[address]
        )

    def ended(self, address: str, path: str, now: Instant) -> Seconds:
        """How long ago the path of the address, or of a mate, was bad last."""
        return now - max(
            (
                min(fault.end, now)
                for fault in self.faults
                if fault.begin <= now and not fault.says_nothing()
                for mate in self.mates[address]
                if self.about(fault, mate, path)
            ),
            default=-math.inf,
        )

    def own(self, address: str, now: Instant) -> bool:
        """Whether all that was wrong with its local path lately was a fault of our own."""
        mine = [
            fault
            for fault in self.faults
            if fault.overlaps(now - LATELY, now)
            and not fault.says_nothing()
            and any(self.about(fault, mate, LOCAL) for mate in self.mates[address])
        ]
        return bool(mine) and all(f.operators is None and f.addresses is None for f in mine)

    def doubtful(self, now: Instant) -> Instant:
        """When there was cause to doubt ourselves last; -inf: never."""
        for back in range(0, int(4 * LATELY), 2):
            if self.dates and abs(self.clock_error(now - back)) > DATED * LIFE:
                return now - back
        changes = {now, *(e for f in self.faults for e in (f.begin, f.end) if e < now)}
        ends = sorted(changes, reverse=True)
        for end in ends:
            # Just before the change: what went on up to there was the case up to there.
            if self._cause(end - 1e-6):
                return end
            if end < now - 4 * LATELY:
                break
        return -math.inf

    def _cause(self, now: Instant) -> bool:
        there = [f for f in self.faults if f.begin <= now < f.end and f.judged]
        if any(f.outcome in _BY_DATE and f.paths is None for f in there):
            return True
        struck: dict[Family, set[int]] = {family: set() for family in Family}
        everybody = frozenset(range(self._operators))
        for fault in there:
            weak = fault.outcome is not None and fault.outcome.verdict is not Verdict.BOGUS
            if not fault.here or fault.outcome is None or (weak and fault.share < DOUBTFUL):
                continue
            for family in Family:
                if fault.family in (None, family):
                    struck[family] |= fault.operators or everybody
        # A family of one operator that says nothing at all can't be told from ourselves.
        return any(len(mine) >= min(2, self._operators) for mine in struck.values())


_BY_DATE = (Outcome.EXPIRED, Outcome.NOT_YET_VALID)


def first_moves(moves: Iterable[tuple[Instant, str]], truth: Truth, fault: Fault) -> Instant | None:
    """When the first address of a fault left the local path; None: nobody did."""
    return min(
        (
            at
            for at, address in moves
            if fault.begin <= at < fault.end + LATELY and truth.about(fault, address, LOCAL)
        ),
        default=None,
    )
