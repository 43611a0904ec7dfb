"""Keys of every algorithm, and signatures with whatever is wished in their fields.

dnspython's own signer makes right signatures only. Here each field of an RRSIG can be another than
the right one while the arithmetic still fits, because that is what a validator must see by itself.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import dns.dnssec
import dns.dnssecalgs
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

DAY: Final = 86_400
ZSK, KSK, REVOKED = 256, 257, 385  # DNSKEY flags (RFC 4034 2.1.1, RFC 5011 7)
RSA: Final = frozenset({5, 7, 8, 10})
_CURVES: Final = {13: ec.SECP256R1(), 14: ec.SECP384R1()}
_PRIVATE: Final = {253: b"\7private\7example\0", 254: b"\5\x2b\6\1\4\1"}
"""What keys and signatures of private algorithms begin with (RFC 4034 appendix A.1.1)."""
_WHOLE: Final = 1 << 32


@dataclass
class Signed:
    """An RRset in the making, with the signatures over it. Unlike dnspython's it may be wrong."""

    owner: dns.name.Name
    rdtype: int
    ttl: int
    rdatas: list[dns.rdata.Rdata]
    sigs: list[RRSIG] = field(default_factory=list)
    over: dns.name.Name | None = None
    """The wildcard that it was made from, whose name is signed."""

    @property
    def text(self) -> str:
        """Owner and type."""
        return f"{self.owner} {dns.rdatatype.to_text(dns.rdatatype.RdataType.make(self.rdtype))}"


@dataclass(frozen=True)
class Key:
    """A key pair. Of an algorithm that nobody knows both halves are noise."""

    dnskey: DNSKEY
    private: Any = None

    @property
    def algorithm(self) -> int:
        return int(self.dnskey.algorithm)

    @property
    def tag(self) -> int:
        return dns.dnssec.key_id(self.dnskey)

    def with_(self, **fields: int) -> Key:
        """The same pair with other fields in its record."""
        changed = self.dnskey.replace(**fields)
        assert isinstance(changed, DNSKEY)
        return Key(changed, self.private)

    def ds(self, zone: dns.name.Name, digest: str = "SHA256") -> DS:
        """The DS for it: SHA1, SHA256 or SHA384."""
        made = dns.dnssec.make_ds(
            zone, self.dnskey, digest, policy=dns.dnssec.allow_all_policy, validating=True
        )
        assert isinstance(made, DS)
        return made

    def sign(
        self,
        rrset: Signed,
        signer: dns.name.Name,
        inception: int,
        expiration: int,
        *,
        labels: int | None = None,
        ttl: int | None = None,
        tag: int | None = None,
        algorithm: int | None = None,
    ) -> RRSIG:
        """A signature that fits what a validator puts together by its fields (RFC 4034 3.1.8.1)."""
        owner = rrset.over or rrset.owner
        right = len(owner) - 1 - owner.is_wild()
        fields = RRSIG(  # type: ignore[no-untyped-call]
            dns.rdataclass.IN,
            dns.rdatatype.RRSIG,
            rrset.rdtype,
            self.algorithm if algorithm is None else algorithm,
            right if labels is None else labels,
            rrset.ttl if ttl is None else ttl,
            expiration % _WHOLE,
            inception % _WHOLE,
            self.tag if tag is None else tag,
            signer,
            b"",
        )
        if fields.labels < len(owner) - 1:
            owner = dns.name.Name((b"*", *owner.split(fields.labels + 1)[1].labels))
        wire = fields.to_wire()
        assert wire is not None
        head = struct.pack("!HHI", rrset.rdtype, dns.rdataclass.IN, fields.original_ttl)
        parts = [wire[:18], signer.to_digestable()]
        for rdata in sorted({rdata.to_digestable() for rdata in rrset.rdatas}):
            parts += [owner.to_digestable(), head, struct.pack("!H", len(rdata)), rdata]
        made = fields.replace(signature=self._arithmetic(b"".join(parts)))
        assert isinstance(made, RRSIG)
        return made

    def _arithmetic(self, data: bytes) -> bytes:
        if self.private is None:
            return _PRIVATE.get(self.algorithm, b"") + hashlib.sha512(data).digest()
        cls = dns.dnssecalgs.get_algorithm_cls_from_dnskey(self.dnskey)
        return bytes(cls(key=self.private).sign(data, False))


@functools.lru_cache(maxsize=4096)
def key_of(number: int, flags: int = ZSK, algorithm: int = 13) -> Key:
    """The key of this number: always the same, but for RSA, which takes long to make."""
    seed = hashlib.shake_256(b"contract %d" % number).digest(57)
    private: Any
    if algorithm in _CURVES:
        private = ec.derive_private_key(int.from_bytes(seed[:31], "big") + 1, _CURVES[algorithm])
    elif algorithm in RSA:
        private = _rsa(number % 2)
    elif algorithm == 15:
        private = ed25519.Ed25519PrivateKey.from_private_bytes(seed[:32])
    elif algorithm == 16:
        private = ed448.Ed448PrivateKey.from_private_bytes(seed)
    else:
        secret = _PRIVATE.get(algorithm, b"") + seed
        text = f"{flags} 3 {algorithm} {base64.b64encode(secret).decode()}"
        noise = dns.rdata.from_text("IN", "DNSKEY", text)
        assert isinstance(noise, DNSKEY)
        return Key(noise)
    return Key(dns.dnssec.make_dnskey(private.public_key(), algorithm, flags), private)


@functools.cache
def _rsa(_which: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def twins() -> list[tuple[Key, Key]]:
    """Pairs of keys with the same tag each (RFC 4034 appendix B)."""
    return list(_twins())


def warm() -> None:
    """Makes what takes long, before anybody waits for an answer."""
    twins()
    for which in range(2):
        _rsa(which)


def _twins() -> Iterator[tuple[Key, Key]]:
    seen: dict[int, Key] = {}
    for number in range(1_000_000, 1_001_500):
        key = key_of(number)
        if (other := seen.pop(key.tag, None)) is not None:
            yield other, key
        else:
            seen[key.tag] = key
