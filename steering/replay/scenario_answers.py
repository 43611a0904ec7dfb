"""What the nameservers of a story answer, at any time, over any path. Deterministic.

Every RRset has a number from 0 to 1 by which it is bad or good: at a share of 13 % those
below 0.13 are bad, at every address and on every path that is ill. So a share that grows
keeps what was bad, as a stale copy does. What the resolvers ask for are so many RRsets with
the numbers spread evenly over them; what the agent makes up itself is hashed. Losses and
errors are drawn for each packet.
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
from steering.layout import Layout
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
from steering.replay.scenario import ALL, Clock, Scenario, Spell

RRSETS: Final = 20_000
"""That the resolvers ask for, of each zone."""
SAMPLED: Final = 0.05
"""Share of the answers whose signatures are verified, as far as that is done in time."""
FAILURES: Final = 32
"""Failing names that are told of at once."""
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
        """It is certain RRsets that are bad; else it is any packet."""
        return self.outcome.verdict is Verdict.BOGUS


WELL: Final = BadShare(outcome=Outcome.SECURE, share=0.0)


class ScenarioAnswers:
    """The story as something that can be asked."""

    def __init__(self, story: Scenario, layout: Layout) -> None:
        self.story, self.layout = story, layout
        self._rng = random.Random(story.story)

    def clock(self, wall: WallTime) -> WallTime:
        """What the agent's own clock shows."""
        for wrong in self.story.clock:
            if _during(self.story, wrong.since, wrong.until, wall):
                return wall + wrong.ahead - wrong.behind
        return wall

    def changes(self) -> Iterator[WallTime]:
        """When anything is different from then on, in no order."""
        story = self.story
        spells: tuple[Spell | Clock, ...] = (
            *story.faults,
            *story.copies,
            *story.instances,
            *story.clock,
        )
        for spell in spells:
            begins = story.when(spell.since)
            ends = story.ends if spell.until is None else story.when(spell.until)
            yield begins
            yield ends
            every = spell.every if isinstance(spell, Spell) else None
            if every is not None and isinstance(spell, Spell) and spell.lasting is not None:
                for number in range(math.ceil((min(ends, story.ends) - begins) / every)):
                    yield begins + number * every
                    yield min(ends, begins + number * every + spell.lasting)
        for override in story.spoken():
            if override.until is not None:
                yield override.until

    def ill(self, target: Target, path: str, wall: WallTime) -> BadShare:
        """What is wrong with an address over a path: of several faults the greatest."""
        found = WELL
        for fault in self.story.faults:
            if self._in(fault, target, path, wall) and fault.share > found.share:
                found = BadShare(outcome=fault.outcome, share=fault.share)
        dated = self._by_date(target, path, wall)
        return dated if dated.share > found.share else found

    def answer(
        self, target: Target, path: str, question: Question, at: WallTime, *, live: bool
    ) -> Observation:
        """The answer to one of the agent's own questions."""
        ill = self.ill(target, path, at)
        number = _number(question)
        bad = number < ill.share if ill.signed else self._rng.random() < ill.share
        outcome = ill.outcome if bad else Outcome.SECURE
        came = outcome not in (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)
        signed = outcome in BY_DATE or not bad
        return Observation(
            address=target.address,
            path="live" if live else path,
            live=live,
            outcome=outcome,
            reached=came,
            rtt=self.rtt(path) if came else None,
            nsid=self._nsid(target, path, at) if came else None,
            serial=self._serial(target, path, at) if came and question.kind is Kind.SOA else None,
            expires=self._expires(target, path, at, number) if came and signed else None,
            evidence=_evidence(question.name, outcome) if bad and ill.signed else None,
        )

    def traffic(
        self, target: Target, path: str, began: Instant, at: WallTime, number: int
    ) -> Heard:
        """What the resolvers were answered: so many answers, of RRsets drawn at random."""
        ill = self.ill(target, path, at)
        bad = _binomial(self._rng, number, ill.share)
        # Bad by its dates, or no answer of use: that shows in each. A signature that does not
        # hold shows in those that are verified.
        shows = ill.outcome in BY_DATE or not ill.signed
        counts = {Outcome.SECURE: number - bad, ill.outcome: bad} if shows else {}
        sampled = 0 if shows and bad else _binomial(self._rng, number, SAMPLED)
        disproved = 0 if shows else _binomial(self._rng, sampled, ill.share)
        return Heard(
            address=target.address,
            path=path,
            at=began,
            answers=number - (bad if ill.outcome is Outcome.TIMEOUT else 0),
            counts={outcome: n for outcome, n in (counts or {Outcome.SECURE: number}).items() if n},
            failures=self._failures(target, ill, bad if ill.outcome in BY_DATE else 0),
            expires=self._expires(target, path, at, self._rng.random()),
            proved=sampled - disproved,
            disproved=self._failures(target, ill, disproved),
        )

    def outdated(self, target: Target, path: str, wall: WallTime) -> bool:
        """Whether an outdated copy is served there."""
        return self._copied(target, path, wall) != wall

    def rtt(self, path: str) -> Seconds:
        """Round-trip time over a path."""
        return LOCAL_RTT if path == LOCAL else self.story.sites[path].rtt

    def _in(self, spell: Spell, target: Target, path: str, wall: WallTime) -> bool:
        if path not in spell.paths and ALL not in spell.paths:
            return False
        if spell.upstream not in (None, target.upstream):
            return False
        if spell.family not in (None, target.family):
            return False
        if not _during(self.story, spell.since, spell.until, wall):
            return False
        if spell.every is None or spell.lasting is None:
            return True
        return (wall - self.story.when(spell.since)) % spell.every < spell.lasting

    def _by_date(self, target: Target, path: str, wall: WallTime) -> BadShare:
        """Which share of the signatures is out of date, by the agent's clock."""
        life, clock = self.story.signatures, self.clock(wall)
        signed = self._copied(target, path, wall)
        spread = max(life.lifetime - life.least, 1.0)
        # Of RRset u the signature ends at signed + least + u * spread, and began a lifetime before.
        ended = (clock - signed - life.least) / spread
        if ended > 0:
            return BadShare(outcome=Outcome.EXPIRED, share=min(1.0, ended))
        if clock < signed + life.least - life.lifetime:
            return BadShare(outcome=Outcome.NOT_YET_VALID, share=1.0)
        return WELL

    def _copied(self, target: Target, path: str, wall: WallTime) -> WallTime:
        """When the copy that this path shows was up to date."""
        for copy in self.story.copies:
            if self._in(copy, target, path, wall):
                return self.story.when(copy.of)
        return wall

    def _expires(self, target: Target, path: str, wall: WallTime, number: float) -> WallTime:
        life = self.story.signatures
        spread = life.lifetime - life.least
        return float(int(self._copied(target, path, wall) + life.least + number * spread))

    def _serial(self, target: Target, path: str, wall: WallTime) -> int:
        copied = int(self._copied(target, path, wall))
        match self.layout.policy(self.layout.row[target.address]).serial:
            case Serial.EPOCH:
                return copied - copied % 15
            case Serial.DATE:
                day = dt.datetime.fromtimestamp(copied, tz=dt.UTC)
                return int(f"{day:%Y%m%d}") * 100 + day.hour // 12
            case _:
                return copied // 900

    def _nsid(self, target: Target, path: str, wall: WallTime) -> str:
        for instance in self.story.instances:
            if self._in(instance, target, path, wall):
                return instance.nsid
        return f"{path}1"

    def _failures(self, target: Target, ill: BadShare, number: int) -> tuple[Failure, ...]:
        zones = self.layout.policy(self.layout.row[target.address]).zones
        most = max(1, int(ill.share * RRSETS))
        drawn = (
            f"rr{self._rng.randrange(most)}.{_below(self._rng.choice(zones))}"
            for _ in range(min(number, FAILURES))
        )
        return tuple(
            Failure(name=name, outcome=ill.outcome, evidence=_evidence(name, ill.outcome), ask=name)
            for name in dict.fromkeys(drawn)
        )


def _during(story: Scenario, since: float, until: float | None, wall: WallTime) -> bool:
    return story.when(since) <= wall and (until is None or wall < story.when(until))


def _number(question: Question) -> float:
    """The RRset's number, which decides whether it is bad."""
    if question.kind in (Kind.SOA, Kind.DNSKEY):
        return 1.0 - 1e-9  # signed anew at every edit: the last to run out
    if found := _NUMBERED.match(question.name):
        return int(found[1]) / RRSETS
    text = f"{question.name} {question.rdtype}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big") / 2**32


def _evidence(name: str, outcome: Outcome) -> Evidence:
    return Evidence(owner=name, rdtype="NSEC3", detail=outcome.value.replace("_", " "))


def _below(zone: str) -> str:
    return "" if zone == "." else zone


def _binomial(rng: random.Random, number: int, share: float) -> int:
    """How many of so many, each with this chance; by its normal form where they are many."""
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
