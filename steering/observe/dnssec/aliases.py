"""The way of an answer, from the name in the question over its aliases. Pure.

Aliases are followed in whatever order they stand (RFC 1034 4.3.2, RFC 6672 3.2), as far as the
zone speaks for them: behind an alias a resolver asks again, of whoever it is that speaks there.
So an RRset behind an alias counts if the zone signed it, and is left out otherwise: it may be
out of a zone below, or out of another one that the same server holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import dns.message
import dns.name
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.DNAME
import dns.rrset

from steering.observe.dnssec.signatures import RRSIG
from steering.observe.dnssec.trust import below

CNAME = dns.rdtypes.ANY.CNAME.CNAME
DNAME = dns.rdtypes.ANY.DNAME.DNAME

MOST_ALIASES: Final = 16
"""Aliases that are followed in one answer: BIND follows as many, Unbound eleven. A DNAME that leads
below itself is a hundred, and each would be looked at anew."""

Covered = tuple[dns.name.Name, dns.rdatatype.RdataType]
Seen = Mapping[Covered, Sequence[RRSIG]]
"""The signatures in an answer, by what they cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasChain:
    """The RRsets from a question to its answer, as far as the zone speaks for them."""

    zone: dns.name.Name
    name: dns.name.Name
    rdtype: dns.rdatatype.RdataType
    links: tuple[dns.rrset.RRset, ...]
    end: dns.name.Name
    """The last name on the way, which need not be the zone's."""
    answered: bool
    """Whether what was asked for stands there."""


def chain_of(
    message: dns.message.Message,
    zone: dns.name.Name,
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
    seen: Seen,
) -> AliasChain:
    """Follows an answer from the name that was asked for."""
    held: dict[dns.name.Name, list[dns.rrset.RRset]] = {}
    dnames: list[dns.rrset.RRset] = []
    for rrset in message.answer:
        held.setdefault(rrset.name, []).append(rrset)
        if rrset.rdtype == dns.rdatatype.DNAME:
            dnames.append(rrset)
    links: list[dns.rrset.RRset] = []
    passed: set[dns.name.Name] = set()
    end, answered = name, False

    def speaks(rrset: dns.rrset.RRset) -> bool:
        """Whether the zone does for this RRset: for the first one it is asked itself."""
        if not links:
            return True
        return any(rrsig.signer == zone for rrsig in seen.get((rrset.name, rrset.rdtype), ()))

    while (
        end not in passed and (not passed or end.is_subdomain(zone)) and len(links) < MOST_ALIASES
    ):
        passed.add(end)
        here = held.get(end, ())
        wanted = [rrset for rrset in here if _answers(rrset, rdtype)]
        alias = next((rrset for rrset in here if rrset.rdtype == dns.rdatatype.CNAME), None)
        dname = next((rrset for rrset in dnames if below(rrset.name, end)), None)
        target = _target(alias)
        if dname is not None:
            made = _made(dname, end)
            # The CNAME made out of a DNAME is not signed itself (RFC 6672 5.3.1): one that
            # says something else is none of these.
            if alias is None or target == made:
                wanted = [dname if rrset is alias else rrset for rrset in wanted]
                alias, target = dname, made
        if wanted:
            if all(map(speaks, wanted)):
                answered = True
                links += [rrset for rrset in wanted if rrset.rdtype != dns.rdatatype.RRSIG]
                # Nothing may stand beside an alias (RFC 2181 10.1), and where it does, validators
                # want both rightly signed.
                if alias is not None and all(rrset is not alias for rrset in wanted):
                    links.append(alias)
            break
        if alias is None or not speaks(alias):
            break
        links.append(alias)
        if target is None:
            break
        end = target
    return AliasChain(
        zone=zone, name=name, rdtype=rdtype, links=tuple(links), end=end, answered=answered
    )


def signatures_in(message: dns.message.Message) -> Seen:
    """All signatures in an answer that stand in the section of what they cover (RFC 4035 3.1.1)."""
    seen: dict[Covered, list[RRSIG]] = {}
    for section in (message.answer, message.authority):
        there = {(rrset.name, rrset.rdtype, rrset.rdclass) for rrset in section}
        for rrset in section:
            covered = rrset.name, rrset.covers, rrset.rdclass
            if rrset.rdtype == dns.rdatatype.RRSIG and covered in there:
                held = seen.setdefault((rrset.name, rrset.covers), [])
                held += [rdata for rdata in rrset if isinstance(rdata, RRSIG)]
    return seen


def _answers(rrset: dns.rrset.RRset, rdtype: dns.rdatatype.RdataType) -> bool:
    if rdtype == dns.rdatatype.ANY:
        return rrset.rdtype != dns.rdatatype.RRSIG
    return rrset.rdtype == rdtype


def _target(alias: dns.rrset.RRset | None) -> dns.name.Name | None:
    """Where a CNAME leads; of two, the first: they are judged together."""
    return next((rdata.target for rdata in alias or () if isinstance(rdata, CNAME)), None)


def _made(dname: dns.rrset.RRset, name: dns.name.Name) -> dns.name.Name | None:
    """The name that a DNAME turns another into (RFC 6672 2.2); None where that is too long."""
    rest = name.relativize(dname.name)
    for rdata in dname:
        if isinstance(rdata, DNAME):
            try:
                return rest.concatenate(rdata.target)
            except dns.name.NameTooLong:
                return None
    return None
