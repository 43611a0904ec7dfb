"""The answers of a scenario's nameservers at any time over any path. Deterministic.

Every RRset has a number from 0 to 1 that decides whether it is bad: at a share of 13 % those below
0.13 are bad, at every address and on every path with the fault. So a growing share keeps the same
RRsets bad, as an outdated copy does. The resolvers ask for RRSETS names, whose numbers are spread
evenly; a name that the agent makes up is hashed. Losses and errors are drawn for each packet.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from steering.config import Serial
from steering.index import Index
from steering.model import (
    LOCAL,
    Evidence,
    Failure,
    Heard,
    Instant,
    Kind,
    Observation,
    Outcome,
    Question,
    Seconds,
    Target,
    Verdict,
    WallTime,
)
from steering.replay.scenario import ALL, Clock, Period, Scenario

RRSETS: Final = 20_000
"""RRsets of each zone that the resolvers ask for."""
SAMPLED: Final = 0.05
"""Share of the answers whose signatures are verified in time."""
FAILURES: Final = 32
"""Failing names that one tally reports."""
BY_DATE: Final = frozenset({Outcome.EXPIRED, Outcome.NOT_YET_VALID})
LOCAL_RTT: Final[Seconds] = 0.005

_NUMBERED = re.compile(r"rr(\d+)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BadShare:
    """A share of the answers of one address over one path is bad."""

    outcome: Outcome
    share: float

    @property
    def signed(self) -> bool:
        """Whether certain RRsets are bad; otherwise any packet may be."""
        return self.outcome.verdict is Verdict.BOGUS


NO_FAULT: Final = BadShare(outcome=Outcome.SECURE, share=0.0)


class ScenarioAnswers:
    """The nameservers of a scenario."""

    def __init__(self, scenario: Scenario, index: Index) -> None:
        self.scenario, self.index = scenario, index
        self._rng = random.Random(scenario.story)

    def clock(self, wall: WallTime) -> WallTime:
        """The time of the agent's clock."""
        for wrong in self.scenario.clock:
            if _is_during(self.scenario, wrong.since, wrong.until, wall):
                return wall + wrong.ahead - wrong.behind
        return wall

    def changes(self) -> Iterator[WallTime]:
        """The times at which anything changes, in no order."""
        scenario = self.scenario
        periods: tuple[Period | Clock, ...] = (
            *scenario.faults,
            *scenario.copies,
            *scenario.instances,
            *scenario.clock,
        )
        for period in periods:
            begins = scenario.when(period.since)
            ends = scenario.ends if period.until is None else scenario.when(period.until)
            yield begins
            yield ends
            every = period.every if isinstance(period, Period) else None
            if every is not None and isinstance(period, Period) and period.lasting is not None:
                for number in range(math.ceil((min(ends, scenario.ends) - begins) / every)):
                    yield begins + number * every
                    yield min(ends, begins + number * every + period.lasting)
        for override in scenario.override_values():
            if override.until is not None:
                yield override.until

    def fault(self, target: Target, path: str, wall: WallTime) -> BadShare:
        """The fault of an address over a path: of several ones the greatest."""
        found = NO_FAULT
        for fault in self.scenario.faults:
            if self._applies(fault, target, path, wall) and fault.share > found.share:
                found = BadShare(outcome=fault.outcome, share=fault.share)
        dated = self._by_date(target, path, wall)
        return dated if dated.share > found.share else found

    def answer(
        self, target: Target, path: str, question: Question, at: WallTime, *, live: bool
    ) -> Observation:
        """The answer to one of the agent's probes."""
        fault = self.fault(target, path, at)
        number = _position(question)
        bad = number < fault.share if fault.signed else self._rng.random() < fault.share
        outcome = fault.outcome if bad else Outcome.SECURE
        answered = outcome not in (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)
        signed = outcome in BY_DATE or not bad
        return Observation(
            address=target.address,
            path="live" if live else path,
            live=live,
            outcome=outcome,
            reached=answered,
            rtt=self.rtt(path) if answered else None,
            nsid=self._nsid(target, path, at) if answered else None,
            serial=self._serial(target, path, at)
            if answered and question.kind is Kind.SOA
            else None,
            expires=self._expires(target, path, at, number) if answered and signed else None,
            evidence=_evidence(question.name, outcome) if bad and fault.signed else None,
        )

    def traffic(
        self, target: Target, path: str, began: Instant, at: WallTime, number: int
    ) -> Heard:
        """A number of answers to the resolvers, of RRsets drawn at random."""
        fault = self.fault(target, path, at)
        bad = _binomial(self._rng, number, fault.share)
        # Bad dates and errors are seen in every answer. A bad signature is seen only in answers
        # that are verified.
        shows = fault.outcome in BY_DATE or not fault.signed
        counts = {Outcome.SECURE: number - bad, fault.outcome: bad} if shows else {}
        sampled = 0 if shows and bad else _binomial(self._rng, number, SAMPLED)
        disproved = 0 if shows else _binomial(self._rng, sampled, fault.share)
        return Heard(
            address=target.address,
            path=path,
            at=began,
            answers=number - (bad if fault.outcome is Outcome.TIMEOUT else 0),
            counts={outcome: n for outcome, n in (counts or {Outcome.SECURE: number}).items() if n},
            failures=self._failures(target, fault, bad if fault.outcome in BY_DATE else 0),
            expires=self._expires(target, path, at, self._rng.random()),
            proved=sampled - disproved,
            disproved=self._failures(target, fault, disproved),
        )

    def outdated(self, target: Target, path: str, wall: WallTime) -> bool:
        """Whether an outdated copy is served there."""
        return self._copied_at(target, path, wall) != wall

    def rtt(self, path: str) -> Seconds:
        """Round-trip time over a path."""
        return LOCAL_RTT if path == LOCAL else self.scenario.sites[path].rtt

    def _applies(self, period: Period, target: Target, path: str, wall: WallTime) -> bool:
        if path not in period.paths and ALL not in period.paths:
            return False
        if period.upstream not in (None, target.upstream):
            return False
        if period.family not in (None, target.family):
            return False
        if not _is_during(self.scenario, period.since, period.until, wall):
            return False
        if period.every is None or period.lasting is None:
            return True
        return (wall - self.scenario.when(period.since)) % period.every < period.lasting

    def _by_date(self, target: Target, path: str, wall: WallTime) -> BadShare:
        """Which share of the signatures is out of date, by the agent's clock."""
        life, clock = self.scenario.signatures, self.clock(wall)
        signed = self._copied_at(target, path, wall)
        spread = max(life.lifetime - life.least, 1.0)
        # Of RRset u the signature ends at signed + least + u * spread, and began a lifetime before.
        ended = (clock - signed - life.least) / spread
        if ended > 0:
            return BadShare(outcome=Outcome.EXPIRED, share=min(1.0, ended))
        if clock < signed + life.least - life.lifetime:
            return BadShare(outcome=Outcome.NOT_YET_VALID, share=1.0)
        return NO_FAULT

    def _copied_at(self, target: Target, path: str, wall: WallTime) -> WallTime:
        """When the copy over this path was up to date."""
        for copy in self.scenario.copies:
            if self._applies(copy, target, path, wall):
                return self.scenario.when(copy.of)
        return wall

    def _expires(self, target: Target, path: str, wall: WallTime, number: float) -> WallTime:
        life = self.scenario.signatures
        spread = life.lifetime - life.least
        return float(int(self._copied_at(target, path, wall) + life.least + number * spread))

    def _serial(self, target: Target, path: str, wall: WallTime) -> int:
        copied = int(self._copied_at(target, path, wall))
        match self.index.settings[target.address].policy.serial:
            case Serial.EPOCH:
                return copied - copied % 15
            case Serial.DATE:
                day = dt.datetime.fromtimestamp(copied, tz=dt.UTC)
                return int(f"{day:%Y%m%d}") * 100 + day.hour // 12
            case _:
                return copied // 900

    def _nsid(self, target: Target, path: str, wall: WallTime) -> str:
        for instance in self.scenario.instances:
            if self._applies(instance, target, path, wall):
                return instance.nsid
        return f"{path}1"

    def _failures(self, target: Target, fault: BadShare, number: int) -> tuple[Failure, ...]:
        zones = self.index.settings[target.address].policy.zones
        most = max(1, int(fault.share * RRSETS))
        drawn = (
            f"rr{self._rng.randrange(most)}.{_below(self._rng.choice(zones))}"
            for _ in range(min(number, FAILURES))
        )
        return tuple(
            Failure(
                name=name, outcome=fault.outcome, evidence=_evidence(name, fault.outcome), ask=name
            )
            for name in dict.fromkeys(drawn)
        )


def _is_during(scenario: Scenario, since: float, until: float | None, wall: WallTime) -> bool:
    return scenario.when(since) <= wall and (until is None or wall < scenario.when(until))


def _position(question: Question) -> float:
    """The RRset's number, which decides whether it is bad."""
    if question.kind in (Kind.SOA, Kind.DNSKEY):
        return 1.0 - 1e-9  # signed again at every change: the last one to expire
    if found := _NUMBERED.match(question.name):
        return int(found[1]) / RRSETS
    text = f"{question.name} {question.rdtype}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") / 2**32


def _evidence(name: str, outcome: Outcome) -> Evidence:
    return Evidence(owner=name, rdtype="NSEC3", detail=outcome.value.replace("_", " "))


def _below(zone: str) -> str:
    return "" if zone == "." else zone


def _binomial(rng: random.Random, number: int, share: float) -> int:
    """A binomial random number; for large numbers by its normal approximation."""
    if share <= 0 or number <= 0:
        return 0
    if share >= 1:
        return number
    if number <= 32:
        return sum(rng.random() < share for _ in range(number))
    mean = number * share
    if mean < 30:  # Poisson, by the product of uniforms (Knuth)
        limit, product, count = math.exp(-mean), rng.random(), 0
        while product > limit:
            product *= rng.random()
            count += 1
        return min(count, number)
    return min(number, max(0, round(rng.gauss(mean, math.sqrt(mean * (1 - share))))))
