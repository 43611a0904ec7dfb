"""Signatures that today's libraries refuse: DSA, and RSA with less than 1,024 bits.

Most of the scenarios are of an age at which these were usual. RFC 8624 3.1 forbids DSA, and we
take zones that have nothing else for insecure; for the comparison it is as good as the rest, as
in the builds that the scenarios are run with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import dns.dnssec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from steering.observe.dnssec import algorithms, signatures
from steering.observe.dnssec.keys import zone_entry

_DSA: Final = frozenset({3, 6})
_RSA: Final = {5: "sha1", 7: "sha1", 8: "sha256", 10: "sha512"}
_INFO: Final = {  # DigestInfo before the digest (RFC 8017 9.2)
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_SMALL: Final = 1024


@contextmanager
def known() -> Iterator[None]:
    """They are verified meanwhile."""
    before = algorithms.ALGORITHMS
    library: Any = dns.dnssec
    policy, verify = library.default_policy, library._validate_signature

    def either(signature: bytes, data: bytes, key: DNSKEY) -> None:
        if key.algorithm in _DSA:
            fits = _dsa(key.key, signature, data)
        elif key.algorithm in _RSA and _modulus(key.key)[1].bit_length() < _SMALL:
            fits = _rsa(key.key, signature, data, _RSA[key.algorithm])
        else:
            verify(signature, data, key)
            return
        if not fits:
            raise InvalidSignature

    signatures.ALGORITHMS = zone_entry.ALGORITHMS = before | _DSA  # type: ignore[attr-defined]
    library.default_policy, library._validate_signature = dns.dnssec.allow_all_policy, either
    try:
        yield
    finally:
        signatures.ALGORITHMS = zone_entry.ALGORITHMS = before  # type: ignore[attr-defined]
        library.default_policy, library._validate_signature = policy, verify


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _dsa(key: bytes, signature: bytes, data: bytes) -> bool:
    """RFC 2536 2 and 3; some of the signatures are in DER instead."""
    size = 64 + 8 * key[0]
    q, rest = _number(key[1:21]), key[21:]
    p, g, y = (_number(rest[at : at + size]) for at in (0, size, 2 * size))
    if signature[0] == 0x30:
        r, s = decode_dss_signature(signature)
    else:
        r, s = _number(signature[1:21]), _number(signature[21:41])
    if not (0 < r < q and 0 < s < q):
        return False
    w = pow(s, -1, q)
    digest = _number(hashlib.sha1(data, usedforsecurity=False).digest())
    return pow(g, digest * w % q, p) * pow(y, r * w % q, p) % p % q == r


def _modulus(key: bytes) -> tuple[int, int]:
    """Exponent and modulus (RFC 3110 2)."""
    length, at = (key[0], 1) if key[0] else (_number(key[1:3]), 3)
    return _number(key[at : at + length]), _number(key[at + length :])


def _rsa(key: bytes, signature: bytes, data: bytes, name: str) -> bool:
    """RSASSA-PKCS1-v1_5 (RFC 8017 8.2.2)."""
    exponent, modulus = _modulus(key)
    size = (modulus.bit_length() + 7) // 8
    told = _INFO[name] + hashlib.new(name, data, usedforsecurity=False).digest()
    padded = b"\0\1" + b"\xff" * (size - len(told) - 3) + b"\0" + told
    return pow(_number(signature), exponent, modulus) == _number(padded)
