"""The validator of the small resolver: every RRset must have a valid signature by the zone's keys.

It checks signatures, and that a denial or an unsigned delegation comes with a signed proof. It does
not check which names an NSEC3 covers. That is enough to fail as a resolver does when an instance is
stale; don't use it for anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from steering.model import WallTime

_PROOF = (dns.rdatatype.NSEC3, dns.rdatatype.DS)


class BogusError(Exception):
    """An answer that does not validate; the text has the RRset and the reason."""


def validate(message: dns.message.Message, keys: dns.rrset.RRset, *, now: WallTime) -> None:
    """Check an answer of a zone against its DNSKEY set. Raises BogusError."""
    apex = keys.name
    for section in (message.answer, message.authority):
        signatures = {(r.name, r.covers): r for r in section if r.rdtype == dns.rdatatype.RRSIG}
        for rrset in section:
            cut = rrset.rdtype == dns.rdatatype.NS and rrset.name != apex
            if rrset.rdtype != dns.rdatatype.RRSIG and not cut:
                _check(rrset, signatures.get((rrset.name, rrset.rdtype)), keys, now)
    if not message.answer and not any(r.rdtype in _PROOF for r in message.authority):
        raise BogusError(f"{apex}: a denial without proof")


def trusted_keys(
    message: dns.message.Message, anchors: Sequence[str], zone: dns.name.Name, *, now: WallTime
) -> dns.rrset.RRset:
    """The DNSKEY set of an answer, if a key that an anchor (DS text) names signed it.

    Raises BogusError.
    """
    wanted = {dns.rrset.from_text(zone, 0, "IN", "DS", text)[0].to_text() for text in anchors}
    keys = message.get_rrset(message.answer, zone, dns.rdataclass.IN, dns.rdatatype.DNSKEY)
    signatures = message.get_rrset(
        message.answer, zone, dns.rdataclass.IN, dns.rdatatype.RRSIG, dns.rdatatype.DNSKEY
    )
    if keys is None:
        raise BogusError(f"{zone}: no keys")
    named = [k for k in keys if dns.dnssec.make_ds(zone, k, "SHA256").to_text() in wanted]
    if not named:
        raise BogusError(f"{zone}: no key that an anchor names")
    _check(keys, signatures, dns.rrset.from_rdata_list(zone, keys.ttl, named), now)
    return keys


def _check(
    rrset: dns.rrset.RRset,
    signatures: dns.rrset.RRset | None,
    keys: dns.rrset.RRset,
    now: WallTime,
) -> None:
    subject = f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)}"
    if signatures is None:
        raise BogusError(f"{subject}: no signature")
    try:
        dns.dnssec.validate(rrset, signatures, {keys.name: keys}, now=now)
    except dns.exception.ValidationFailure as error:
        raise BogusError(f"{subject}: {error}") from error
