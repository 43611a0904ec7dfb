"""Proofs that a name or type does not exist, by NSEC (RFC 4035 5.4) and NSEC3 (RFC 5155 8).

The signatures of the records are already verified; this module determines what the records prove.
Each method returns what is missing from the proof, in words, or "" if it is complete. An NSEC3
record with opt-out counts as a cover, as it does for validators.
"""

from __future__ import annotations

import base64
import enum
import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import dns.name
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.NSEC3

from steering.observe.dnssec.trust import LONGEST_NAME, octets

NSEC = dns.rdtypes.ANY.NSEC.NSEC
NSEC3 = dns.rdtypes.ANY.NSEC3.NSEC3

MOST_ITERATIONS: Final = 150
"""The most additional hash iterations. Above it a validator may treat the answer as insecure (RFC
9276 3.2); so a server can't cause endless hashing."""

_SHA1: Final = 1
_OPT_OUT: Final = 1
_NXNAME: Final = 128  # RFC 9824: "this name does not exist" in a bitmap


class Cut(enum.Enum):
    """What the absence of a DS record at a name means, by the proof."""

    INSECURE = "a delegation without DS"
    NONE = "no delegation"
    UNPROVEN = "nothing"


def types(rdata: NSEC | NSEC3) -> frozenset[int]:
    """The types in a record's bitmap (RFC 4034 4.1.2)."""
    return _types(rdata.windows)


@functools.lru_cache(maxsize=256)
def _types(windows: Sequence[tuple[int, bytes]]) -> frozenset[int]:
    return frozenset(
        window * 256 + octet * 8 + bit
        for window, bitmap in windows
        for octet, byte in enumerate(bitmap)
        for bit in range(8)
        if byte & (0x80 >> bit)
    )


@dataclass(frozen=True, slots=True)
class DenialProof:
    """The verified denial records of one answer, about one zone."""

    zone: dns.name.Name
    nsec: Sequence[tuple[dns.name.Name, NSEC]] = ()
    nsec3: Sequence[tuple[bytes, NSEC3]] = ()
    beyond_reach: bool = False
    """Whether a record has more iterations than MOST_ITERATIONS."""
    _hashes: dict[dns.name.Name, bytes] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, zone: dns.name.Name, records: Iterable[tuple[dns.name.Name, dns.rdata.Rdata]]
    ) -> DenialProof:
        """The proof made of those records in an answer that belong to the zone."""
        held = list(records)
        hashed = [
            (unhashed(owner.labels[0]), rdata)
            for owner, rdata in held
            if isinstance(rdata, NSEC3)
            and rdata.algorithm == _SHA1
            and rdata.flags in {0, _OPT_OUT}  # RFC 5155 8.2: others are left out
            and len(rdata.next) == hashlib.sha1(usedforsecurity=False).digest_size
            and len(owner) > 1
            and owner.parent() == zone
        ]
        return cls(
            zone,
            [
                (owner, rdata)
                for owner, rdata in held
                if isinstance(rdata, NSEC) and rdata.next.is_subdomain(zone)  # RFC 4034 4.1.1
            ],
            # One chain at a time: RFC 5155 8.2 leaves out records of other parameters.
            [
                (owner, rdata)
                for owner, rdata in hashed
                if owner and (rdata.salt, rdata.iterations) == _parameters(hashed[0][1])
            ],
            any(rdata.iterations > MOST_ITERATIONS for _, rdata in hashed),
        )

    @property
    def kind(self) -> str:
        """The type of the records, for the evidence."""
        return "NSEC" if self.nsec else "NSEC3"

    @property
    def _kinds(self) -> tuple[DenialProof, ...]:
        """If both NSEC and NSEC3 records came: a proof by each kind alone. A zone uses one kind
        (RFC 5155 10.4), so records of the other one are ignored.
        """
        if self.nsec and self.nsec3:
            return replace(self, nsec3=(), _hashes={}), replace(self, nsec=(), _hashes={})
        return ()

    def no_name(self, name: dns.name.Name) -> str:
        """What is missing from the proof that the name does not exist (NXDOMAIN)."""
        if kinds := self._kinds:
            return min((proof.no_name(name) for proof in kinds), key=len)
        if not self.nsec and not self.nsec3:
            return "no NSEC or NSEC3 record"
        if (at := self._at(name)) is not None:
            return "" if _NXNAME in at else "the name is shown to exist"
        closest, missing = self._uncovered(name)
        if closest is None:
            return missing
        wildcard = _wildcard(closest)
        if wildcard is None:
            return ""
        if self._at(wildcard) is not None:
            return f"the wildcard {wildcard} is shown to exist"
        return "" if self._cover(wildcard) is not None else f"no cover of {wildcard}"

    def no_type(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> str:
        """What is missing from the proof that the name has no such type (NODATA)."""
        if kinds := self._kinds:
            return min((proof.no_type(name, rdtype) for proof in kinds), key=len)
        if not self.nsec and not self.nsec3:
            return "no NSEC or NSEC3 record"
        if rdtype == dns.rdatatype.DS:
            return "" if self.no_ds(name) is not Cut.UNPROVEN else "no proof of no DS"
        at = self._at(name)
        if at is None:
            closest, missing = self._uncovered(name)
            if closest is None:
                return missing
            wildcard = _wildcard(closest)
            at = None if wildcard is None else self._at(wildcard)
            # Signers leave out names that exist only because of insecure delegations below them
            # (RFC 5155 7.1). Of such a name only an opt-out gap can be shown.
            if at is None and self._opted_out(closest, name):
                return ""
        if at is None:
            return f"no record of {name}"
        if rdtype in at or dns.rdatatype.CNAME in at:
            return f"{dns.rdatatype.to_text(rdtype)} or CNAME is shown to exist"
        cut = dns.rdatatype.NS in at and dns.rdatatype.SOA not in at
        return "the proof is of a delegation" if cut else ""

    def no_ds(self, name: dns.name.Name) -> Cut:
        """What kind of cut a name without a DS record is, by the proof.

        RFC 4035 5.2 and RFC 5155 8.9: a delegation is insecure if the parent's own record
        shows NS and neither DS nor SOA, or if an opt-out record covers the next closer name.
        """
        if kinds := self._kinds:
            results = [proof.no_ds(name) for proof in kinds]
            return next((cut for cut in results if cut is not Cut.UNPROVEN), Cut.UNPROVEN)
        if (at := self._at(name)) is not None:
            if {dns.rdatatype.DS, dns.rdatatype.CNAME} & at or (
                dns.rdatatype.SOA in at and name != self.zone
            ):
                return Cut.UNPROVEN
            return Cut.INSECURE if dns.rdatatype.NS in at else Cut.NONE
        closest, _ = self._uncovered(name)
        if closest is None:
            return Cut.UNPROVEN
        if self._opted_out(closest, name):
            return Cut.INSECURE
        wildcard = _wildcard(closest)
        at = None if wildcard is None else self._at(wildcard)
        if at is None or {dns.rdatatype.DS, dns.rdatatype.CNAME} & at:
            return Cut.UNPROVEN
        return Cut.NONE

    def not_closer(self, name: dns.name.Name, labels: int) -> str:
        """What is missing from the proof that no closer name than the wildcard exists.

        `labels` is the RRSIG's count of the wildcard's labels, without the root and the asterisk
        (RFC 4035 5.3.4).
        """
        if kinds := self._kinds:
            return min((proof.not_closer(name, labels) for proof in kinds), key=len)
        if self._at(name) is not None:
            return "the name is shown to exist"
        next_closer = name.split(labels + 2)[1] if len(name) > labels + 2 else name
        if self._cover(next_closer) is None:
            return f"no cover of {next_closer}"
        # The names on both sides of an NSEC gap show the closest encloser. If that is higher, the
        # gap covers the wildcard as well, so it does not exist (RFC 4592 3.3.1).
        if self.nsec and self._closest(next_closer) != next_closer.parent():
            return f"the wildcard {_wildcard(next_closer.parent())} is shown not to exist"
        return ""

    def _opted_out(self, closest: dns.name.Name, name: dns.name.Name) -> bool:
        """Whether the gap that covers the next closer name may hold insecure delegations."""
        cover = self._cover(_longer(closest, name))
        return isinstance(cover, NSEC3) and bool(cover.flags & _OPT_OUT)

    def _uncovered(self, name: dns.name.Name) -> tuple[dns.name.Name | None, str]:
        """The closest encloser of a name that is proven not to exist, or what is missing."""
        closest = self._closest(name)
        if closest is None:
            return None, f"no closest encloser of {name}"
        at = self._at(closest)
        if at is not None:
            cut = dns.rdatatype.NS in at and dns.rdatatype.SOA not in at
            if cut or dns.rdatatype.DNAME in at:
                return None, f"{closest} is a delegation or DNAME"
        next_closer = _longer(closest, name)
        if self._cover(next_closer) is None:
            return None, f"no cover of {next_closer}"
        return closest, ""

    def _closest(self, name: dns.name.Name) -> dns.name.Name | None:
        if self.nsec:  # the names on both sides of the gap share it (RFC 4592 3.3.1)
            cover = [
                (owner, rdata) for owner, rdata in self.nsec if self._between(owner, rdata, name)
            ]
            sides = (side for owner, rdata in cover for side in (owner, rdata.next))
            shared = [name.split(name.fullcompare(side)[2])[1] for side in sides]
            return max(shared, key=len, default=None)
        ancestor = name
        while ancestor != self.zone:
            ancestor = ancestor.parent()
            if self._at(ancestor) is not None:
                return ancestor
        return None

    def _at(self, name: dns.name.Name) -> frozenset[int] | None:
        """The types at a name; None if no record covers or matches it."""
        for owner, rdata in self.nsec:
            if owner == name:
                return types(rdata)
            if self._between(owner, rdata, name) and rdata.next.is_subdomain(name):
                return frozenset()  # an empty non-terminal
        if self.nsec3:
            digest = self._hash(name)
            for hashed, rdata3 in self.nsec3:
                if hashed == digest:
                    return types(rdata3)
        return None

    def _cover(self, name: dns.name.Name) -> NSEC | NSEC3 | None:
        """The record whose gap covers the name."""
        for owner, rdata in self.nsec:
            # If the next name lies below this one, this one exists as an empty non-terminal, and
            # no wildcard applies to it (RFC 4592 2.2.2).
            if self._between(owner, rdata, name) and not rdata.next.is_subdomain(name):
                return rdata
        if self.nsec3:
            digest = self._hash(name)
            for hashed, rdata3 in self.nsec3:
                if _gap(hashed, digest, rdata3.next):
                    return rdata3
        return None

    def _between(self, owner: dns.name.Name, rdata: NSEC, name: dns.name.Name) -> bool:
        # The last record of the chain points back to the apex, or at least to a name above the
        # owner: BIND accepts that too.
        if not (owner < name and (name < rdata.next or owner.is_subdomain(rdata.next))):
            return False
        if name.is_subdomain(owner):
            at = types(rdata)  # a delegation's record proves nothing about names below it
            if dns.rdatatype.DNAME in at or (
                dns.rdatatype.NS in at and dns.rdatatype.SOA not in at
            ):
                return False
        return True

    def _hash(self, name: dns.name.Name) -> bytes:
        if name not in self._hashes:
            salt, iterations = _parameters(self.nsec3[0][1])
            digest = name.to_digestable()
            for _ in range(min(iterations, MOST_ITERATIONS) + 1):
                digest = hashlib.sha1(digest + salt, usedforsecurity=False).digest()
            self._hashes[name] = digest
        return self._hashes[name]


def _gap(low: bytes, digest: bytes, high: bytes) -> bool:
    if low < high:
        return low < digest < high
    return digest > low or digest < high  # the last record of the chain, or its only one


def _parameters(rdata: NSEC3) -> tuple[bytes, int]:
    return rdata.salt, rdata.iterations


def _wildcard(closest: dns.name.Name) -> dns.name.Name | None:
    """The wildcard below a closest encloser; None if its name would be too long."""
    if octets(closest) + 2 > LONGEST_NAME:
        return None
    return dns.name.Name((b"*", *closest.labels))


def _longer(closest: dns.name.Name, name: dns.name.Name) -> dns.name.Name:
    """The next closer name: one label longer than the closest encloser (RFC 5155 1.3)."""
    return name.split(len(closest) + 1)[1]


def unhashed(label: bytes) -> bytes:
    """The hash in an owner's first label; empty if it is no base32hex."""
    try:
        return base64.b32hexdecode(label.upper())
    except ValueError:
        return b""
