"""What a zone's own key set is verified against: a trust anchor, or its parent's DS set.

A DS set from a cache may be an older one than what a server of the parent says. Of two the one
with the newer signature is the one to go by.
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
from steering.observe.dnssec.chain import Lack, Unobtainable
from steering.observe.dnssec.signatures import RRSIG, instant
from steering.observe.dnssec.trust import DNSKEY, DS, name_of, named, text_of

_MOST_TOLD: Final = 16
_SHA1: Final = 1
_DIGESTS: Final = frozenset({_SHA1, 2, 4})
"""Digests that a validator must or may know (RFC 8624 3.3). A zone that has only others, or only
other algorithms, counts as insecure (RFC 4035 5.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneEntry:
    """What a zone's set is verified against, as the parent said it."""

    anchor: Anchor
    said: Instant
    """When the parent did, or whoever had it in a cache then; infinity: a trust anchor."""
    inception: WallTime = 0.0
    """Of the parent's signature: of two DS sets the newer is the one to go by."""
    expiration: WallTime = math.inf
    """Of that, too: afterwards any other one is newer."""
    by: str = "the trust anchor"

    def gives_way(self, other: ZoneEntry, wall: WallTime) -> bool:
        """Whether another one of the same zone is as new, or this one's signature has run out."""
        if self.expiration < wall:
            return True
        return (other.inception, other.said) >= (self.inception, self.said)


def said(
    rrset: dns.rrset.RRset, good: Iterable[RRSIG], by: str, now: Instant, wall: WallTime
) -> ZoneEntry | None:
    """What a DS set lets in, with the good ones of the signatures over it; `by`: who gave it.

    None: nothing in it that validators can use.
    """
    ds = tuple(record for record in rrset if isinstance(record, DS))
    known = usable(Anchor(zone=text_of(rrset.name), ds=ds))
    if known is None:
        return None
    signatures = list(good)
    # A cache counts the TTL down from what the parent signed (RFC 4034 3.1.4).
    age = max(float(rrsig.original_ttl) for rrsig in signatures) - rrset.ttl
    return ZoneEntry(
        anchor=known,
        said=now - max(0.0, age),
        inception=float(max(instant(rrsig.inception, wall) for rrsig in signatures)),
        expiration=float(max(instant(rrsig.expiration, wall) for rrsig in signatures)),
        by=by,
    )


def usable(anchor: Anchor) -> Anchor | None:
    """What of an anchor validators can use; None: the zone counts as insecure (RFC 4035 5.2)."""
    ds = [r for r in anchor.ds if r.algorithm in ALGORITHMS and r.digest_type in _DIGESTS]
    # Who can read the better digests passes SHA-1 over where both are (RFC 4509 3).
    ds = [r for r in ds if r.digest_type != _SHA1] or ds
    dnskey = [key for key in anchor.dnskey if key.algorithm in ALGORITHMS]
    if not ds and not dnskey:
        return None
    return replace(anchor, ds=tuple(ds), dnskey=tuple(dnskey))


def names(anchor: Anchor, key: DNSKEY) -> bool:
    """Whether an anchor's keys or digests name a key."""
    zone = name_of(anchor.zone)
    if key in anchor.dnskey:
        return True
    tag = dns.dnssec.key_id(key)
    for ds in anchor.ds:
        if ds.key_tag == tag and ds.algorithm == key.algorithm:
            try:
                made = dns.dnssec.make_ds(zone, key, ds.digest_type, validating=True)
            except dns.exception.DNSException:  # a digest that is not known here
                continue
            if made == ds:
                return True
    return False


def untrusted(
    entry: ZoneEntry, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG], resolver: str
) -> Unobtainable:
    """Why a set is not taken, and who gave what."""
    anchor, signer = entry.anchor, name_of(entry.anchor.zone)
    listed = (*anchor.ds, *anchor.dnskey)
    algorithms = {ds.algorithm for ds in anchor.ds} | {key.algorithm for key in anchor.dnskey}
    if cannot := {int(algorithm) for algorithm in algorithms} & refused():
        return Unobtainable(f"{anchor.zone} DNSKEY: {refusal(min(cannot))}", Lack.ALGORITHM)
    there = [key for key in rrset if isinstance(key, DNSKEY) and names(anchor, key)]
    by = sorted({int(rrsig.key_tag) for rrsig in rrsigs if rrsig.signer == signer})
    signed = f"signed by {', '.join(map(str, by[:_MOST_TOLD]))}" if by else "not signed"
    what = "trust anchor" if math.isinf(entry.said) else f"DS set from {entry.by}"
    text = (
        f"{anchor.zone} DNSKEY: not signed by a key that is trusted. The {what} names "
        f"{named(listed)}; the DNSKEY set from {resolver} has {named(rrset)}, {signed}: "
    )
    if there:
        return Unobtainable(
            f"{text}the signature by {named(there)} is missing, bad or out of date",
            Lack.SIGNATURE,
        )
    return Unobtainable(f"{text}none of them is named", Lack.DS)
