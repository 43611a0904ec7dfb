"""Verifies a whole zone: its keys, the signatures over all its RRsets, its NSEC chain, its digest.

A copy is used for everything in it, and what a resolver answers from it, others validate. So one
bad RRset spoils the zone: each authoritative RRset needs a good signature, and no signature of an
algorithm that counts may be bad or out of its period. Glue and delegations' NS sets are not signed
(RFC 4035 2.2); the digest covers them. The chain of NSEC3 records is not followed: the signed
digest says that the zone is as its signer made it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import dns.dnssec
import dns.exception
import dns.name
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.RRSIG
import dns.rdtypes.ANY.SOA
import dns.zone
from dns.rdtypes.dnskeybase import Flag
from dns.rdtypes.util import Bitmap

from steering.format import counted, whole_second
from steering.model import WallTime
from steering.observe.dnssec.algorithms import ALGORITHMS, REFUSALS, refusal, refused
from steering.observe.dnssec.anchors import Anchor
from steering.observe.dnssec.keys.zone_entry import lists, usable
from steering.observe.dnssec.signatures import instant
from steering.observe.dnssec.trust import DNSKEY, name_of, named
from steering.observe.zone.digest import digest_of
from steering.observe.zone.facts import Digest, Question, ZoneFacts

RRSIG = dns.rdtypes.ANY.RRSIG.RRSIG
NSEC = dns.rdtypes.ANY.NSEC.NSEC

_MOST_NAMED: Final = 5
"""Problems that are named; the others are counted."""
_AT_THE_END: Final = 16
"""Names at the end of the zone to ask for."""
_UNDATED: Final = float("nan")
"""For dnspython, whose own check compares dates as plain integers; they are checked here before."""
_NS: Final = dns.rdatatype.NS
_EMPTY: Final = dns.rdataset.Rdataset(dns.rdataclass.IN, dns.rdatatype.DNSKEY)
_CUT: Final = frozenset({dns.rdatatype.DS, dns.rdatatype.NSEC})
"""Types that the parent has at a zone cut and signs (RFC 4035 2.6)."""

_DIGESTS: Final = {
    Digest.UNSIGNED: "the ZONEMD that has the zone's digest is not signed by the zone",
    Digest.ABSENT: "there is no ZONEMD",
    Digest.WRONG: "the records have another digest than ZONEMD says",
    Digest.UNSUPPORTED: "ZONEMD is of an unknown scheme or hash",
    Digest.DOUBLED: "there are several ZONEMD of one scheme and hash",
    Digest.OTHER_SERIAL: "ZONEMD is for another serial than the SOA's",
}


class RefusedAlgorithmError(Exception):
    """This host's cryptographic library can't verify the zone: no fault of the zone."""


@dataclass(slots=True)
class _Findings:
    """Problems and dates, while the zone is gone through."""

    problems: list[str] = field(default_factory=list)
    more: int = 0
    expires: list[int] = field(default_factory=list)
    algorithms: set[int] = field(default_factory=set)

    def wrong(self, problem: str) -> None:
        if len(self.problems) < _MOST_NAMED:
            self.problems.append(problem)
        else:
            self.more += 1

    def all(self) -> tuple[str, ...]:
        more = (f"and {counted(self.more, 'more problem')}",) if self.more else ()
        return (*self.problems, *more)


def verify(
    zone: dns.zone.Zone,
    anchor: Anchor,
    wall: WallTime,
    *,
    octets: int,
    understood: frozenset[str],
    digest_required: bool,
) -> ZoneFacts:
    """What the zone amounts to at this time. Raises RefusedAlgorithmError."""
    apex = name_of(anchor.zone)
    found = _Findings()
    soa = zone.get_soa()
    keys = _Keys.of(zone, anchor)
    if keys.problem:
        found.wrong(keys.problem)
    signed = _Signed(zone=zone, apex=apex, keys=keys, wall=wall, found=found)
    good = signed.check()
    if not keys.problem and (apex, dns.rdatatype.DNSKEY) not in good:
        found.wrong("the DNSKEY set is not signed")
    elif not keys.problem and not keys.sign_the_set(apex, good[apex, dns.rdatatype.DNSKEY]):
        found.wrong(f"no trusted key ({named(keys.trusted)}) signs the DNSKEY set")
    for problem in _chain_problems(signed):
        found.wrong(problem)
    digest = digest_of(zone, soa.serial, signed=(apex, dns.rdatatype.ZONEMD) in good)
    if digest is not Digest.VERIFIED and (digest_required or digest is not Digest.ABSENT):
        found.wrong(_DIGESTS[digest])
    types = {rdataset.rdtype for node in zone.nodes.values() for rdataset in node}
    words = {dns.rdatatype.to_text(rdtype) for rdtype in types}
    return ZoneFacts(
        zone=anchor.zone,
        serial=soa.serial,
        refresh=float(soa.refresh),
        retry=float(soa.retry),
        expire=float(soa.expire),
        records=sum(len(rdataset) for node in zone.nodes.values() for rdataset in node),
        octets=octets,
        expires=float(min(found.expires)) if found.expires else None,
        digest=digest,
        unknown_types=tuple(sorted(words - understood)),
        algorithms=tuple(sorted(found.algorithms | keys.algorithms)),
        problems=found.all(),
        ends_with=tuple(_ends(signed)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The zone's own keys, and those of them that the anchor names."""

    whole: dns.rdataset.Rdataset = field(default_factory=lambda: _EMPTY)
    """The set as it is signed."""
    usable: dns.rdataset.Rdataset | None = None
    trusted: tuple[DNSKEY, ...] = ()
    algorithms: frozenset[int] = frozenset()
    problem: str = ""

    @classmethod
    def of(cls, zone: dns.zone.Zone, anchor: Anchor) -> _Keys:
        trusting = usable(anchor)
        rdataset = zone.get_rdataset(name_of(anchor.zone), dns.rdatatype.DNSKEY)
        keys = [k for k in rdataset or () if isinstance(k, DNSKEY) and k.flags & Flag.ZONE]
        algorithms = frozenset(int(key.algorithm) for key in keys)
        if trusting is None:
            return cls(algorithms=algorithms, problem="no algorithm of the trust anchor is known")
        if rdataset is None or not keys:
            return cls(algorithms=algorithms, problem="there is no DNSKEY set")
        trusted = tuple(key for key in keys if not key.flags & Flag.REVOKE and lists(trusting, key))
        problem = ""
        if not trusted:
            listed = named((*trusting.ds, *trusting.dnskey))
            problem = f"none of its keys ({named(keys)}) is a trust anchor ({listed})"
        return cls(
            whole=rdataset,
            usable=dns.rdataset.from_rdata_list(0, keys),
            trusted=trusted,
            algorithms=algorithms,
            problem=problem,
        )

    def sign_the_set(self, apex: dns.name.Name, good: Iterable[RRSIG]) -> bool:
        """Whether one of the good signatures over the DNSKEY set is by a trusted key.

        It is verified by these keys alone: any key may have the tag of a trusted one.
        """
        assert self.usable is not None
        trusted = dns.rdataset.from_rdata_list(0, list(self.trusted))
        return any(_verifies(apex, self.whole, rrsig, trusted) for rrsig in good)


def _verifies(
    name: dns.name.Name,
    rdataset: dns.rdataset.Rdataset,
    rrsig: RRSIG,
    keys: dns.rdataset.Rdataset,
) -> bool:
    """Whether one of the signer's keys made the signature. Raises RefusedAlgorithmError."""
    try:
        dns.dnssec.validate_rrsig((name, rdataset), rrsig, {rrsig.signer: keys}, None, _UNDATED)
    except REFUSALS as error:
        raise RefusedAlgorithmError(str(error)) from error
    except (dns.exception.DNSException, ValueError):
        return False
    return True


@dataclass(slots=True, kw_only=True)
class _Signed:
    """Goes through the zone in canonical order and checks the signatures."""

    zone: dns.zone.Zone
    apex: dns.name.Name
    keys: _Keys
    wall: WallTime
    found: _Findings
    authoritative: list[dns.name.Name] = field(default_factory=list)
    cuts: set[dns.name.Name] = field(default_factory=set)

    def check(self) -> dict[tuple[dns.name.Name, dns.rdatatype.RdataType], list[RRSIG]]:
        """The good signatures at the apex, by what they cover. Notes problems and dates."""
        at_apex: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], list[RRSIG]] = {}
        cut: dns.name.Name | None = None
        for name in sorted(self.zone.nodes):
            if cut is not None and name.is_subdomain(cut):
                continue  # glue
            node = self.zone.nodes[name]
            is_cut = name != self.apex and node.get_rdataset(self.zone.rdclass, _NS) is not None
            if is_cut:
                cut = name
                self.cuts.add(name)
            self.authoritative.append(name)
            for rdataset in node:
                if rdataset.rdtype == dns.rdatatype.RRSIG:
                    if node.get_rdataset(self.zone.rdclass, rdataset.covers) is None:
                        self._wrong(name, rdataset.covers, "a signature covers nothing")
                    continue
                if is_cut and rdataset.rdtype not in _CUT:
                    continue
                sigs = node.get_rdataset(self.zone.rdclass, dns.rdatatype.RRSIG, rdataset.rdtype)
                good = self._good(name, rdataset, [s for s in sigs or () if isinstance(s, RRSIG)])
                if good and name == self.apex:
                    at_apex[name, rdataset.rdtype] = good
        return at_apex

    def _good(
        self, name: dns.name.Name, rdataset: dns.rdataset.Rdataset, sigs: list[RRSIG]
    ) -> list[RRSIG]:
        """The good ones of an RRset's signatures; a bad one, or none at all, is a problem."""
        good = []
        for rrsig in sigs:
            self.found.algorithms.add(int(rrsig.algorithm))
            if rrsig.algorithm not in ALGORITHMS:
                continue
            if why := self._bad(name, rdataset, rrsig):
                self._wrong(name, rdataset.rdtype, why)
            else:
                good.append(rrsig)
        if not good and not sigs:
            self._wrong(name, rdataset.rdtype, "not signed")
        elif not good and all(s.algorithm not in ALGORITHMS for s in sigs):
            self._wrong(name, rdataset.rdtype, "signed by unknown algorithms alone")
        return good

    def _bad(self, name: dns.name.Name, rdataset: dns.rdataset.Rdataset, rrsig: RRSIG) -> str:
        """Why a signature is not good; empty: it is."""
        begins, ends = instant(rrsig.inception, self.wall), instant(rrsig.expiration, self.wall)
        self.found.expires.append(ends)
        if ends < self.wall:
            return f"its signature expired at {whole_second(ends)}"
        if begins > self.wall:
            return f"its signature is not valid before {whole_second(begins)}"
        if rrsig.signer != self.apex:
            return f"signed by {rrsig.signer}"
        if rrsig.labels != len(name) - 1 - name.is_wild():
            return "its signature is that of another name"
        if self.keys.usable is None:
            return "there is no key to verify its signature with"
        if rrsig.algorithm in refused():
            raise RefusedAlgorithmError(refusal(int(rrsig.algorithm)))
        if not _verifies(name, rdataset, rrsig, self.keys.usable):
            return f"its signature by key {rrsig.key_tag} is bad"
        return ""

    def _wrong(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType, why: str) -> None:
        self.found.wrong(f"{name} {dns.rdatatype.to_text(rdtype)}: {why}")


def _chain_problems(signed: _Signed) -> Iterator[str]:
    """What is wrong with the chain of NSEC records (RFC 4034 4.1), where the zone has one."""
    zone, names = signed.zone, signed.authoritative
    if zone.get_rdataset(signed.apex, dns.rdatatype.NSEC) is None:
        if zone.get_rdataset(signed.apex, dns.rdatatype.NSEC3PARAM) is None:
            yield "there is neither a chain of NSEC nor of NSEC3 records"
        return
    for name, after in zip(names, (*names[1:], signed.apex), strict=True):
        rdataset = zone.get_rdataset(name, dns.rdatatype.NSEC)
        records = [record for record in rdataset or () if isinstance(record, NSEC)]
        if len(records) != 1:
            yield f"{name} NSEC: there are {len(records)}, wanted one"
            continue
        if records[0].next != after:
            yield f"{name} NSEC: says {records[0].next} is the next name, which is {after}"
        there = {r.rdtype for r in zone.nodes[name]}
        if name in signed.cuts:
            there &= {*_CUT, dns.rdatatype.NS, dns.rdatatype.RRSIG}
        if tuple(records[0].windows) != tuple(Bitmap.from_rdtypes(sorted(there)).windows):
            yield f"{name} NSEC: its list of types is not that of the name"


def _ends(signed: _Signed) -> Iterator[Question]:
    """The last delegations with a DS set: the records there that any cache has."""
    signed_cuts = (
        name
        for name in reversed(signed.authoritative)
        if name in signed.cuts and signed.zone.get_rdataset(name, dns.rdatatype.DS) is not None
    )
    for name in itertools.islice(signed_cuts, _AT_THE_END):
        yield Question(name=name.to_text(), rdtype="DS")
