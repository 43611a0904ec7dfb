"""Verifies sampled messages of the dnstap reader with keys, within a budget of CPU time.

It runs between other work, one message or some hundred hashes at a time, and uses at most a tenth
of a core. Messages that have waited for too long are dropped. A failure that the dates alone did
not show is reported as disproved. For a failing denial it searches a name that reproduces it
(`denied_names`).
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
from steering.observe.dnssec.keys.server_keys import Server
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust
from steering.observe.nonce import system_random
from steering.observe.traffic.classify import Verified, verify_response
from steering.observe.traffic.denied_names import LASTING, DeniedNames, within
from steering.system.unreadable import HERE, Where
from steering.system.wakeup import Wakeup

SHARE: Final = 0.1
"""The share of one core."""
BURST: Final[Seconds] = 0.05
"""CPU time in seconds that may accumulate."""
QUEUE: Final = 512
HELD: Final = 1 << 22
"""Octets of all waiting messages: ordinary ones have less than a thousand each."""
STALE: Final[Seconds] = 5.0
"""A message that has waited for so long is dropped."""
_TRIES: Final = 400
_DATED: Final = frozenset({Outcome.EXPIRED, Outcome.NOT_YET_VALID})


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledResponse:
    """One response to a resolver, and where it came from."""

    address: str
    path: str
    at: Instant
    message: bytes
    drawn: bool
    """Drawn at random; not because it looked suspicious."""
    zones: Collection[str]
    skew: Seconds


class KeyTrust(Protocol):
    """The key store, as far as it is needed here."""

    def trust_for(self, zones: Collection[str], server: Server) -> Trust:
        """The trust to judge a server's answers about these zones by."""

    def miss(self, zone: str, server: Server) -> None:
        """A server signed by a key that is not in the zone's set."""


class SampleVerifier:
    """Verifies the messages that it gets, as far as its budget allows."""

    def __init__(
        self,
        keys: KeyTrust,
        *,
        wall: Callable[[], WallTime] = time.time,
        monotonic: Callable[[], Instant] = time.monotonic,
        cpu: Callable[[], Seconds] = time.thread_time,
        rng: random.Random | None = None,
    ) -> None:
        self.dropped = 0
        """Messages that were dropped unread: too many, or too old."""
        self.looked = 0
        """Messages that were verified."""
        self.keys = keys
        """The key store; it may be replaced."""
        self._signatures = Signatures()
        self._wall, self._monotonic, self._cpu = wall, monotonic, cpu
        self._rng = rng or system_random()
        self._secret = secrets.token_bytes(16)
        self._candidates: deque[SampledResponse] = deque()
        self._drawn: deque[SampledResponse] = deque()
        self._octets = 0
        """Octets of the waiting messages."""
        self._searched = False
        """Whether the last step searched names: verifying and searching take turns."""
        self._gaps: dict[str, DeniedNames] = {}
        self._wanted_names: dict[tuple[str, str], tuple[SampledResponse, Failure]] = {}
        """(zone, owner) of open gaps: the message that showed the failure, and the failure."""
        self._found_at: dict[tuple[str, str], Instant] = {}
        """(zone, owner): when a name was found for the gap. One is enough for a while."""
        self._found: list[Heard] = []
        self._wakeup = Wakeup()
        self._budget, self._counted = BURST, monotonic()

    def offer(self, sampled: SampledResponse) -> None:
        """Add a message to the queue."""
        queue = self._drawn if sampled.drawn else self._candidates
        size = len(sampled.message)
        while queue and (len(queue) >= QUEUE or self._octets + size > HELD):
            self._octets -= len(queue.popleft().message)
            self.dropped += 1
        queue.append(sampled)
        self._octets += size
        self._wakeup.ring()

    def take(self) -> tuple[Heard, ...]:
        """The results since the last call."""
        found, self._found = tuple(self._found), []
        return found

    async def run(self) -> None:
        """Verify until cancelled."""
        while True:
            if not self._candidates and not self._drawn and not self._searching:
                await self._wakeup.wait(float("inf"))
            await asyncio.sleep(self._pause())
            self.work()

    def work(self) -> None:
        """Verify one message, suspicious ones first, or try some names; the two take turns."""
        began = self._cpu()
        queue = self._candidates or self._drawn
        self._searched = self._searching and not (queue and self._searched)
        if self._searched:
            for zone in list(self._gaps):
                self._search(zone)
        elif queue:
            sampled = queue.popleft()
            self._octets -= len(sampled.message)
            if self._monotonic() - sampled.at > STALE:
                self.dropped += 1
            else:
                with HERE.reading(Where.SECOND_LOOK, sampled.message):
                    self._verify(sampled)
        self._budget -= self._cpu() - began

    def _search(self, zone: str) -> None:
        gaps, searched = self._gaps[zone], False
        with HERE.reading(Where.SECOND_LOOK, zone.encode()):
            for owner, name in gaps.search(_TRIES, self._monotonic()):
                self._name_found(zone, owner, name)
            searched = True
        if not searched:
            del self._gaps[zone]  # else the failing search would be repeated for ever

    @property
    def _searching(self) -> bool:
        return any(self._gaps.values())

    def _pause(self) -> Seconds:
        """How long to wait until the budget allows more."""
        now = self._monotonic()
        self._budget = min(BURST, self._budget + (now - self._counted) * SHARE)
        self._counted = now
        return 0.0 if self._budget > 0 else -self._budget / SHARE

    def _verify(self, sampled: SampledResponse) -> None:
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
                self._add(sampled, proved=int(sampled.drawn), serials=serials)
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
                self._search_name(sampled, verified.zone, failure, denial)
        self._add_failure(sampled, failure)

    def _search_name(
        self, sampled: SampledResponse, zone: str, failure: Failure, denial: NSEC3
    ) -> None:
        """Search a name in the gap of a failing record, unless one was found lately."""
        owner, now = failure.evidence.owner, self._monotonic()
        if now - self._found_at.get((zone, owner), float("-inf")) < LASTING:
            return
        gaps = self._gaps.get(zone)
        if gaps is None:
            gaps = self._gaps[zone] = DeniedNames(zone, self._rng)
        gaps.open(owner, denial, now)
        self._wanted_names[zone, owner] = (replace(sampled, message=b""), failure)
        self._forget_closed()

    def _name_found(self, zone: str, owner: str, name: str) -> None:
        while len(self._found_at) >= QUEUE:
            del self._found_at[next(iter(self._found_at))]
        self._found_at[zone, owner] = self._monotonic()
        wanted = self._wanted_names.pop((zone, owner), None)
        if wanted is not None:
            sampled, failure = wanted
            self._add(sampled, failures=(replace(failure, ask=name),))

    def _forget_closed(self) -> None:
        still = {(zone, owner) for zone, gaps in self._gaps.items() for owner in gaps.owners}
        for key in self._wanted_names.keys() - still:
            del self._wanted_names[key]

    def _add_failure(self, sampled: SampledResponse, failure: Failure) -> None:
        if failure.outcome in _DATED:  # the reader counts all of these
            self._add(sampled, failures=(failure,))
        else:
            self._add(sampled, disproved=(failure,))

    def _add(
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
