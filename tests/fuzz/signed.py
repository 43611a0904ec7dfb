"""Records with real signatures, of a zone that has every reason to be distrusted.

What is signed by a zone's own key gets furthest, so the odd owners, next names, bitmaps, dates
and label counts of these records are signed like those of an honest one.
"""

from __future__ import annotations

import functools
import hashlib
import random
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import dns.name
import dns.rdataset
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from signedzone import DAY, NOW, Key, SignedZone

from fuzz import names
from fuzz.octets import below
from steering.observe.dnssec.trust import Keys, Trust

A, NS, CNAME, SOA, TXT, AAAA = 1, 2, 5, 6, 16, 28
DNAME, DS, RRSIG, NSEC, DNSKEY, NSEC3 = 39, 43, 46, 47, 48, 50
IN: Final = 1
_ECDSA: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


class Record(NamedTuple):
    """A resource record as it goes on the wire (RFC 1035 3.2.1), its names uncompressed."""

    owner: bytes
    rdtype: int
    rdata: bytes
    ttl: int = 900
    rdclass: int = IN


def _key(number: int, flags: int = 256) -> Key:
    return Key(flags, ec.derive_private_key(number, ec.SECP256R1()))


KSK, ZSK, OTHER = _key(7_001, 257), _key(7_002), _key(7_003)
ZONE: Final = SignedZone(
    "com.",
    ksk=KSK,
    zsk=ZSK,
    children={"safe": (KSK.ds(SignedZone("safe.com.", ksk=KSK, zsk=ZSK).name),), "bare": ()},
    wildcard=True,
)
NSEC_ZONE: Final = SignedZone("com.", ksk=KSK, zsk=ZSK, nsec3=False, wildcard=True)
ROOT_ZONE: Final = SignedZone(
    ".", ksk=KSK, zsk=ZSK, names=(), nsec3=False, children={"com": (KSK.ds(ZONE.name),), "net": ()}
)


def wire_of(name: str) -> bytes:
    """A name of these zones on the wire."""
    wire = dns.name.from_text(name).to_wire()
    assert wire is not None
    return wire


def keys(zone: SignedZone) -> Keys:
    """A zone's keys, as the store holds them."""
    return Keys(
        zone=zone.text,
        rdataset=dns.rdataset.from_rdata_list(3600, list(zone.dnskey())),
        inception=NOW - DAY,
        expiration=NOW + DAY,
        checked=NOW,
    )


TRUST: Final = Trust(
    secure={"com.": keys(ZONE), ".": keys(ROOT_ZONE)}, insecure=frozenset({"net."})
)

_DATES: Final = (
    *[(NOW - DAY, NOW + 6 * DAY)] * 12,
    (NOW - 9 * DAY, NOW - DAY),
    (NOW + DAY, NOW + 9 * DAY),
    (0, 0),
    (0, 0xFFFFFFFF),
    (0xFFFFFFFF, 0),
    (0x80000000, 0x7FFFFFFF),
    (NOW, NOW),
    ((NOW + 0x80000000) & 0xFFFFFFFF, (NOW - 0x80000000) & 0xFFFFFFFF),
    ((NOW - 0x7FFFFFFF) & 0xFFFFFFFF, NOW + 0x7FFFFFFF),
)


def signature(
    draw: random.Random, records: Sequence[Record], signer: bytes | None = None
) -> Record:
    """An RRSIG over records of one owner and type; mostly a good one."""
    first = records[0]
    inception, expiration = _DATES[below(draw, len(_DATES))]
    key, tag, algorithm = ZSK, ZSK.tag, 13
    if first.rdtype == DNSKEY and draw.random() < 0.8:
        key, tag = KSK, KSK.tag
    if draw.random() < 0.1:
        algorithm = below(draw, 256)
    if draw.random() < 0.1:
        tag = below(draw, 65_536) if draw.random() < 0.5 else OTHER.tag
    labels = _labels(first.owner)
    if draw.random() < 0.15:
        labels = (0, 255, max(labels - 1, 0), labels + 1)[below(draw, 4)]
    if signer is None:
        signer = names.COM if draw.random() < 0.8 else names.name(draw)
    head = struct.pack(
        "!HBBIIIH", first.rdtype, algorithm, labels & 255, first.ttl, expiration, inception, tag
    )
    owner = first.owner.lower()
    text = (
        head
        + signer.lower()
        + b"".join(
            owner + struct.pack("!HHIH", one.rdtype, IN, first.ttl, len(one.rdata)) + one.rdata
            for one in sorted(records, key=lambda one: one.rdata)
        )
    )
    made = _signed(key, text)
    if draw.random() < 0.05:
        made = made[: below(draw, 64)] if draw.random() < 0.5 else made + b"\0"
    return Record(first.owner, RRSIG, head + signer + made, first.ttl)


def _signed(key: Key, text: bytes) -> bytes:
    r, s = decode_dss_signature(key.private.sign(text, _ECDSA))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _labels(owner: bytes) -> int:
    """As an RRSIG counts them: without the root and a leading asterisk (RFC 4034 3.1.3)."""
    at, count = 0, 0
    while at < len(owner) and owner[at] and owner[at] < 64:
        at, count = at + 1 + owner[at], count + 1
    return count - owner.startswith(b"\1*")


# --- RDATA ----------------------------------------------------------------------------------

_BITMAPS: Final = (
    b"\0\7\x22\0\0\0\0\3\x80",  # NS SOA RRSIG NSEC DNSKEY
    b"\0\6\x40\0\0\0\0\3",
    b"\0\6\x20\0\0\0\0\x13",  # NS DS RRSIG NSEC
    b"\0\6\x24\0\0\0\0\3",
    b"\0\6\0\0\0\0\0\3",
    b"",
    b"\0\x20" + b"\xff" * 32,
    b"\0\x11" + b"\0" * 16 + b"\x80",  # NXNAME (RFC 9824)
    b"\0\1\x20",
)
_ODD_BITMAPS: Final = (
    b"\0\0",
    b"\0\x21" + b"\xff" * 33,
    b"".join(bytes([window, 32]) + b"\xff" * 32 for window in range(256)),
    b"\1\1\x80\0\1\x40",  # windows out of order
    b"\0\1\x40\0\1\x40",
    b"\0\6\x40",
)


def _bitmap(draw: random.Random) -> bytes:
    held = _BITMAPS if draw.random() < 0.97 else _ODD_BITMAPS
    return held[below(draw, len(held))]


def nsec(draw: random.Random) -> Record:
    """An NSEC record of any owner, with any next name."""
    owner = (names.COM, names.COM, names.ROOT, names.name(draw))[min(below(draw, 10), 3)]
    following = names.COM if draw.random() < 0.3 else names.name(draw)
    return Record(owner, NSEC, following + _bitmap(draw))


def nsec3(draw: random.Random) -> Record:
    """An NSEC3 record with any parameters."""
    owner = names.hashed(draw) if draw.random() < 0.8 else names.name(draw)
    if draw.random() < 0.2:  # what matches the apex
        owner = names.label(_b32(_hash(b"\3com\0"))) + names.COM
    algorithm = 1 if draw.random() < 0.9 else below(draw, 256)
    flags = (0, 1, 1, 255)[below(draw, 4)]
    iterations = (0, 0, 0, 0, 1, 10, 11, 150, 151, 65_535)[below(draw, 10)]
    salt = (b"", b"", b"", b"\xaa\xbb", b"\0" * 255)[below(draw, 5)]
    size = 20 if draw.random() < 0.95 else (0, 1, 19, 21, 255)[below(draw, 5)]
    rdata = struct.pack("!BBH", algorithm, flags, iterations) + names.label(salt)
    rdata += names.label(draw.randbytes(size))
    return Record(owner, NSEC3, rdata + _bitmap(draw))


def _hash(name: bytes) -> bytes:
    return hashlib.sha1(name, usedforsecurity=False).digest()


def _b32(digest: bytes) -> bytes:
    import base64

    return base64.b32hexencode(digest).lower()


def soa(draw: random.Random) -> Record:
    owner = names.COM if draw.random() < 0.6 else names.name(draw)
    serial = (0, 1, NOW, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)[below(draw, 6)]
    rdata = names.name(draw) + names.name(draw) + struct.pack("!IIIII", serial, 1, 2, 3, 4)
    return Record(owner, SOA, rdata)


def dnskey(draw: random.Random) -> Record:
    """A key: real ones, real ones' tags on rubbish, every algorithm, no key at all."""
    kind = draw.random()
    rdata = (KSK, ZSK, OTHER)[below(draw, 3)].dnskey.to_wire()
    assert rdata is not None
    if kind < 0.3:
        rdata = rdata[:3] + bytes([below(draw, 256)]) + rdata[4:]
    elif kind < 0.4:
        rdata = rdata[:4] + draw.randbytes(below(draw, 300))
    elif kind < 0.5:
        rdata = rdata[:4] + rdata[6:8] + rdata[4:6] + rdata[8:]  # the same tag (RFC 4034 B)
    elif kind < 0.6:  # RSA with an exponent of any length (RFC 3110 2)
        rdata = (
            struct.pack("!HBB", 257, 3, 8)
            + (b"\0", b"\1\0\xff", b"\0\xff\xff\1", b"\3\1\0\1", b"\1\0")[below(draw, 5)]
            + draw.randbytes(below(draw, 140))
        )
    return Record(names.COM if draw.random() < 0.8 else names.name(draw), DNSKEY, rdata, 3600)


def ds(draw: random.Random) -> Record:
    owner = b"\4safe\3com\0" if draw.random() < 0.5 else names.name(draw)
    kind = 1 + below(draw, 4)
    size = (20, 32, 32, 48)[kind - 1] if draw.random() < 0.95 else below(draw, 256)
    rdata = struct.pack("!HBB", below(draw, 65_536), below(draw, 256), kind)
    return Record(owner, DS, rdata + draw.randbytes(size))


def pointing(draw: random.Random) -> Record:
    """A record whose RDATA is a name."""
    rdtype = (NS, CNAME, DNAME, NS, CNAME)[below(draw, 5)]
    return Record(names.name(draw), rdtype, names.name(draw))


_PLAIN: Final = (
    (A, b"\xc0\0\2\1"),
    (AAAA, b"\0" * 16),
    (TXT, b"\0"),
    (TXT, b"\xff" + (b"\0\x2e\0\1" * 64)[:255]),
    (65_535, b"x"),
    (65_280, b""),
)
_ODD: Final = (
    (A, b"\xc0\0\2"),
    (TXT, b"\5a"),
    (0, b""),
    (255, b""),
    (64, b"\0\1\0\0\0\0"),
    (257, b"\0\0"),
)


def plain(draw: random.Random) -> Record:
    held = _PLAIN if draw.random() < 0.9 else _ODD
    rdtype, rdata = held[below(draw, len(held))]
    return Record(names.name(draw), rdtype, rdata)


_MAKERS: Final = (nsec, nsec, nsec, nsec3, nsec3, nsec3, soa, dnskey, ds, pointing, pointing, plain)


@functools.cache
def sets(seed: int, count: int = 700) -> tuple[tuple[Record, ...], ...]:
    """Sets of records, each with one signature or some, none, or one by somebody else."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        make = _MAKERS[below(draw, len(_MAKERS))]
        record = make(draw)
        rrset = [record]
        while draw.random() < 0.2:
            other = make(draw)
            if other.rdtype == record.rdtype:
                rrset.append(record._replace(rdata=other.rdata))
        signatures = [
            signature(draw, rrset) for _ in range((0, 1, 1, 1, 1, 1, 1, 2)[below(draw, 8)])
        ]
        made.append((*rrset, *signatures))
    return tuple(made)
