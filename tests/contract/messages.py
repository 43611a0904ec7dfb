"""Oddities of the message around the records: header, rcode, EDNS, names, order, octets, TTLs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Final

import dns.flags
import dns.name
import dns.rdata

from contract.draft import SECTIONS, Draft, Opt, Record, Writer
from contract.kinds import ANSWERED, EVERY, LISTED, PLAIN, REFERRED, SINGLE, Making, Stage, variant

WIRE, RECORDS, SETS = Stage.WIRE, Stage.RECORDS, Stage.SETS
PROBED: Final = (*PLAIN, *REFERRED, "dname", "out")

# --- header -----------------------------------------------------------------------------------

for _bit in ("AA", "TC", "RA", "AD", "CD"):

    def _turn(m: Making, bit: str = _bit) -> None:
        m.draft.flags ^= int(dns.flags.Flag[bit])

    variant("header", f"{_bit} turned over", WIRE, PROBED)(_turn)


@variant("header", "reserved bit set", WIRE, PROBED)
def _reserved(m: Making) -> None:
    m.draft.flags |= 0x40


@variant("header", "RD set", WIRE, PROBED)
def _desired(m: Making) -> None:
    m.draft.flags |= int(dns.flags.RD)


@variant("header", "QR not set", WIRE)
def _query(m: Making) -> None:
    m.draft.flags &= ~int(dns.flags.QR)


for _opcode in (1, 2, 4, 5, 15):

    def _other(m: Making, opcode: int = _opcode) -> None:
        m.draft.opcode = opcode

    variant("header", f"opcode {_opcode}", WIRE)(_other)


def _counted(m: Making, at: int, more: int) -> None:
    m.draft.counts[at] += more


for _at, _more in ((1, 1), (1, -1), (2, 1), (2, -1), (3, 1), (3, -1), (0, -1), (0, 1)):
    variant("header", f"count {_at} off by {_more:+}", WIRE, PLAIN)(
        partial(_counted, at=_at, more=_more)
    )


def _asked(m: Making, change: Callable[[Draft], object]) -> None:
    change(m.draft)


for _name, _change in (
    ("no question", lambda d: d.questions.clear()),
    ("question twice", lambda d: d.questions.append(d.questions[0])),
    (
        "another name in the question",
        lambda d: d.questions.__setitem__(0, (_below(d.name), d.rdtype, 1)),
    ),
    ("another type in the question", lambda d: d.questions.__setitem__(0, (d.name, 15, 1))),
    ("another class in the question", lambda d: d.questions.__setitem__(0, (d.name, d.rdtype, 3))),
):
    variant("question", _name, WIRE)(partial(_asked, change=_change))


def _below(name: dns.name.Name) -> dns.name.Name:
    return dns.name.Name((b"other", *name.labels))


# --- rcode ------------------------------------------------------------------------------------


def _rcode(m: Making, rcode: int) -> None:
    m.draft.rcode = rcode & 15
    if rcode > 15:
        for opt in m.draft.opts:
            opt.extended = rcode >> 4


for _code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 23, 3841):
    variant("rcode", f"rcode {_code}", WIRE, PROBED)(partial(_rcode, rcode=_code))


@variant("rcode", "error without records", SETS)
def _bare_error(m: Making) -> None:
    m.draft.answer, m.draft.authority, m.draft.additional = [], [], []
    m.draft.rcode = m.rng.choice((1, 2, 4, 5, 9))


@variant("rcode", "NOERROR without records", SETS)
def _empty(m: Making) -> None:
    m.draft.answer, m.draft.authority, m.draft.additional = [], [], []
    m.draft.rcode = 0


# --- EDNS -------------------------------------------------------------------------------------


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value


_OPTIONS: Final = {
    "NSID": _option(3, b"sin1"),
    "cookie": _option(10, bytes(range(24))),
    "padding": _option(12, bytes(100)),
    "unknown option": _option(65_001, b"what"),
    "EDE with text": _option(15, b"\0\x06stale"),
    "EDE twice": _option(15, b"\0\x06") + _option(15, b"\0\x07x"),
    "client subnet": _option(8, b"\0\1\x18\x18\xc0\0\2"),
    "forty options": _option(65_001, b"ab") * 40,
    "option code 0": _option(0, b""),
    "EDE of one octet": _option(15, b"\0"),
    "EDE that is no UTF-8": _option(15, b"\0\0\xff\xfe"),
    "cookie of one octet": _option(10, b"x"),
    "client subnet too short": _option(8, b"\0"),
    "client subnet of no family": _option(8, b"\0\7\x18\x18\xc0\0\2"),
    "keepalive of one octet": _option(11, b"x"),
    "option longer than the record": b"\0\3\0\x20ab",
    "half an option": b"\0\3\0",
}
for _name, _octets in _OPTIONS.items():

    def _optional(m: Making, octets: bytes = _octets) -> None:
        m.draft.opts[:1] = [Opt(options=octets)]

    variant("edns", _name, WIRE, PROBED)(_optional)

_OPTS: Final[dict[str, Callable[[], list[Opt]]]] = {
    "none": list,
    "version 1": lambda: [Opt(version=1)],
    "version 255": lambda: [Opt(version=255)],
    "DO missing": lambda: [Opt(flags=0)],
    "all flags": lambda: [Opt(flags=0xFFFF)],
    "twice": lambda: [Opt(), Opt()],
    "twice, another version": lambda: [Opt(), Opt(version=1)],
    "size 0": lambda: [Opt(size=0)],
    "size 65535": lambda: [Opt(size=65_535)],
    "not the root's": lambda: [Opt(owner=b"\1x\0")],
    "owner is a pointer": lambda: [Opt(owner=b"\xc0\x0c")],
}
for _name, _make in _OPTS.items():

    def _edns(m: Making, make: Callable[[], list[Opt]] = _make) -> None:
        m.draft.opts = make()

    variant("edns", _name, WIRE, PROBED)(_edns)


@variant("edns", "before the other additional records", WIRE, ("secure", "bare"))
def _first(m: Making) -> None:
    m.draft.opt_first = True


for _section in ("answer", "authority"):

    def _misplaced(m: Making, section: str = _section) -> None:
        m.draft.records[section].append(Record(dns.name.root, 41, 0x8000, b"", 1232))
        m.draft.opts = []

    variant("edns", f"in the {_section} section", RECORDS, PROBED)(_misplaced)

# --- compression ------------------------------------------------------------------------------

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


# --- order ------------------------------------------------------------------------------------


@variant("order", "records shuffled", RECORDS, EVERY)
def _shuffled(m: Making) -> None:
    for section in SECTIONS:
        m.rng.shuffle(m.draft.records[section])


@variant("order", "signatures first", RECORDS, EVERY)
def _signatures_first(m: Making) -> None:
    for section in SECTIONS:
        m.draft.records[section].sort(key=lambda record: record.rdtype != 46)


@variant("order", "backwards", RECORDS, EVERY)
def _backwards(m: Making) -> None:
    for section in SECTIONS:
        m.draft.records[section].reverse()


@variant("order", "signatures in the additional section", RECORDS, ANSWERED)
def _elsewhere(m: Making) -> None:
    held = m.draft.records
    held["additional"] += [record for record in held["answer"] if record.rdtype == 46]
    held["answer"] = [record for record in held["answer"] if record.rdtype != 46]


@variant("order", "signatures of the answer in the authority section", RECORDS, ANSWERED)
def _beside(m: Making) -> None:
    held = m.draft.records
    held["authority"] += [record for record in held["answer"] if record.rdtype == 46]
    held["answer"] = [record for record in held["answer"] if record.rdtype != 46]


@variant("order", "proof in the answer section", RECORDS, ("nxdomain", "nodata"))
def _proof_in_answer(m: Making) -> None:
    held = m.draft.records
    held["answer"], held["authority"] = held["authority"], []


@variant("order", "answer in the authority section", RECORDS, SINGLE)
def _answer_in_authority(m: Making) -> None:
    held = m.draft.records
    held["answer"], held["authority"] = [], held["answer"]


# --- case -------------------------------------------------------------------------------------


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


# --- octets behind ----------------------------------------------------------------------------

for _count in (1, 2, 4, 11, 100, 2000):

    def _behind(m: Making, count: int = _count) -> None:
        m.draft.behind = bytes(m.rng.randrange(256) for _ in range(count))

    variant("octets behind", f"{_count} octets", WIRE, PROBED)(_behind)


@variant("octets behind", "zeros", WIRE, PROBED)
def _zeros(m: Making) -> None:
    m.draft.behind = bytes(12)


# --- extra, missing and doubled records -------------------------------------------------------


def _unrelated(m: Making) -> Record:
    owner = m.rng.choice(
        (m.zone.name("extra"), m.sibling.name("extra"), dns.name.from_text("a.example"))
    )
    return Record(owner, 1, 300, bytes([203, 0, 113, 9]))


for _section in SECTIONS:

    def _extra(m: Making, section: str = _section) -> None:
        held = m.draft.records[section]
        held.insert(m.rng.randrange(len(held) + 1), _unrelated(m))

    variant("records", f"an unrelated one in the {_section} section", RECORDS, EVERY)(_extra)

    def _odd(m: Making, section: str = _section) -> None:
        record = _unrelated(m)
        record.rdtype, record.rdata = 65_280, b"\xff" * 7
        m.draft.records[section].append(record)

    variant("records", f"one of an unknown type in the {_section} section", RECORDS, PROBED)(_odd)

    def _unreadable(m: Making, section: str = _section) -> None:
        record = _unrelated(m)
        record.rdata = b"\1\2\3"
        m.draft.records[section].append(record)

    variant("records", f"an A of three octets in the {_section} section", RECORDS, PROBED)(
        _unreadable
    )

    def _chaos(m: Making, section: str = _section) -> None:
        record = _unrelated(m)
        record.rdclass = 3
        m.draft.records[section].append(record)

    variant("records", f"one of another class in the {_section} section", RECORDS, PROBED)(_chaos)

    def _doubled(m: Making, section: str = _section) -> None:
        held = m.draft.records[section]
        held += [m.rng.choice(held)] if held else []

    variant("records", f"one twice in the {_section} section", RECORDS, EVERY)(_doubled)

    def _missing(m: Making, section: str = _section) -> None:
        held = m.draft.records[section]
        if held:
            del held[m.rng.randrange(len(held))]

    variant("records", f"one missing in the {_section} section", RECORDS, EVERY)(_missing)


@variant("records", "one more in the RRset that was asked for", RECORDS, ("positive",))
def _one_more(m: Making) -> None:
    m.draft.records["answer"].insert(1, Record(m.draft.name, 1, 300, bytes([203, 0, 113, 9])))


@variant("records", "an unsigned RRset of another type at the name", RECORDS, SINGLE)
def _other_type(m: Making) -> None:
    m.draft.records["answer"].append(Record(m.draft.name, 28, 300, bytes(16)))


@variant("records", "everything twice", RECORDS, EVERY)
def _twice(m: Making) -> None:
    for section in SECTIONS:
        m.draft.records[section] *= 2


@variant("records", "unsigned NS of the zone in the authority section", RECORDS, ANSWERED)
def _servers(m: Making) -> None:
    target = dns.name.from_text("ns", m.zone.apex).to_wire()
    assert target is not None
    m.draft.records["authority"].append(Record(m.zone.apex, 2, 300, target))


@variant("records", "no signatures at all", RECORDS, EVERY)
def _stripped(m: Making) -> None:
    for section in SECTIONS:
        m.draft.records[section] = [r for r in m.draft.records[section] if r.rdtype != 46]


# --- TTLs -------------------------------------------------------------------------------------


def _ttl(m: Making, ttl: int, which: str) -> None:
    for section in SECTIONS:
        for record in m.draft.records[section]:
            if which == "all" or (record.rdtype == 46) == (which == "signatures"):
                record.ttl = ttl


for _seconds in (0, 1, 1_000_000, 1 << 31, (1 << 31) - 1, (1 << 32) - 1):
    for _which in ("all", "data", "signatures"):
        variant("ttl", f"{_seconds} s, {_which}", RECORDS, PROBED)(
            partial(_ttl, ttl=_seconds, which=_which)
        )


@variant("ttl", "another one in each record", RECORDS, PROBED)
def _uneven(m: Making) -> None:
    for section in SECTIONS:
        for record in m.draft.records[section]:
            record.ttl = m.rng.randrange(3600)


def _original(m: Making, ttl: int) -> None:
    rrset = m.pick()
    m.resign(rrset, ttl=ttl)


for _seconds in (0, 60, 1 << 31, (1 << 32) - 1):
    variant("ttl", f"original TTL {_seconds} s", SETS, PROBED)(partial(_original, ttl=_seconds))
