"""Classifies an answer that an upstream gave to a resolver. Pure.

It is verified with keys like the answer to a probe, but less of it counts. The question may have
been a bad one, so only signatures count, and missing ones only if the question asked for them.
The name in the question comes from a client: nothing that leaves this module contains it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype

from steering.model import (
    SHOWN_BY_A,
    Classified,
    Evidence,
    Failure,
    Kind,
    Outcome,
    Seconds,
    Verdict,
    WallTime,
)
from steering.observe.dnssec.denial import NSEC, NSEC3
from steering.observe.dnssec.parse import decode
from steering.observe.dnssec.response import weigh
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust, name_of, text_of

_META: Final = range(128, 256)  # question types and meta types (RFC 6895 3.1)
_RRSIG: Final = 46


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The result of verifying one answer to a resolver."""

    zone: str
    failure: Failure | None = None
    """None: they are good."""
    denial: NSEC | NSEC3 | None = None
    """The failing record, if it is an NSEC or NSEC3."""
    serial: int | None = None
    """Serial of the zone's SOA record, if the answer is good."""
    unknown_key: bool = False
    """Signed by a key in no known set: it is not judged yet."""


def verify_response(
    wire: bytes,
    zones: Collection[str],
    trust: Trust,
    *,
    wall: WallTime,
    skew: Seconds,
    signatures: Signatures,
    secret: bytes,
) -> Verified | None:
    """Verify the bytes of a response; None: it shows nothing about these zones.

    Bytes never make it raise. `secret` keys the digest that replaces a client's name; the other
    arguments are as for `classify`.
    """
    message = decode(wire)
    if (
        isinstance(message, Classified)
        or message.flags & dns.flags.TC
        or len(message.question) != 1
    ):
        return None
    asked = message.question[0]
    zone = _zone_of(asked.name, asked.rdtype, zones)
    if zone is None or asked.rdclass != dns.rdataclass.IN:
        return None
    reading = weigh(
        message,
        zone=zone,
        name=asked.name,
        rdtype=asked.rdtype,
        kind=Kind.WITNESS,
        trust=trust,
        wall=wall,
        skew=skew,
        signatures=signatures,
    )
    if reading.outcome is Outcome.NO_KEY and not reading.judged and zone in trust.secure:
        return Verified(zone=zone, unknown_key=True)
    if not reading.judged or reading.outcome.verdict not in {Verdict.GOOD, Verdict.BOGUS}:
        return None
    if reading.outcome is Outcome.SECURE:
        return Verified(zone=zone, serial=reading.serial)
    if reading.evidence is None or not _wanted(message, reading.outcome, asked.rdtype):
        return None
    return _failed(message, zone, reading.outcome, reading.evidence, secret)


def _zone_of(
    name: dns.name.Name, rdtype: dns.rdatatype.RdataType, zones: Collection[str]
) -> str | None:
    """The closest zone around a name; a DS record belongs to the parent (RFC 4035 2.4)."""
    apexes = ((name_of(zone), zone) for zone in zones)
    around = [
        (len(apex), zone)
        for apex, zone in apexes
        if name.is_subdomain(apex) and not (rdtype == dns.rdatatype.DS and apex == name)
    ]
    return max(around, default=(0, None))[1]


def _wanted(message: dns.message.Message, outcome: Outcome, rdtype: int) -> bool:
    """Whether a missing signature was asked for: servers copy the DO bit (RFC 3225 3)."""
    if outcome is not Outcome.UNSIGNED:
        return True
    return bool(message.ednsflags & dns.flags.DO) and rdtype not in _META and rdtype != _RRSIG


def _failed(
    message: dns.message.Message, zone: str, outcome: Outcome, evidence: Evidence, secret: bytes
) -> Verified:
    rrset = next(
        (
            candidate
            for candidate in (*message.answer, *message.authority)
            if text_of(candidate.name) == evidence.owner
            and dns.rdatatype.to_text(candidate.rdtype) == evidence.rdtype
        ),
        None,
    )
    if rrset is None:  # the proof for the name in the question is missing
        digest = hashlib.blake2b(evidence.owner.encode(), key=secret, digest_size=8).hexdigest()
        shown = replace(evidence, owner=zone)
        return Verified(zone=zone, failure=Failure(name=digest, outcome=outcome, evidence=shown))
    first = rrset[0]
    return Verified(
        zone=zone,
        failure=Failure(
            name=evidence.owner,
            outcome=outcome,
            evidence=evidence,
            ask=evidence.owner if evidence.rdtype in SHOWN_BY_A else None,
        ),
        denial=first if isinstance(first, NSEC | NSEC3) else None,
    )
