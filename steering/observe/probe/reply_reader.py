"""Reads what came back to a question: from a reply over one path to an observation."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from steering.model import (
    LARGE,
    Kind,
    Observation,
    Outcome,
    Seconds,
    Target,
    WallTime,
)
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.keys.chain import dnskeys
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.parse import parse
from steering.observe.dnssec.response import judge
from steering.observe.dnssec.signatures import Signatures
from steering.observe.probe.open_round import OpenRound
from steering.observe.probe.schedule import LIVE
from steering.observe.query import UNPINNED, ProbePin, Reply
from steering.system.unreadable import HERE, Where, printable


class Upstream(Protocol):
    """What the prober needs of a policy."""

    @property
    def name(self) -> str: ...
    @property
    def zones(self) -> Sequence[str]: ...
    @property
    def skew(self) -> Seconds: ...


@dataclass(slots=True, kw_only=True)
class ReplyReader:
    """Reads the replies of all rounds. Servers' key sets go to the key store."""

    keys: KeyStore
    signatures: Signatures
    upstreams: Mapping[str, Upstream]
    marks: Mapping[str, int | None]
    pins: Mapping[str, ProbePin]
    gateway_dead: Callable[[str, int | None], bool]
    wall: Callable[[], WallTime]
    unknown_keys: deque[tuple[OpenRound, str]] = field(default_factory=deque)
    """Rounds and paths whose answer was signed by a key that is in no known set."""

    def observation(self, round_: OpenRound, path: str, query_id: int, reply: Reply) -> Observation:
        """What a reply shows. Bytes never make it raise."""
        seen = None
        with HERE.reading(Where.PROBE, reply.wire or b""):
            seen = self._observation(round_, path, query_id, reply)
        return seen or dropped(round_.target, path)

    def _observation(
        self, round_: OpenRound, path: str, query_id: int, reply: Reply
    ) -> Observation:
        target = round_.target
        if reply.wire is None:
            ours = reply.ours or (
                not reply.reached and self.gateway_dead(target.address, self.marks[path])
            )
            detail = reply.detail
            if ours and not reply.ours:
                detail = f"{detail}; the gateway is dead"
            return Observation(
                address=target.address,
                path=path,
                live=path == LIVE,
                source=self._sent_from(round_, path),
                tcp=reply.over_tcp,
                outcome=Outcome.LOCAL_ERROR if ours else Outcome.TIMEOUT,
                # A server that refuses TCP may still answer well by UDP.
                judged=not round_.by_tcp,
                reached=reply.reached,
                stalled=reply.stalled,
                detail=detail,
            )
        reading = self._read(round_, path, reply.wire, query_id)
        return Observation(
            address=target.address,
            path=path,
            live=path == LIVE,
            source=self._sent_from(round_, path),
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

    def _read(self, round_: OpenRound, path: str, wire: bytes, query_id: int) -> Classified:
        question, server = round_.question, (round_.target.address, path)
        trust = self.keys.trust_for((question.zone,), server)
        if wire[:2] == query_id.to_bytes(2, "big") and (cached := round_.cache.find(wire, trust)):
            return cached
        message = parse(wire, question, query_id)
        if isinstance(message, Classified):
            return message
        if question.kind is Kind.DNSKEY and (shown := dnskeys(message, question.zone)):
            self.keys.offer(question.zone, *shown, server)
            trust = self.keys.trust_for((question.zone,), server)
        reading = judge(
            message,
            question,
            trust,
            wall=self.wall(),
            skew=self.upstreams[round_.target.upstream].skew,
            signatures=self.signatures,
        )
        if reading.outcome is Outcome.NO_KEY:
            self.keys.miss(question.zone, server)
            self.unknown_keys.append((round_, path))
        round_.cache.keep(wire, trust, reading)
        return reading

    def _sent_from(self, round_: OpenRound, path: str) -> str:
        """The source of a question, as observations name it."""
        own = self.pins.get(path, UNPINNED).source(round_.target.family)
        return own or ("" if round_.source is None else str(round_.source))


def _took(rtt: Seconds | None) -> Seconds | None:
    """A round-trip time rounded up to ten microseconds: finer digits are noise."""
    return None if rtt is None else math.ceil(rtt * 1e5) / 1e5


def dropped(target: Target, path: str) -> Observation:
    """The observation for an answer that this program failed to read: it is not judged.

    It does not count against the upstream, since the fault is in this program and a path would be
    left for it; nor for the upstream. It is no `local_error` either: many of those count as a fault
    of this host, so an upstream could stop all moves by its answers. It only shows that the address
    is reachable. So an attacker who answers gains no more than by a good answer.
    """
    return Observation(
        address=target.address,
        path=path,
        live=path == LIVE,
        outcome=Outcome.MALFORMED,
        judged=False,
        reached=True,
        detail="this program failed to read it; see the event `unreadable`",
    )
