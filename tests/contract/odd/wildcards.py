"""Answers made from wildcards, rightly and wrongly."""

from __future__ import annotations

from functools import partial

import dns.name
import dns.rdata
from dns.rdtypes.ANY.RRSIG import RRSIG

from contract.keys import Signed
from contract.kinds import (
    WILD,
    Making,
    Stage,
    variant,
)
from contract.zone import NSEC, NSEC3, A, Denial

ZONE, SETS = Stage.ZONE, Stage.SETS


for _base in (*WILD, "wild-nodata", "asterisk"):
    variant("wildcard", f"as it should be, {_base}", ZONE, (_base,))(lambda _m: None)


def _labels(m: Making, more: int) -> None:
    rrset = m.first()
    m.resign(rrset, labels=max(rrset.sigs[0].labels + more, 0))


for _more in (1, 2, 4, -1, -2):
    variant("wildcard", f"labels {_more:+}", SETS, (*WILD, "asterisk"))(
        partial(_labels, more=_more)
    )
    variant("wildcard", f"labels {_more:+}, no wildcard", SETS, ("positive", "text", "soa"))(
        partial(_labels, more=_more)
    )


@variant("wildcard", "labels changed after signing", SETS, WILD)
def _relabelled(m: Making) -> None:
    rrset = m.first()
    rrsig = rrset.sigs[0].replace(labels=rrset.sigs[0].labels + m.rng.choice((1, -1)))
    rrset.sigs = [rrsig] if isinstance(rrsig, RRSIG) else []


@variant("wildcard", "signed under its own name", SETS, WILD)
def _own_name(m: Making) -> None:
    rrset = m.first()
    rrset.over = None
    m.resign(rrset)


@variant("wildcard", "no proof", SETS, WILD)
def _unproved(m: Making) -> None:
    m.draft.authority = []


@variant("wildcard", "no proof, under its own name", SETS, WILD)
def _unproved_own(m: Making) -> None:
    _own_name(m)
    m.draft.authority = []


@variant("wildcard", "a proof of another name", SETS, WILD)
def _other_proof(m: Making) -> None:
    other = m.zone.name("zzz.www")
    m.draft.authority = [
        m.zone.nsec(other) if m.zone.denial is Denial.NSEC else m.zone.nsec3(other)
    ]


@variant("wildcard", "answers for a name that exists", SETS, ("positive",))
def _existing(m: Making) -> None:
    _expanded(m, m.zone.name("*"))


@variant("wildcard", "answers for a name below one that exists", SETS, ("nxdomain",))
def _too_far(m: Making) -> None:
    _expanded(m, m.zone.name("*"))
    m.draft.rcode = 0


@variant("wildcard", "answers for an empty non-terminal", SETS, ("ent",))
def _for_ent(m: Making) -> None:
    _expanded(m, m.zone.name("*.ent"))


def _expanded(m: Making, wildcard: dns.name.Name) -> None:
    """An answer by a wildcard that the zone does not have, well signed, with the proof there is."""
    rdata = dns.rdata.from_text("IN", "A", "192.0.2.99")
    made = Signed(m.draft.name, int(A), 300, [rdata], over=wildcard)
    m.resign(made)
    m.draft.answer = [made]
    m.draft.authority = [r for r in m.draft.authority if r.rdtype in {NSEC, NSEC3}]
