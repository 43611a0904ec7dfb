"""The zone's digest: what its ZONEMD records amount to (RFC 8976 section 4).

They are classified before the library computes anything, since for it an unknown hash and a wrong
digest are one failure.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import dns.exception
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.ZONEMD
import dns.zone
import dns.zonetypes

from steering.observe.zone.facts import Digest

ZONEMD = dns.rdtypes.ANY.ZONEMD.ZONEMD
_SCHEMES: Final = {dns.zonetypes.DigestScheme.SIMPLE}
_HASHES: Final = {
    dns.zonetypes.DigestHashAlgorithm.SHA384,
    dns.zonetypes.DigestHashAlgorithm.SHA512,
}


def digest_of(zone: dns.zone.Zone, serial: int, *, signed: bool) -> Digest:
    """What the ZONEMD records at the apex amount to; `signed`: a good signature covers them.

    One that has the zone's digest is enough (section 4 step 5).
    """
    rdataset = zone.get_rdataset(zone.origin or ".", dns.rdatatype.ZONEMD)
    records = [r for r in rdataset or () if isinstance(r, ZONEMD)]
    if not records:
        return Digest.ABSENT
    known = [r for r in records if r.scheme in _SCHEMES and r.hash_algorithm in _HASHES]
    if not known:
        return Digest.UNSUPPORTED
    times = Counter((r.scheme, r.hash_algorithm) for r in records)
    single = [r for r in known if times[r.scheme, r.hash_algorithm] == 1]
    if not single:
        return Digest.DOUBLED
    current = [r for r in single if r.serial == serial]
    if not current:
        return Digest.OTHER_SERIAL
    for record in current:
        try:
            zone.verify_digest(record)
        except dns.zone.DigestVerificationFailure:
            continue
        return Digest.VERIFIED if signed else Digest.UNSIGNED
    return Digest.WRONG
