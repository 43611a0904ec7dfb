"""Names compressed in other ways, and in mixed letters."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

import dns.name
import dns.rdata

from contract.draft import SECTIONS, Writer
from contract.kinds import (
    EVERY,
    LISTED,
    PLAIN,
    Making,
    Stage,
    variant,
)

WIRE, RECORDS = Stage.WIRE, Stage.RECORDS


for _name in ("none", "owners", "all"):

    def _compressed(m: Making, mode: str = _name) -> None:
        m.draft.compress = mode

    variant("compression", _name, WIRE, EVERY)(_compressed)


def _owner(m: Making, write: Callable[[Writer], bytes]) -> None:
    total = sum(len(m.draft.records[section]) for section in SECTIONS[:2])
    m.draft.owners[max(total - 1, 0)] = write


def _to(at: int) -> bytes:
    return struct.pack("!H", 0xC000 | at)


for _name, _write in (
    ("pointer to itself", lambda w: _to(len(w.octets))),
    ("pointer onward", lambda w: _to(len(w.octets) + 2)),
    ("pointer behind the end", lambda _w: _to(0x3FFF)),
    ("pointer into the header", lambda _w: _to(4)),
    ("label type 01", lambda _w: b"\x41x\0"),
    ("label type 10", lambda _w: b"\x81x\0"),
):
    variant("compression", _name, WIRE, PLAIN)(partial(_owner, write=_write))


@variant("compression", "pointers to pointers", WIRE, EVERY)
def _pointers(m: Making) -> None:
    """Each owner like that of the record before leads there, not to where the name stands."""
    number, before = 0, None
    for section in SECTIONS:
        for record in m.draft.records[section]:
            if record.owner == before:
                m.draft.owners[number] = lambda w: _to(w.starts[-2])
            before, number = record.owner, number + 1


def _mixed(name: dns.name.Name, m: Making) -> dns.name.Name:
    return dns.name.Name(
        bytes(o ^ 0x20 if chr(o).isalpha() and m.rng.random() < 0.6 else o for o in label)
        for label in name.labels
    )


@variant("case", "owners", RECORDS, EVERY)
def _owners(m: Making) -> None:
    for section in SECTIONS:
        for record in m.draft.records[section]:
            record.owner = _mixed(record.owner, m)


@variant("case", "signers", RECORDS, EVERY)
def _signers(m: Making) -> None:
    _renamed(m, 46, "signer")


@variant("case", "names in CNAME, NS, DNAME, SOA", RECORDS, EVERY)
def _targets(m: Making) -> None:
    for rdtype, part in ((5, "target"), (2, "target"), (39, "target"), (6, "mname")):
        _renamed(m, rdtype, part)


@variant("case", "next names of NSEC", RECORDS, ("nxdomain", "nodata", "wild"), LISTED)
def _nexts(m: Making) -> None:
    """RFC 6840 5.1: they are signed as they stand, so this breaks the signature."""
    _renamed(m, 47, "next")


@variant("case", "the question", WIRE)
def _question(m: Making) -> None:
    m.draft.questions = [(_mixed(n, m), t, c) for n, t, c in m.draft.questions]


def _renamed(m: Making, rdtype: int, part: str) -> None:
    for section in SECTIONS:
        for record in m.draft.records[section]:
            if record.rdtype == rdtype and isinstance(record.rdata, dns.rdata.Rdata):
                name = _mixed(getattr(record.rdata, part), m)
                record.rdata = record.rdata.replace(**{part: name})
