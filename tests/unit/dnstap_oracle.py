"""The walk over dnstap beside dnspython, on messages that were meant to confuse it.

`python dnstap_oracle.py fuzz COUNT [SEED]` goes on for long; `digest COUNT SEED` prints a
hash over all results, to compare one build with another.
"""

from __future__ import annotations

import hashlib
import random
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.wire
from dns.rdtypes.ANY.RRSIG import RRSIG
from dns.rdtypes.ANY.SOA import SOA
from dnstap_frames import (
    APART,
    NOW,
    ZONES,
    Framed,
    compare_frame,
    frame,
    interpreted,
    odd_payload,
    payload,
    walker_of,
)
from dnstap_messages import message, mutated

from steering.model import Kind
from steering.observe.dnssec.algorithms import ALGORITHMS
from steering.observe.dnssec.aliases import CNAME, DNAME, chain_of, signatures_in
from steering.observe.dnssec.parse import MOST_RECORDS
from steering.observe.dnssec.response import MOST_SIGNATURES, _foreign
from steering.observe.dnssec.response_kind import ResponseKind, kind_of_response
from steering.observe.dnssec.used_records import used
from steering.observe.dnstap import counter
from steering.observe.traffic.classify import _zone_of

# dnspython follows sixteen pointers, resolvers some hundreds.
dns.name.MAX_COMPRESSION_POINTER_CHAIN = counter.MOST_POINTERS

IN: Final = dns.rdataclass.IN
_PATTERN: Final = b"\0\x2e\0\1"
_HALF: Final = 1 << 31


# --- what the walk says ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one message at one zone: outcome, soonest date, serial, failing RRsets."""

    outcome: str
    ahead: int | None
    serial: int | None
    failing: tuple[tuple[bytes, int, int, int, int, bool], ...]


Verdict = tuple[str, dict[str, Seen]]
"""malformed, bare, truncated or counted; and the zone of which something was seen."""


class Walked:
    """One build of the walk, asked about one message after the other."""

    def __init__(self, module: ModuleType, *, zones: Sequence[str] = ZONES) -> None:
        self.module = module
        self.zones = tuple(zones)
        self.walker = walker_of(module, zones)
        (self.upstream,) = self.walker.upstreams.values()

    def verdict(self, message: bytes) -> Verdict:
        chunk = frame(payload(4, message=message))
        self.upstream.begin()
        for zone in self.upstream.zones.values():
            zone.told.clear()
        assert self.walker.walk(chunk, 0, NOW) == len(chunk)
        return verdict_of(self.upstream, self.zones)


def verdict_of(upstream: Any, zones: Sequence[str]) -> Verdict:  # noqa: ANN401
    what = "counted"
    for word in ("malformed", "bare", "truncated"):
        if getattr(upstream, word):
            what = word
    seen = {}
    for name, zone in zip(zones, upstream.zones.values(), strict=True):
        outcomes = {"good": zone.good, "expired": zone.expired, "early": zone.early}
        (outcome,) = [k for k, n in outcomes.items() if n] or ["none"]
        if outcome != "none" or zone.serial >= 0:
            seen[name] = Seen(
                outcome,
                zone.expires - NOW if zone.expires < 1 << 62 else None,
                zone.serial if zone.serial >= 0 else None,
                tuple(
                    sorted(
                        (f.owner, f.rdtype, f.key_tag, f.inception, f.expiration, bool(f.late))
                        for f in zone.fresh.values()
                    )
                ),
            )
    return what, seen


# --- what dnspython says --------------------------------------------------------------------


@dataclass(slots=True)
class Read:
    """A message, as far as it is read."""

    message: dns.message.QueryMessage
    asked: str | None = None
    """The zone of the policy's that the question is for."""
    signatures: int = 0
    over: bool = False
    """More records than are read."""
    records: tuple[tuple[dns.name.Name, RRSIG], ...] = ()
    serial: int | None = None


def read(message: bytes, zones: Sequence[str] = ZONES) -> Read:
    """The answer and authority sections of a message that may hold a signature.

    Raises dns.exception.DNSException or struct.error where dnspython does on the way.
    """
    parser = dns.wire.Parser(message)
    number, flags, questions, *counts = parser.get_struct("!6H")
    if flags & 0xF800 != 0x8000:
        raise dns.exception.FormError
    made = Read(dns.message.QueryMessage(number))
    made.message.flags = dns.flags.Flag(flags)
    if _PATTERN not in message:
        return made
    if questions + sum(counts) > MOST_RECORDS:
        made.over = True
        return made
    for _ in range(questions):
        name = dns.name.from_wire_parser(parser)
        rdtype, rdclass = parser.get_struct("!HH")
        held = dns.rrset.RRset(name, rdclass, dns.rdatatype.RdataType.make(rdtype))
        made.message.question.append(held)
    if questions == 1 and rdclass == 1 and not flags & dns.flags.TC and flags & 15 in {0, 3, 6}:
        made.asked = _zone_of(name, held.rdtype, zones)
    for section, count in zip((made.message.answer, made.message.authority), counts, strict=False):
        for _ in range(count):
            owner = dns.name.from_wire_parser(parser)
            rdtype, rdclass, _, length = parser.get_struct("!HHIH")
            with parser.restrict_to(length):
                if rdclass == 1:
                    _take(made, section, owner, dns.rdatatype.RdataType.make(rdtype), parser)
                parser.get_remaining()
    return made


def _take(
    made: Read,
    section: list[dns.rrset.RRset],
    owner: dns.name.Name,
    rdtype: dns.rdatatype.RdataType,
    parser: dns.wire.Parser,
) -> None:
    """One record of class IN. Of those of a single record (CNAME) the last stays."""
    covers = dns.rdatatype.NONE
    rdata: dns.rdata.Rdata | None = None
    if rdtype == dns.rdatatype.RRSIG:
        made.signatures += 1
        if made.asked is None:
            return
        rdata = RRSIG.from_wire_parser(IN, rdtype, parser)
        covers = rdata.type_covered
        made.records += ((owner, rdata),)
    elif made.asked is None:
        return
    elif rdtype == dns.rdatatype.SOA:
        rdata = SOA.from_wire_parser(IN, rdtype, parser)
        if parser.remaining():
            raise dns.exception.FormError
        if owner == dns.name.from_text(made.asked):
            made.serial = rdata.serial
    elif rdtype in {dns.rdatatype.CNAME, dns.rdatatype.DNAME}:
        octets = parser.get_remaining()
        rdata = _alias(rdtype, parser, len(octets))
    rdata = rdata or dns.rdata.GenericRdata(IN, rdtype, b"")
    rrset = next((r for r in section if r.match(owner, IN, rdtype, covers)), None)
    if rrset is None:
        rrset = dns.rrset.RRset(owner, IN, rdtype, covers)
        section.append(rrset)
    if rdtype != dns.rdatatype.RRSIG:
        rrset.items.clear()
    rrset.items[rdata] = None


def _alias(
    rdtype: dns.rdatatype.RdataType, parser: dns.wire.Parser, length: int
) -> dns.rdata.Rdata | None:
    """A CNAME or DNAME that has just been passed over; None: it leads nowhere."""
    again = dns.wire.Parser(parser.wire, parser.current - length)
    try:
        with again.restrict_to(length):
            kind = CNAME if rdtype == dns.rdatatype.CNAME else DNAME
            return kind.from_wire_parser(IN, rdtype, again)
    except (dns.exception.DNSException, ValueError):
        return None


def expected(message: bytes, zones: Sequence[str] = ZONES) -> Verdict:
    """The verdict by dnspython's reading of names and records, and the classifier's of answers."""
    try:
        found = read(message, zones)
    except (dns.exception.DNSException, struct.error, ValueError):
        return "malformed", {}
    flags, rcode = message[2], message[3] & 15
    what = "bare" if not found.signatures and not found.over and rcode in (0, 3) else "counted"
    if flags & 2:
        what = "truncated"
    if found.asked is None:
        return what, {}
    apex = dns.name.from_text(found.asked)
    own = [rrsig for _, rrsig in found.records if rrsig.signer == apex]
    failing: tuple[tuple[bytes, int, int, int, int, bool], ...] = ()
    word = "none"
    if own and found.signatures <= MOST_SIGNATURES:
        word, failing = judged(found, apex)
    soonest = min((ahead(rrsig.expiration) for rrsig in own), default=None)
    if word == "none":
        soonest = None
        if found.serial is None:
            return what, {}
    return what, {found.asked: Seen(word, soonest, found.serial, failing)}


def judged(
    found: Read, zone: dns.name.Name
) -> tuple[str, tuple[tuple[bytes, int, int, int, int, bool], ...]]:
    """What of an answer is used, by the classifier's own reading of it, and its dates."""
    message = found.message
    (question,) = message.question
    if message.rcode() == dns.rcode.YXDOMAIN and all(
        rrset.rdtype != dns.rdatatype.DNAME for rrset in message.answer
    ):
        return "none", ()
    seen = signatures_in(message)
    chain = chain_of(message, zone, question.name, question.rdtype, seen)
    shape, _ = kind_of_response(message, chain, Kind.WITNESS)
    if shape in {ResponseKind.LIE, ResponseKind.LAME, ResponseKind.FOREIGN}:
        return "none", ()
    if _foreign(shape, chain, Kind.WITNESS, seen):
        return "none", ()
    words = []
    failing = {}
    expanded: list[dns.rrset.RRset] = []
    for rrset in used(message, shape, chain, seen, lambda: bool(expanded)):
        rrsigs = [
            (_word(rrsig), _away(rrsig) if _word(rrsig) else 0, number)
            for number, rrsig in enumerate(seen.get((rrset.name, rrset.rdtype), ()))
            if rrsig.signer == zone and rrsig.algorithm in ALGORITHMS
        ]
        if not rrsigs:
            continue
        word, _, number = min(rrsigs)
        words.append(word)
        best = seen[rrset.name, rrset.rdtype][number]
        labels = len(rrset.name) - 1 - rrset.name.is_wild()
        if word == 0 and best.labels < labels:
            expanded.append(rrset)
        if word:
            failing[rrset.name.to_digestable(), int(rrset.rdtype)] = (
                best.key_tag,
                NOW + ahead(best.inception),
                NOW + ahead(best.expiration),
                word == 1,
            )
    if not words:
        return "none", ()
    told = tuple((*key, *failing[key]) for key in sorted(failing))
    return ("good", "expired", "early")[max(words)], told


def _word(rrsig: RRSIG) -> int:
    if ahead(rrsig.expiration) < 0:
        return 1
    if ahead(rrsig.inception) > 0:
        return 2
    return int((rrsig.expiration - rrsig.inception) % (1 << 32) >= _HALF)


def ahead(date: int) -> int:
    """Serial arithmetic, said in another way than the walk does (RFC 1982 3.2)."""
    distance = (date - NOW) % (1 << 32)
    return distance if distance < _HALF else distance - (1 << 32)


def _away(rrsig: RRSIG) -> int:
    return max(-ahead(rrsig.expiration), ahead(rrsig.inception))


def whole(message: bytes) -> int | None:
    """How many RRSIGs dnspython's own reader of messages finds; None where it finds fault."""
    try:
        made = dns.message.from_wire(message, ignore_trailing=True, one_rr_per_rrset=True)
    except Exception:  # noqa: BLE001 - whatever it finds fault with
        return None
    if not isinstance(made, dns.message.QueryMessage):
        return None
    return sum(
        rrset.rdtype == dns.rdatatype.RRSIG and rrset.rdclass == dns.rdataclass.IN
        for section in (made.answer, made.authority)
        for rrset in section
    )


def compare(wire: bytes, builds: Sequence[Walked], *, thorough: bool = True) -> Verdict:
    """What all agree on. Raises AssertionError where a build and dnspython differ."""
    told = {zones: expected(wire, zones) for zones in {build.zones for build in builds}}
    for build in builds:
        found, wanted = build.verdict(wire), told[build.zones]
        assert found == wanted, f"{build.module.__file__}: {found} for {wanted}: {wire.hex()}"
    if thorough and wanted[0] != "malformed" and (counted := whole(wire)) is not None:
        found_here = read(wire)
        assert found_here.over or found_here.signatures == counted, wire.hex()
    return wanted


# --- for long -------------------------------------------------------------------------------


def _main(what: str, count: int, seed: int) -> None:
    draw = random.Random(seed)
    digest = hashlib.sha256()
    plain = interpreted()
    modules = [counter] + [plain] * (plain is not counter and what == "fuzz")
    walked = [Walked(module, zones=zones) for module in modules for zones in (APART, ZONES)]
    framed = [Framed(counter), Framed(plain, shortcut=False), Framed(plain)]
    seen: dict[str, int] = {}
    started = time.monotonic()
    base = b""
    for number in range(count):
        if number % 16 == 0:
            base = message(draw)
        wire = mutated(draw, base)
        if what == "digest":
            for one in walked:
                verdict = one.verdict(wire)
                digest.update(repr((verdict[0], sorted(verdict[1].items()))).encode())
        else:
            verdict = compare(wire, walked, thorough=number % 8 == 0)
        words = [verdict[0]]
        if number % 4 == 0:
            body = odd_payload(draw)
            words += [compare_frame(b, framed) for b in (body, mutated(draw, body)) if b]
        for word in words:
            seen[word] = seen.get(word, 0) + 1
        if what == "fuzz" and number % 100_000 == 99_999:
            print(f"{number + 1} after {time.monotonic() - started:.0f} s: {seen}", flush=True)
    print(digest.hexdigest() if what == "digest" else "", seen, flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
