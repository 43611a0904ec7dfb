"""The trusted keys of zones, as values: made by the key store, read by the classifier."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataset
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
from dns.rdtypes.dnskeybase import Flag

from steering.model import WallTime

DNSKEY = dns.rdtypes.ANY.DNSKEY.DNSKEY
DS = dns.rdtypes.ANY.DS.DS

_MOST_NAMED: Final = 8
"""Keys that a text lists one by one."""

LONGEST_NAME: Final = 255
"""Octets of a name on the wire (RFC 1035 2.3.4)."""


@functools.lru_cache(maxsize=1024)
def name_of(text: str) -> dns.name.Name:
    """The name in a text, cached. Raises dns.exception.DNSException."""
    return dns.name.from_text(text)


def text_of(name: dns.name.Name) -> str:
    """A name as the project writes it: lower case, with the final dot."""
    return name.to_text().lower()


def octets(name: dns.name.Name) -> int:
    """The octets of a name on the wire."""
    return sum(map(len, name.labels)) + len(name.labels)


def below(zone: dns.name.Name, name: dns.name.Name) -> bool:
    """Whether a name lies under a zone's apex and is not the apex itself."""
    return name != zone and name.is_subdomain(zone)


def named(records: Iterable[dns.rdata.Rdata]) -> str:
    """Keys or DS records for people, by tag, role and algorithm: ``20326 (KSK, algorithm 8)``.

    A revoked key (RFC 5011 2.1) is marked, as its tag differs from the one before.
    """
    texts = sorted({_named(record) for record in records if isinstance(record, DS | DNSKEY)})
    more = f" and {len(texts) - _MOST_NAMED} more" if len(texts) > _MOST_NAMED else ""
    return ", ".join(texts[:_MOST_NAMED]) + more or "none"


def _named(record: DS | DNSKEY) -> str:
    if isinstance(record, DS):
        return f"{record.key_tag} (algorithm {int(record.algorithm)})"
    role = "KSK" if record.flags & Flag.SEP else "ZSK"
    revoked = "revoked " if record.flags & Flag.REVOKE else ""
    return f"{dns.dnssec.key_id(record)} ({revoked}{role}, algorithm {int(record.algorithm)})"


def digest_of(records: Iterable[dns.rdata.Rdata]) -> bytes:
    """A digest of a set of keys, independent of their order."""
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(rdata.to_digestable() for rdata in records):
        digest.update(len(key).to_bytes(2, "big") + key)
    return digest.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """A zone's DNSKEY RRset, validated up to a trust anchor; or the keys of several such sets, if
    servers show different ones.
    """

    zone: str
    rdataset: dns.rdataset.Rdataset
    inception: WallTime
    """Of the signature over the set: of two sets the newer one is the current one."""
    expiration: WallTime
    checked: WallTime
    """When a server or resolver last showed this set with good signatures."""
    trusted: tuple[DNSKEY, ...] = ()
    """Those of the keys that the parent's DS set or a trust anchor names."""
    digest: bytes = field(init=False)
    """Identifies the set in the cache of verified signatures."""
    tags: frozenset[tuple[int, int]] = field(init=False)
    """Algorithm and tag of each key (RFC 4034 appendix B)."""
    text: str = field(init=False)
    """The keys, for people."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest_of(self.rdataset))
        keys = (key for key in self.rdataset if isinstance(key, DNSKEY))
        tags = frozenset((int(key.algorithm), dns.dnssec.key_id(key)) for key in keys)
        object.__setattr__(self, "tags", tags)
        object.__setattr__(self, "text", named(self.rdataset))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The trust at one moment: the zones with keys, and the zones proven to be unsigned."""

    secure: Mapping[str, Keys] = field(default_factory=dict)
    insecure: frozenset[str] = frozenset()
