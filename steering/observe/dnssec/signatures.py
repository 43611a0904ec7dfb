"""Examines the signatures over an RRset: first the dates, then the key, then the cryptography.

Dates need no keys, so expired copies are recognised even without the zone's keys. Dates are
compared as serial numbers (RFC 4034 3.1.5 on RFC 1982), which works past 2038 and 2106.
Cryptography is expensive and often repeated: most answers about a zone carry the same SOA and the
same apex NSEC3, and one question goes over several paths at once. So the results for
(RRset, signature, key set) are cached, good and bad alike, up to a bound.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import dns.dnssec
import dns.exception
import dns.rdatatype
import dns.rdtypes.ANY.RRSIG
import dns.rrset

from steering.model import Evidence, Outcome, Seconds, WallTime
from steering.observe.dnssec.algorithms import ALGORITHMS, REFUSALS, refusal, refused
from steering.observe.dnssec.trust import Keys, name_of, text_of

RRSIG = dns.rdtypes.ANY.RRSIG.RRSIG

FRESH: Final = 600.0
"""Seconds for which a key set without a key shows that the key does not belong to the zone.

A new key is in the set for at least a TTL before it signs (RFC 7583 3.2). So a set that was seen
earlier shows nothing about a new key."""

MOST_TRIED: Final = 8
"""Signatures over one RRset that may fail cryptographically before the rest is skipped, as in
Unbound (CVE-2023-50387): thousands of them would keep a validator busy for minutes."""
MOST_WORK: Final = 256
"""Records to put in canonical form over all failing tries of one RRset: a large RRset has fewer
tries."""

_HALF: Final = 1 << 31
_WHOLE: Final = 1 << 32
_NEVER: Final = float("nan")
"""The time to give dnspython: NaN compares false with everything, so its own check of the dates, by
plain integers, never fails. The dates are checked here before."""


def instant(stamp: int, wall: WallTime) -> int:
    """The UNIX seconds nearest to `wall` that a 32-bit stamp can mean (RFC 1982 3.2)."""
    distance = (stamp - int(wall)) % _WHOLE
    return int(wall) + (distance - _WHOLE if distance >= _HALF else distance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of examining one RRset's signatures."""

    outcome: Outcome
    judged: bool = True
    evidence: Evidence | None = None
    wildcard: int | None = None
    """If a good RRset was made from a wildcard: the number of the wildcard's labels, as in the
    signature (RFC 4035 5.3.2)."""

    @property
    def rank(self) -> int:
        """Rank from good to worst. Of an RRset's signatures the lowest rank counts, of an answer's
        RRsets the highest.
        """
        return _RANKS[self.outcome, self.judged]


_RANKS: Final = {
    key: rank
    for rank, key in enumerate(
        (
            (Outcome.SECURE, True),
            (Outcome.UNSIGNED, False),
            (Outcome.NO_KEY, False),
            (Outcome.EXPIRED, True),
            (Outcome.NOT_YET_VALID, True),
            (Outcome.BAD_SIGNATURE, True),
            (Outcome.NO_KEY, True),
            (Outcome.UNSIGNED, True),
        )
    )
}


GOOD: Final = Finding(outcome=Outcome.SECURE)
"""The finding for an RRset without a fault."""


class Signatures:
    """Verifies signatures, and caches the results; the oldest is dropped first."""

    def __init__(self, capacity: int = 4096) -> None:
        self.failed = 0
        """How often the cryptographic check of a signature failed."""
        self._known: dict[bytes, bool | None] = {}
        self._capacity = capacity

    def examine(
        self,
        rrset: dns.rrset.RRset,
        signatures: Sequence[RRSIG],
        keys: Keys | None,
        *,
        wall: WallTime,
        skew: Seconds,
    ) -> Finding:
        """Examine the signatures by one zone over one of its RRsets.

        `keys` is that zone's set, None if it is not available. `skew` is in seconds: by how much
        this host's clock and the signer's may differ.
        """
        known = [rrsig for rrsig in signatures if rrsig.algorithm in ALGORITHMS]
        if not known:
            which = " by an algorithm that validators know" if signatures else ""
            return Finding(
                outcome=Outcome.UNSIGNED,
                judged=keys is not None,
                evidence=_evidence(rrset, None, wall, f"no signature by the zone{which}"),
            )
        most = max(1, min(MOST_TRIED, MOST_WORK // len(rrset)))
        best: Finding | None = None
        for rrsig in known:
            finding = self._one(rrset, rrsig, keys, wall, skew)
            if best is None or finding.rank < best.rank:
                best = finding
            if finding.outcome is Outcome.BAD_SIGNATURE:
                self.failed += 1
                most -= 1
            if finding.outcome is Outcome.SECURE or not most:
                break
        assert best is not None
        return best

    def _one(
        self,
        rrset: dns.rrset.RRset,
        rrsig: RRSIG,
        keys: Keys | None,
        wall: WallTime,
        skew: Seconds,
    ) -> Finding:
        def found(outcome: Outcome, detail: str, *, judged: bool = True) -> Finding:
            evidence = _evidence(rrset, rrsig, wall, detail)
            return Finding(outcome=outcome, judged=judged, evidence=evidence)

        if (late := wall - skew - instant(rrsig.expiration, wall)) > 0:
            return found(Outcome.EXPIRED, f"signature expired {late:.0f} s ago")
        if (early := instant(rrsig.inception, wall) - wall - skew) > 0:
            return found(Outcome.NOT_YET_VALID, f"signature begins in {early:.0f} s")
        if (rrsig.expiration - rrsig.inception) % _WHOLE >= _HALF:
            # By serial number arithmetic (RFC 4034 3.1.5) the end is before the beginning.
            return found(Outcome.EXPIRED, "signature ends before it begins")
        if keys is None:
            return found(Outcome.NO_KEY, "the zone's keys are not available", judged=False)
        if (rrsig.algorithm, rrsig.key_tag) not in keys.tags:
            fresh = abs(wall - keys.checked) <= FRESH
            return found(
                Outcome.NO_KEY,
                f"key {rrsig.key_tag} (algorithm {int(rrsig.algorithm)}) is not in the zone's key"
                f" set: {keys.text}",
                judged=fresh,
            )
        if rrsig.algorithm in refused():
            return found(Outcome.NO_KEY, refusal(rrsig.algorithm), judged=False)
        match self._verified(rrset, rrsig, keys):
            case True:
                own = len(rrset.name) - 1
                if rrsig.labels < own and rrsig.labels < own - rrset.name.is_wild():
                    return Finding(outcome=Outcome.SECURE, wildcard=rrsig.labels)
                return GOOD
            case False:
                return found(Outcome.BAD_SIGNATURE, "the signature does not verify")
            case None:
                return found(Outcome.NO_KEY, refusal(rrsig.algorithm), judged=False)

    def _verified(self, rrset: dns.rrset.RRset, rrsig: RRSIG, keys: Keys) -> bool | None:
        triple = _digest(rrset, rrsig, keys)
        try:
            return self._known[triple]
        except KeyError:
            pass
        while len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        self._known[triple] = verdict = _verify(rrset, rrsig, keys)
        return verdict

    def __len__(self) -> int:
        return len(self._known)


def _verify(rrset: dns.rrset.RRset, rrsig: RRSIG, keys: Keys) -> bool | None:
    signer = name_of(keys.zone)
    try:
        dns.dnssec.validate_rrsig(rrset, rrsig, {signer: keys.rdataset}, None, _NEVER)
    except REFUSALS:
        return None
    except (dns.exception.DNSException, ValueError, struct.error, IndexError):
        return False  # the last three: a truncated key, numbers outside the curve or modulus
    return True


def _digest(rrset: dns.rrset.RRset, rrsig: RRSIG, keys: Keys) -> bytes:
    digest = hashlib.blake2b(keys.digest, digest_size=16)
    parts = [rrset.name.to_digestable(), rrsig.to_digestable()]
    parts += sorted(rdata.to_digestable() for rdata in rrset)
    for part in parts:
        digest.update(len(part).to_bytes(2, "big"))
        digest.update(part)
    return digest.digest()


def soonest(signatures: Iterable[RRSIG], wall: WallTime) -> WallTime | None:
    """When the first of the signatures expires, in UNIX seconds."""
    return min((float(instant(rrsig.expiration, wall)) for rrsig in signatures), default=None)


def _evidence(rrset: dns.rrset.RRset, rrsig: RRSIG | None, wall: WallTime, detail: str) -> Evidence:
    return Evidence(
        owner=text_of(rrset.name),
        rdtype=dns.rdatatype.to_text(rrset.rdtype),
        detail=detail,
        key_tag=rrsig.key_tag if rrsig else None,
        inception=instant(rrsig.inception, wall) if rrsig else None,
        expiration=instant(rrsig.expiration, wall) if rrsig else None,
    )
