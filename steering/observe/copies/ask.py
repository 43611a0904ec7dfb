"""One question to a resolver or a server about a zone, and what its answer shows, as a value."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.SOA

from steering.model import Seconds, WallTime
from steering.observe.dnssec.classified import Classified
from steering.observe.dnssec.parse import decode
from steering.observe.dnssec.signatures import RRSIG, soonest
from steering.observe.dnssec.trust import name_of, text_of
from steering.observe.nonce import system_random
from steering.observe.query import query, send_query
from steering.system.unreadable import HERE, Where

TIMEOUT: Final[Seconds] = 2.0
TRIES: Final = 2
_RD, _CD = 0x0100, 0x0010
_EXPIRE: Final = 9  # RFC 7314 section 2
_OPTION: Final = 4
"""Octets of an EDNS option without a value: the last that `query` writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one answer shows of the zone."""

    rcode: str
    authoritative: bool = False
    serial: int | None = None
    refresh: Seconds | None = None
    expire: Seconds | None = None
    """SOA expire."""
    left: Seconds | None = None
    """EDNS EXPIRE."""
    expires: WallTime | None = None
    """When the first of the zone's own signatures in it ends."""
    names: tuple[str, ...] = ()
    """Owners of NSEC records: names that are in the zone."""
    wire: bytes = b""
    query_id: int = 0


async def ask(
    address: str,
    name: str,
    rdtype: str,
    zone: str,
    *,
    recursive: bool = True,
    checked: bool = True,
    port: int = 53,
) -> Answer | str:
    """Ask once, and once more where nothing comes. Returns the answer, or why there is none.

    `recursive` sets RD. `checked` asks as a client does; without it CD is set, and a resolver
    answers what it has, good or not.
    """
    try:
        body = query(name, rdtype)[2:-_OPTION]
    except dns.exception.DNSException as error:  # a random label may make a long name too long
        return str(error)
    flags = (_RD if recursive else 0) | (0 if checked else _CD)
    body = flags.to_bytes(2) + body + _EXPIRE.to_bytes(2) + b"\0\0"
    for _ in range(TRIES):
        query_id = system_random().getrandbits(16)
        reply = await send_query(body, query_id, address, time_limit=TIMEOUT, port=port)
        if reply.wire is not None:
            return read(reply.wire, query_id, zone)
        if reply.ours:
            break
    return reply.detail


def read(wire: bytes, query_id: int, zone: str) -> Answer | str:
    """What the bytes of an answer show, or why they show nothing. Bytes never make it raise."""
    with HERE.reading(Where.COPIES, wire):
        message = decode(wire)
        if isinstance(message, Classified):
            return message.detail
        return _shown(message, wire, query_id, name_of(zone))
    return "an answer that can't be read"


def _shown(message: dns.message.Message, wire: bytes, query_id: int, zone: dns.name.Name) -> Answer:
    soas, signatures, names = list[dns.rdtypes.ANY.SOA.SOA](), list[RRSIG](), list[str]()
    for rrset in (*message.answer, *message.authority):
        for rdata in rrset:
            if isinstance(rdata, dns.rdtypes.ANY.SOA.SOA) and rrset.name == zone:
                soas.append(rdata)
            elif isinstance(rdata, RRSIG) and rdata.signer == zone:
                signatures.append(rdata)
            elif isinstance(rdata, dns.rdtypes.ANY.NSEC.NSEC) and rrset.name != zone:
                names.append(text_of(rrset.name))
    soa = soas[0] if soas else None
    return Answer(
        rcode=dns.rcode.to_text(message.rcode()),
        authoritative=bool(message.flags & dns.flags.AA),
        serial=soa.serial if soa else None,
        refresh=float(soa.refresh) if soa else None,
        expire=float(soa.expire) if soa else None,
        left=_left(message),
        expires=soonest(signatures, time.time()),
        names=tuple(names),
        wire=wire,
        query_id=query_id,
    )


def _left(message: dns.message.Message) -> Seconds | None:
    """EDNS EXPIRE: four octets, in seconds."""
    for option in message.options:
        if int(option.otype) == _EXPIRE and len(value := option.to_wire() or b"") == 4:
            return float(int.from_bytes(value))
    return None
