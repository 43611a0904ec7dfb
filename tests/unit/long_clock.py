"""A simulation of hours and days: in detail where anything is in question, in leaps in peace.

In peace a turn gets all answers of one slow round; the first that is bad ends the leap, and gets
its turn when it is there. So nothing but good news is ever late, and that by one interval at most.
Every move and every doubt is held against the truth as it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self

from long_truth import LATELY, Truth
from simulation import Ask, Simulation, setup

from steering.facts import Facts
from steering.model import (
    LOCAL,
    Instant,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
    Seconds,
    Step,
)

CONFIG = """\
site: sin
sites:
  pao: {next_hop: {ipv4: 10.255.1.2, ipv6: "fd00:ff:1::2"}}
  fra: {next_hop: {ipv4: 10.255.2.2, ipv6: "fd00:ff:2::2"}}
policies: policies
"""
"""The shipped cadence: 10 s, and 200 ms where something is the matter."""
SUSPICIOUS = (3, 4)
"""Rules `clock` and `self`."""


def operators(number: int, addresses: int, more: str = "") -> list[str]:
    """So many policies with the shipped way home, each an operator of its own."""
    return [
        f"upstream: u{o}\nzones: [u{o}.]\noperator: {{name: u{o}}}\nnameservers:\n"
        + "\n".join(
            f'  n{i}.u{o}.example.: [192.{o + 1}.{i}.30, "2001:db8:{o + 1}::{i}:30"]'
            for i in range(share)
        )
        + f"\n{more}"
        for o, share in enumerate(_even(addresses // 2, number))
    ]


def _even(whole: int, parts: int) -> list[int]:
    edges = [whole * i // parts for i in range(parts + 1)]
    return [b - a for a, b in pairwise(edges)]


@dataclass
class Found:
    """What the agent did that the truth does not bear out, and what it did of account."""

    moves: int = 0
    wrong: list[tuple[Instant, Step]] = field(default_factory=list)
    """Left a path that had no fault within the last minute."""
    useless: list[tuple[Instant, Step]] = field(default_factory=list)
    """Left it for one with the same faults."""
    own: list[tuple[Instant, Step]] = field(default_factory=list)
    """Left it for a fault of our own."""
    late: Seconds = 0.0
    """The longest time after the end of a fault at which somebody left a path for it."""
    doubted: Seconds = 0.0
    """The longest doubt that went on without a cause."""
    doubted_at: Instant = math.nan


@dataclass
class LongClock(Simulation):
    """The simulation of a truth."""

    truth: Truth = field(default_factory=Truth)
    step: float = 0.2
    found: Found = field(default_factory=Found)
    turns: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.truth.know(self.index)
        self._order = list(self.index.settings)
        self._row = {address: a for a, address in enumerate(self._order)}
        self._zone = [each.policy.zones[0] for each in self.index.settings.values()]
        self._every = sorted(self.index.paths)
        self._good = {
            (address, path): Observation(
                address=address, path=path, outcome=Outcome.SECURE, reached=True, rtt=self.rtt
            )
            for address in self._order
            for path in self._every
        }
        self._doubt_since = math.nan
        self._counts: dict[str, int] = {}

    @classmethod
    def of(
        cls,
        tmp: Path,
        truth: Truth,
        *,
        number: int = 2,
        addresses: int = 26,
        more: str = "",
        config: str = CONFIG,
    ) -> Self:
        """A story of so many operators and addresses."""
        texts = operators(number, addresses, more)
        return cls(setup(tmp, *texts, config=config), truth.answer, truth=truth)

    def then(self, *deeds: tuple[Instant, Callable[[Self], None]], until: Instant) -> Self:
        """Run, and do these things at their instants."""
        for at, deed in sorted(deeds, key=lambda d: d[0]):
            self.run(at - self.now)
            deed(self)
        return self.run(until - self.now)

    def facts(self, rounds: Iterable[Round]) -> Facts:
        """All there is to know for a turn, by our clock as it is."""
        self.clock_error = self.truth.clock_error(self.now)
        return super().facts(rounds)

    def turn(self, rounds: Iterable[Round] = ()) -> None:
        """One turn, held against the truth."""
        known = len(self.steps)
        super().turn(rounds)
        self.turns += 1
        for at, step in self.steps[known:]:
            if step.now and step.rule == "steer":
                self._hold_against(at, step)
        if set(SUSPICIOUS).isdisjoint(self.state.rule.values()):
            self._doubt_since = math.nan
            return
        if math.isnan(self._doubt_since):
            self._doubt_since = self.now
        if (lasts := self.now - self._doubt_since) > self.found.doubted:
            lasts = min(lasts, self.now - self.truth.doubtful(self.now))
            if lasts > self.found.doubted:
                self.found.doubted, self.found.doubted_at = lasts, self.now

    def _hold_against(self, at: Instant, step: Step) -> None:
        self.found.moves += 1
        left = step.was or LOCAL
        if not self.truth.bad(step.address, left, at):
            self.found.wrong.append((at, step))
            return
        self.found.late = max(self.found.late, self.truth.ended(step.address, left, at))
        if left == LOCAL and not self.truth.bad(step.address, left, at, beside=step.now):
            self.found.useless.append((at, step))
        if left == LOCAL and self.truth.own(step.address, at):
            self.found.own.append((at, step))

    def check(self) -> None:
        """No address left a good path, and no doubt outlived its cause by more than a minute."""
        assert not self.found.wrong
        assert self.found.doubted <= LATELY, f"at {self.found.doubted_at}"

    def _advance(self, end: float) -> None:
        if not (self._wanted or any(new for _, _, new in self._pending)):
            self._leap(end)
        else:
            super()._advance(end)

    def _leap(self, end: float) -> None:
        """On to the first bad answer, or for a slow round."""
        until = min(end, self.now + self.index.interval)
        first = min(range(len(self._order)), key=lambda a: self._slow[self._order[a]])
        number = len(self._order)
        for turn in range(number):
            a = (first + turn) % number
            address = self._order[a]
            due = self._slow[address]
            if due > until:
                break
            self.now = max(self.now, due)
            self._slow[address] += self.index.interval
            self._round(a, address, set(), live=False)
            at, _, new = self._pending[-1]
            if new:
                until = min(until, at)
        self.now = max(self.now, until)
        if ready := self._ready():
            self.turn(ready)
        elif self.now - self._turned >= self.idle:
            self.turn()

    def _round(
        self, a: int, address: str, paths: set[str], *, live: bool, witnesses: tuple[str, ...] = ()
    ) -> None:
        if paths or live or witnesses:
            super()._round(a, address, paths, live=live, witnesses=witnesses)
            return
        self.asked += 1
        name = f"n{self.asked}.{self._zone[a]}"
        question = Question(zone=self._zone[a], name=name, rdtype="A", kind=Kind.DENIAL)
        seen = [self._observe(address, path, name) for path in self._every]
        slow = any(o.outcome is Outcome.TIMEOUT for o in seen)
        ready = self.now + (self.index.timeout if slow else self.rtt)
        item = Round(address=address, question=question, at=self.now, observations=tuple(seen))
        new = any(o.outcome is not Outcome.SECURE or not o.judged for o in seen)
        self._is_news(seen)
        self._pending.append((ready, item, new))

    def _count(self, address: str) -> int:
        # Each address by itself, as the prober does it: an even number of addresses asked in the
        # same order would ask every other one nothing but names that failed.
        self._counts[address] = count = self._counts.get(address, 0) + 1
        return count

    def _observe(self, address: str, path: str, name: str, *, live: bool = False) -> Observation:
        shown = self.answer(Ask(address=address, path=path, name=name, now=self.now, live=live))
        if shown is Outcome.SECURE and not live:
            return self._good[address, path]
        return self._seen(address, path, name, shown, live=live)
