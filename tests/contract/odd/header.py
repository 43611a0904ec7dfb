"""Oddities of the header and the question."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import dns.flags
import dns.name

from contract.draft import Draft
from contract.kinds import (
    PLAIN,
    PROBED,
    Making,
    Stage,
    variant,
)

WIRE = Stage.WIRE


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
