"""Asks a resolver for what stands at the end of a zone, as its clients would.

A loader that stopped in the middle may still say the new serial. The names at the end show whether
the whole zone is there, and a name that does not exist shows it even where others are cached: its
denial comes from the last NSEC.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.SOA

from steering.model import Kind, Question, Seconds
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.parse import parse
from steering.observe.dnssec.trust import name_of
from steering.observe.nonce import random_label
from steering.observe.query import query, send_query
from steering.observe.zone.facts import ZoneFacts

SOA = dns.rdtypes.ANY.SOA.SOA
_RD: Final = struct.pack("!H", 0x0100)
_NAMES: Final = 8
_DENIALS: Final = 2
_TRIES: Final = 3
PAUSE: Seconds = 3.0
"""Before what failed is asked again: two of them are longer than Unbound keeps a SERVFAIL, 5 s."""
_LAST: Final = "zzzz"
"""Begins a name that sorts behind all others of the root."""


async def serial(address: str, zone: str, rng: random.Random, *, port: int = 53) -> int | None:
    """The serial of the SOA that a resolver answers; None: no such answer came."""
    answer = await _answer(zone, "SOA", address, rng, port=port, limit=1.0)
    for rrset in answer.answer if isinstance(answer, dns.message.Message) else ():
        for rdata in rrset:
            if isinstance(rdata, SOA) and rrset.name == name_of(zone):
                return rdata.serial
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a resolver did not answer as from a whole copy, each time that it was asked."""

    problems: tuple[str, ...]
    """For people; empty: it answers from a whole copy of this version."""
    silent: bool
    """No answer came to any question, so that nothing is known."""


async def missing(
    address: str, facts: ZoneFacts, rng: random.Random, *, port: int = 53, limit: Seconds = 3.0
) -> Missing:
    """Asks a resolver for what a whole copy of this version has.

    `limit` is for each question; all are asked at once. What is not answered well is asked again,
    twice: a packet may be lost, and a resolver that loads a zone may be slow.
    """
    ends = facts.ends_with
    existing = [(q.name, q.rdtype) for q in rng.sample(ends, min(_NAMES, len(ends)))]
    absent = [f"{_LAST}{random_label(rng)}.{facts.zone.lstrip('.')}" for _ in range(_DENIALS)]
    left = [(facts.zone, "SOA", True), *((*one, True) for one in existing)]
    left += [(name, "A", False) for name in absent]
    silent, problems = True, list[str]()
    for number in range(_TRIES):
        await asyncio.sleep(PAUSE if number else 0.0)
        found = await asyncio.gather(
            *(_problem(one, address, rng, port=port, limit=limit) for one in left)
        )
        silent = silent and all(one is not None and one.silent for one in found)
        left = [one for one, problem in zip(left, found, strict=True) if problem is not None]
        problems = [one.text for one in found if one is not None]
        if not left:
            break
    return Missing(problems=tuple(problems), silent=silent)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    text: str
    silent: bool = False
    """No answer came."""


async def _problem(
    asked: tuple[str, str, bool],
    address: str,
    rng: random.Random,
    *,
    port: int,
    limit: Seconds,
) -> _Problem | None:
    """What is wrong with the answer to one question; None: nothing is."""
    name, rdtype, exists = asked
    message = await _answer(name, rdtype, address, rng, port=port, limit=limit)
    what = f"{name} {rdtype}"
    if isinstance(message, _Problem):
        return _Problem(text=f"{what}: {message.text}", silent=message.silent)
    wanted = dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN
    if (rcode := message.rcode()) != wanted:
        said = f"{dns.rcode.to_text(rcode)}, wanted {dns.rcode.to_text(wanted)}"
        return _Problem(text=f"{what}: {said}")
    types: Sequence[int] = [rrset.rdtype for rrset in message.answer]
    if exists and dns.rdatatype.from_text(rdtype) not in types:
        return _Problem(text=f"{what}: no such records in the answer")
    return None


async def _answer(
    name: str, rdtype: str, address: str, rng: random.Random, *, port: int, limit: Seconds
) -> dns.message.Message | _Problem:
    """The answer to a question, or why there is none."""
    query_id = rng.getrandbits(16)
    # With RD and without CD, so that the resolver validates.
    body = _RD + query(name, rdtype, recursive=True)[len(_RD) :]
    reply = await send_query(body, query_id, address, time_limit=limit, port=port)
    if reply.wire is None:
        return _Problem(text=reply.detail, silent=True)
    message = parse(
        reply.wire, Question(zone=name, name=name, rdtype=rdtype, kind=Kind.DNSKEY), query_id
    )
    return _Problem(text=message.detail) if isinstance(message, Classified) else message
