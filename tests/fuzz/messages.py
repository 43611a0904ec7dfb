"""Hostile DNS messages: records in every order and section, compression in every place.

Most are put together from signed records (`signed`) in a way that no server would, others are
honest answers with some octets changed. A few are as large as messages get.
"""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Sequence
from typing import Final

import dns.message
import dns.name
import dns.rdata
import dns.rdatatype

from fuzz import names, signed
from fuzz.octets import below, mangled
from fuzz.signed import IN, Record

ID: Final = 7
"""Of every question, and so of most answers."""

SPLINTERS: Final = (
    b"\0",
    b"\xff",
    b"\0\0",
    b"\xff\xff",
    b"\xc0\x0c",
    b"\xc0\x00",
    b"\xc0\x02",
    b"\xc0\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\3com\0",
    b"\3COM\0",
    b"\1*",
    b"\x3f",
    b"\x40",
    b"\x80",
    b"\0\1",
    b"\0\2",
    b"\0\5",
    b"\0\6\0\1",
    b"\0\x27\0\1",
    b"\0\x29\4\xd0",
    b"\0\0\x29\4\xd0\0\0\x80\0\0\0",
    b"\0\x2b\0\1",
    b"\0\x2e\0\1",
    b"\0\x2f\0\1",
    b"\0\x30\0\1",
    b"\0\x32\0\1",
)
"""Numbers at limits, pointers, types with their class, and a whole OPT record."""

_FLAGS: Final = (
    *[0x8400] * 24,
    *(0x8000, 0x8000, 0x8500, 0x8410, 0x8600, 0x8200, 0x8480),
    *(0x0400, 0x0000, 0xFFFF, 0xAC00, 0xBC00),
)


def option(code: int, value: bytes) -> bytes:
    """One EDNS option (RFC 6891 6.1.2)."""
    return struct.pack("!HH", code, len(value) & 0xFFFF) + value


_OPTIONS: Final = (
    b"",
    option(3, b"sin1"),
    option(3, b"sin1"),
    option(3, b""),
    option(3, b"\0\xff\n"),
    option(3, "é∞".encode()),
    option(3, b"x" * 512),
    option(3, b"a") + option(3, b"b"),
    option(3, b"sin1")[:-1],
    option(3, b"sin1") + b"\0",
    b"\0\3\xff\xffsin1",
    option(15, b"\0\x12nope"),
    option(15, b"\0\x12\xff\xfe\xfd"),
    option(15, b"\0"),
    option(15, b""),
    option(15, b"\xff\xff" + b"x" * 600),
    option(8, b"\0\1\x18\0\xc0\0\2"),
    option(8, b"\0\1\xff\xff\xc0"),
    option(8, b"\0\3\x18\0\xc0"),
    option(8, b""),
    option(10, b"\1" * 7),
    option(10, b"\1" * 41),
    option(18, b"\3com\0"),
    option(18, b"\xc0\x0c"),
    option(18, b"\x3f"),
    option(12, b"\0" * 400),
    option(65_535, b""),
)


def opt(draw: random.Random) -> Record:
    """An OPT record: mostly one as servers send it."""
    owner = names.ROOT if draw.random() < 0.98 else names.name(draw)
    ttl = (
        0x8000 if draw.random() < 0.85 else (0, 0xFFFFFFFF, 0x01008000, 0x00FF8000)[below(draw, 4)]
    )
    rdata = _OPTIONS[1] if draw.random() < 0.7 else _OPTIONS[below(draw, len(_OPTIONS))]
    return Record(owner, 41, rdata, ttl, 1232)


class Writer:
    """Writes one message, names compressed as told."""

    def __init__(self, draw: random.Random, flags: int, compress: float, evil: float) -> None:
        """`compress` is how often a name is compressed rightly, `evil` how often wrongly."""
        self._draw, self._compress, self._evil = draw, compress, evil
        self._flags = flags
        self._wire = bytearray(12)
        self._seen: dict[bytes, int] = {}
        self.counts = [0, 0, 0, 0]

    def ask(self, name: bytes, rdtype: int, rdclass: int = IN) -> None:
        self._name(name)
        self._wire += struct.pack("!HH", rdtype, rdclass)
        self.counts[0] += 1

    def add(self, section: int, record: Record, length: int | None = None) -> None:
        """Add a record; `length` is what it says of its RDATA, where that is not so."""
        self._name(record.owner)
        size = len(record.rdata) if length is None else length
        self._wire += struct.pack(
            "!HHIH", record.rdtype, record.rdclass, record.ttl & 0xFFFFFFFF, size & 0xFFFF
        )
        if self._evil and self._draw.random() < self._evil and len(record.rdata) > 2:
            at = below(self._draw, len(record.rdata) - 1)
            self._wire += record.rdata[:at] + self._pointer() + record.rdata[at + 2 :]
        else:
            self._wire += record.rdata
        self.counts[section] += 1

    def done(self, number: int = ID, counts: Sequence[int] | None = None) -> bytes:
        struct.pack_into(
            "!6H", self._wire, 0, number, self._flags, *(n & 0xFFFF for n in counts or self.counts)
        )
        return bytes(self._wire[:65_535])

    def _pointer(self) -> bytes:
        """A pointer to the header, itself, ahead, into RDATA: anywhere."""
        here = len(self._wire)
        to = (here, here + 2, here - 2, 12, 0, 2, 0x3FFF, below(self._draw, here))
        return struct.pack("!H", 0xC000 | (to[below(self._draw, 8)] & 0x3FFF))

    def _name(self, name: bytes) -> None:
        here = len(self._wire)
        if self._evil and self._draw.random() < self._evil:
            cut = (
                name[: 1 + name[0]] if name and name[0] < 64 and self._draw.random() < 0.5 else b""
            )
            self._wire += cut + self._pointer()
            return
        if self._compress and self._draw.random() < self._compress:
            known = self._seen.get(name)
            if known is not None and len(name) > 1:
                self._wire += struct.pack("!H", 0xC000 | known)
                return
            first = 1 + name[0]
            rest = self._seen.get(name[first:]) if len(name) > first + 1 else None
            if rest is not None:
                self._wire += name[:first] + struct.pack("!H", 0xC000 | rest)
                return
        if here < 0x3F00 and name not in self._seen and name[:1] < b"\x40":
            self._seen[name] = here
            first = 1 + name[0]
            self._seen.setdefault(name[first:], here + first)
        self._wire += name


Sections = tuple[tuple[int, Record], ...]
"""Records with the sections they stand in."""


def assembled(
    draw: random.Random,
    asked: tuple[bytes, int],
    pool: Sequence[Sequence[Record]],
    honest: Sequence[Sections],
) -> bytes:
    """An answer to a question: what an honest server says, and what it would not."""
    chance = draw.random
    order: list[tuple[int, Record]] = []
    nxdomain = chance() < 0.4
    if chance() < 0.7:
        order += honest[below(draw, len(honest))]
    for _ in range((0, 1, 1, 1, 1, 2, 2, 3)[below(draw, 8)]):
        rrset = pool[below(draw, len(pool))]
        if chance() < 0.15:  # as if it were about what was asked for
            rrset = [one._replace(owner=asked[0]) for one in rrset]
        section = (1, 2, 2, 2, 2, 3)[below(draw, 6)]
        order += [(section, record) for record in rrset]
    if chance() < 0.1 and order:
        del order[below(draw, len(order))]
    if chance() < 0.3:
        draw.shuffle(order)
    elif chance() < 0.3:
        order.reverse()
    if chance() < 0.1:
        order += order[: 1 + below(draw, 8)]
    for _ in range((1, 1, 1, 1, 1, 1, 1, 0)[below(draw, 8)] + (chance() < 0.02)):
        order.insert(len(order) if chance() < 0.9 else below(draw, len(order) + 1), (3, opt(draw)))
    if chance() < 0.9:
        order.sort(key=_section)
    return _written(draw, asked, order, nxdomain=nxdomain)


def _section(placed: tuple[int, Record]) -> int:
    return placed[0]


def _written(
    draw: random.Random,
    asked: tuple[bytes, int],
    order: Sequence[tuple[int, Record]],
    *,
    nxdomain: bool,
) -> bytes:
    chance = draw.random
    flags = _FLAGS[below(draw, len(_FLAGS))] | (3 if nxdomain else 0)
    if chance() < 0.05:
        flags = flags & 0xFFF0 | below(draw, 16)
    writer = Writer(draw, flags, 0.8 if chance() < 0.6 else 0.0, 0.0 if chance() < 0.9 else 0.08)
    if chance() < 0.98:
        writer.ask(*asked)
    while chance() < 0.02:
        writer.ask(names.name(draw), asked[1], below(draw, 300) if chance() < 0.2 else IN)
    for place, record in order:
        length = None
        if chance() < 0.005:
            length = (0, 0xFFFF, len(record.rdata) + 1, len(record.rdata) - 1)[below(draw, 4)]
        writer.add(place, record, length)
    counts = None
    if chance() < 0.03:
        counts = list(writer.counts)
        counts[below(draw, 4)] = (0, 1, 2, 400, 0xFFFF)[below(draw, 5)]
    made = writer.done(ID if chance() < 0.98 else below(draw, 65_536), counts)
    if chance() < 0.04:
        made = made[: below(draw, len(made) + 1)] if chance() < 0.5 else made + draw.randbytes(3)
    return made


def large(draw: random.Random, asked: tuple[bytes, int], pool: Sequence[Sequence[Record]]) -> bytes:
    """As many records as fit, or signatures, or options, or the longest chain of pointers."""
    writer = Writer(draw, 0x8400, 1.0, 0.0)
    writer.ask(*asked)
    rrset = next(held for _ in range(99) if len(held := pool[below(draw, len(pool))]) > 1)
    match below(draw, 7):
        case 0:  # 64 kB of tiny records
            for _ in range(5_400):
                writer.add(1, Record(asked[0], signed.A, b""))
        case 1:
            for number in range(600):
                writer.add(2, rrset[-1]._replace(ttl=number))
        case 2:
            for number in range(380):
                writer.add(1, Record(asked[0], signed.A, number.to_bytes(4, "big")))
        case 3:
            for number in range(48):
                writer.add(1 + below(draw, 2), rrset[-1]._replace(ttl=number))
            writer.add(1, rrset[0])
        case 4:
            writer.add(3, Record(names.ROOT, 41, option(3, draw.randbytes(60_000)), 0x8000, 1232))
        case 5:
            writer.add(3, Record(names.ROOT, 41, option(12, b"") * 15_000, 0x8000, 1232))
        case _:  # each name a pointer to the one before
            for number in range(390):
                writer.add(
                    1, Record(names.label(b"%d" % number) + asked[0], signed.TXT, b"\1a" * 60)
                )
    counts = [1, *(min(count, 399) for count in writer.counts[1:])] if draw.random() < 0.5 else None
    return writer.done(counts=counts)


def _sections(answer: dns.message.Message) -> Sections:
    return tuple(
        (number, Record(_wire(rrset.name), int(rrset.rdtype), _wire(rdata), rrset.ttl))
        for number, section in ((1, answer.answer), (2, answer.authority))
        for rrset in section
        for rdata in rrset
    )


def _wire(part: dns.name.Name | dns.rdata.Rdata) -> bytes:
    wire = part.to_wire()
    assert wire is not None
    return wire


@functools.cache
def honest() -> tuple[tuple[tuple[bytes, int], dns.message.Message], ...]:
    """Questions, each with the answer of an honest server."""
    com = (
        ("com.", "SOA"),
        ("com.", "DNSKEY"),
        ("nothere.com.", "A"),
        ("www.com.", "A"),
        ("safe.com.", "DS"),
        ("bare.com.", "DS"),
        ("x.safe.com.", "A"),
        ("www.com.", "DS"),
    )
    root = ((".", "SOA"), (".", "DNSKEY"), ("nothere.", "A"), ("com.", "DS"), ("net.", "DS"))
    return tuple(
        ((signed.wire_of(name), int(dns.rdatatype.from_text(rdtype))), zone.ask(name, rdtype, ID))
        for zone, questions in (
            (signed.ZONE, com),
            (signed.NSEC_ZONE, com),
            (signed.ROOT_ZONE, root),
        )
        for name, rdtype in questions
    )


class Messages:
    """Hostile answers to some questions, each with the number of its question."""

    def __init__(self, seed: int, questions: Sequence[tuple[bytes, int]]) -> None:
        """`questions` are names in wire form and types."""
        self._questions = questions
        self._pool = signed.sets(seed)
        every = [_sections(answer) for _, answer in honest()]
        self._honest = [
            [_sections(answer) for asked, answer in honest() if asked == question] * 3 + every
            for question in questions
        ]
        draw = random.Random(seed)
        self._bases: list[tuple[int, bytes]] = [
            (number, answer.to_wire(want_shuffle=False))
            for number, question in enumerate(questions)
            for asked, answer in honest()
            if asked == question
        ] * 8
        self._bases += [
            (number, self._assembled(draw, number))
            for number in range(len(questions))
            for _ in range(60)
        ]

    def seeds(self) -> list[tuple[int, bytes]]:
        """Question's number and answer, good and hostile."""
        return list(dict.fromkeys(self._bases))

    def next(self, draw: random.Random) -> tuple[int, bytes]:
        """Question's number and a hostile answer."""
        kind = draw.random()
        if kind < 0.5:
            number = below(draw, len(self._questions))
            return number, self._assembled(draw, number)
        if kind < 0.5005:
            number = below(draw, len(self._questions))
            return number, large(draw, self._questions[number], self._pool)
        number, wire = self._bases[below(draw, len(self._bases))]
        return number, mangled(draw, wire, SPLINTERS)

    def _assembled(self, draw: random.Random, number: int) -> bytes:
        return assembled(draw, self._questions[number], self._pool, self._honest[number])
