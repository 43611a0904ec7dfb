"""Reads what came back to a question: from a reply over one path to an observation."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Protocol

from steering.model import LARGE, Classified, Kind, Observation, Outcome, Seconds, WallTime
from steering.observe.dnssec.keys.chain import dnskeys
from steering.observe.dnssec.keys.key_store import KeyStore
from steering.observe.dnssec.parse import parse
from steering.observe.dnssec.response import judge
from steering.observe.dnssec.signatures import Signatures
from steering.observe.probe.open_round import OpenRound
from steering.observe.probe.schedule import LIVE
from steering.observe.query import UNPINNED, ProbePin, Reply
from steering.system.unreadable import HERE, Where, printable

NOT_READ = Classified(
    outcome=Outcome.MALFORMED,
    judged=False,
    detail="this program failed to read it; see the event `unreadable`",
)
"""An answer that this program failed to read: it is not judged.

It does not count against the upstream, since the fault is in this program and a path would be left
for it; nor for the upstream. It is no `local_error` either: many of those count as a fault of this
host, so an upstream could stop all moves by its answers. It only shows that the address is
reachable. So an attacker who answers gains no more than by a good answer.
"""
_CLASSIFIED = [field.name for field in fields(Classified)]


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
        classified, size = NOT_READ, len(reply.wire or b"")
        with HERE.reading(Where.PROBE, reply.wire or b""):
            classified = self._classified(round_, path, query_id, reply)
        pin = self.pins.get(path, UNPINNED).source(round_.target.family)
        return Observation(
            **{name: getattr(classified, name) for name in _CLASSIFIED},
            address=round_.target.address,
            path=path,
            live=path == LIVE,
            source=pin or ("" if round_.source is None else str(round_.source)),
            tcp=reply.over_tcp,
            reached=reply.wire is not None or reply.reached,
            stalled=reply.stalled,
            large=size if size >= LARGE else 0,
            rtt=None if reply.wire is None else _took(reply.rtt),
        )

    def _classified(self, round_: OpenRound, path: str, query_id: int, reply: Reply) -> Classified:
        if reply.wire is not None:
            reading = self._read(round_, path, reply.wire, query_id)
            return replace(reading, detail=printable(reading.detail)) if reading.detail else reading
        address = round_.target.address
        dead = not (reply.ours or reply.reached) and self.gateway_dead(address, self.marks[path])
        return Classified(
            outcome=Outcome.LOCAL_ERROR if reply.ours or dead else Outcome.TIMEOUT,
            # A server that refuses TCP may still answer well by UDP.
            judged=not round_.by_tcp,
            detail=f"{reply.detail}; the gateway is dead" if dead else reply.detail,
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


def _took(rtt: Seconds | None) -> Seconds | None:
    """A round-trip time rounded up to ten microseconds: finer digits are noise."""
    return None if rtt is None else math.ceil(rtt * 1e5) / 1e5
