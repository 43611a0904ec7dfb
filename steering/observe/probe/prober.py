"""The prober: asks every address over every path, and delivers the answers by rounds.

One task drives everything: it starts the questions that are due and has the answers that came in
read (reply_reader.py). The event loop's callbacks only note an answer and its time. So a burst of
answers does not delay the questions, and an error in the classifier ends the prober; it is not just
a line in a log. A round is delivered when its last answer came or timed out: within the timeout, or
twice that if an answer was truncated.
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
from dataclasses import dataclass
from typing import Final

from steering.model import (
    LOCAL,
    Attention,
    Family,
    Instant,
    Observation,
    Outcome,
    Question,
    Round,
    Source,
    Target,
    WallTime,
)
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.signatures import Signatures
from steering.observe.nonce import system_random
from steering.observe.probe.echo import Echo
from steering.observe.probe.open_round import OpenRound
from steering.observe.probe.questions import QuestionSet, delegations
from steering.observe.probe.reply_reader import ReplyReader, Upstream
from steering.observe.probe.rotation import Rotation
from steering.observe.probe.schedule import LIVE, DueProbe, Pace, Schedule
from steering.observe.query import UNPINNED, ProbePin, Query, Reply, query
from steering.observe.strays import Strays
from steering.system.wakeup import Wakeup

_SILENT: Final = 2
"""Unanswered questions in a row, after which the next one goes by TCP: a handshake or a reset shows
that the address is reachable and that the nameserver ignores the questions."""

_LARGE: Final = 0.5
"""Of the questions by TCP, the share that asks for the largest answer."""

_NO_ROUTE: Final = Reply(error=OSError(errno.ENETUNREACH, "no route over this path now"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One path to the addresses: its name, and by what packets are routed over it."""

    name: str
    mark: int | None = None
    """For this host's own rules."""
    pin: ProbePin = UNPINNED
    """For the routers behind it."""
    any_return: bool = False
    """Answers may come in by any link."""


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
        """`gateway_dead`: whether the gateway to an address, asked with a mark, is dead, so that
        silence is no evidence. `leads`: whether a path's mark routes to an address over that path
        now, from a socket bound to an interface or to none; if not, nothing is sent, as the
        question would take another path. `link`: the index of the interface that answers over a
        path must come in by, None if not known. `sources`: what the resolvers send from; rounds
        use them in turn, and if there are none the kernel chooses. `strays` counts the ignored
        packets. `at_once`: how many questions may be under way; others wait. `known`: the
        `delegations` of all zones, if already computed.

        Raises ValueError for a target of no upstream, or a path that is called like the live one.
        """
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        if lost := sorted({t.upstream for t in targets} - self._upstreams.keys()):
            raise ValueError(f"targets of unknown upstreams: {', '.join(lost)}")
        self._marks: dict[str, int | None] = {path.name: path.mark for path in paths}
        if LIVE in self._marks:
            raise ValueError(f"no path may be called {LIVE!r}")
        self._marks[LIVE] = None
        self._pins: dict[str, ProbePin] = {path.name: path.pin for path in paths}
        self._pace, self._port = pace, port
        self._keys = keys
        self._reader = ReplyReader(
            keys=keys,
            signatures=signatures,
            upstreams=self._upstreams,
            marks=self._marks,
            pins=self._pins,
            gateway_dead=gateway_dead,
            wall=wall,
        )
        self._deliver, self._leads = deliver, leads
        self._rotation = Rotation(sources, [target.address for target in targets])
        self._link, self._any_return = link, {path.name for path in paths if path.any_return}
        self._strays = strays or Strays()
        self._strays.keep(self._marks)
        self._echoes: defaultdict[tuple[str, str], Echo] = defaultdict(Echo)
        self._monotonic = monotonic
        self._rng = rng or system_random()
        self._targets = {target.address: target for target in targets}
        self._schedule = Schedule(
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
        self._keys_asked: dict[str, Instant] = {}
        self._rounds: dict[int, OpenRound] = {}
        self._replies: deque[tuple[OpenRound, str, int, Reply]] = deque()
        self._wakeup = Wakeup()
        self._at_once, self._questions_open = at_once, 0
        self._waiting: deque[DueProbe] = deque()
        """Probes that are due and wait until fewer questions are under way."""

    def attend(self, attention: Mapping[str, Attention]) -> None:
        """Replace what is probed at the fast interval, by address."""
        self._schedule.attend(attention, self._monotonic())
        self._wakeup.ring()

    async def run(self) -> None:
        """Probe until cancelled; then all sockets are closed."""
        try:
            while True:
                # Answers are classified before more is asked. So a host that is short of CPU asks
                # less often. Otherwise the backlog would grow, and a detour would wait for it.
                if not self._replies:
                    self._ask_due()
                if self._replies:
                    self._take_reply(*self._replies.popleft())
                    await asyncio.sleep(0)  # lets callbacks time the answers that wait in sockets
                else:
                    await self._wakeup.wait(
                        self._pace.timeout
                        if self._waiting
                        else self._schedule.wake_at - self._monotonic()
                    )
        finally:
            for round_ in self._rounds.values():
                for query_ in round_.queries.values():
                    query_.cancel()

    def _ask_due(self) -> None:
        """Ask what is due, as far as there is room; the rest waits."""
        while self._reader.unknown_keys and self._has_room(1):
            self._ask_for_keys(*self._reader.unknown_keys.popleft())
        if not self._waiting:
            self._waiting.extend(self._schedule.due(self._monotonic()))
        while self._waiting and self._has_room(len(self._waiting[0].paths)):
            self._ask(self._waiting.popleft())

    def _has_room(self, questions: int) -> bool:
        return not self._questions_open or self._questions_open + questions <= self._at_once

    def _ask(self, due: DueProbe) -> None:
        target = self._targets[due.address]
        source = self._rotation.source(target)
        by_tcp = self._rotation.by_tcp(target, source, fast=due.fast)
        question = self._question(due, target, by_tcp=by_tcp)
        at = _asked(self._monotonic())
        self._start_round(OpenRound(target, question, at, due.paths, source, by_tcp))

    def _ask_for_keys(self, round_: OpenRound, path: str) -> None:
        """Ask a server at once for its DNSKEY set, as it signed by an unknown key (server_keys.py).

        Before it has shown its set, the signature does not count against it.
        """
        target, zone = round_.target, round_.question.zone
        if self._keys.needs_keys_from(zone, target.address):
            question, now = self._questions[target.address].keys(zone), self._monotonic()
            self._schedule.repeated(target.address, path, now)
            self._start_round(OpenRound(target, question, _asked(now), (path,), round_.source))

    def _start_round(self, round_: OpenRound) -> None:
        question = round_.question
        self._rounds[id(round_)] = round_
        # The letter case is the same over all paths, so that equal answers have equal octets
        # (`answer_cache`). Each path's question still has an id and a port of its own.
        body = query(question.name, question.rdtype, rng=self._rng)
        for path in round_.paths:
            self._send(round_, path, body)

    def _question(self, due: DueProbe, target: Target, *, by_tcp: bool) -> Question:
        questions, now = self._questions[target.address], self._monotonic()
        for zone in self._upstreams[target.upstream].zones:
            # Without keys nothing can be judged: they come first, at most once in a timeout.
            if (
                self._keys.lacks_keys(zone)
                and now - self._keys_asked.get(zone, -1e9) >= self._pace.timeout
            ):
                self._keys_asked[zone] = now
                return questions.keys(zone)
            if self._keys.needs_keys_from(zone, target.address):
                return questions.keys(zone)
        # Questions and transports both take turns, and the two cycles might never meet at a large
        # answer by TCP. So chance decides.
        if by_tcp and self._rng.random() < _LARGE:
            return questions.large()
        return questions.fast(due.witnesses) if due.fast else questions.fresh()

    def _send(self, round_: OpenRound, path: str, body: bytes) -> None:
        address, family = round_.target.address, round_.target.family
        query_id = self._rng.getrandbits(16)
        pin = self._pin(path, round_.source)
        if path != LIVE and not self._leads(path, address, pin.interface):
            self._replies.append((round_, path, query_id, _NO_ROUTE))
            return
        silence = self._silence.get((address, path), 0)
        by_tcp = round_.by_tcp or silence >= _SILENT
        if silence >= _SILENT:
            self._silence[address, path] = 0

        def finished(reply: Reply) -> None:
            if not reply.over_tcp:
                self._strays.end(path, family, reply.astray)
            self._questions_open -= 1
            self._replies.append((round_, path, query_id, reply))
            self._wakeup.ring()

        def repeated() -> None:
            self._schedule.repeated(address, path, self._monotonic())

        self._questions_open += 1
        round_.queries[path] = Query(
            body,
            query_id,
            address,
            done=finished,
            on_retry=repeated,
            timeout=self._pace.timeout,
            port=self._port,
            mark=self._marks[path],
            pin=pin,
            tcp=by_tcp,
            echo=self._echoes[address, path],
            link=None if path in self._any_return else self._link(path, family),
            on_stray=functools.partial(self._strays.pass_over, path),
            monotonic=self._monotonic,
        )

    def _pin(self, path: str, source: Source | None) -> ProbePin:
        pin = self._pins.get(path, UNPINNED)
        return pin if source is None else pin.sent_from(source)

    def _take_reply(self, round_: OpenRound, path: str, query_id: int, reply: Reply) -> None:
        silence = (round_.target.address, path)
        if reply.reached:
            self._silence[silence] = 0
        elif not reply.ours and not round_.by_tcp:
            self._silence[silence] = self._silence.get(silence, 0) + 1
        round_.observations[path] = self._reader.observation(round_, path, query_id, reply)
        if len(round_.observations) < len(round_.paths):
            return
        del self._rounds[id(round_)]
        self._rotation.finished(
            round_.target,
            round_.source,
            any_reply=any(seen.reached for seen in round_.observations.values()),
            answered=LOCAL in round_.observations and _answered(round_.observations[LOCAL]),
        )
        self._deliver(
            Round(
                address=round_.target.address,
                question=round_.question,
                at=round_.at,
                observations=tuple(round_.observations[path] for path in round_.paths),
            )
        )


def _asked(at: Instant) -> Instant:
    """An instant rounded down to a tenth of a millisecond.

    The journal holds it for each question. Finer digits are noise and would cost octets.
    """
    return math.floor(at * 1e4) / 1e4


def _answered(seen: Observation) -> bool:
    return seen.outcome not in (Outcome.TIMEOUT, Outcome.LOCAL_ERROR)
