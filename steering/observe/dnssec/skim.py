"""Removes unused parts of a message before it is parsed, and refuses oversized ones. Pure.

The parser makes an object of each option, string and parameter, and its cost for a name grows with
the square of the labels: 64 kB of empty strings take half a second, 400 records in 7 kB three
seconds. The agent does nothing else meanwhile. So the records are first scanned, a few octets each,
and messages with more than any real answer has are refused. The additional section is removed: it
is glue, which is not judged. Of it only the OPT record stays, with the options that are reported
(RFC 5001, RFC 7314, RFC 8914).
"""

from __future__ import annotations

import struct
from typing import Final

MOST_VARIABLE: Final = 4096
"""Octets of RDATA in a whole message, of types with any number of parts."""
MOST_LABELS: Final = 16384
"""The sum of the squares of the labels of all names in RDATA, and `_OWNER` for each label of an
owner name: half a microsecond each to parse. Names in ip6.arpa. have 34 labels, so an answer may
hold twelve of those."""
_OWNER: Final = 8
MOST_OPTIONS: Final = 64
"""EDNS options that are read; resolvers and servers together use about ten."""

_COUNTS: Final = struct.Struct("!4H")
_FIXED: Final = struct.Struct("!HHIH")  # type, class, TTL, RDLENGTH (RFC 1035 3.2.1)
_OPTION: Final = struct.Struct("!HH")
_START: Final = 12
_IN: Final = 1
_LABELS: Final = 128  # more than a name has (RFC 1035 2.3.4)
_OPT: Final = 41
_EDE: Final = 15
_REPORTED: Final = {3: 1, 9: 1, _EDE: 2}  # NSID, EXPIRE, Extended DNS Errors: how many of each
_NAMES: Final = {
    **dict.fromkeys((2, 5, 12, 39, 47), (0, 1)),
    6: (0, 2),
    15: (2, 1),
    33: (6, 1),
    46: (18, 1),
}
"""NS, CNAME, PTR, DNAME, NSEC; SOA; MX; SRV; RRSIG: where names stand in RDATA, and how many."""
_PLAIN: Final = frozenset({1, 28, 43, 48, 50, 51, 52, 59, 60})
"""A, AAAA, DS, DNSKEY, NSEC3, NSEC3PARAM, TLSA, CDS, CDNSKEY: only their length costs."""
_STRINGS: Final = frozenset({13, 16, 99, 257})
"""HINFO, TXT, SPF, CAA: no names in them."""
_OTHER_TYPE: Final = 1024
"""Octets that a record of any other type counts for in addition: it may hold names."""


def skim(wire: bytes) -> bytes:
    """The shortened message. Raises ValueError, IndexError or struct.error if it is invalid."""
    questions, answers, authority, additional = _COUNTS.unpack_from(wire, 4)
    if questions > 1:
        raise ValueError("more than one question")
    at = _after(wire, _START) + 4 if questions else _START
    variable, labels = 0, 0
    for _ in range(answers + authority):
        labels += _OWNER * _labels(wire, at)
        fixed = _after(wire, at)
        rdtype, rdclass, _, length = _FIXED.unpack_from(wire, fixed)
        if rdclass != _IN:
            raise ValueError("records of another class")
        start, at = fixed + _FIXED.size, fixed + _FIXED.size + length
        if (names := _NAMES.get(rdtype)) is not None:
            here = start + names[0]
            for _ in range(names[1]):
                labels += _labels(wire, here) ** 2
                here = _after(wire, here)
        elif rdtype not in _PLAIN:
            variable += length if rdtype in _STRINGS else length + _OTHER_TYPE
        if variable > MOST_VARIABLE or labels > MOST_LABELS:
            raise ValueError("oversized: records of too many parts")
    kept, edns = at, []
    for _ in range(additional):
        owner, fixed = at, _after(wire, at)
        rdtype, _, _, length = _FIXED.unpack_from(wire, fixed)
        start, at = fixed + _FIXED.size, fixed + _FIXED.size + length
        if rdtype == _OPT:
            if wire[owner]:
                raise ValueError("an OPT record that is not the root's")
            reported = _reported(wire[start:at])
            edns.append(wire[owner : start - 2] + len(reported).to_bytes(2, "big") + reported)
    if at > len(wire):
        raise ValueError("the message ends before its last record")
    # Octets after the last record are not read.
    counts = _COUNTS.pack(questions, answers, authority, len(edns))
    return b"".join((wire[:4], counts, wire[_START:kept], *edns))


def _after(wire: bytes, at: int) -> int:
    """The offset after a name (RFC 1035 4.1.4)."""
    while length := wire[at]:
        if length > 191:
            return at + 2
        if length > 63:
            raise ValueError("a label of unknown type")
        at += 1 + length
    return at + 1


def _labels(wire: bytes, at: int) -> int:
    """The number of labels of a name, with pointers followed."""
    labels, jumps = 0, 0
    while length := wire[at]:
        if length > 191:
            at, jumps = (length & 63) << 8 | wire[at + 1], jumps + 1
        else:
            at, labels = at + 1 + length, labels + 1
        if labels + jumps > _LABELS:  # a loop of pointers
            raise ValueError("a name with endless pointers")
    return labels


def _reported(options: bytes) -> bytes:
    """The options that are reported, if they can be read."""
    kept, left, at = [], dict(_REPORTED), 0
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
