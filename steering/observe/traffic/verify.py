"""The second look: messages that the reader hands over are verified, at a bounded price.

It runs between other work, one message or some hundred hashes at a time, and spends at most
a tenth of a core, however much there is to look at; what has waited for too long is dropped.
What dates alone did not show is told as disproved, and for a denial that fails a name is
looked for that shows it again (`denied_names`).
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final, Protocol

from steering.model import Failure, Heard, Instant, Outcome, Seconds, WallTime
from steering.observe.dnssec.denial import NSEC, NSEC3
from steering.observe.dnssec.server_keys import Server
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust
from steering.observe.nonce import unforeseen
from steering.observe.traffic.classify import Verified, verify_response
from steering.observe.traffic.denied_names import LASTING, DeniedNames, within
from steering.system.unreadable import HERE, Where
from steering.system.wakeup import Wakeup

SHARE: Final = 0.1
"""Of one core."""
BURST: Final[Seconds] = 0.05
"""Of CPU time that may be saved up."""
QUEUE: Final = 512
HELD: Final = 1 << 22
"""Octets of all messages that wait: ordinary ones are below a thousand each."""
STALE: Final[Seconds] = 5.0
"""What has waited for so long is not looked at any more."""
_TRIES: Final = 400
_DATED: Final = frozenset({Outcome.EXPIRED, Outcome.NOT_YET_VALID})


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledResponse:
    """One response as it came, and where from."""

    address: str
    path: str
    at: Instant
    message: bytes
    drawn: bool
    """Drawn at random, and no candidate of trouble."""
    zones: Collection[str]
    skew: Seconds


class Believing(Protocol):
    """Who knows the zones' keys."""

    def trust_for(self, zones: Collection[str], server: Server) -> Trust:
        """What a server's answers about these zones are judged by."""

    def miss(self, zone: str, server: Server) -> None:
        """A server signed by a key that is not in the zone's set."""


class SampleVerifier:
    """Looks at what it is offered, as far as its budget goes."""

    def __init__(
        self,
        keys: Believing,
        *,
        wall: Callable[[], WallTime] = time.time,
        monotonic: Callable[[], Instant] = time.monotonic,
        cpu: Callable[[], Seconds] = time.thread_time,
        rng: random.Random | None = None,
    ) -> None:
        self.dropped = 0
        """Messages that were never looked at: too many, or too old."""
        self.looked = 0
        self.keys = keys
        """Who is believed; may change."""
        self._signatures = Signatures()
        self._wall, self._monotonic, self._cpu = wall, monotonic, cpu
        self._rng = rng or unforeseen()
        self._secret = secrets.token_bytes(16)
        self._candidates: deque[SampledResponse] = deque()
        self._drawn: deque[SampledResponse] = deque()
        self._held = 0
        """Octets of them."""
        self._searched = False
        """Looking and searching take turns."""
        self._gaps: dict[str, DeniedNames] = {}
        self._sought: dict[tuple[str, str], tuple[SampledResponse, Failure]] = {}
        """(zone, owner) of open gaps: where they were seen."""
        self._named: dict[tuple[str, str], Instant] = {}
        """When a name was found for a gap: one is enough for a while."""
        self._found: list[Heard] = []
        self._bell = Wakeup()
        self._left, self._counted = BURST, monotonic()

    def offer(self, sampled: SampledResponse) -> None:
        """Look at it when there is time."""
        queue = self._drawn if sampled.drawn else self._candidates
        size = len(sampled.message)
        while queue and (len(queue) >= QUEUE or self._held + size > HELD):
            self._held -= len(queue.popleft().message)
            self.dropped += 1
        queue.append(sampled)
        self._held += size
        self._bell.ring()

    def take(self) -> tuple[Heard, ...]:
        """What was found since the last call."""
        found, self._found = tuple(self._found), []
        return found

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            if not self._candidates and not self._drawn and not self._searching:
                await self._bell.wait(float("inf"))
            await asyncio.sleep(self._pause())
            self.work()

    def work(self) -> None:
        """One message looked at, candidates first, or some names tried, in turns."""
        began = self._cpu()
        queue = self._candidates or self._drawn
        self._searched = self._searching and not (queue and self._searched)
        if self._searched:
            for zone in list(self._gaps):
                self._search(zone)
        elif queue:
            sampled = queue.popleft()
            self._held -= len(sampled.message)
            if self._monotonic() - sampled.at > STALE:
                self.dropped += 1
            else:
                with HERE.reading(Where.SECOND_LOOK, sampled.message):
                    self._look(sampled)
        self._left -= self._cpu() - began

    def _search(self, zone: str) -> None:
        gaps, searched = self._gaps[zone], False
        with HERE.reading(Where.SECOND_LOOK, zone.encode()):
            for owner, name in gaps.search(_TRIES, self._monotonic()):
                self._fell_in(zone, owner, name)
            searched = True
        if not searched:
            del self._gaps[zone]  # it would be searched for ever

    @property
    def _searching(self) -> bool:
        return any(self._gaps.values())

    def _pause(self) -> Seconds:
        """How long to wait before more may be spent."""
        now = self._monotonic()
        self._left = min(BURST, self._left + (now - self._counted) * SHARE)
        self._counted = now
        return 0.0 if self._left > 0 else -self._left / SHARE

    def _look(self, sampled: SampledResponse) -> None:
        self.looked += 1
        server = (sampled.address, sampled.path)
        verified = verify_response(
            sampled.message,
            sampled.zones,
            self.keys.trust_for(sampled.zones, server),
            wall=self._wall(),
            skew=sampled.skew,
            signatures=self._signatures,
            secret=self._secret,
        )
        if verified is None:
            return
        if verified.unknown_key:
            self.keys.miss(verified.zone, server)
            return
        if verified.failure is None:
            serials = {} if verified.serial is None else {verified.zone: verified.serial}
            if sampled.drawn or serials:
                self._tell(sampled, proved=int(sampled.drawn), serials=serials)
            return
        self._report(sampled, verified, verified.failure)

    def _report(self, sampled: SampledResponse, verified: Verified, failure: Failure) -> None:
        if failure.outcome is Outcome.NO_KEY:
            self.keys.miss(verified.zone, (sampled.address, sampled.path))
        match verified.denial:
            case NSEC() as denial:
                ask = within(failure.evidence.owner, denial, verified.zone, self._rng)
                failure = replace(failure, ask=ask)
            case NSEC3() as denial:
                self._seek(sampled, verified.zone, failure, denial)
        self._tell_failure(sampled, failure)

    def _seek(self, sampled: SampledResponse, zone: str, failure: Failure, denial: NSEC3) -> None:
        """Look for a name in the gap of a failing record, but not again and again."""
        owner, now = failure.evidence.owner, self._monotonic()
        if now - self._named.get((zone, owner), float("-inf")) < LASTING:
            return
        gaps = self._gaps.get(zone)
        if gaps is None:
            gaps = self._gaps[zone] = DeniedNames(zone, self._rng)
        gaps.open(owner, denial, now)
        self._sought[zone, owner] = (replace(sampled, message=b""), failure)
        self._forget_closed()

    def _fell_in(self, zone: str, owner: str, name: str) -> None:
        while len(self._named) >= QUEUE:
            del self._named[next(iter(self._named))]
        self._named[zone, owner] = self._monotonic()
        sought = self._sought.pop((zone, owner), None)
        if sought is not None:
            sampled, failure = sought
            self._tell(sampled, failures=(replace(failure, ask=name),))

    def _forget_closed(self) -> None:
        still = {(zone, owner) for zone, gaps in self._gaps.items() for owner in gaps.owners}
        for key in self._sought.keys() - still:
            del self._sought[key]

    def _tell_failure(self, sampled: SampledResponse, failure: Failure) -> None:
        if failure.outcome in _DATED:  # counted by the reader, in full
            self._tell(sampled, failures=(failure,))
        else:
            self._tell(sampled, disproved=(failure,))

    def _tell(
        self,
        sampled: SampledResponse,
        *,
        failures: tuple[Failure, ...] = (),
        disproved: tuple[Failure, ...] = (),
        proved: int = 0,
        serials: dict[str, int] | None = None,
    ) -> None:
        self._found.append(
            Heard(
                address=sampled.address,
                path=sampled.path,
                at=sampled.at,
                failures=failures,
                disproved=disproved,
                proved=proved,
                serials=serials or {},
            )
        )
