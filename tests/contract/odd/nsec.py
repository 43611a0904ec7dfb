"""NSEC records one off, and odd bitmaps of both kinds of records."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import dns.name
import dns.rdata
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.NSEC3

from contract.keys import Signed
from contract.kinds import (
    LISTED,
    PROVED,
    Making,
    Stage,
    variant,
)
from contract.zone import NSEC, SOA

SETS = Stage.SETS


def _nsec(m: Making, owner: Callable[[Making, Signed], dns.name.Name | None], part: str) -> None:
    """Another owner or next name in one record of the proof, signed again."""
    rrset = m.denial()
    name = owner(m, rrset)
    if name is None:
        return
    if part == "owner":
        rrset.owner = name
    else:
        rrset.rdatas = [rrset.rdatas[0].replace(next=name)]
    m.resign(rrset)


def _predecessor(name: dns.name.Name) -> dns.name.Name | None:
    """A name a little before, at the same place."""
    first = name.labels[0]
    if not first or first[-1:] <= b"!":
        return None
    shorter = first[:-1] + bytes([first[-1] - 1]) + b"\xff"
    return dns.name.Name((shorter, *name.labels[1:]))


def _successor(name: dns.name.Name) -> dns.name.Name:
    return dns.name.Name((b"\0", *name.labels))


_NEXTS: Final[dict[str, Callable[[Making, Signed], dns.name.Name | None]]] = {
    "the name itself": lambda m, _r: m.draft.name,
    "just before the name": lambda m, _r: _predecessor(m.draft.name),
    "just behind the name": lambda m, _r: _successor(m.draft.name),
    "the parent of the name": lambda m, _r: m.draft.name.parent(),
    "the apex": lambda m, _r: m.zone.apex,
    "the wildcard beside the name": lambda m, _r: dns.name.Name((b"*", *m.draft.name.labels[1:])),
    "a name out of the zone": lambda m, _r: m.sibling.apex,
    "the root": lambda _m, _r: dns.name.root,
    "its own owner": lambda _m, r: r.owner,
}


for _name, _which in _NEXTS.items():
    variant("nsec", f"next name: {_name}", SETS, PROVED, LISTED)(
        partial(_nsec, owner=_which, part="next")
    )
    variant("nsec", f"owner: {_name}", SETS, PROVED, LISTED)(
        partial(_nsec, owner=_which, part="owner")
    )


def _bitmap(m: Making, types: str) -> None:
    rrset = m.denial()
    rdata = rrset.rdatas[0]
    if isinstance(rdata, dns.rdtypes.ANY.NSEC.NSEC):
        made = dns.rdata.from_text("IN", "NSEC", f"{rdata.next} {types}")
    else:
        assert isinstance(rdata, dns.rdtypes.ANY.NSEC3.NSEC3)
        head, old = rdata.to_text().split()[:5], rdata
        made = dns.rdata.from_text("IN", "NSEC3", f"{' '.join(head)} {types}")
        assert old.next == getattr(made, "next", None)
    rrset.rdatas = [made]
    m.resign(rrset)


_TYPES: Final = {
    "of nothing": "",
    "of all that is asked": "A AAAA TXT DS RRSIG NSEC",
    "of an alias": "CNAME RRSIG NSEC",
    "of a delegation": "NS RRSIG NSEC",
    "of a signed delegation": "NS DS RRSIG NSEC",
    "of an apex": "NS SOA RRSIG NSEC DNSKEY",
    "of a DNAME": "DNAME RRSIG NSEC",
    "of NXNAME": "RRSIG NSEC TYPE128",
    "of a DNAME at the apex": "NS SOA DNAME RRSIG NSEC DNSKEY",
}
for _name, _text in _TYPES.items():
    variant("bitmap", _name, SETS, PROVED)(partial(_bitmap, types=_text))


@variant("nsec", "made from a wildcard", SETS, PROVED, LISTED)
def _wild_nsec(m: Making) -> None:
    rrset = m.denial()
    if len(rrset.owner) > len(m.zone.apex):
        m.resign(rrset, labels=len(rrset.owner) - 2)


@variant("nsec", "the apex's gap round the whole zone", SETS, ("nxdomain", "wild"), LISTED)
def _round(m: Making) -> None:
    rdata = dns.rdata.from_text("IN", "NSEC", f"{m.zone.apex} NS SOA RRSIG NSEC DNSKEY")
    made = Signed(m.zone.apex, int(NSEC), 300, [rdata])
    m.resign(made)
    m.draft.authority = [r for r in m.draft.authority if r.rdtype == SOA] + [made]


@variant("nsec", "minimal, around each name (RFC 4470)", SETS, ("nxdomain",), LISTED)
def _minimal(m: Making) -> None:
    names = [m.draft.name, dns.name.Name((b"*", *m.draft.name.labels[1:]))]
    m.draft.authority = [r for r in m.draft.authority if r.rdtype == SOA]
    for name in names:
        before = _predecessor(name)
        assert before is not None
        rdata = dns.rdata.from_text("IN", "NSEC", f"{_successor(name)} RRSIG NSEC")
        made = Signed(before, int(NSEC), 300, [rdata])
        m.resign(made)
        m.draft.authority.append(made)


@variant("nsec", "black lie: NODATA for what is not there (RFC 9824)", SETS, ("nxdomain",), LISTED)
def _black_lie(m: Making) -> None:
    rdata = dns.rdata.from_text("IN", "NSEC", f"{_successor(m.draft.name)} RRSIG NSEC TYPE128")
    made = Signed(m.draft.name, int(NSEC), 300, [rdata])
    m.resign(made)
    m.draft.rcode = m.rng.choice((0, 3))
    m.draft.authority = [r for r in m.draft.authority if r.rdtype == SOA] + [made]
