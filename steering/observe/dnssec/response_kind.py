"""What kind of answer a message is, by its sections alone (RFC 2308 2, RFC 1034 4.3.2)."""

from __future__ import annotations

import enum
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from steering.model import WITHOUT_AUTHORITY, Kind
from steering.observe.dnssec.aliases import AliasChain
from steering.observe.dnssec.trust import below, text_of

_ALIASES: Final = frozenset({dns.rdatatype.CNAME, dns.rdatatype.DNAME})
_APEX_KINDS: Final = frozenset({Kind.SOA, Kind.DNSKEY})


class ResponseKind(enum.Enum):
    """The kinds of answers."""

    POSITIVE = enum.auto()
    NXDOMAIN = enum.auto()
    NODATA = enum.auto()
    REFERRAL = enum.auto()
    FOREIGN = enum.auto()  # out of a zone that is none of the policy's
    LAME = enum.auto()
    LIE = enum.auto()


def shape_of(
    message: dns.message.Message,
    chain: AliasChain,
    kind: Kind,
) -> tuple[ResponseKind, str]:
    """The kind of answer, and why where it is none."""
    zone, name, rdtype = chain.zone, chain.name, chain.rdtype
    authoritative = bool(message.flags & dns.flags.AA)
    denied = message.rcode() == dns.rcode.NXDOMAIN
    if chain.links or chain.answered:
        if not authoritative:
            return ResponseKind.LAME, WITHOUT_AUTHORITY
        # Beside an alias NXDOMAIN is said of its target (RFC 6604 3), which has to be asked for;
        # beside anything else that was asked for it needs the proof that this does not exist.
        there = chain.answered and chain.links[-1:] and chain.links[-1].rdtype not in _ALIASES
        return (ResponseKind.NXDOMAIN if denied and there else ResponseKind.POSITIVE), ""
    apexes = [rrset.name for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA]
    servers = [rrset.name for rrset in message.authority if rrset.rdtype == dns.rdatatype.NS]
    if not denied and not apexes and servers:
        if below(zone, servers[0]) and name.is_subdomain(servers[0]):
            if rdtype == dns.rdatatype.DS and servers[0] == name:
                return ResponseKind.LAME, "a referral where the DS was asked"
            return ResponseKind.REFERRAL, ""
        if not authoritative:
            return ResponseKind.LAME, f"a referral to {text_of(servers[0])}"
    if not authoritative:
        return ResponseKind.LAME, WITHOUT_AUTHORITY
    if not apexes and not _denied(message, zone):
        if message.answer:
            return ResponseKind.LIE, f"the answer is about {text_of(message.answer[0].name)}"
        return ResponseKind.LAME, "no SOA"
    if apexes and apexes[0] != zone:
        detail = f"SOA of {text_of(apexes[0])}"
        deeper = below(zone, apexes[0]) and name.is_subdomain(apexes[0])
        return (
            ResponseKind.FOREIGN if deeper and kind is Kind.WITNESS else ResponseKind.LAME
        ), detail
    if kind in _APEX_KINDS and (kind is Kind.SOA or denied):
        return ResponseKind.LAME, f"no {dns.rdatatype.to_text(rdtype)} at the zone's apex"
    return (ResponseKind.NXDOMAIN if denied else ResponseKind.NODATA), ""


def _denied(message: dns.message.Message, zone: dns.name.Name) -> bool:
    """Whether records of a denial came, which need no SOA to be one (RFC 2308 2.2.1)."""
    return any(
        rrset.rdtype in {dns.rdatatype.NSEC, dns.rdatatype.NSEC3} and rrset.name.is_subdomain(zone)
        for rrset in message.authority
    )
