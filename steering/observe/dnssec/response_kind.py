"""Determines the kind of a response by its sections alone (RFC 2308 2, RFC 1034 4.3.2)."""

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
    FOREIGN = enum.auto()  # from a zone that the policy does not have
    LAME = enum.auto()
    LIE = enum.auto()


def kind_of_response(
    message: dns.message.Message,
    chain: AliasChain,
    kind: Kind,
) -> tuple[ResponseKind, str]:
    """The kind of response, and the reason if it is no proper answer."""
    zone, name, rdtype = chain.zone, chain.name, chain.rdtype
    authoritative = bool(message.flags & dns.flags.AA)
    denied = message.rcode() == dns.rcode.NXDOMAIN
    if chain.links or chain.answered:
        if not authoritative:
            return ResponseKind.LAME, WITHOUT_AUTHORITY
        # Beside an alias, NXDOMAIN is about the alias's target (RFC 6604 3), which a resolver asks
        # for separately. Beside other data NXDOMAIN needs a proof that the name does not exist.
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
    """Whether NSEC or NSEC3 records of the zone came; a denial needs no SOA (RFC 2308 2.2.1)."""
    return any(
        rrset.rdtype in {dns.rdatatype.NSEC, dns.rdatatype.NSEC3} and rrset.name.is_subdomain(zone)
        for rrset in message.authority
    )
