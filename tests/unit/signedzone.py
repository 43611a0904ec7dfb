"""A small signed zone that answers questions, with dates and faults of one's choosing."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import dns.dnssec
import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rdtypes.ANY.DS
import dns.rdtypes.ANY.RRSIG
import dns.rrset
from cryptography.hazmat.primitives.asymmetric import ec

NOW = 1_700_000_000
DAY = 86_400
RRSIG = dns.rdtypes.ANY.RRSIG.RRSIG
ALGORITHM = 13

Dates = Callable[[dns.name.Name, str], tuple[int, int]]


def good_dates(_owner: dns.name.Name, _rdtype: str) -> tuple[int, int]:
    """Inception and expiration around NOW."""
    return NOW - DAY, NOW + 6 * DAY


class Key:
    """A key pair, which signs."""

    def __init__(self, flags: int = 256, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.private = private or ec.generate_private_key(ec.SECP256R1())
        self.dnskey = dns.dnssec.make_dnskey(self.private.public_key(), ALGORITHM, flags)

    @property
    def tag(self) -> int:
        return dns.dnssec.key_id(self.dnskey)

    def ds(self, zone: dns.name.Name) -> dns.rdtypes.ANY.DS.DS:
        return dns.dnssec.make_ds(zone, self.dnskey, "SHA256")

    def sign(self, rrset: dns.rrset.RRset, signer: dns.name.Name, dates: tuple[int, int]) -> RRSIG:
        inception, expiration = dates
        return dns.dnssec.sign(
            rrset, self.private, signer, self.dnskey, inception=inception, expiration=expiration
        )


@dataclass
class SignedZone:
    """Answers like a nameserver of one zone.

    `children` are delegations: first label -> its DS records, empty for an insecure one.
    """

    text: str
    dates: Dates = good_dates
    serial: int = NOW
    children: Mapping[str, tuple[dns.rdtypes.ANY.DS.DS, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ("www",)
    nsec3: bool = True
    opt_out: bool = True
    iterations: int = 0
    signed: bool = True
    ksk: Key = field(default_factory=lambda: Key(257))
    zsk: Key = field(default_factory=Key)
    extra_keys: tuple[Key, ...] = ()
    dnskey_ttl: int = 3600
    nsid: bytes = b"sin1"
    wildcard: bool = False
    cache: dict[object, dns.rrset.RRset] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = dns.name.from_text(self.text)
        self._types: dict[dns.name.Name, list[str]] = {self.name: ["NS", "SOA", "DNSKEY", "RRSIG"]}
        for label, ds in self.children.items():
            self._types[self.child(label)] = ["NS", "DS", "RRSIG"] if ds else ["NS"]
        for label in self.names + (("*",) if self.wildcard else ()):
            self._types[self.child(label)] = ["A", "RRSIG"]

    def child(self, label: str) -> dns.name.Name:
        return dns.name.from_text(label, self.name)

    @property
    def anchor_text(self) -> str:
        return f"{self.text} IN DS {self.ksk.ds(self.name)}\n"

    def respond(self, wire: bytes) -> bytes:
        """The answer to a query's bytes."""
        return self.answer(dns.message.from_wire(wire)).to_wire(max_size=65535)

    def ask(self, name: str, rdtype: str, query_id: int = 7) -> dns.message.Message:
        """The answer to a question of ours."""
        query = dns.message.make_query(name, rdtype, want_dnssec=True, flags=0, id=query_id)
        return self.answer(query)

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        message = dns.message.make_response(query)
        message.use_edns(
            0,
            dns.flags.DO,
            1232,
            options=[dns.edns.GenericOption(dns.edns.OptionType.NSID, self.nsid)],
        )
        message.flags |= dns.flags.AA
        asked = query.question[0]
        name, rdtype = asked.name, dns.rdatatype.to_text(asked.rdtype)
        cut = next(
            (
                self.child(label)
                for label in self.children
                if name.is_subdomain(self.child(label))
                and not (name == self.child(label) and rdtype == "DS")
            ),
            None,
        )
        if cut is not None:
            message.flags &= ~dns.flags.AA
            message.authority.append(dns.rrset.from_text(cut, 300, "IN", "NS", "ns.example."))
            self._put(message.authority, self._ds(cut) or self.match_or_cover(cut))
            return message
        found = self._positive(name, rdtype)
        if found is not None:
            self._put(message.answer, [found])
        elif name in self._types:
            self._put(message.authority, [self.soa(), *self.match_or_cover(name)])
        elif self.wildcard and rdtype == "A":
            wild = dns.rrset.from_text(self.child("*"), 300, "IN", "A", "192.0.2.2")
            rrsig = self._rrsigs(wild)
            for rrset in (wild, rrsig):
                made = dns.rrset.from_rdata_list(name, 300, list(rrset))
                message.answer.append(made)
            self._put(message.authority, self.cover(name))
        else:
            message.set_rcode(dns.rcode.NXDOMAIN)
            self._put(message.authority, [self.soa(), *self.denial(name)])
        return message

    def soa(self) -> dns.rrset.RRset:
        text = f"ns.example. host.example. {self.serial} 1800 900 604800 900"
        return dns.rrset.from_text(self.name, 900, "IN", "SOA", text)

    def dnskey(self) -> dns.rrset.RRset:
        keys = [key.dnskey for key in (self.ksk, self.zsk, *self.extra_keys)]
        return dns.rrset.from_rdata_list(self.name, self.dnskey_ttl, keys)

    def denial(self, name: dns.name.Name) -> list[dns.rrset.RRset]:
        """The records that show that a name directly below the zone does not exist."""
        wildcard = self.child("*")
        if self.nsec3:
            return _unique([*self.cover(self.name), *self.cover(name), *self.cover(wildcard)])
        return _unique([*self.cover(name), *self.cover(wildcard)])

    def match_or_cover(self, name: dns.name.Name) -> list[dns.rrset.RRset]:
        covered = self.cover(name)
        return _unique([*self.cover(self.name), *covered]) if self.nsec3 else covered

    def cover(self, name: dns.name.Name) -> list[dns.rrset.RRset]:
        """The NSEC or NSEC3 record that matches or covers a name."""
        if not self.nsec3:
            owners = sorted(self._types)
            at = max(i for i, owner in enumerate(owners) if owner <= name)
            after = owners[(at + 1) % len(owners)]
            types = " ".join(dict.fromkeys([*self._types[owners[at]], "RRSIG", "NSEC"]))
            return [dns.rrset.from_text(owners[at], 900, "IN", "NSEC", f"{after} {types}")]
        kept = {
            self.hash(owner): types
            for owner, types in self._types.items()
            if not (self.opt_out and types == ["NS"])
        }
        hashes = sorted(kept)
        at = max((i for i, h in enumerate(hashes) if h <= self.hash(name)), default=-1)
        low, high = hashes[at], hashes[(at + 1) % len(hashes)]
        rdata = f"1 {int(self.opt_out)} {self.iterations} - {_b32(high)} {' '.join(kept[low])}"
        return [
            dns.rrset.from_text(dns.name.from_text(_b32(low), self.name), 900, "IN", "NSEC3", rdata)
        ]

    def hash(self, name: dns.name.Name) -> bytes:
        return base64.b32hexdecode(dns.dnssec.nsec3_hash(name, None, self.iterations, 1))

    def _positive(self, name: dns.name.Name, rdtype: str) -> dns.rrset.RRset | None:
        if name == self.name and rdtype == "SOA":
            return self.soa()
        if name == self.name and rdtype == "DNSKEY" and self.signed:
            return self.dnskey()
        if rdtype == "DS" and (ds := self._ds(name)):
            return ds[0]
        if rdtype == "A" and "A" in self._types.get(name, ()):
            return dns.rrset.from_text(name, 300, "IN", "A", "192.0.2.1")
        return None

    def _ds(self, cut: dns.name.Name) -> list[dns.rrset.RRset]:
        held = self.children.get(cut.labels[0].decode().lower(), ()) if cut in self._types else ()
        return [dns.rrset.from_rdata_list(cut, 300, list(held))] if held else []

    def _put(self, section: list[dns.rrset.RRset], rrsets: Iterable[dns.rrset.RRset]) -> None:
        for rrset in rrsets:
            if not self.signed and rrset.rdtype in (dns.rdatatype.NSEC, dns.rdatatype.NSEC3):
                continue
            section.append(rrset)
            if self.signed:
                section.append(self._rrsigs(rrset))

    def _rrsigs(self, rrset: dns.rrset.RRset) -> dns.rrset.RRset:
        rdtype = dns.rdatatype.to_text(rrset.rdtype)
        dates = self.dates(rrset.name, rdtype)
        key = self.ksk if rdtype == "DNSKEY" else self.zsk
        at = (rrset.to_text(), dates, key.tag)
        if at not in self.cache:
            rrsig = key.sign(rrset, self.name, dates)
            self.cache[at] = dns.rrset.from_rdata(rrset.name, rrset.ttl, rrsig)
        return self.cache[at]


def _unique(rrsets: Iterable[dns.rrset.RRset]) -> list[dns.rrset.RRset]:
    return list({rrset.to_text(): rrset for rrset in rrsets}.values())


def _b32(digest: bytes) -> str:
    return base64.b32hexencode(digest).decode().lower()


def twin(key: Key, number: int = 0) -> Key:
    """Another key with the same tag, which is a sum of 16-bit words (RFC 4034 appendix B)."""
    made = Key(key.dnskey.flags)
    octets = bytearray(key.dnskey.key)
    first, second = 2 * (number % 30), 2 * (number % 30 + 1 + number // 30)
    second %= len(octets)
    octets[first : first + 2], octets[second : second + 2] = (
        octets[second : second + 2],
        octets[first : first + 2],
    )
    made.dnskey = cast("dns.rdtypes.ANY.DNSKEY.DNSKEY", key.dnskey.replace(key=bytes(octets)))
    assert made.tag == key.tag
    return made
