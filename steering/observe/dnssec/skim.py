"""A message without what nobody reads of it, before it is parsed at length. Pure.

The parser makes an object of each option, string and parameter, and handles the name in a record
at a price that grows with the square of its labels: 64 kB of empty strings take it half a second,
400 records in 7 kB three. No turn is done meanwhile. So the records are walked first, at a few
octets each, and what is more than any answer has is refused. The additional section goes, but for
the OPT record with what is told of it (RFC 5001, RFC 8914): it is glue, which nobody judges.
"""

from __future__ import annotations

import struct
from typing import Final

MOST_PARTED: Final = 4096
"""Octets of RDATA of types made of parts without number, in a whole message."""
MOST_LABELS: Final = 16384
"""The squares of the labels of all names in RDATA, and some for each label of an owner: half a
microsecond each to parse. Names in ip6.arpa. have 34, so an answer may hold twelve of those."""
_OWNER: Final = 8
MOST_OPTIONS: Final = 64
"""Options that are looked at; resolvers' and servers' own together are about ten."""

_COUNTS: Final = struct.Struct("!4H")
_FIXED: Final = struct.Struct("!HHIH")  # type, class, TTL, RDLENGTH (RFC 1035 3.2.1)
_OPTION: Final = struct.Struct("!HH")
_START: Final = 12
_IN: Final = 1
_LABELS: Final = 128  # more than a name has (RFC 1035 2.3.4)
_OPT: Final = 41
_EDE: Final = 15
_TOLD: Final = {3: 1, _EDE: 2}  # NSID, and Extended DNS Errors: how many of each
_NAMES: Final = {
    **dict.fromkeys((2, 5, 12, 39, 47), (0, 1)),
    6: (0, 2),
    15: (2, 1),
    33: (6, 1),
    46: (18, 1),
}
"""NS, CNAME, PTR, DNAME, NSEC; SOA; MX; SRV; RRSIG: where names stand in RDATA, and how many."""
_PLAIN: Final = frozenset({1, 28, 43, 48, 50, 51, 52, 59, 60})
"""A, AAAA, DS, DNSKEY, NSEC3, NSEC3PARAM, TLSA, CDS, CDNSKEY: as dear as they are long."""
_STRINGS: Final = frozenset({13, 16, 99, 257})
"""HINFO, TXT, SPF, CAA: no names in them."""
_STRANGE: Final = 1024
"""What a record of any other type is taken for besides its length: there may be names in it."""


def skim(wire: bytes) -> bytes:
    """The message, shorter. Raises ValueError, IndexError or struct.error: it is none."""
    questions, answers, authority, additional = _COUNTS.unpack_from(wire, 4)
    if questions > 1:
        raise ValueError("more than one question")
    at = _behind(wire, _START) + 4 if questions else _START
    parted, labels = 0, 0
    for _ in range(answers + authority):
        labels += _OWNER * _labels(wire, at)
        fixed = _behind(wire, at)
        rdtype, rdclass, _, length = _FIXED.unpack_from(wire, fixed)
        if rdclass != _IN:
            raise ValueError("records of another class")
        start, at = fixed + _FIXED.size, fixed + _FIXED.size + length
        if (names := _NAMES.get(rdtype)) is not None:
            here = start + names[0]
            for _ in range(names[1]):
                labels += _labels(wire, here) ** 2
                here = _behind(wire, here)
        elif rdtype not in _PLAIN:
            parted += length if rdtype in _STRINGS else length + _STRANGE
        if parted > MOST_PARTED or labels > MOST_LABELS:
            raise ValueError("oversized: records of too many parts")
    kept, edns = at, []
    for _ in range(additional):
        owner, fixed = at, _behind(wire, at)
        rdtype, _, _, length = _FIXED.unpack_from(wire, fixed)
        start, at = fixed + _FIXED.size, fixed + _FIXED.size + length
        if rdtype == _OPT:
            if wire[owner]:
                raise ValueError("an OPT record that is not the root's")
            told = _told(wire[start:at])
            edns.append(wire[owner : start - 2] + len(told).to_bytes(2, "big") + told)
    if at > len(wire):
        raise ValueError("it ends before its last record")
    # What goes on behind it is read by nobody.
    counts = _COUNTS.pack(questions, answers, authority, len(edns))
    return b"".join((wire[:4], counts, wire[_START:kept], *edns))


def _behind(wire: bytes, at: int) -> int:
    """Where a name ends in place (RFC 1035 4.1.4)."""
    while length := wire[at]:
        if length > 191:
            return at + 2
        if length > 63:
            raise ValueError("a label of no known type")
        at += 1 + length
    return at + 1


def _labels(wire: bytes, at: int) -> int:
    """The labels of a name, pointers followed."""
    labels, jumps = 0, 0
    while length := wire[at]:
        if length > 191:
            at, jumps = (length & 63) << 8 | wire[at + 1], jumps + 1
        else:
            at, labels = at + 1 + length, labels + 1
        if labels + jumps > _LABELS:  # it goes round
            raise ValueError("a name without end")
    return labels


def _told(options: bytes) -> bytes:
    """The options that somebody is told of, as far as they can be read."""
    kept, left, at = [], dict(_TOLD), 0
    for _ in range(MOST_OPTIONS):
        if at + _OPTION.size > len(options):
            break
        code, length = _OPTION.unpack_from(options, at)
        start = at + _OPTION.size
        at = start + length
        if at > len(options):
            break
        value = options[start:at]
        if left.get(code, 0) > 0 and (code != _EDE or _readable(value)):
            left[code] -= 1
            kept += [_OPTION.pack(code, length), value]
    return b"".join(kept)


def _readable(error: bytes) -> bool:
    """Whether an Extended DNS Error has a code, and UTF-8 behind it (RFC 8914 2)."""
    try:
        error[2:].decode()
    except UnicodeDecodeError:
        return False
    return len(error) >= 2
