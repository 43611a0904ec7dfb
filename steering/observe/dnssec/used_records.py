"""Selects the RRsets of an answer that a resolver uses; only these are judged. Pure.

The zone whose server was asked is the reference. Of the answer section the chain of aliases from
the question counts (`aliases`); other records there are ignored. Of the authority section only
what is needed counts: in a denial the SOA and the zone's NSEC and NSEC3 records (RFC 4035 3.1.3),
in a referral the DS or its denial (3.1.4), and beside RRsets made from a wildcard the proof that no
closer name exists (5.3.4). NS records at the apex are hints in all answers, and the additional
section holds only hints (RFC 2181 5.4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from steering.observe.dnssec.aliases import AliasChain, SignaturesByRRset
from steering.observe.dnssec.response_kind import ResponseKind

DENIALS: Final = frozenset({dns.rdatatype.NSEC, dns.rdatatype.NSEC3})


def used(
    message: dns.message.Message,
    kind: ResponseKind,
    chain: AliasChain,
    seen: SignaturesByRRset,
    wild: Callable[[], bool],
) -> Iterator[dns.rrset.RRset]:
    """The RRsets that a resolver uses of an answer, those of the answer section first.

    `wild` is called after these: whether one of them was made from a wildcard.
    """
    yield from chain.links
    match kind:
        case ResponseKind.POSITIVE:
            needed = wild()
        case ResponseKind.REFERRAL:
            ds = delegated(message)
            yield from ds
            needed = not ds
        case _:
            needed = True
            for rrset in message.authority:
                if rrset.rdtype == dns.rdatatype.SOA and rrset.name == chain.zone:
                    yield rrset
    if needed:
        yield from denials(message, chain.zone, seen)


def denials(
    message: dns.message.Message, zone: dns.name.Name, seen: SignaturesByRRset
) -> Iterator[dns.rrset.RRset]:
    """The zone's NSEC and NSEC3 RRsets, without those that only other zones signed."""
    for rrset in message.authority:
        if rrset.rdtype in DENIALS and rrset.name.is_subdomain(zone):
            signatures = seen.get((rrset.name, rrset.rdtype))
            if not signatures or any(rrsig.signer == zone for rrsig in signatures):
                yield rrset


def cut_of(message: dns.message.Message) -> dns.name.Name:
    """The zone that a referral leads to."""
    return next(r.name for r in message.authority if r.rdtype == dns.rdatatype.NS)


def delegated(message: dns.message.Message) -> list[dns.rrset.RRset]:
    """The DS records in a referral."""
    cut = cut_of(message)
    return [r for r in message.authority if r.rdtype == dns.rdatatype.DS and r.name == cut]
