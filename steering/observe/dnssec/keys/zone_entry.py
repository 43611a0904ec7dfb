"""What a zone's key set is verified against: a trust anchor, or the parent's DS set.

A DS set from a cache may be older than that of the parent's servers. Of two sets the one with the
newer signature is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import dns.dnssec
import dns.exception
import dns.rrset

from steering.model import Instant, WallTime
from steering.observe.dnssec.algorithms import ALGORITHMS, refusal, refused
from steering.observe.dnssec.anchors import Anchor
from steering.observe.dnssec.keys.chain import Lack, Unobtainable
from steering.observe.dnssec.signatures import RRSIG, instant
from steering.observe.dnssec.trust import DNSKEY, DS, name_of, named, text_of

_MOST_LISTED: Final = 16
_SHA1: Final = 1
_DIGESTS: Final = frozenset({_SHA1, 2, 4})
"""The digest types that a validator must or may implement (RFC 8624 3.3). A zone with other ones
only, or with other algorithms only, counts as insecure (RFC 4035 5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneEntry:
    """What a zone's key set is verified against."""

    anchor: Anchor
    as_of: Instant
    """When the parent gave the DS set, to this host or to a cache; infinity for a trust anchor."""
    inception: WallTime = 0.0
    """Of the parent's signature: of two DS sets the newer one is used."""
    expiration: WallTime = math.inf
    """Of the parent's signature: afterwards any other DS set replaces it."""
    by: str = "the trust anchor"

    def gives_way(self, other: ZoneEntry, wall: WallTime) -> bool:
        """Whether another entry of the zone is as new, or this one's signature has expired."""
        if self.expiration < wall:
            return True
        return (other.inception, other.as_of) >= (self.inception, self.as_of)


def entry_of(
    rrset: dns.rrset.RRset, good: Iterable[RRSIG], by: str, now: Instant, wall: WallTime
) -> ZoneEntry | None:
    """The entry made of a DS set and the good signatures over it; `by` is who gave it.

    None: the set has nothing that validators can use.
    """
    ds = tuple(record for record in rrset if isinstance(record, DS))
    known = usable(Anchor(zone=text_of(rrset.name), ds=ds))
    if known is None:
        return None
    signatures = list(good)
    # A cache counts the TTL down from the signed original TTL (RFC 4034 3.1.4).
    age = max(float(rrsig.original_ttl) for rrsig in signatures) - rrset.ttl
    return ZoneEntry(
        anchor=known,
        as_of=now - max(0.0, age),
        inception=float(max(instant(rrsig.inception, wall) for rrsig in signatures)),
        expiration=float(max(instant(rrsig.expiration, wall) for rrsig in signatures)),
        by=by,
    )


def usable(anchor: Anchor) -> Anchor | None:
    """The part of an anchor that validators can use; None: the zone is insecure (RFC 4035 5.2)."""
    ds = [r for r in anchor.ds if r.algorithm in ALGORITHMS and r.digest_type in _DIGESTS]
    # A validator that supports SHA-256 ignores SHA-1 digests beside it (RFC 4509 3).
    ds = [r for r in ds if r.digest_type != _SHA1] or ds
    dnskey = [key for key in anchor.dnskey if key.algorithm in ALGORITHMS]
    if not ds and not dnskey:
        return None
    return replace(anchor, ds=tuple(ds), dnskey=tuple(dnskey))


def lists(anchor: Anchor, key: DNSKEY) -> bool:
    """Whether a key is among an anchor's keys, or has one of its digests."""
    zone = name_of(anchor.zone)
    if key in anchor.dnskey:
        return True
    tag = dns.dnssec.key_id(key)
    for ds in anchor.ds:
        if ds.key_tag == tag and ds.algorithm == key.algorithm:
            try:
                made = dns.dnssec.make_ds(zone, key, ds.digest_type, validating=True)
            except dns.exception.DNSException:  # a digest type that the library does not know
                continue
            if made == ds:
                return True
    return False


def untrusted(
    entry: ZoneEntry, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG], resolver: str
) -> Unobtainable:
    """Why a DNSKEY set is not trusted, with the sources of both sets."""
    anchor, signer = entry.anchor, name_of(entry.anchor.zone)
    listed = (*anchor.ds, *anchor.dnskey)
    algorithms = {ds.algorithm for ds in anchor.ds} | {key.algorithm for key in anchor.dnskey}
    if cannot := {int(algorithm) for algorithm in algorithms} & refused():
        return Unobtainable(f"{anchor.zone} DNSKEY: {refusal(min(cannot))}", Lack.ALGORITHM)
    there = [key for key in rrset if isinstance(key, DNSKEY) and lists(anchor, key)]
    by = sorted({int(rrsig.key_tag) for rrsig in rrsigs if rrsig.signer == signer})
    signed = f"signed by {', '.join(map(str, by[:_MOST_LISTED]))}" if by else "not signed"
    what = "trust anchor" if math.isinf(entry.as_of) else f"DS set from {entry.by}"
    text = (
        f"{anchor.zone} DNSKEY: not signed by a key that is trusted. The {what} lists "
        f"{named(listed)}; the DNSKEY set from {resolver} has {named(rrset)}, {signed}: "
    )
    if there:
        return Unobtainable(
            f"{text}the signature by {named(there)} is missing, bad or expired",
            Lack.SIGNATURE,
        )
    return Unobtainable(f"{text}none of them is named", Lack.DS)
