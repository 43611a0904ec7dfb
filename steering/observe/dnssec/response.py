"""Classifies an answer: from its bytes to an outcome for the nameserver. Pure.

`parse` (parse.py) turns bytes into a message. `judge` checks it in four steps: the rcode, whether
the server is authoritative for the zone, the signatures of every RRset that a resolver would use,
and the proof if something is denied. The worst RRset decides. `used_records` alone determines what
a resolver uses. Nothing else counts, and other zones on the same server are no evidence about the
upstream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import dns.edns
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rrset

from steering.model import Classified, Evidence, Kind, Outcome, Question, Seconds, WallTime
from steering.observe.dnssec.aliases import AliasChain, SignaturesByRRset, chain_of, signatures_in
from steering.observe.dnssec.classified import malformed
from steering.observe.dnssec.denial import Cut, DenialProof
from steering.observe.dnssec.parse import parse
from steering.observe.dnssec.response_kind import ResponseKind, kind_of_response
from steering.observe.dnssec.signatures import GOOD, Finding, Signatures, soonest
from steering.observe.dnssec.trust import Trust, below, name_of, text_of
from steering.observe.dnssec.used_records import DENIALS, cut_of, delegated, used
from steering.system.unreadable import printable

MOST_SIGNATURES: Final = 48
"""More than any real answer has: each may cost a verification (CVE-2023-50387, KeyTrap)."""

LONGEST_NSID: Final = 128
"""Octets of an NSID that are shown in full. Operators use host names. The longest that fits into
an answer would be 128 kB in each status, event and line of the journal."""

MOST_FAILED: Final = 16
"""Signatures that may fail cryptographically before other RRsets of an answer are skipped, as in
BIND (max-validations-per-fetch): the answer is bad already."""


def classify(
    wire: bytes,
    question: Question,
    query_id: int,
    trust: Trust,
    *,
    wall: WallTime,
    skew: Seconds,
    signatures: Signatures,
) -> Classified:
    """Classify the bytes of an answer. Bytes never make it raise.

    `trust` holds the trusted keys. `wall` is the time for dates in UNIX seconds. `skew` is by how
    many seconds clocks may differ.
    """
    message = parse(wire, question, query_id)
    if isinstance(message, Classified):
        return message
    return judge(message, question, trust, wall=wall, skew=skew, signatures=signatures)


def judge(
    message: dns.message.Message,
    question: Question,
    trust: Trust,
    *,
    wall: WallTime,
    skew: Seconds,
    signatures: Signatures,
) -> Classified:
    """Classify a well-formed response; arguments as for `classify`."""
    return weigh(
        message,
        zone=question.zone,
        name=name_of(question.name),
        rdtype=dns.rdatatype.from_text(question.rdtype),
        kind=question.kind,
        trust=trust,
        wall=wall,
        skew=skew,
        signatures=signatures,
    )


def weigh(
    message: dns.message.Message,
    *,
    zone: str,
    name: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
    kind: Kind,
    trust: Trust,
    wall: WallTime,
    skew: Seconds,
    signatures: Signatures,
) -> Classified:
    """Classify a response to any question below `zone`, also a resolver's; else like `judge`."""
    apex = name_of(zone)
    seen = signatures_in(message)
    if sum(map(len, seen.values())) > MOST_SIGNATURES:
        return malformed("oversized: too many signatures")
    zone_signatures = [rrsig for held in seen.values() for rrsig in held if rrsig.signer == apex]
    reading = Classified(
        outcome=Outcome.SECURE,
        nsid=_nsid(message),
        serial=_serial(message, apex),
        expires=soonest(zone_signatures, wall),
    )
    if (bad_rcode := _bad_rcode(message)) is not None:
        return replace(reading, outcome=bad_rcode, detail=_rcode_text(message))
    chain = chain_of(message, apex, name, rdtype, seen)
    kind_found, detail = kind_of_response(message, chain, kind)
    match kind_found:
        case ResponseKind.LIE:
            return replace(reading, outcome=Outcome.MALFORMED, detail=detail)
        case ResponseKind.LAME:
            return replace(reading, outcome=Outcome.LAME, detail=detail)
    if kind_found is ResponseKind.FOREIGN or _foreign(kind_found, chain, kind, seen):
        outside = detail or "an answer from a zone below"
        return replace(reading, outcome=Outcome.INSECURE, judged=False, detail=outside)
    if zone in trust.insecure:
        return replace(reading, outcome=Outcome.INSECURE, expires=None)

    keys = trust.secure.get(zone)
    found = _Found()
    failed = signatures.failed
    for rrset in used(message, kind_found, chain, seen, lambda: bool(found.expanded)):
        if signatures.failed - failed >= MOST_FAILED:
            break
        own = [rrsig for rrsig in seen.get((rrset.name, rrset.rdtype), ()) if rrsig.signer == apex]
        finding = signatures.examine(rrset, own, keys, wall=wall, skew=skew)
        found.note(rrset, finding, of_denial=rrset.rdtype in DENIALS and rrset not in chain.links)
    if keys is None:
        worst = max(found.worst, found.bad_denial, key=lambda finding: finding.rank)
        if worst.outcome is Outcome.SECURE:  # the answer holds nothing that could be signed
            detail = "no keys to verify with"
            return replace(reading, outcome=Outcome.NO_KEY, judged=False, detail=detail)
        return _failing(reading, worst)
    if found.worst.outcome is not Outcome.SECURE:
        return _failing(reading, found.worst)
    if any(link.rdtype == dns.rdatatype.CNAME and len(link) > 1 for link in chain.links):
        # Signed or not: BIND and Unbound accept neither of them (RFC 2181 10.1).
        return replace(reading, outcome=Outcome.MALFORMED, detail="two CNAME records at one name")
    proof = DenialProof.of(apex, found.denials)
    if proof.beyond_reach:
        return replace(reading, outcome=Outcome.INSECURE, detail="NSEC3 with too many iterations")
    if missing := _missing(kind_found, message, chain, proof, found.expanded):
        if found.bad_denial.outcome is not Outcome.SECURE:
            return _failing(reading, found.bad_denial)
        evidence = Evidence(owner=text_of(name), rdtype=proof.kind, detail=missing)
        return replace(reading, outcome=Outcome.UNSIGNED, evidence=evidence, detail=str(evidence))
    return reading


def _failing(reading: Classified, finding: Finding) -> Classified:
    return replace(
        reading,
        outcome=finding.outcome,
        judged=finding.judged,
        evidence=finding.evidence,
        detail=str(finding.evidence or ""),
    )


@dataclass(slots=True)
class _Found:
    """The findings about the RRsets of one answer."""

    worst: Finding = GOOD
    bad_denial: Finding = GOOD
    """The worst finding among the denial's records that prove nothing. It does not matter if the
    other records are a complete proof: BIND too tries the next one."""
    denials: list[tuple[dns.name.Name, dns.rdata.Rdata]] = field(default_factory=list)
    expanded: list[tuple[dns.rrset.RRset, int]] = field(default_factory=list)
    """The RRsets made from a wildcard, with the number of its labels."""

    def note(self, rrset: dns.rrset.RRset, finding: Finding, *, of_denial: bool) -> None:
        if not of_denial:
            self.worst = max(self.worst, finding, key=lambda finding: finding.rank)
            if finding.wildcard is not None:
                self.expanded.append((rrset, finding.wildcard))
        elif finding.outcome is not Outcome.SECURE:
            self.bad_denial = max(self.bad_denial, finding, key=lambda finding: finding.rank)
        elif finding.wildcard is None:  # one made from a wildcard proves nothing (RFC 4035 5.3.2)
            self.denials += [(rrset.name, rdata) for rdata in rrset]


def _bad_rcode(message: dns.message.Message) -> Outcome | None:
    match message.rcode():
        case dns.rcode.NOERROR | dns.rcode.NXDOMAIN:
            return None
        case dns.rcode.YXDOMAIN if any(r.rdtype == dns.rdatatype.DNAME for r in message.answer):
            return None  # the substituted name would be too long (RFC 6672 2.2)
        case dns.rcode.REFUSED:
            return Outcome.REFUSED
        case dns.rcode.NOTAUTH:
            return Outcome.LAME
        case _:
            return Outcome.SERVFAIL


def _rcode_text(message: dns.message.Message) -> str:
    """The rcode, and any Extended DNS Errors (RFC 8914)."""
    errors = [option for option in message.options if isinstance(option, dns.edns.EDEOption)]
    words = [f"EDE {int(error.code)} {error.text or ''}".strip() for error in errors[:2]]
    return printable("; ".join([dns.rcode.to_text(message.rcode()), *words]))


def _nsid(message: dns.message.Message) -> str | None:
    for option in message.options:
        if isinstance(option, dns.edns.NSIDOption):
            return nsid_text(option.nsid)
    return None


def nsid_text(nsid: bytes) -> str | None:
    """An NSID as text if it is printable ASCII, else in hexadecimal digits; None if it is empty.

    A very long one is replaced by its beginning and a digest.
    """
    if not nsid:
        return None
    text = nsid.decode("latin-1") if len(nsid) <= LONGEST_NSID else ""
    if text.isascii() and text.isprintable() and text:
        return text
    if len(nsid) <= LONGEST_NSID:
        return nsid.hex()
    # The digest keeps instances apart.
    digest = hashlib.blake2b(nsid, digest_size=16).hexdigest()
    return f"{nsid[:16].hex()}…{digest}"


def _serial(message: dns.message.Message, zone: dns.name.Name) -> int | None:
    for rrset in (*message.answer, *message.authority):
        if rrset.rdtype == dns.rdatatype.SOA and rrset.name == zone:
            for rdata in rrset:
                if isinstance(rdata, dns.rdtypes.ANY.SOA.SOA):
                    return int(rdata.serial)
    return None


def _foreign(
    kind_found: ResponseKind, chain: AliasChain, kind: Kind, seen: SignaturesByRRset
) -> bool:
    """Whether a failed name was answered from a zone below, which the same server holds too.

    Such an answer carries that zone's signatures, or none, even if an alias in it leads back. One
    without signatures can't be distinguished from one that lost them; other questions show that.
    But below a DNAME of the zone itself there is no other zone (RFC 6672 2.4).
    """
    zone = chain.zone
    if kind_found is not ResponseKind.POSITIVE or kind is not Kind.WITNESS or chain.name == zone:
        return False
    signers = {
        rrsig.signer for link in chain.links[:1] for rrsig in seen.get((link.name, link.rdtype), ())
    }
    if signers:
        return all(below(zone, signer) for signer in signers)
    return not any(
        rdtype == dns.rdatatype.DNAME
        and below(owner, chain.name)
        and any(rrsig.signer == zone for rrsig in held)
        for (owner, rdtype), held in seen.items()
    )


def _missing(
    kind_found: ResponseKind,
    message: dns.message.Message,
    chain: AliasChain,
    proof: DenialProof,
    expanded: Sequence[tuple[dns.rrset.RRset, int]],
) -> str:
    """What is missing from a secure answer; "" if nothing."""
    match kind_found:
        case ResponseKind.NXDOMAIN:
            return proof.no_name(chain.end)
        case ResponseKind.NODATA:
            return proof.no_type(chain.end, chain.rdtype)
        case ResponseKind.REFERRAL if not delegated(message):
            insecure = proof.no_ds(cut_of(message)) is Cut.INSECURE
            return "" if insecure else "no DS or proof of none"
    for rrset, labels in expanded:
        if rrset.rdtype == dns.rdatatype.DNAME:  # its meaning is undefined (RFC 4592 4.4)
            return f"{rrset.name} DNAME is made from a wildcard"
        if missing := proof.not_closer(rrset.name, labels):
            return missing
    return ""
