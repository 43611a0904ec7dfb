"""Records too many, too few or twice."""

from __future__ import annotations

import dns.name

from contract.draft import SECTIONS, Record
from contract.kinds import (
    ANSWERED,
    EVERY,
    PROBED,
    SINGLE,
    Making,
    Stage,
    variant,
)

RECORDS = Stage.RECORDS


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
