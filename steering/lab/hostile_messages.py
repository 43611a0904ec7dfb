"""Hostile DNS messages: names and records at every limit, in any combination."""

from __future__ import annotations

import random
import struct

import dns.name
import dns.rdata
import dns.rrset

_QR_AA = 0x8400
_LONG = ".".join(["x" * 63] * 3 + ["y" * 55]) + "."
"""An owner of 249 octets: no label fits in front of it within 255 (RFC 1035 2.3.4)."""


def _record(owner: str, rdtype: str, text: str) -> bytes:
    """One record in wire format, without compression."""
    rdata = dns.rdata.from_text("IN", rdtype, text)
    wire = dns.rrset.from_rdata(dns.name.from_text(owner), 900, rdata).to_rdataset()
    name, data = dns.name.from_text(owner).to_wire(), rdata.to_wire()
    assert name is not None and data is not None  # noqa: PT018
    return name + struct.pack("!HHIH", wire.rdtype, 1, 900, len(data)) + data


def _rrsig(covered: str, labels: int, signer: str, *, now: int, ends: int = -3600) -> str:
    start, end = now - 700_000, now + ends
    return f"{covered} 13 {labels} 900 {end} {start} 4711 {signer} " + "A" * 86 + "=="


def parts(now: int) -> tuple[bytes, ...]:
    """Hostile records, for any section and in any combination."""
    sha1 = "0" * 32
    return (
        _record(".", "NSEC", "a. NS SOA"),
        _record(".", "RRSIG", _rrsig("NSEC", 0, "com.", now=now)),
        _record(_LONG, "NSEC", "z.com. A"),
        _record(_LONG, "RRSIG", _rrsig("NSEC", 4, "com.", now=now)),
        _record("com.", "SOA", "a.gtld-servers.net. x. 4294967295 1 1 1 1"),
        _record("com.", "RRSIG", _rrsig("SOA", 1, "com.", now=now, ends=2_000_000_000 - now)),
        _record("com.", "RRSIG", _rrsig("SOA", 1, "com.", now=now)),
        _record("com.", "RRSIG", _rrsig("SOA", 9, "org.", now=now)),
        _record(f"{sha1}.com.", "NSEC3", f"1 0 65535 {'ab' * 200} {sha1} A"),
        _record(f"{sha1}.com.", "RRSIG", _rrsig("NSEC3", 2, "com.", now=now)),
        _record("0.com.", "NSEC3", f"1 1 0 - {'v' * 32} A"),
        _record("net.", "NSEC", "net. A"),
        _record("net.", "RRSIG", _rrsig("NSEC", 1, "net.", now=now)),
        _record("sub.com.", "DS", "1 13 2 " + "00" * 32),
        _record("sub.com.", "RRSIG", _rrsig("DS", 2, "com.", now=now)),
        _record("com.", "DNAME", "com."),
        _record("com.", "CNAME", "com."),
        b"\xc0\x0c" + struct.pack("!HHIH", 46, 1, 0, 3) + b"\0\0\0",  # an RRSIG of three octets
        b"\xc0\x0c" + struct.pack("!HHIH", 47, 1, 0, 2) + b"\xc0\x0c",  # a compressed NSEC
        b"\xc0\xff" + struct.pack("!HHIH", 50, 1, 0, 0),  # a pointer ahead
        b"\0" + struct.pack("!HHIH", 41, 1232, 0x8000, 65_000),  # an OPT longer than the message
        b"\0" + struct.pack("!HHIHHH", 41, 1232, 0x8000, 604, 3, 600) + b"\x1b[2J\xff\0" * 100,
    )


def message(
    rng: random.Random, question: bytes, query_id: int, records: tuple[bytes, ...]
) -> bytes:
    """A hostile answer to a question (name, type and class), of at most 1,232 octets."""
    body, counts = bytearray(question), [1, 0, 0, 0]
    for section in (1, 2, 3):
        for _ in range(rng.choice((0, 0, 1, 2, 3, 6))):
            one = rng.choice(records)
            if len(body) + len(one) <= 1220:
                body += one
                counts[section] += 1
    flags = _QR_AA | rng.choice((0, 0, 0, 3, 3, 2, 5, 1, 15))
    if rng.random() < 0.3:  # broken in a place of its own
        for _ in range(rng.randint(1, 8)):
            body[rng.randrange(len(body))] = rng.getrandbits(8)
    if rng.random() < 0.1:
        del body[rng.randrange(len(body)) :]
    if rng.random() < 0.05:
        counts[rng.randint(1, 3)] = rng.choice((0, 1, 255, 65_535))
    return struct.pack("!6H", query_id, flags, *counts) + bytes(body)


def name(rng: random.Random, zone: str) -> bytes:
    """A name at or below a zone that reaches some limit, in wire form."""
    tail = b"".join(
        bytes([len(label)]) + label.encode() for label in zone.rstrip(".").split(".") if label
    )
    kind = rng.randrange(6)
    if kind == 0:  # as long as names can be
        labels = [bytes([63]) + rng.randbytes(63) for _ in range(3)]
        rest = 255 - 1 - len(tail) - 3 * 64
        labels.append(bytes([rest - 1]) + rng.randbytes(rest - 1))
    elif kind == 1:  # as many labels as names can have
        labels = [b"\1" + rng.randbytes(1) for _ in range((254 - len(tail)) // 2)]
    elif kind == 2:
        labels = [b"\1*", b"\1*", b"\4" + rng.randbytes(4)]
    elif kind == 3:  # looks like an NSEC3 owner
        labels = [
            b"\40" + bytes(rng.choice(b"0123456789abcdefghijklmnopqrstuv") for _ in range(32))
        ]
    elif kind == 4:
        labels = [b"\12" + b'\0.\\"\x1b\n\r%s{', b"\6" + rng.randbytes(6)]
    else:
        labels = [b"\14" + rng.randbytes(12)]
    return b"".join(labels) + tail + b"\0"
