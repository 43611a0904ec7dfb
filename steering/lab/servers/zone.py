"""Signed zones like com. and net., and the faults that a copy of one may have.

A ``ZoneSpec`` describes a zone, ``sign`` signs it with keys that are made once (``Keys``), and the
result is a ``SignedZone``: its RRsets, each with its RRSIGs, as a zone file for any server. The
signing is that of Verisign for com. and net.: algorithm 13 (RFC 6605), NSEC3 with opt-out, no salt,
no iterations (RFC 5155, RFC 9276), a KSK and a ZSK, and a DNSKEY signature that lasts longer than
those over the data (609,000 s and 15 d 5 min).

A ``Fault`` describes what a faulty instance serves. The same RRsets fail in every run: a hash of
owner and type selects them, as the signatures of an outdated copy expire one RRset at a time.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import dns.dnssec
import dns.dnssectypes
import dns.name
import dns.rdatatype
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG

from steering.lab.addresses import GTLD_SERVERS
from steering.model import Family, Seconds, WallTime

DATA_LIFE: Seconds = 609_000
DNSKEY_LIFE: Seconds = 15 * 86_400 + 300
OPT_OUT = 1  # RFC 5155 3.1.2.1
_KSK, _ZSK = 257, 256  # DNSKEY flags, RFC 4034 2.1.1
_GTLD_GLUE = tuple((name, a) for name, both in GTLD_SERVERS.items() for a in both)
_ALGORITHM = dns.dnssectypes.Algorithm.ECDSAP256SHA256


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """A child zone, one label below its parent. With a ``ds`` it is a signed one."""

    name: str
    nameservers: tuple[str, ...]
    ds: tuple[str, ...] = ()
    glue: tuple[tuple[str, str], ...] = ()
    """Nameserver name and address, for nameservers below the zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneSpec:
    """The content of a zone before it is signed."""

    name: str
    serial: int
    delegations: tuple[Delegation, ...]
    nameservers: tuple[str, ...] = tuple(GTLD_SERVERS)
    ttl: int = 86_400
    negative_ttl: int = 900

    @classmethod
    def like_com(
        cls, name: str, *, serial: int | None = None, count: int = 300, secure: float = 0.1
    ) -> Self:
        """A zone of ``count`` delegations d0001…, the share ``secure`` of them with a DS.

        The serial is the time of the last edit in UNIX seconds, now if left out.
        """
        children = [_delegation(f"d{n:04}.{name}", secure=n < secure * count) for n in range(count)]
        if name == "net.":  # the nameservers' own names are below net.
            children.append(
                Delegation(
                    name="gtld-servers.net.", nameservers=tuple(GTLD_SERVERS), glue=_GTLD_GLUE
                )
            )
        return cls(
            name=name,
            serial=int(time.time()) if serial is None else serial,
            delegations=tuple(children),
        )

    @classmethod
    def root(cls, children: Iterable[tuple[str, Keys]], *, serial: int) -> Self:
        """A root zone above zones on the gTLD servers, which must serve it too."""
        return cls(
            name=".",
            serial=serial,
            delegations=tuple(
                Delegation(
                    name=child,
                    nameservers=tuple(GTLD_SERVERS),
                    ds=(keys.ds(child),),
                    glue=_GTLD_GLUE if child == "net." else (),
                )
                for child, keys in children
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A key-signing and a zone-signing key: the same for all copies of a zone."""

    ksk: ec.EllipticCurvePrivateKey = field(repr=False)
    zsk: ec.EllipticCurvePrivateKey = field(repr=False)
    spare: tuple[ec.EllipticCurvePrivateKey, ...] = field(repr=False, default=())
    """Zone-signing keys that are published and sign nothing; each makes the DNSKEY RRset 80 octets
    larger."""

    @classmethod
    def fresh(cls, *, spare: int = 0) -> Self:
        ksk, zsk, *more = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2 + spare))
        return cls(ksk=ksk, zsk=zsk, spare=tuple(more))

    @property
    def dnskeys(self) -> tuple[DNSKEY, ...]:
        """The KSK, the ZSK and the spare ones as records."""
        return _dnskey(self.ksk, _KSK), *(_dnskey(key, _ZSK) for key in (self.zsk, *self.spare))

    def ds(self, zone: str) -> str:
        """The DS of the KSK (SHA-256), as text without an owner."""
        return dns.dnssec.make_ds(dns.name.from_text(zone), self.dnskeys[0], "SHA256").to_text()

    def anchor(self, zone: str) -> str:
        """A trust anchor: the DS as a line of a zone file."""
        return f"{zone} 86400 IN DS {self.ds(zone)}\n"

    def write(self, zone: str, directory: Path) -> tuple[Path, Path]:
        """Write both keys as BIND's tools want them (K….key, K….private); the ``.key`` paths."""
        return (
            write_key(zone, self.ksk, self.dnskeys[0], directory),
            write_key(zone, self.zsk, self.dnskeys[1], directory),
        )


class FaultKind(enum.StrEnum):
    """What is wrong with a copy of a zone."""

    FRESH = "fresh"
    EXPIRED = "expired"
    BAD_SIGNATURE = "bad_signature"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The kind of fault, the share of affected RRsets, and whether the apex is exempt."""

    kind: FaultKind = FaultKind.FRESH
    share: float = 1.0
    spare_apex: bool = False
    """Exempt what nearly every denial contains: the apex's RRsets, and the NSEC3 records that prove
    that it exists and has no wildcard. Otherwise a small share often affects either nothing or
    nearly everything."""

    def hits(self, owner: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> bool:
        """Whether it affects this RRset; always the same result."""
        digest = hashlib.sha256(owner.to_digestable() + rdtype.to_bytes(2, "big")).digest()
        return int.from_bytes(digest[:4], "big") < self.share * 2**32


FRESH = Fault()


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """When signatures begin and how long they are valid."""

    inception: WallTime
    life: Seconds = DATA_LIFE
    dnskey_life: Seconds = DNSKEY_LIFE
    jitter: Seconds = 0.0
    """Validities are shortened by up to this much, by a hash of the owner."""
    expired_for: Seconds = 3_600
    """How long before ``now`` an expired signature ended."""
    now: WallTime

    @classmethod
    def since(cls, now: WallTime | None = None, *, jitter: Seconds = 0.0) -> Self:
        """Signed an hour before ``now``, the current time if left out."""
        now = time.time() if now is None else now
        return cls(inception=now - 3_600, now=now, jitter=jitter)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedZone:
    """A zone as served: every RRset in canonical order, each followed by its RRSIGs."""

    name: str
    serial: int
    rrsets: tuple[dns.rrset.RRset, ...]

    @property
    def text(self) -> str:
        """The zone as a zone file."""
        return "".join(rrset.to_text() + "\n" for rrset in self.rrsets)

    @property
    def soa(self) -> tuple[dns.rrset.RRset, ...]:
        """The SOA and, if it is signed, its RRSIG."""
        apex, soa = dns.name.from_text(self.name), dns.rdatatype.SOA
        return tuple(r for r in self.rrsets if r.name == apex and soa in (r.rdtype, r.covers))

    def write(self, path: Path) -> Path:
        """Write the zone file atomically."""
        fresh = path.with_suffix(".new")
        fresh.write_text(self.text)
        return fresh.rename(path)


def sign(
    spec: ZoneSpec, keys: Keys, validity: Validity | None = None, fault: Fault = FRESH
) -> SignedZone:
    """Sign a zone, optionally with a fault. A few hundred RRsets take well below a second."""
    validity = validity or Validity.since()
    apex = dns.name.from_text(spec.name)
    plain = list(unsigned(spec))
    if fault.kind is FaultKind.UNSIGNED:
        return SignedZone(name=spec.name, serial=spec.serial, rrsets=tuple(plain))
    cuts = {dns.name.from_text(d.name) for d in spec.delegations}
    plain.append(dns.rrset.from_rdata_list(apex, spec.ttl, list(keys.dnskeys)))
    chain = list(_nsec3_chain(spec, apex, plain))
    spared = _apex_proofs(apex, chain)
    made: list[dns.rrset.RRset] = []
    for rrset in plain + chain:
        made.append(rrset)
        below = rrset.name.split(len(apex) + 1)[1] if len(rrset.name) > len(apex) else apex
        if below in cuts and rrset.rdtype != dns.rdatatype.DS:
            continue  # the child's NS and glue are not signed (RFC 4035 2.2)
        healthy = fault.spare_apex and rrset.name in spared
        affected = not healthy and fault.hits(rrset.name, rrset.rdtype)
        kind = fault.kind if affected else FaultKind.FRESH
        made.append(_signatures(rrset, apex, keys, validity, kind))
    return SignedZone(name=spec.name, serial=spec.serial, rrsets=tuple(made))


def unsigned(spec: ZoneSpec) -> Iterator[dns.rrset.RRset]:
    """The RRsets of a zone before signing."""
    primary = spec.nameservers[0]
    soa = f"{primary} nstld.verisign-grs.com. {spec.serial} 1800 900 604800 {spec.negative_ttl}"
    yield dns.rrset.from_text(spec.name, spec.negative_ttl, "IN", "SOA", soa)
    yield dns.rrset.from_text_list(spec.name, spec.ttl, "IN", "NS", list(spec.nameservers))
    for child in spec.delegations:
        yield dns.rrset.from_text_list(child.name, 172_800, "IN", "NS", list(child.nameservers))
        if child.ds:
            yield dns.rrset.from_text_list(child.name, spec.ttl, "IN", "DS", list(child.ds))
        for name in dict.fromkeys(name for name, _ in child.glue):
            for family, rdtype in ((Family.IPV4, "A"), (Family.IPV6, "AAAA")):
                addresses = [a for n, a in child.glue if n == name and Family.of(a) is family]
                if addresses:
                    yield dns.rrset.from_text_list(name, 172_800, "IN", rdtype, addresses)


def gtld_servers_zone(*, serial: int) -> SignedZone:
    """The zone of the nameservers' own names, unsigned as the real one is.

    A resolver that starts from a root zone asks for them; one with stub addresses does not.
    """
    spec = ZoneSpec(name="gtld-servers.net.", serial=serial, delegations=())
    hosts = (
        dns.rrset.from_text(name, 172_800, "IN", rdtype, address)
        for name, both in GTLD_SERVERS.items()
        for rdtype, address in zip(("A", "AAAA"), both, strict=True)
    )
    return SignedZone(name=spec.name, serial=serial, rrsets=(*unsigned(spec), *hosts))


def nsec3_hash(name: dns.name.Name) -> str:
    """The hashed owner label of a name: SHA-1, no salt, no iterations (RFC 5155 5)."""
    return dns.dnssec.nsec3_hash(name, None, 0, "SHA1").lower()


def _delegation(name: str, *, secure: bool) -> Delegation:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Delegation(
        name=name,
        nameservers=(f"ns1.{name}", f"ns2.{name}"),
        ds=(f"{int(digest[:4], 16)} 13 2 {digest}",) if secure else (),
        glue=((f"ns1.{name}", "198.51.100.1"), (f"ns2.{name}", "2001:db8::53")),
    )


def _nsec3_chain(
    spec: ZoneSpec, apex: dns.name.Name, plain: list[dns.rrset.RRset]
) -> Iterator[dns.rrset.RRset]:
    """The NSEC3 of the apex and of every signed delegation, and the parameters' record."""
    yield dns.rrset.from_text(apex, 0, "IN", "NSEC3PARAM", "1 0 0 -")
    types = {apex: "NS SOA RRSIG DNSKEY NSEC3PARAM"}
    types |= {r.name: "NS DS RRSIG" for r in plain if r.rdtype == dns.rdatatype.DS}
    hashed = sorted((nsec3_hash(name), bitmap) for name, bitmap in types.items())
    following = [label for label, _ in hashed[1:]] + [hashed[0][0]]
    for (label, bitmap), after in zip(hashed, following, strict=True):
        owner = dns.name.from_text(label, apex)
        text = f"1 {OPT_OUT} 0 - {after} {bitmap}"
        yield dns.rrset.from_text(owner, spec.negative_ttl, "IN", "NSEC3", text)


def _apex_proofs(apex: dns.name.Name, chain: list[dns.rrset.RRset]) -> set[dns.name.Name]:
    """The apex, the NSEC3 that matches it and the one that covers the wildcard below it."""
    wildcard = nsec3_hash(dns.name.from_text("*", apex))
    owners = sorted(r.name for r in chain if isinstance(r[0], NSEC3))
    before = [name for name in owners if name.labels[0].decode() < wildcard]
    covering = before[-1] if before else owners[-1]
    return {apex, dns.name.from_text(nsec3_hash(apex), apex), covering}


def _signatures(
    rrset: dns.rrset.RRset, apex: dns.name.Name, keys: Keys, validity: Validity, kind: FaultKind
) -> dns.rrset.RRset:
    """The RRSIG over one RRset, with a fault of this kind."""
    of_keys = rrset.rdtype == dns.rdatatype.DNSKEY
    private, public = (keys.ksk, keys.dnskeys[0]) if of_keys else (keys.zsk, keys.dnskeys[1])
    digest = hashlib.sha256(b"jitter" + rrset.name.to_digestable()).digest()
    early = validity.jitter * int.from_bytes(digest[:4], "big") / 2**32
    inception = validity.inception
    expiration = inception + (validity.dnskey_life if of_keys else validity.life - early)
    if kind is FaultKind.EXPIRED:
        back = validity.now - validity.expired_for - expiration
        inception, expiration = inception + back, expiration + back
    rrsig = dns.dnssec.sign(
        rrset,
        private,
        apex,
        public,
        inception=int(inception),
        expiration=int(expiration),
    )
    if kind is FaultKind.BAD_SIGNATURE:
        rrsig = _flipped(rrsig)
    made = dns.rrset.from_rdata(rrset.name, rrset.ttl, rrsig)
    made.covers = rrset.rdtype
    return made


def _flipped(rrsig: RRSIG) -> RRSIG:
    """The signature with one bit flipped."""
    wrong = bytes([rrsig.signature[0] ^ 1]) + rrsig.signature[1:]
    flipped = rrsig.replace(signature=wrong)
    assert isinstance(flipped, RRSIG)
    return flipped


def _dnskey(key: ec.EllipticCurvePrivateKey, flags: int) -> DNSKEY:
    return dns.dnssec.make_dnskey(key.public_key(), _ALGORITHM, flags=flags)


def write_key(zone: str, key: ec.EllipticCurvePrivateKey, public: DNSKEY, directory: Path) -> Path:
    """Write a key in BIND's format v1.3 (RFC 6605 needs the private value alone); the ``.key``."""
    stem = directory / f"K{zone}+013+{dns.dnssec.key_id(public):05}"
    secret = base64.b64encode(key.private_numbers().private_value.to_bytes(32, "big")).decode()
    private = f"Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: {secret}\n"
    stem.with_name(stem.name + ".private").write_text(private)
    path = stem.with_name(stem.name + ".key")
    path.write_text(f"{zone} 86400 IN DNSKEY {public.to_text()}\n")
    return path
