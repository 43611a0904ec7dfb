"""DNAME records, and the CNAME records that they make or do not."""

from __future__ import annotations

from typing import Final

import dns.name
import dns.rcode
import dns.rdata

from contract.keys import Signed
from contract.kinds import Making, Stage, broken, cname, variant

SETS = Stage.SETS
_CNAME, _DNAME = 5, 39
_DNAMES: Final = ("dname", "dname-out")


@variant("dname", "without the CNAME", SETS, _DNAMES)
def _no_cname(m: Making) -> None:
    m.draft.answer = [r for r in m.draft.answer if r.rdtype != _CNAME]


@variant("dname", "with another CNAME", SETS, _DNAMES)
def _other_cname(m: Making) -> None:
    m.first(_CNAME).rdatas = [cname(m.sibling.name("elsewhere"))]


@variant("dname", "with another CNAME, signed", SETS, _DNAMES)
def _signed_cname(m: Making) -> None:
    rrset = m.first(_CNAME)
    rrset.rdatas = [cname(m.sibling.name("elsewhere"))]
    m.resign(rrset)


@variant("dname", "with its CNAME signed", SETS, _DNAMES)
def _right_signed(m: Making) -> None:
    m.resign(m.first(_CNAME))


@variant("dname", "unsigned", SETS, _DNAMES)
def _bare_dname(m: Making) -> None:
    m.first(_DNAME).sigs = []


@variant("dname", "broken", SETS, _DNAMES)
def _broken_dname(m: Making) -> None:
    rrset = m.first(_DNAME)
    rrset.sigs = [broken(rrset.sigs[0])]


@variant("dname", "CNAME's TTL is 0", SETS, _DNAMES)
def _no_ttl(m: Making) -> None:
    m.first(_CNAME).ttl = 0


@variant("dname", "two at one name", SETS, _DNAMES)
def _two_dnames(m: Making) -> None:
    rrset = m.first(_DNAME)
    rrset.rdatas.append(dns.rdata.from_text("IN", "DNAME", f"{m.sibling.apex}"))
    m.resign(rrset)


@variant("dname", "made from a wildcard", SETS, _DNAMES)
def _wild_dname(m: Making) -> None:
    rrset = m.first(_DNAME)
    m.resign(rrset, labels=len(rrset.owner) - 2)


@variant("dname", "above the zone", SETS, ("dname",))
def _above(m: Making) -> None:
    made = Signed(m.parent.apex, _DNAME, 300, [dns.rdata.from_text("IN", "DNAME", "other.")])
    m.resign(made)
    m.draft.answer = [made, *m.draft.answer[1:]]


@variant("dname", "at the name that was asked for", SETS, ("positive",))
def _at_name(m: Making) -> None:
    rdata = dns.rdata.from_text("IN", "DNAME", f"{m.sibling.apex}")
    made = Signed(m.draft.name, _DNAME, 300, [rdata])
    m.resign(made)
    m.draft.answer.append(made)


@variant("dname", "too long a name", SETS, ("dname",))
def _too_long(m: Making) -> None:
    target = dns.name.Name((*[b"x" * 60] * 4, b""))
    rrset = m.first(_DNAME)
    rrset.rdatas = [dns.rdata.from_text("IN", "DNAME", target.to_text())]
    m.resign(rrset)
    m.draft.answer = [rrset]
    m.draft.rcode = int(dns.rcode.YXDOMAIN)
