"""Denials of which a part is missing, broken or another zone's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import dns.rcode
import dns.rdata

from contract.keys import Signed
from contract.kinds import (
    DENIED,
    HASHED,
    Making,
    Stage,
    Unfit,
    broken,
    variant,
)
from contract.zone import NSEC, NSEC3, SOA, A, Denial

SETS = Stage.SETS


def _parts(m: Making, keep: Callable[[Signed], bool]) -> None:
    m.draft.authority = [r for r in m.draft.authority if keep(r)]


_KEPT: Final[dict[str, Callable[[Signed], bool]]] = {
    "no SOA": lambda r: r.rdtype != SOA,
    "nothing but the SOA": lambda r: r.rdtype == SOA,
    "nothing": lambda _r: False,
}
for _name, _keep in _KEPT.items():
    variant("denial", _name, SETS, DENIED)(partial(_parts, keep=_keep))


def _one_less(m: Making, at: int) -> None:
    held = [r for r in m.draft.authority if r.rdtype in {NSEC, NSEC3}]
    if not held:
        raise Unfit
    gone = held[at % len(held)]
    m.draft.authority = [r for r in m.draft.authority if r is not gone]


for _at in (0, 1, 2):
    variant("denial", f"record {_at} of the proof missing", SETS, (*DENIED, "bare"))(
        partial(_one_less, at=_at)
    )


@variant("denial", "SOA without signature", SETS, DENIED)
def _bare_soa(m: Making) -> None:
    m.pick(int(SOA)).sigs = []


@variant("denial", "SOA with a broken signature", SETS, DENIED)
def _broken_soa(m: Making) -> None:
    rrset = m.pick(int(SOA))
    rrset.sigs = [broken(rrset.sigs[0])]


@variant("denial", "a record of the proof without signature", SETS, DENIED)
def _bare_proof(m: Making) -> None:
    m.denial().sigs = []


@variant("denial", "a record of the proof with a broken signature", SETS, DENIED)
def _broken_proof(m: Making) -> None:
    rrset = m.denial()
    rrset.sigs = [broken(rrset.sigs[0])]


def _soa_of(m: Making, whose: Callable[[Making], Signed]) -> None:
    m.draft.authority = [whose(m), *(r for r in m.draft.authority if r.rdtype != SOA)]


for _name, _whose in (
    ("the parent", lambda m: m.parent.sign(m.parent.sets[m.parent.apex][SOA])),
    ("the child", lambda m: m.child.sign(m.child.sets[m.child.apex][SOA])),
    ("the sibling", lambda m: m.sibling.sign(m.sibling.sets[m.sibling.apex][SOA])),
    ("the root", lambda m: m.root.sign(m.root.sets[m.root.apex][SOA])),
):
    variant("denial", f"SOA of {_name}", SETS, DENIED)(partial(_soa_of, whose=_whose))


@variant("denial", "the other rcode", SETS, DENIED)
def _other_rcode(m: Making) -> None:
    m.draft.rcode = 3 - m.draft.rcode


@variant(
    "denial",
    "NXDOMAIN beside an answer",
    SETS,
    ("positive", "text", "alias", "wild", "dname", "out"),
)
def _beside(m: Making) -> None:
    m.draft.rcode = int(dns.rcode.NXDOMAIN)


@variant("denial", "the whole chain", SETS, DENIED)
def _chain(m: Making) -> None:
    names = [name for name in m.zone.sets if m.zone.cut(name) in {None, name}]
    make = m.zone.nsec if m.zone.denial is Denial.NSEC else m.zone.nsec3
    for name in names:
        made = make(name)
        if all(made.owner != r.owner for r in m.draft.authority):
            m.draft.authority.append(made)


@variant("denial", "of a name that is there", SETS, ("positive",))
def _lie(m: Making) -> None:
    other = m.zone.reply(m.zone.name("nope"), int(A))
    m.draft.answer, m.draft.authority, m.draft.rcode = [], other.authority, other.rcode


def _other_name(m: Making, text: str, rdtype: int) -> None:
    other = m.zone.reply(m.zone.name(text), rdtype)
    m.draft.authority, m.draft.rcode = other.authority, other.rcode


for _name, _text in (
    ("a name beside", "zzz"),
    ("a name below www", "x.www"),
    ("another NODATA", "ns"),
):
    variant("denial", f"the proof of {_name}", SETS, ("nxdomain", "nodata"))(
        partial(_other_name, text=_text, rdtype=28)
    )


@variant("denial", "NSEC beside NSEC3", SETS, DENIED, HASHED)
def _mixed(m: Making) -> None:
    """A zone has one kind (RFC 5155 10.4)."""
    rdata = dns.rdata.from_text("IN", "NSEC", f"{m.zone.name('zz')} NS SOA RRSIG NSEC DNSKEY")
    made = Signed(m.zone.apex, int(NSEC), 300, [rdata])
    m.resign(made)
    m.draft.authority.append(made)
