"""The reading rule: what a resolver uses of an answer, and nothing else of it is judged. Pure.

An answer is read by the zone whose server was asked. Of the answer section the way from the
question counts (`aliases`), whatever stands beside it. Of the authority section counts what is
needed: in a denial the SOA and the zone's NSEC and NSEC3 records (RFC 4035 3.1.3), in a
referral what is said of the DS (3.1.4), and beside RRsets made from a wildcard the proof that
they had to be (5.3.4). The names of servers at the apex are hints in all of them, and the
additional section is hints alone (RFC 2181 5.4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from steering.observe.dnssec.aliases import AliasChain, Seen
from steering.observe.dnssec.response_kind import ResponseKind

DENIALS: Final = frozenset({dns.rdatatype.NSEC, dns.rdatatype.NSEC3})


def used(
    message: dns.message.Message,
    shape: ResponseKind,
    chain: AliasChain,
    seen: Seen,
    wild: Callable[[], bool],
) -> Iterator[dns.rrset.RRset]:
    """The RRsets that a resolver uses of an answer, those of the answer section first.

    `wild` says of these, once they were taken, whether one is made from a wildcard.
    """
    yield from chain.links
    match shape:
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
    message: dns.message.Message, zone: dns.name.Name, seen: Seen
) -> Iterator[dns.rrset.RRset]:
    """The NSEC and NSEC3 RRsets that are the zone's: those signed by others alone are not."""
    for rrset in message.authority:
        if rrset.rdtype in DENIALS and rrset.name.is_subdomain(zone):
            held = seen.get((rrset.name, rrset.rdtype))
            if not held or any(rrsig.signer == zone for rrsig in held):
                yield rrset


def cut_of(message: dns.message.Message) -> dns.name.Name:
    """The zone that a referral leads to."""
    return next(r.name for r in message.authority if r.rdtype == dns.rdatatype.NS)


def delegated(message: dns.message.Message) -> list[dns.rrset.RRset]:
    """The DS records in a referral."""
    cut = cut_of(message)
    return [r for r in message.authority if r.rdtype == dns.rdatatype.DS and r.name == cut]
