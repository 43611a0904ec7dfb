"""What kind of answer a message is, by its sections alone (RFC 2308 2, RFC 1034 4.3.2)."""

from __future__ import annotations

import enum
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from steering.model import Kind
from steering.observe.trust import below, text_of

_APEX_KINDS: Final = frozenset({Kind.SOA, Kind.DNSKEY})


class Shape(enum.Enum):
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
    zone: dns.name.Name,
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
    kind: Kind,
) -> tuple[Shape, str]:
    """The kind of answer, and why where it is none."""
    authoritative = bool(message.flags & dns.flags.AA)
    chain, answered = {name}, False
    for rrset in message.answer:
        if rrset.rdtype == dns.rdatatype.DNAME and any(below(rrset.name, link) for link in chain):
            answered = True
        elif rrset.name not in chain:
            return Shape.LIE, f"the answer is about {text_of(rrset.name)}"
        elif rrset.rdtype == dns.rdatatype.CNAME:
            answered = True
            chain.update(rdata.target for rdata in rrset)
        elif rrset.rdtype == rdtype:
            answered = True
    apexes = [rrset.name for rrset in message.authority if rrset.rdtype == dns.rdatatype.SOA]
    servers = [rrset.name for rrset in message.authority if rrset.rdtype == dns.rdatatype.NS]
    if answered:
        return (Shape.POSITIVE, "") if authoritative else (Shape.LAME, "not authoritative")
    if message.rcode() == dns.rcode.NOERROR and not apexes and servers:
        if below(zone, servers[0]) and name.is_subdomain(servers[0]):
            if rdtype == dns.rdatatype.DS and servers[0] == name:
                return Shape.LAME, "a referral where the DS was asked"
            return Shape.REFERRAL, ""
        if not authoritative:
            return Shape.LAME, f"a referral to {text_of(servers[0])}"
    if not authoritative:
        return Shape.LAME, "not authoritative"
    if not apexes:
        return Shape.LAME, "no SOA"
    if apexes[0] != zone:
        detail = f"SOA of {text_of(apexes[0])}"
        deeper = below(zone, apexes[0]) and name.is_subdomain(apexes[0])
        return (Shape.FOREIGN if deeper and kind is Kind.WITNESS else Shape.LAME), detail
    if kind in _APEX_KINDS and (kind is Kind.SOA or message.rcode() == dns.rcode.NXDOMAIN):
        return Shape.LAME, f"no {dns.rdatatype.to_text(rdtype)} at the zone's apex"
    return (Shape.NXDOMAIN if message.rcode() == dns.rcode.NXDOMAIN else Shape.NODATA), ""
