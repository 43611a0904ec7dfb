"""What validators read all the same, and the parser refuses. Pure.

Names in the RDATA of DNAME, RRSIG and NSEC may not be compressed by who sends them, and are
expanded by who receives them (RFC 3597 4). And a digest of a length that its type does not have, or
of type 0, makes a DS record useless but the RRset around it no worse: it is signed as it stands
(RFC 4509 3 leaves out what is not supported). So the message is written anew without pointers, and
such records are put into it by hand.
"""

from __future__ import annotations

import struct
from typing import Final

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.DS

DS = dns.rdtypes.ANY.DS.DS

_COUNTS: Final = struct.Struct("!4H")
_FIXED: Final = struct.Struct("!HHIH")  # type, class, TTL, RDLENGTH (RFC 1035 3.2.1)
_DS: Final = struct.Struct("!HBB")
_START: Final = 12
_NAMES: Final = {2: 0, 5: 0, 12: 0, 15: 2, 33: 6, 39: 0, 46: 18, 47: 0}
"""NS, CNAME, PTR, MX, SRV, DNAME, RRSIG, NSEC: where the name stands in RDATA."""
_SOA: Final = 6
_UNKNOWN: Final = 255
"""A digest type without a length of its own."""


def tolerated(wire: bytes) -> dns.message.Message:
    """The message in skimmed bytes. Raises dns.exception.DNSException or ValueError: it is none.

    Names grow to at most 255 octets each, of as many records as the caller allows.
    """
    questions, *counts = _COUNTS.unpack_from(wire, 4)
    out, at = bytearray(), _START
    for _ in range(questions):
        name, at = _name(wire, at)
        out += name + wire[at : at + 4]
        at += 4
    odd: list[tuple[int, dns.name.Name, int, DS]] = []
    for section in range(2):
        for _ in range(counts[section]):
            owner, fixed = _name(wire, at)
            rdtype, rdclass, ttl, length = _FIXED.unpack_from(wire, fixed)
            start, at = fixed + _FIXED.size, fixed + _FIXED.size + length
            if at > len(wire):
                raise ValueError("it ends before its last record")
            if rdtype == dns.rdatatype.DS and (ds := _odd(wire[start:at])) is not None:
                odd.append((section, dns.name.from_wire(owner, 0)[0], ttl, ds))
                counts[section] -= 1
                continue
            rdata = _expanded(wire, rdtype, start, at)
            out += owner + _FIXED.pack(rdtype, rdclass, ttl, len(rdata)) + rdata
    head = wire[:4] + _COUNTS.pack(questions, *counts)
    message = dns.message.from_wire(head + bytes(out) + wire[at:])
    for section, name_, ttl, ds in odd:
        held = (message.answer, message.authority)[section]
        rrset = message.find_rrset(held, name_, dns.rdataclass.IN, dns.rdatatype.DS, create=True)
        rrset.add(ds, ttl)
    return message


def _name(wire: bytes, at: int) -> tuple[bytes, int]:
    """A name without pointers, and where it ends in place."""
    name, length = dns.name.from_wire(wire, at)
    made = name.to_wire()
    assert made is not None
    return made, at + length


def _expanded(wire: bytes, rdtype: int, start: int, end: int) -> bytes:
    """RDATA without pointers."""
    if rdtype == _SOA:
        first, behind = _name(wire, start)
        second, behind = _name(wire, behind)
        return first + second + wire[behind:end]
    if rdtype not in _NAMES:
        return wire[start:end]
    at = start + _NAMES[rdtype]
    name, behind = _name(wire, at)
    return wire[start:at] + name + wire[behind:end]


def _odd(rdata: bytes) -> DS | None:
    """A DS record that the parser would refuse for its digest."""
    tag, algorithm, kind = _DS.unpack_from(rdata)
    digest = rdata[_DS.size :]
    try:
        _made(tag, algorithm, kind, digest)
    except ValueError:
        made = _made(tag, algorithm, _UNKNOWN, digest)
        object.__setattr__(made, "digest_type", kind)  # past the constructor, which would refuse
        return made
    return None


def _made(tag: int, algorithm: int, kind: int, digest: bytes) -> DS:
    return DS(dns.rdataclass.IN, dns.rdatatype.DS, tag, algorithm, kind, digest)  # type: ignore[no-untyped-call]
