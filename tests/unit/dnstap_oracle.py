"""The walk over dnstap beside dnspython, on messages that were meant to confuse it.

`python dnstap_oracle.py fuzz COUNT [SEED]` goes on for long; `digest COUNT SEED` prints a
hash over all results, to compare one build with another.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import dns.exception
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

from steering.dnstap import walk

NOW: Final = 1_795_000_000
ADDRESS: Final = "192.5.6.30"
PACKED: Final = bytes([192, 5, 6, 30])
ZONES: Final = ("com.", "example.com.", ".")
SIGNERS: Final = [dns.name.from_text(zone).to_wire() for zone in ZONES]
# dnspython follows sixteen pointers, resolvers some hundreds (Unbound: MAX_COMPRESS_PTRS).
dns.name.MAX_COMPRESSION_POINTER_CHAIN = 1 << 14

_PATTERN: Final = b"\0\x2e\0\1"
_HALF: Final = 1 << 31


# --- frames ---------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes, *, wire: int | None = None) -> bytes:
    """One protobuf field: a varint, or bytes behind their length (`wire` 1 and 5: as they are)."""
    if isinstance(value, int):
        return varint(number << 3 | (wire or 0)) + varint(value)
    if wire in (1, 5):
        return varint(number << 3 | wire) + value
    return varint(number << 3 | 2) + varint(len(value)) + value


def payload(
    kind: int,
    *,
    message: bytes | None = None,
    query: bytes | None = None,
    address: bytes = PACKED,
    asked: bool = True,
    answered: bool = True,
    zone: bytes = b"\3com\0",
    identity: bytes = b"host",
) -> bytes:
    """A Dnstap as Unbound writes it."""
    inner = field(1, kind) + field(2, 1 if len(address) == 4 else 2) + field(3, 1)
    inner += field(4, b"\0" * len(address)) + field(5, address) + field(6, 40_000) + field(7, 53)
    if asked:
        inner += field(8, NOW) + field(9, b"\1\2\3\4", wire=5)
    if query is not None:
        inner += field(10, query)
    inner += field(11, zone)
    if message is not None:
        if answered:
            inner += field(12, NOW) + field(13, b"\1\2\3\4", wire=5)
        inner += field(14, message)
    return field(1, identity) + field(2, b"unbound 1.17.1") + field(14, inner) + field(15, 1)


def frame(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


# --- what the walk says ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one message at one zone: outcome, soonest date, serial, failing RRsets."""

    outcome: str
    ahead: int | None
    serial: int | None
    failing: tuple[tuple[bytes, int, int, int, int, bool], ...]


Verdict = tuple[str, dict[str, Seen]]
"""malformed, bare, truncated or counted; and the zones of which something was seen."""


def interpreted() -> ModuleType:
    """The module as plain Python, whatever was compiled beside it."""
    if walk.__file__.endswith(".py"):
        return walk
    path = walk.__file__.partition(".")[0] + ".py"
    spec = importlib.util.spec_from_file_location("steering_dnstap_walk_interpreted", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def walker_of(module: ModuleType, skew: int = 0) -> Any:  # noqa: ANN401
    upstream = module.Upstream(ADDRESS, list(SIGNERS), skew)
    return module.Walker({PACKED: upstream}, 1)


class Walked:
    """One build of the walk, asked about one message after the other."""

    def __init__(self, module: ModuleType, *, shortcut: bool = True) -> None:
        self.module = module
        self.walker = walker_of(module)
        (self.upstream,) = self.walker.upstreams.values()
        if not shortcut:
            self.walker._shortcut = lambda *_: False

    def verdict(self, message: bytes) -> Verdict:
        chunk = frame(payload(4, message=message))
        self.upstream.begin()
        for zone in self.upstream.zones.values():
            zone.told.clear()
        assert self.walker.walk(chunk, 0, NOW) == len(chunk)
        return verdict_of(self.upstream)


def verdict_of(upstream: Any) -> Verdict:  # noqa: ANN401
    what = "counted"
    for word in ("malformed", "bare", "truncated"):
        if getattr(upstream, word):
            what = word
    seen = {}
    for name, zone in zip(ZONES, upstream.zones.values(), strict=True):
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


def records(message: bytes) -> list[tuple[dns.name.Name, dns.rdata.Rdata]]:
    """The RRSIG and SOA records of class IN that begin before the last look of a signature.

    Raises dns.exception.DNSException or struct.error where dnspython does on the way.
    """
    parser = dns.wire.Parser(message)
    _, flags, questions, *counts = parser.get_struct("!6H")
    if flags & 0xF800 != 0x8000:
        raise dns.exception.FormError
    last = message.rfind(_PATTERN)
    found: list[tuple[dns.name.Name, dns.rdata.Rdata]] = []
    if last < 0:
        return found
    for _ in range(questions):
        dns.name.from_wire_parser(parser)
        parser.get_bytes(4)
    for _ in range(sum(counts)):
        if parser.current >= last:
            break
        owner = dns.name.from_wire_parser(parser)
        rdtype, rdclass, _, length = parser.get_struct("!HHIH")
        with parser.restrict_to(length):
            if rdclass == 1 and rdtype == 46:
                found.append((owner, RRSIG.from_wire_parser(dns.rdataclass.IN, rdtype, parser)))
            elif rdclass == 1 and rdtype == 6:
                found.append((owner, SOA.from_wire_parser(dns.rdataclass.IN, rdtype, parser)))
            else:
                parser.get_remaining()
    return found


def expected(message: bytes) -> Verdict:
    """The verdict by dnspython's reading of names and records."""
    try:
        found = records(message)
    except (dns.exception.DNSException, struct.error, ValueError):
        return "malformed", {}
    flags, rcode = message[2], message[3] & 15
    signatures = [(owner, rdata) for owner, rdata in found if isinstance(rdata, RRSIG)]
    what = "bare" if not signatures and rcode in (0, 3) else "counted"
    if flags & 2:
        what = "truncated"
    seen = {}
    for zone in ZONES:
        name = dns.name.from_text(zone)
        serials = [r.serial for owner, r in found if isinstance(r, SOA) and owner == name]
        own = [(owner, rrsig) for owner, rrsig in signatures if rrsig.signer == name]
        rrsets: dict[tuple[bytes, int], list[RRSIG]] = {}
        for owner, rrsig in own:
            if not owner.is_subdomain(name):
                continue
            key = owner.to_digestable(), int(rrsig.type_covered)
            rrsets.setdefault(key, []).append(rrsig)
        bad = {key: min(rs, key=_away) for key, rs in rrsets.items() if min(map(_away, rs)) > 0}
        failing = tuple(
            (
                *key,
                r.key_tag,
                NOW + ahead(r.inception),
                NOW + ahead(r.expiration),
                ahead(r.expiration) < 0,
            )
            for key, r in sorted(bad.items(), key=lambda item: item[0])
        )
        outcome = "good" if own else "none"
        if failing:
            outcome = "expired" if any(f[5] for f in failing) else "early"
        soonest = min((ahead(r.expiration) for _, r in own), default=None)
        if own or serials:
            seen[zone] = Seen(outcome, soonest, serials[-1] if serials else None, failing)
    return what, seen


def ahead(date: int) -> int:
    """Serial arithmetic, said in another way than the walk does (RFC 1982 3.2)."""
    distance = (date - NOW) % (1 << 32)
    return distance if distance < _HALF else distance - (1 << 32)


def _away(rrsig: RRSIG) -> int:
    return max(-ahead(rrsig.expiration), ahead(rrsig.inception))


def whole(message: bytes) -> int | None:
    """How many RRSIGs dnspython's own reader of messages finds; None where it finds fault."""
    try:
        read = dns.message.from_wire(message, ignore_trailing=True, one_rr_per_rrset=True)
    except Exception:  # noqa: BLE001 - whatever it finds fault with
        return None
    if not isinstance(read, dns.message.QueryMessage):
        return None
    return sum(
        rrset.rdtype == dns.rdatatype.RRSIG and rrset.rdclass == dns.rdataclass.IN
        for section in (read.answer, read.authority, read.additional)
        for rrset in section
    )


# --- messages -------------------------------------------------------------------------------


def rrsig(draw: random.Random, covers: str, signer: str) -> str:
    """A signature's text; in eight of ten its dates are good."""
    inception, expiration = NOW - 3_600, NOW + 600_000
    match draw.randrange(10):
        case 0:
            inception, expiration = NOW - 700_000, NOW - draw.randrange(1, 90_000)
        case 1:
            inception, expiration = NOW + draw.randrange(1, 90_000), NOW + 700_000
        case 2:
            inception, expiration = (draw.getrandbits(32) for _ in range(2))
    tag = draw.randrange(65_536)
    return f"{covers} 13 1 900 {expiration} {inception} {tag} {signer} {'AAAA' * 21}AAA="


def message(draw: random.Random) -> bytes:
    """A well-formed response with some signatures, as odd as dnspython can write it."""
    name = draw.choice(("www.example.com.", "example.com.", "a.b.c.EXAMPLE.com.", "com.", "."))
    query = dns.message.make_query(name, draw.choice(("A", "DS", "DNSKEY")), want_dnssec=True)
    query.id = draw.getrandbits(16)
    answer = dns.message.make_response(query)
    answer.set_rcode(dns.rcode.Rcode(draw.choice((0, 0, 0, 3, 3, 2, 5))))
    if draw.random() < 0.1:
        answer.flags |= 0x0200
    sections = (answer.answer, answer.authority, answer.additional)
    for _ in range(draw.randrange(8)):
        owner = draw.choice((name, "example.com.", "com.", ".", "hash0123456789.com.", "x.org."))
        signer = draw.choice(("com.", "com.", "example.com.", "COM.", ".", "org."))
        rdtype, text = draw.choice(
            (
                ("RRSIG", rrsig(draw, draw.choice(("NSEC3", "SOA", "DS")), signer)),
                ("RRSIG", rrsig(draw, draw.choice(("NSEC3", "A")), signer)),
                ("SOA", f"a.nic.com. host.com. {draw.getrandbits(32)} 1 2 3 4"),
                ("NS", f"ns{draw.randrange(9)}.{draw.choice(('', 'example.'))}com."),
                ("TXT", '"' + "\\000\\046\\000\\001" * draw.randrange(1, 30) + '"'),
                ("A", "192.0.2.1"),
                ("TYPE65280", r"\# 4 002e0001"),
            )
        )
        rrset = dns.rrset.from_text(owner, 900, "IN", rdtype, text)
        sections[draw.choice((0, 1, 1, 1, 2))].append(rrset)
    return answer.to_wire(max_size=65_535)


_SPLINTERS: Final = (
    _PATTERN,
    b"\xc0\x0c",
    b"\xc0\x00",
    b"\xff\xff",
    b"\0\0",
    b"\3com\0",
    b"\0",
    b"\x3f",
    b"\x40",
    b"\0\6\0\1",
    b"\xc0",
)


def mutated(draw: random.Random, wire: bytes) -> bytes:
    """The message after a few accidents."""
    out = bytearray(wire)
    for _ in range(draw.choice((0, 1, 1, 1, 2, 3, 8))):
        at = draw.randrange(len(out) + 1)
        match draw.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(out):
                out[at] = draw.randrange(256)
            case 2:
                del out[at:]
            case 3:
                splinter = draw.choice(_SPLINTERS)
                out[at : at + len(splinter)] = splinter
            case 4:
                out[at:at] = draw.choice(_SPLINTERS)
            case 5:  # a pointer to anywhere
                out[at : at + 2] = struct.pack(
                    "!H", 0xC000 | draw.randrange(len(out) + 20) & 0x3FFF
                )
            case 6 if len(out) > 12:
                out[draw.randrange(4, 12)] = draw.choice((0, 1, 2, 3, 255))
            case _:
                del out[at : at + draw.randrange(1, 5)]
        if not out:
            break
    return bytes(out)


def compare(wire: bytes, builds: Sequence[Walked], *, thorough: bool = True) -> Verdict:
    """What all agree on. Raises AssertionError where a build and dnspython differ."""
    wanted = expected(wire)
    for build in builds:
        found = build.verdict(wire)
        assert found == wanted, f"{build.module.__file__}: {found} for {wanted}: {wire.hex()}"
    if thorough and wanted[0] != "malformed" and (counted := whole(wire)) is not None:
        found_here = sum(isinstance(rdata, RRSIG) for _, rdata in records(wire))
        assert found_here == counted, wire.hex()
    return wanted


# --- protobuf, said once more and slowly ----------------------------------------------------


def fields(data: bytes) -> list[tuple[int, int, int | bytes]]:
    """Number, wire type and value of each field. Raises ValueError or IndexError."""
    found: list[tuple[int, int, int | bytes]] = []
    at = 0

    def number() -> int:
        nonlocal at
        value = 0
        for place in range(10):
            byte = data[at]
            at += 1
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value
        raise ValueError

    while at < len(data):
        key = number()
        wire = key & 7
        value: int | bytes
        if wire == 0:
            value = number()
        elif wire in (1, 2, 5):
            length = {1: 8, 5: 4}.get(wire) or number()
            value = data[at : at + length]
            if len(value) < length:
                raise ValueError
            at += length
        else:
            raise ValueError
        if key < 8:
            raise ValueError
        found.append((key >> 3, wire, value))
    return found


def expected_frame(body: bytes) -> tuple[str, bytes | None]:
    """What a Dnstap is: query, forwarded, other, ignored, malformed, or a response."""
    try:
        top = fields(body)
        inner = [
            f for n, w, v in top if (n, w) == (14, 2) and isinstance(v, bytes) for f in fields(v)
        ]
    except (ValueError, IndexError):
        return "malformed", None
    said = {(n, w): v for n, w, v in top}
    if said.get((15, 0)) != 1:
        return "malformed", None
    said = {(n, w): v for n, w, v in inner}
    kind = said.get((1, 0))
    message = said.get((14, 2))
    if kind not in (3, 4, 7, 8):
        return "ignored", None
    if kind in (4, 8):
        if (8, 0) in said and (12, 0) not in said:
            return "ignored", None
        if not isinstance(message, bytes):
            return "malformed", None
    if said.get((5, 2)) != PACKED:
        return "other", None
    if kind in (4, 8):
        assert isinstance(message, bytes)
        return "response", message
    return "query" if kind == 3 else "forwarded", None


class Framed:
    """One build of the walk, asked about one Dnstap after the other."""

    def __init__(self, module: ModuleType, *, shortcut: bool = True) -> None:
        self.module = module
        self.walker = walker_of(module)
        (self.upstream,) = self.walker.upstreams.values()
        if not shortcut:
            self.walker._shortcut = lambda *_: False

    def verdict(self, body: bytes) -> tuple[str, bytes | None]:
        self.upstream.begin()
        self.walker.begin()
        chunk = frame(body) + frame(b"x")[:3]
        assert self.walker.walk(chunk, 0, NOW) == len(chunk) - 3
        counts = {
            "malformed": self.walker.malformed,
            "ignored": self.walker.ignored,
            "other": self.walker.other,
            "query": self.upstream.queries,
            "forwarded": self.upstream.forwarded,
            "response": self.upstream.responses,
        }
        (what,) = [what for what, count in counts.items() if count]
        return what, self.walker.drawn[0][1] if what == "response" else None


def odd_payload(draw: random.Random) -> bytes:
    """A Dnstap in the usual order or another, with fields left out, repeated, or of no sense."""
    address = draw.choice((PACKED, PACKED, bytes(16), b"", bytes(5)))
    query, message = draw.choice((None, bytes(40))), draw.choice((None, bytes(20), bytes(200)))
    usual = payload(
        draw.choice((3, 4, 4, 7, 8, 5, 6, 1)),
        query=query,
        message=message,
        address=address,
        asked=draw.random() < 0.9,
        answered=draw.random() < 0.9,
        identity=draw.choice((b"host", b"other")),
    )
    if draw.random() < 0.3:
        return usual
    top = fields(usual)
    inner = fields(next(v for n, _, v in top if n == 14 and isinstance(v, bytes)))
    odd = [(n, w, v) for n, w, v in inner if draw.random() < 0.95]
    extra: list[tuple[int, int, int | bytes]] = [
        (1, 0, draw.choice((3, 4, 2**31, 2**63))),
        (5, 2, draw.choice((PACKED, b"\1\2\3\4"))),
        (12, 0, 1),
        (8, 5, bytes(4)),
        (14, 0, 7),
        (14, 2, bytes(draw.choice((0, 1, 127, 128, 300)))),
        (draw.choice((15, 16, 99, 2**28)), 2, b"new"),
        (17, 1, bytes(8)),
    ]
    for one in extra:
        if draw.random() < 0.15:
            odd.insert(draw.randrange(len(odd) + 1), one)
    if draw.random() < 0.1:
        draw.shuffle(odd)

    def render(what: Sequence[tuple[int, int, int | bytes]]) -> bytes:
        return b"".join(field(n, v, wire=w) for n, w, v in what)

    top = [(n, w, render(odd) if n == 14 else v) for n, w, v in top]
    for one in ((15, 0, 2), (14, 2, render(odd[:3])), (3, 2, b"extra"), (14, 2, b"")):
        if draw.random() < 0.05:
            top.insert(draw.randrange(len(top) + 1), one)
    return render(top)


def compare_frame(body: bytes, builds: Sequence[Framed]) -> str:
    """What all agree on. Raises AssertionError where two differ."""
    wanted = expected_frame(body)
    for build in builds:
        found = build.verdict(body)
        assert found == wanted, f"{build.module.__file__}: {found} for {wanted}: {body.hex()}"
    return wanted[0]


# --- for long -------------------------------------------------------------------------------


def _main(what: str, count: int, seed: int) -> None:
    draw = random.Random(seed)
    digest = hashlib.sha256()
    plain = interpreted()
    walked = [Walked(walk)] + [Walked(plain)] * (plain is not walk and what == "fuzz")
    framed = [Framed(walk), Framed(plain, shortcut=False), Framed(plain)]
    seen: dict[str, int] = {}
    started = time.monotonic()
    base = b""
    for number in range(count):
        if number % 16 == 0:
            base = message(draw)
        wire = mutated(draw, base)
        if what == "digest":
            verdict = walked[0].verdict(wire)
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
