"""Follows the aliases in an answer from the name in the question. Pure.

Aliases may stand in any order (RFC 1034 4.3.2, RFC 6672 3.2). They are followed as far as the zone
has authority: behind an alias a resolver asks again, the servers of the zone there. So an RRset
behind an alias counts if the zone signed it. Otherwise it is left out: it may come from a zone
below, or from another zone on the same server.
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
"""Aliases that are followed in one answer: BIND follows as many, Unbound eleven. A DNAME with a
target below itself gives a hundred, each of which would be examined."""

Covered = tuple[dns.name.Name, dns.rdatatype.RdataType]
SignaturesByRRset = Mapping[Covered, Sequence[RRSIG]]
"""The signatures in an answer, by the RRset that they cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasChain:
    """The RRsets from a question to its answer, as far as the zone has authority."""

    zone: dns.name.Name
    name: dns.name.Name
    rdtype: dns.rdatatype.RdataType
    links: tuple[dns.rrset.RRset, ...]
    end: dns.name.Name
    """The last name of the chain, which need not be in the zone."""
    answered: bool
    """Whether the type that was asked for is there."""


def chain_of(
    message: dns.message.Message,
    zone: dns.name.Name,
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
    seen: SignaturesByRRset,
) -> AliasChain:
    """Follow an answer's aliases from the name that was asked for."""
    by_name: dict[dns.name.Name, list[dns.rrset.RRset]] = {}
    dnames: list[dns.rrset.RRset] = []
    for rrset in message.answer:
        by_name.setdefault(rrset.name, []).append(rrset)
        if rrset.rdtype == dns.rdatatype.DNAME:
            dnames.append(rrset)
    links: list[dns.rrset.RRset] = []
    passed: set[dns.name.Name] = set()
    end, answered = name, False

    def has_authority(rrset: dns.rrset.RRset) -> bool:
        """Whether the zone has it over this RRset: over the first one always."""
        if not links:
            return True
        return any(rrsig.signer == zone for rrsig in seen.get((rrset.name, rrset.rdtype), ()))

    while (
        end not in passed and (not passed or end.is_subdomain(zone)) and len(links) < MOST_ALIASES
    ):
        passed.add(end)
        here = by_name.get(end, ())
        wanted = [rrset for rrset in here if _answers(rrset, rdtype)]
        alias = next((rrset for rrset in here if rrset.rdtype == dns.rdatatype.CNAME), None)
        dname = next((rrset for rrset in dnames if below(rrset.name, end)), None)
        target = _target(alias)
        if dname is not None:
            made = _made(dname, end)
            # The CNAME that a server makes from a DNAME is not signed itself (RFC 6672 5.3.1). A
            # CNAME with another target is an ordinary one.
            if alias is None or target == made:
                wanted = [dname if rrset is alias else rrset for rrset in wanted]
                alias, target = dname, made
        if wanted:
            if all(map(has_authority, wanted)):
                answered = True
                links += [rrset for rrset in wanted if rrset.rdtype != dns.rdatatype.RRSIG]
                # No other data may stand beside an alias (RFC 2181 10.1). If it does, validators
                # require good signatures over both.
                if alias is not None and all(rrset is not alias for rrset in wanted):
                    links.append(alias)
            break
        if alias is None or not has_authority(alias):
            break
        links.append(alias)
        if target is None:
            break
        end = target
    return AliasChain(
        zone=zone, name=name, rdtype=rdtype, links=tuple(links), end=end, answered=answered
    )


def signatures_in(message: dns.message.Message) -> SignaturesByRRset:
    """All signatures in an answer that stand in the section of their RRset (RFC 4035 3.1.1)."""
    seen: dict[Covered, list[RRSIG]] = {}
    for section in (message.answer, message.authority):
        there = {(rrset.name, rrset.rdtype, rrset.rdclass) for rrset in section}
        for rrset in section:
            covered = rrset.name, rrset.covers, rrset.rdclass
            if rrset.rdtype == dns.rdatatype.RRSIG and covered in there:
                signatures = seen.setdefault((rrset.name, rrset.covers), [])
                signatures += [rdata for rdata in rrset if isinstance(rdata, RRSIG)]
    return seen


def _answers(rrset: dns.rrset.RRset, rdtype: dns.rdatatype.RdataType) -> bool:
    if rdtype == dns.rdatatype.ANY:
        return rrset.rdtype != dns.rdatatype.RRSIG
    return rrset.rdtype == rdtype


def _target(alias: dns.rrset.RRset | None) -> dns.name.Name | None:
    """The target of a CNAME; of two records the first, as both are judged together."""
    return next((rdata.target for rdata in alias or () if isinstance(rdata, CNAME)), None)


def _made(dname: dns.rrset.RRset, name: dns.name.Name) -> dns.name.Name | None:
    """The name after substitution by a DNAME (RFC 6672 2.2); None if it is too long."""
    rest = name.relativize(dname.name)
    for rdata in dname:
        if isinstance(rdata, DNAME):
            try:
                return rest.concatenate(rdata.target)
            except dns.name.NameTooLong:
                return None
    return None
