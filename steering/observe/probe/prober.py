"""The prober: asks every address over every path, and delivers the answers by rounds.

One task drives everything: it starts the questions that are due and classifies the answers
that have come in. The event loop's callbacks only time an answer and put it down, so a burst
of answers can't starve the questions, and an error in the classifier ends the prober rather
than a line in a log. A round is delivered when its last answer is in or given up: within the
timeout, twice that where an answer came truncated.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import math
import random
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from steering.model import (
    LARGE,
    LOCAL,
    Attention,
    Family,
    Instant,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
    Seconds,
    Source,
    Target,
    WallTime,
)
from steering.observe.dnssec.chain import dnskeys
from steering.observe.dnssec.key_store import KeyStore
from steering.observe.dnssec.response import Classified, judge, parse
from steering.observe.dnssec.signatures import Signatures
from steering.observe.nonce import unforeseen
from steering.observe.probe.answer_cache import AnswerCache
from steering.observe.probe.echo import Echo
from steering.observe.probe.questions import QuestionSet, delegations
from steering.observe.probe.rotation import Rotation
from steering.observe.probe.schedule import LIVE, DueProbe, Pace, Schedule
from steering.observe.query import UNPINNED, ProbePin, Query, Reply, query
from steering.observe.strays import Strays
from steering.system.unreadable import HERE, Where, printable
from steering.system.wakeup import Wakeup

_SILENT: Final = 2
"""Questions in a row without a sign of life, after which the next one goes by TCP: a handshake
or a reset tells a nameserver that ignores us from an address that nothing answers for."""

_LARGE: Final = 0.5
"""The share of the questions by TCP that are those with the largest answer."""

_NO_WAY: Final = Reply(error=OSError(errno.ENETUNREACH, "nothing leads over this path now"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One way to reach the addresses: its name, and what routes packets there."""

    name: str
    mark: int | None = None
    """For this host's own rules."""
    pin: ProbePin = UNPINNED
    """For the routers behind it."""
    any_return: bool = False
    """Answers may come in by whichever link."""


class Upstream(Protocol):
    """What the prober needs to know of a policy."""

    @property
    def name(self) -> str: ...
    @property
    def zones(self) -> Sequence[str]: ...
    @property
    def skew(self) -> Seconds: ...


@dataclass(slots=True)
class _Flight:
    """A round under way."""

    target: Target
    question: Question
    at: Instant
    paths: tuple[str, ...]
    source: Source | None = None
    by_tcp: bool = False
    landed: dict[str, Observation] = field(default_factory=dict)
    inquiries: dict[str, Query] = field(default_factory=dict)
    twins: AnswerCache = field(default_factory=AnswerCache)


class Prober:
    """Probes all targets until cancelled. Its only outputs are the rounds it delivers."""

    def __init__(
        self,
        targets: Sequence[Target],
        upstreams: Sequence[Upstream],
        paths: Sequence[Path],
        pace: Pace,
        *,
        keys: KeyStore,
        signatures: Signatures,
        deliver: Callable[[Round], None],
        gateway_dead: Callable[[str, int | None], bool] = lambda _address, _mark: False,
        leads: Callable[[str, str, str | None], bool] = lambda _path, _address, _interface: True,
        link: Callable[[str, Family], int | None] = lambda _path, _family: None,
        sources: Callable[[Family], Sequence[Source | None]] = lambda _family: (),
        strays: Strays | None = None,
        wall: Callable[[], WallTime] = time.time,
        monotonic: Callable[[], Instant] = time.monotonic,
        rng: random.Random | None = None,
        port: int = 53,
        at_once: int = sys.maxsize,
        known: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`gateway_dead` tells whether a silence of this address, asked with this mark, is of our
        own making. `leads` tells whether a path's mark leads to an address over that path now, from
        a socket that is bound to an interface, or to none; where it does not, nothing is sent: the
        question would go over another one. `link` is the index of the interface that answers over a
        path have to come in by, None where that can't be told. `sources` are what the resolvers
        send from: rounds take them in turns; where there are none the kernel chooses. `strays`
        counts what is passed over. So many questions are under way `at_once`; others wait until one
        of them is over. `known` are the `delegations` of all zones, where they are worked out
        already.

        Raises ValueError for a target of no upstream, or a path named like the live one.
        """
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        if lost := sorted({t.upstream for t in targets} - self._upstreams.keys()):
            raise ValueError(f"targets of upstreams that are not there: {', '.join(lost)}")
        self._marks: dict[str, int | None] = {path.name: path.mark for path in paths}
        if LIVE in self._marks:
            raise ValueError(f"no path may be called {LIVE!r}")
        self._marks[LIVE] = None
        self._pins: dict[str, ProbePin] = {path.name: path.pin for path in paths}
        self._pace, self._port = pace, port
        self._keys, self._signatures = keys, signatures
        self._deliver, self._gateway_dead, self._leads = deliver, gateway_dead, leads
        self._rotation = Rotation(sources, [target.address for target in targets])
        self._link, self._any_return = link, {path.name for path in paths if path.any_return}
        self._strays = strays or Strays()
        self._strays.keep(self._marks)
        self._echoes: defaultdict[tuple[str, str], Echo] = defaultdict(Echo)
        self._wall, self._monotonic = wall, monotonic
        self._rng = rng or unforeseen()
        self._targets = {target.address: target for target in targets}
        self._cadence = Schedule(
            list(self._targets),
            [path.name for path in paths],
            pace,
            rng=self._rng,
            now=monotonic(),
        )
        if known is None:
            known = delegations(
                [zone for upstream in upstreams for zone in upstream.zones],
                [target.nameserver for target in targets],
            )
        self._questions = {
            address: QuestionSet(self._upstreams[target.upstream].zones, known, self._rng)
            for address, target in self._targets.items()
        }
        self._silence: dict[tuple[str, str], int] = {}
        self._fed: dict[str, Instant] = {}
        self._open: dict[int, _Flight] = {}
        self._arrived: deque[tuple[_Flight, str, int, Reply]] = deque()
        self._bell = Wakeup()
        self._at_once, self._under_way = at_once, 0
        self._unknown: deque[tuple[_Flight, str]] = deque()
        """Flights whose answer over a path was signed by a key that is in no set."""
        self._waiting: deque[DueProbe] = deque()
        """Turns that are due and have not been asked for want of room."""

    def attend(self, attention: Mapping[str, Attention]) -> None:
        """Replaces what is asked at the fast interval, by address."""
        self._cadence.attend(attention, self._monotonic())
        self._bell.ring()

    async def run(self) -> None:
        """Probes until cancelled; then no socket of it stays open."""
        try:
            while True:
                # What came is judged before more is asked. A host short of CPU so asks less often;
                # else it would judge ever older answers, and a detour would wait for all of them.
                if not self._arrived:
                    self._ask_due()
                if self._arrived:
                    self._land(*self._arrived.popleft())
                    await asyncio.sleep(0)  # answers that wait in sockets are timed in between
                else:
                    await self._bell.wait(
                        self._pace.timeout
                        if self._waiting
                        else self._cadence.wake_at - self._monotonic()
                    )
        finally:
            for flight in self._open.values():
                for inquiry in flight.inquiries.values():
                    inquiry.cancel()

    def _ask_due(self) -> None:
        """Ask what is due, as far as there is room; the rest stays due."""
        while self._unknown and self._has_room(1):
            self._ask_for_keys(*self._unknown.popleft())
        if not self._waiting:
            self._waiting.extend(self._cadence.due(self._monotonic()))
        while self._waiting and self._has_room(len(self._waiting[0].paths)):
            self._ask(self._waiting.popleft())

    def _has_room(self, questions: int) -> bool:
        return not self._under_way or self._under_way + questions <= self._at_once

    def _ask(self, turn: DueProbe) -> None:
        target = self._targets[turn.address]
        source = self._rotation.source(target)
        by_tcp = self._rotation.by_tcp(target, source, fast=turn.fast)
        question = self._question(turn, target, by_tcp=by_tcp)
        at = _asked(self._monotonic())
        self._launch(_Flight(target, question, at, turn.paths, source, by_tcp))

    def _ask_for_keys(self, flight: _Flight, path: str) -> None:
        """Ask a server for its own keys, as it signed by one that is in no set (shown.py).

        Nothing can be held against it before; so that does not wait for its turn.
        """
        target, zone = flight.target, flight.question.zone
        if self._keys.wants(zone, target.address):
            question, now = self._questions[target.address].keys(zone), self._monotonic()
            self._cadence.repeated(target.address, path, now)
            self._launch(_Flight(target, question, _asked(now), (path,), flight.source))

    def _launch(self, flight: _Flight) -> None:
        question = flight.question
        self._open[id(flight)] = flight
        # One case over all paths: equal answers stay equal octets (`answer_cache`), and each path's
        # question still has an id and a port of its own.
        body = query(question.name, question.rdtype, rng=self._rng)
        for path in flight.paths:
            self._send(flight, path, body)

    def _question(self, turn: DueProbe, target: Target, *, by_tcp: bool) -> Question:
        questions, now = self._questions[target.address], self._monotonic()
        for zone in self._upstreams[target.upstream].zones:
            # Without keys nothing can be judged: they come first, but not with every question.
            if (
                self._keys.lacks_keys(zone)
                and now - self._fed.get(zone, -1e9) >= self._pace.timeout
            ):
                self._fed[zone] = now
                return questions.keys(zone)
            if self._keys.wants(zone, target.address):
                return questions.keys(zone)
        # Questions and transports come in turns, and what is large might never have its turn when
        # TCP has: by chance it does.
        if by_tcp and self._rng.random() < _LARGE:
            return questions.large()
        return questions.fast(turn.witnesses) if turn.fast else questions.fresh()

    def _send(self, flight: _Flight, path: str, body: bytes) -> None:
        address, family = flight.target.address, flight.target.family
        query_id = self._rng.getrandbits(16)
        pin = self._pin(path, flight.source)
        if path != LIVE and not self._leads(path, address, pin.interface):
            self._arrived.append((flight, path, query_id, _NO_WAY))
            return
        silence = self._silence.get((address, path), 0)
        by_tcp = flight.by_tcp or silence >= _SILENT
        if silence >= _SILENT:
            self._silence[address, path] = 0

        def landed(reply: Reply) -> None:
            if not reply.over_tcp:
                self._strays.end(path, family, reply.astray)
            self._under_way -= 1
            self._arrived.append((flight, path, query_id, reply))
            self._bell.ring()

        def repeated() -> None:
            self._cadence.repeated(address, path, self._monotonic())

        self._under_way += 1
        flight.inquiries[path] = Query(
            body,
            query_id,
            address,
            done=landed,
            retried=repeated,
            timeout=self._pace.timeout,
            port=self._port,
            mark=self._marks[path],
            pin=pin,
            tcp=by_tcp,
            echo=self._echoes[address, path],
            link=None if path in self._any_return else self._link(path, family),
            strayed=functools.partial(self._strays.pass_over, path),
            monotonic=self._monotonic,
        )

    def _pin(self, path: str, source: Source | None) -> ProbePin:
        pin = self._pins.get(path, UNPINNED)
        return pin if source is None else pin.sent_from(source)

    def _sent_from(self, flight: _Flight, path: str) -> str:
        """The source of a question as the ledger names it."""
        own = self._pins.get(path, UNPINNED).source(flight.target.family)
        return own or ("" if flight.source is None else str(flight.source))

    def _land(self, flight: _Flight, path: str, query_id: int, reply: Reply) -> None:
        silence = (flight.target.address, path)
        if reply.reached:
            self._silence[silence] = 0
        elif not reply.ours and not flight.by_tcp:
            self._silence[silence] = self._silence.get(silence, 0) + 1
        seen = None
        with HERE.reading(Where.PROBE, reply.wire or b""):
            seen = self._observation(flight, path, query_id, reply)
        flight.landed[path] = seen or _dropped(flight.target, path)
        if len(flight.landed) < len(flight.paths):
            return
        del self._open[id(flight)]
        self._rotation.landed(
            flight.target,
            flight.source,
            came=any(seen.reached for seen in flight.landed.values()),
            answered=LOCAL in flight.landed and _is_answer(flight.landed[LOCAL]),
        )
        self._deliver(
            Round(
                address=flight.target.address,
                question=flight.question,
                at=flight.at,
                observations=tuple(flight.landed[path] for path in flight.paths),
            )
        )

    def _observation(self, flight: _Flight, path: str, query_id: int, reply: Reply) -> Observation:
        target = flight.target
        if reply.wire is None:
            ours = reply.ours or (
                not reply.reached and self._gateway_dead(target.address, self._marks[path])
            )
            detail = reply.detail
            if ours and not reply.ours:
                detail = f"{detail}; the gateway is dead"
            return Observation(
                address=target.address,
                path=path,
                live=path == LIVE,
                source=self._sent_from(flight, path),
                tcp=reply.over_tcp,
                outcome=Outcome.LOCAL_ERROR if ours else Outcome.TIMEOUT,
                # That a server would not have a stream says nothing of what it answers.
                judged=not flight.by_tcp,
                reached=reply.reached,
                stalled=reply.stalled,
                detail=detail,
            )
        reading = self._read(flight, path, reply.wire, query_id)
        return Observation(
            address=target.address,
            path=path,
            live=path == LIVE,
            source=self._sent_from(flight, path),
            tcp=reply.over_tcp,
            outcome=reading.outcome,
            judged=reading.judged,
            reached=True,
            large=len(reply.wire) if len(reply.wire) >= LARGE else 0,
            rtt=_took(reply.rtt),
            nsid=reading.nsid,
            serial=reading.serial,
            expires=reading.expires,
            evidence=reading.evidence,
            detail=printable(reading.detail),
        )

    def _read(self, flight: _Flight, path: str, wire: bytes, query_id: int) -> Classified:
        question, server = flight.question, (flight.target.address, path)
        trust = self._keys.trust_for((question.zone,), server)
        if wire[:2] == query_id.to_bytes(2, "big") and (twin := flight.twins.find(wire, trust)):
            return twin
        message = parse(wire, question, query_id)
        if isinstance(message, Classified):
            return message
        if question.kind is Kind.DNSKEY and (shown := dnskeys(message, question.zone)):
            self._keys.offer(question.zone, *shown, server)
            trust = self._keys.trust_for((question.zone,), server)
        reading = judge(
            message,
            question,
            trust,
            wall=self._wall(),
            skew=self._upstreams[flight.target.upstream].skew,
            signatures=self._signatures,
        )
        if reading.outcome is Outcome.NO_KEY:
            self._keys.miss(question.zone, server)
            self._unknown.append((flight, path))
        flight.twins.keep(wire, trust, reading)
        return reading


def _asked(at: Instant) -> Instant:
    """An instant to a tenth of a millisecond, never later than it was.

    The journal has each question's, and what is beyond that is noise, of which no octet is spared.
    """
    return math.floor(at * 1e4) / 1e4


def _is_answer(seen: Observation) -> bool:
    return seen.outcome not in (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)


def _took(rtt: Seconds | None) -> Seconds | None:
    """A round-trip time to ten microseconds, never shorter than it was; for the same reason."""
    return None if rtt is None else math.ceil(rtt * 1e5) / 1e5


def _dropped(target: Target, path: str) -> Observation:
    """What stands for an answer that this program failed to read: it says nothing of anybody.

    Not against the upstream: the fault is ours, and a path would be left for it. Nor for it. And
    it is no `local_error`: many of those are taken for a fault of this host, so an upstream could
    bring every move to a halt by what it answers. It is a sign of life, and no more. Whoever can
    answer a question of ours gains nothing that a good answer would not give as well.
    """
    return Observation(
        address=target.address,
        path=path,
        live=path == LIVE,
        outcome=Outcome.MALFORMED,
        judged=False,
        reached=True,
        detail="an error of ours in reading it; see the event `unreadable`",
    )
