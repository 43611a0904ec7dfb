"""Parses messages that validators accept and the parser refuses. Pure.

Senders must not compress names in the RDATA of DNAME, RRSIG and NSEC, but receivers expand them
(RFC 3597 4). A DS record whose digest has the wrong length for its type, or type 0, is useless, but
its RRset stays valid: the signature covers it as it is (RFC 4509 3 ignores what is not supported).
So the message is rewritten without pointers, and such records are added afterwards.
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
"""A digest type that has no fixed length."""


def tolerated(wire: bytes) -> dns.message.Message:
    """The message in skimmed bytes. Raises dns.exception.DNSException or ValueError if invalid.

    Expanded names have at most 255 octets each; the caller limits the number of records.
    """
    questions, *counts = _COUNTS.unpack_from(wire, 4)
    out, at = bytearray(), _START
    for _ in range(questions):
        name, at = _name(wire, at)
        out += name + wire[at : at + 4]
        at += 4
    tolerated_ds: list[tuple[int, dns.name.Name, int, DS]] = []
    for section in range(2):
        for _ in range(counts[section]):
            owner, fixed = _name(wire, at)
            rdtype, rdclass, ttl, length = _FIXED.unpack_from(wire, fixed)
            start, at = fixed + _FIXED.size, fixed + _FIXED.size + length
            if at > len(wire):
                raise ValueError("the message ends before its last record")
            if rdtype == dns.rdatatype.DS and (ds := _tolerated_ds(wire[start:at])) is not None:
                tolerated_ds.append((section, dns.name.from_wire(owner, 0)[0], ttl, ds))
                counts[section] -= 1
                continue
            rdata = _expanded(wire, rdtype, start, at)
            out += owner + _FIXED.pack(rdtype, rdclass, ttl, len(rdata)) + rdata
    head = wire[:4] + _COUNTS.pack(questions, *counts)
    message = dns.message.from_wire(head + bytes(out) + wire[at:])
    for section, name_, ttl, ds in tolerated_ds:
        held = (message.answer, message.authority)[section]
        rrset = message.find_rrset(held, name_, dns.rdataclass.IN, dns.rdatatype.DS, create=True)
        rrset.add(ds, ttl)
    return message


def _name(wire: bytes, at: int) -> tuple[bytes, int]:
    """A name without pointers, and the offset after its original form."""
    name, length = dns.name.from_wire(wire, at)
    made = name.to_wire()
    assert made is not None
    return made, at + length


def _expanded(wire: bytes, rdtype: int, start: int, end: int) -> bytes:
    """RDATA without pointers."""
    if rdtype == _SOA:
        first, after = _name(wire, start)
        second, after = _name(wire, after)
        return first + second + wire[after:end]
    if rdtype not in _NAMES:
        return wire[start:end]
    at = start + _NAMES[rdtype]
    name, after = _name(wire, at)
    return wire[start:at] + name + wire[after:end]


def _tolerated_ds(rdata: bytes) -> DS | None:
    """A DS record that the parser would refuse for its digest."""
    tag, algorithm, kind = _DS.unpack_from(rdata)
    digest = rdata[_DS.size :]
    try:
        _make_ds(tag, algorithm, kind, digest)
    except ValueError:
        made = _make_ds(tag, algorithm, _UNKNOWN, digest)
        object.__setattr__(made, "digest_type", kind)  # the constructor would refuse it
        return made
    return None


def _make_ds(tag: int, algorithm: int, kind: int, digest: bytes) -> DS:
    return DS(dns.rdataclass.IN, dns.rdatatype.DS, tag, algorithm, kind, digest)  # type: ignore[no-untyped-call]
