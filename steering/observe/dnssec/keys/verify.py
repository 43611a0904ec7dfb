"""Verifies the signatures of one zone over RRsets of an answer, for the key store's chain."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import dns.message
import dns.rdataset
import dns.rrset

from steering.model import Outcome, Seconds, WallTime
from steering.observe.dnssec.aliases import signatures_in
from steering.observe.dnssec.anchors import Anchor
from steering.observe.dnssec.denial import DenialProof
from steering.observe.dnssec.keys.chain import Unobtainable
from steering.observe.dnssec.keys.zone_entry import lists
from steering.observe.dnssec.signatures import RRSIG, Signatures, instant
from steering.observe.dnssec.trust import DNSKEY, Keys, name_of
from steering.observe.dnssec.used_records import denials

_MOST_KEYS: Final = 48
_MOST_SIGNATURES: Final = 16


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies by given keys, at the current time of `wall`. `skew` is in seconds."""

    signatures: Signatures
    wall: Callable[[], WallTime]
    skew: Seconds

    def proof(self, message: dns.message.Message, parent: Keys) -> DenialProof:
        """The parent's denial records in an answer whose signatures are good.

        Raises Unobtainable for the first bad one if none is good.
        """
        signer, seen = name_of(parent.zone), signatures_in(message)
        records, bad = [], None
        for rrset in denials(message, signer, seen):
            try:
                made = self.require(rrset, seen.get((rrset.name, rrset.rdtype), ()), parent)
            except Unobtainable as error:
                bad = bad or error
                continue
            if made is None:  # a record made from a wildcard denies nothing (CVE-2017-15105)
                records += [(rrset.name, rdata) for rdata in rrset]
        if bad is not None and not records:
            raise bad
        return DenialProof.of(signer, records)

    def require(self, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG], keys: Keys) -> int | None:
        """Raises Unobtainable unless the zone signed the RRset. Returns `Finding.wildcard`."""
        signer = name_of(keys.zone)
        own = [rrsig for rrsig in rrsigs if rrsig.signer == signer]
        finding = self.signatures.examine(rrset, own, keys, wall=self.wall(), skew=self.skew)
        if finding.outcome is not Outcome.SECURE:
            raise Unobtainable(f"{finding.evidence}")
        return finding.wildcard

    def key_set(
        self, anchor: Anchor, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG]
    ) -> Keys | None:
        """The set, if a key that `anchor` names signed it and the signature is in its period."""
        wall, signer = self.wall(), name_of(anchor.zone)
        if rrset.name != signer or len(rrset) > _MOST_KEYS:
            return None
        trusting = [key for key in rrset if isinstance(key, DNSKEY) and lists(anchor, key)]
        if not trusting:
            return None
        trusted = Keys(
            zone=anchor.zone,
            rdataset=dns.rdataset.from_rdata_list(0, trusting),
            inception=0.0,
            expiration=0.0,
            checked=wall,
            trusted=tuple(trusting),
        )
        if not (good := self.good(rrset, rrsigs, trusted)):
            return None
        rdataset = dns.rdataset.from_rdata_list(rrset.ttl, list(rrset))
        return replace(
            trusted,
            rdataset=rdataset,
            inception=float(max(instant(rrsig.inception, wall) for rrsig in good)),
            expiration=float(max(instant(rrsig.expiration, wall) for rrsig in good)),
        )

    def good(self, rrset: dns.rrset.RRset, rrsigs: Iterable[RRSIG], keys: Keys) -> list[RRSIG]:
        """A zone's good signatures over an RRset; at most `_MOST_SIGNATURES` are examined."""
        signer, wall = name_of(keys.zone), self.wall()
        return [
            rrsig
            for rrsig in itertools.islice(rrsigs, _MOST_SIGNATURES)
            if rrsig.signer == signer
            and self.signatures.examine(rrset, [rrsig], keys, wall=wall, skew=self.skew).outcome
            is Outcome.SECURE
        ]
