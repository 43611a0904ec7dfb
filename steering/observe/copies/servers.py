"""What the zone's own servers show: serial and signatures, and names that exist in the zone.

They are asked as resolvers ask them, without a mark: by the path in use, since a resolver without a
copy depends on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from steering.copies import Real
from steering.model import Instant, Kind, Outcome, Question, Seconds, WallTime
from steering.observe.copies.ask import Answer, ask
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.response import classify
from steering.observe.dnssec.signatures import Signatures
from steering.observe.nonce import random_label, system_random
from steering.observe.zone.facts import newer

AT_ONCE: Final = 4
"""Servers asked at one look; as many again where none answers well."""
KEPT: Final[Seconds] = 3600.0
"""How long a name that existed is asked for."""
MOST_NAMES: Final = 64
_LAST = "zzzzzzzz"
"""Begins a label that sorts behind the names of a zone (RFC 4034 6.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """A serial that a signature proves, seen elsewhere: over any path."""

    serial: int
    expires: WallTime | None


class Servers:
    """The servers of one zone, asked at each look, and the names that they showed."""

    def __init__(
        self,
        zone: str,
        addresses: Sequence[str],
        *,
        names: Sequence[str] = (),
        port: int = 53,
    ) -> None:
        """`names` exist in the zone for sure; others are found in NSEC records."""
        self._zone, self._addresses, self._port = zone, tuple(addresses), port
        self._given = tuple(names)
        self._found: dict[str, Instant] = {}
        self._last = ""
        self._turn = 0
        self._real = Real()

    def names(self) -> tuple[str, ...]:
        """Names to ask resolvers for: one of those that exist, and one at the end of the zone."""
        rng, known = system_random(), (*self._given, *self._found)
        one = rng.choice(known) if known else ""
        last = self._last or (self._given[-1] if self._given else "")
        return tuple(dict.fromkeys(filter(None, (one, last))))

    async def look(
        self,
        keys: KeyStore,
        signatures: Signatures,
        elsewhere: Sequence[Proven],
        now: Instant,
        wall: WallTime,
    ) -> Real:
        """What they show now. `elsewhere`: what probes saw of the zone over every path."""
        found, _ = await asyncio.gather(
            self._serials(keys, signatures, wall),
            self._learn_names(keys, signatures, now, wall),
        )
        seen, outcomes = found
        proven = [Proven(serial=serial, expires=answer.expires) for answer, serial in seen]
        self._real = self._summed(proven, elsewhere, seen, outcomes)
        return self._real

    async def has(self, name: str, keys: KeyStore, signatures: Signatures, wall: WallTime) -> bool:
        """Whether the zone has this name now: it may have been removed since it was seen."""
        question = Question(zone=self._zone, name=name, rdtype="DS", kind=Kind.DELEGATION)
        for address in self._next(2):
            answer = await self._ask(address, question)
            if isinstance(answer, Answer):
                good = _outcome(answer, question, keys, signatures, wall) is Outcome.SECURE
                return good and answer.rcode == "NOERROR"
        return False

    def _next(self, count: int) -> list[str]:
        """The servers whose turn it is."""
        if not self._addresses:
            return []
        count = min(count, len(self._addresses))
        chosen = [self._addresses[(self._turn + n) % len(self._addresses)] for n in range(count)]
        self._turn += count
        return chosen

    async def _serials(
        self, keys: KeyStore, signatures: Signatures, wall: WallTime
    ) -> tuple[list[tuple[Answer, int]], list[Outcome]]:
        """The proven serials, and how all answers were classified."""
        seen, outcomes = list[tuple[Answer, int]](), list[Outcome]()
        for _ in range(2):
            for answer, outcome in await self._ask_some(keys, signatures, wall):
                outcomes.append(outcome)
                if outcome is Outcome.SECURE and answer.serial is not None:
                    seen.append((answer, answer.serial))
            if seen or len(self._addresses) <= AT_ONCE:
                break
        return seen, outcomes

    def _summed(
        self,
        proven: Sequence[Proven],
        elsewhere: Sequence[Proven],
        seen: Sequence[tuple[Answer, int]],
        outcomes: Sequence[Outcome],
    ) -> Real:
        every = (*proven, *elsewhere)
        newest: int | None = None
        for one in every:
            newest = one.serial if newest is None or newer(one.serial, newest) else newest
        soa = next((a for a, serial in seen if serial == newest), None)
        dated = {Outcome.EXPIRED, Outcome.NOT_YET_VALID} & set(outcomes)
        doubt = (
            f"the signatures of all its own servers are {' or '.join(sorted(dated))}: this host's"
            " clock is wrong, or all of them are stale"
        )
        return Real(
            serial=newest,
            expires=max((one.expires for one in every if one.expires), default=None),
            refresh=(soa and soa.refresh) or self._real.refresh,
            expire=(soa and soa.expire) or self._real.expire,
            answers=bool(seen),
            doubt=doubt if dated and not every else "",
        )

    async def _ask_some(
        self, keys: KeyStore, signatures: Signatures, wall: WallTime
    ) -> list[tuple[Answer, Outcome]]:
        chosen = self._next(AT_ONCE)
        question = Question(zone=self._zone, name=self._zone, rdtype="SOA", kind=Kind.SOA)
        found = await asyncio.gather(*(self._ask(address, question) for address in chosen))
        return [
            (answer, _outcome(answer, question, keys, signatures, wall))
            for answer in found
            if isinstance(answer, Answer)
        ]

    async def _ask(self, address: str, question: Question) -> Answer | str:
        name, rdtype = question.name, question.rdtype
        return await ask(address, name, rdtype, self._zone, recursive=False, port=self._port)

    async def _learn_names(
        self, keys: KeyStore, signatures: Signatures, now: Instant, wall: WallTime
    ) -> None:
        """Ask for two names that do not exist: the NSEC records around them are of some that do."""
        if not self._addresses:
            return
        rng = system_random()
        below = "" if self._zone == "." else self._zone
        address = self._addresses[self._turn % len(self._addresses)]
        label = random_label(rng)
        questions = [
            Question(zone=self._zone, name=f"{first}{label}.{below}", rdtype="A", kind=Kind.DENIAL)
            for first in ("", _LAST)
        ]
        answers = await asyncio.gather(*(self._ask(address, each) for each in questions))
        for question, answer in zip(questions, answers, strict=True):
            if not isinstance(answer, Answer) or not answer.names:
                continue
            if _outcome(answer, question, keys, signatures, wall) is Outcome.SECURE:
                self._found |= dict.fromkeys(answer.names, now)
                if question.name.startswith(_LAST):
                    self._last = max(answer.names, key=_canonical)
        kept = sorted((at, name) for name, at in self._found.items() if now - at < KEPT)
        self._found = {name: at for at, name in kept[-MOST_NAMES:]}


def _outcome(
    answer: Answer, question: Question, keys: KeyStore, signatures: Signatures, wall: WallTime
) -> Outcome:
    """How an answer is classified; LOCAL_ERROR: it could not be judged."""
    seen = classify(
        answer.wire,
        question,
        answer.query_id,
        keys.trust,
        wall=wall,
        skew=0.0,
        signatures=signatures,
    )
    return seen.outcome if seen.judged else Outcome.LOCAL_ERROR


def _canonical(name: str) -> tuple[str, ...]:
    """Sorts names in the order of a zone (RFC 4034 6.1), as far as they are letters and digits."""
    return tuple(reversed(name.removesuffix(".").split(".")))
