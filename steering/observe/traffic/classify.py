"""What an answer says of the upstream that was given to somebody else. Pure.

It is read like one of our own, with keys, and told of less: whether the question was fair is
not known, so only signatures count, and their absence only where signatures were asked for.
The name in the question is a client's: it takes part in nothing that leaves this module.
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

from steering.model import Evidence, Failure, Kind, Outcome, Seconds, Verdict, WallTime
from steering.observe.dnssec.denial import NSEC, NSEC3
from steering.observe.dnssec.response import Classified, decode, weigh
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Trust, name_of, text_of

SHOWN_BY_A: Final = frozenset({"A", "CNAME", "DS", "SOA"})
"""RRsets that the answer to a question for their owner's A record brings along."""
_META: Final = range(128, 256)  # RFC 6895 3.1: no types of records
_RRSIG: Final = 46


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What the signatures of one overheard answer amount to."""

    zone: str
    failure: Failure | None = None
    """None: they are good."""
    denial: NSEC | NSEC3 | None = None
    """The failing record, where it is one of a denial."""
    serial: int | None = None
    """Of the zone's SOA record, if good."""
    unknown_key: bool = False
    """Signed by a key that nobody has shown yet: nothing is judged by it so far."""


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
    """What the bytes of a response say; None: nothing of these zones. Never raises over them.

    `secret` makes the counting name of what must not be told; else like `classify`.
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
    """The closest zone around a name; a DS record is its parent's (RFC 4035 2.4)."""
    apexes = ((name_of(zone), zone) for zone in zones)
    around = [
        (len(apex), zone)
        for apex, zone in apexes
        if name.is_subdomain(apex) and not (rdtype == dns.rdatatype.DS and apex == name)
    ]
    return max(around, default=(0, None))[1]


def _wanted(message: dns.message.Message, outcome: Outcome, rdtype: int) -> bool:
    """Whether a signature that is not there was due: servers copy the DO bit (RFC 3225 3)."""
    if outcome is not Outcome.UNSIGNED:
        return True
    return bool(message.ednsflags & dns.flags.DO) and rdtype not in _META and rdtype != _RRSIG


def _failed(
    message: dns.message.Message, zone: str, outcome: Outcome, evidence: Evidence, secret: bytes
) -> Verified:
    rrset = next(
        (
            held
            for held in (*message.answer, *message.authority)
            if text_of(held.name) == evidence.owner
            and dns.rdatatype.to_text(held.rdtype) == evidence.rdtype
        ),
        None,
    )
    if rrset is None:  # a proof is missing of the very name that was asked for
        digest = hashlib.blake2b(evidence.owner.encode(), key=secret, digest_size=8).hexdigest()
        told = replace(evidence, owner=zone)
        return Verified(zone=zone, failure=Failure(name=digest, outcome=outcome, evidence=told))
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
