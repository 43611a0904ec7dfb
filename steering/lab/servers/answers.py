"""The answers of the small authoritative server: from a signed zone and a question to bytes.

Every RRset is rendered once, together with its signatures. An answer is a header, the question as
received, and the rendered RRsets. Names are not compressed, which costs a few bytes and saves
nearly all the time: one Python process gives some ten thousand answers a second. Denials are by
NSEC3 only (RFC 5155 7.2), with opt-out. Delegations are one label below the zone, so the closest
encloser of a missing name is always the apex.

Other modules: sockets (``mini_authority``), zones (``zone``).
"""

from __future__ import annotations

import base64
import bisect
import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.RRSIG import RRSIG

from steering.lab.servers.zone import SignedZone

_HEADER = struct.Struct("!6H")
_QR, _AA, _TC, _RD = 0x8000, 0x0400, 0x0200, 0x0100
_OPCODE = 0x7800
_OPT, _NSID, _DO = 41, 3, 0x8000
_IN = 1
_NS, _SOA, _DS, _NSEC3, _ANY = 2, 6, 43, 50, 255
_PAYLOAD = 1232  # bytes of UDP that pass everywhere without fragments (DNS flag day 2020)

Wire = bytes
"""A name in wire format, lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One query, parsed."""

    id: int
    flags: int
    name: Wire
    question: bytes
    """The question as received, in its letter case."""
    rdtype: int
    rdclass: int
    edns: bool = False
    payload: int = 512
    do: bool = False
    nsid: bool = False

    @classmethod
    def parse(cls, packet: bytes) -> Asked | None:
        """The query in a packet; None for an answer, or without exactly one question."""
        try:
            number, flags, questions, answers, authority, additional = _HEADER.unpack_from(packet)
            if flags & _QR or questions != 1 or answers or authority:
                return None
            end = _skip(packet, _HEADER.size)
            rdtype, rdclass = struct.unpack_from("!HH", packet, end)
            edns = {}
            if additional and packet[end + 4 : end + 7] == b"\0\0\x29":
                payload, _, flags2, length = struct.unpack_from("!HHHH", packet, end + 7)
                options = packet[end + 15 : end + 15 + length]
                edns = {
                    "edns": True,
                    "payload": max(512, min(payload, _PAYLOAD)),
                    "do": bool(flags2 & _DO),
                    "nsid": _NSID in _options(options),
                }
        except (IndexError, struct.error):
            return None
        return cls(
            id=number,
            flags=flags,
            name=packet[_HEADER.size : end].lower(),
            question=packet[_HEADER.size : end + 4],
            rdtype=rdtype,
            rdclass=rdclass,
            **edns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One RRset and the signatures over it, as bytes."""

    count: int
    records: bytes
    signatures: int = 0
    signed: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The sections of an answer, before its size limit is applied."""

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    authoritative: bool = False
    answer: Sequence[Rendered] = ()
    authority: Sequence[Rendered] = ()
    proof: Sequence[Rendered] = ()
    """Records for the authority section if the query has DO (RFC 4035 3.1)."""
    additional: Sequence[Rendered] = ()

    def render(self, asked: Asked, *, nsid: bytes = b"", limit: int = 65_535) -> bytes:
        """The packet. Above ``limit`` bytes glue is left out; if that is not enough, TC is set."""
        authority = (*self.authority, *self.proof) if asked.do else self.authority
        sections = [_section(part, signed=asked.do) for part in (self.answer, authority)]
        opt = _opt(asked, nsid)
        size = _HEADER.size + len(asked.question) + len(opt) + sum(len(s) for _, s in sections)
        fitting = []
        for rrset in self.additional:
            size_with = size + len(rrset.records)
            if size_with <= limit:
                fitting.append(rrset)
                size = size_with
        glue = _section(fitting, signed=False)
        truncated = size > limit
        if truncated:
            sections = [(0, b""), (0, b"")]
        flags = _QR | (asked.flags & (_RD | _OPCODE)) | int(self.rcode)
        flags |= (_AA if self.authoritative else 0) | (_TC if truncated else 0)
        counts = (1, sections[0][0], sections[1][0], glue[0] + bool(opt))
        header = _HEADER.pack(asked.id, flags, *counts)
        return b"".join((header, asked.question, sections[0][1], sections[1][1], glue[1], opt))


@dataclass(slots=True)
class Answers:
    """The replies of a server with these zones."""

    zones: dict[Wire, ServedZone] = field(default_factory=dict)

    @classmethod
    def of(cls, zones: Iterable[SignedZone]) -> Answers:
        served = (ServedZone.of(zone) for zone in zones)
        return cls({zone.apex: zone for zone in served})

    def reply(self, asked: Asked) -> Reply:
        """The reply to a question; REFUSED if no zone here contains its name."""
        if asked.flags & _OPCODE:
            return Reply(rcode=dns.rcode.NOTIMP)
        # The DS of a zone belongs to its parent (RFC 4035 3.1.4.1), if that is here too.
        above = asked.rdtype == _DS and asked.name != b"\0"
        names = _ancestors(asked.name)
        zone = next((self.zones[n] for n in names[above:] if n in self.zones), None)
        zone = zone or self.zones.get(asked.name)
        if zone is None or asked.rdclass != _IN:
            return Reply(rcode=dns.rcode.REFUSED)
        return zone.reply(asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedZone:
    """One zone, rendered: RRsets by owner and type, and its NSEC3 chain by hash."""

    apex: Wire
    nodes: Mapping[Wire, Mapping[int, Rendered]]
    glue: Mapping[Wire, Sequence[Rendered]]
    hashes: Sequence[bytes]
    chain: Sequence[Rendered]

    @classmethod
    def of(cls, zone: SignedZone) -> ServedZone:
        signatures: dict[tuple[Wire, int], tuple[int, bytes]] = {}
        nodes: dict[Wire, dict[int, Rendered]] = {}
        for rrset in zone.rrsets:
            if rrset.rdtype == dns.rdatatype.RRSIG:
                for rrsig in rrset:
                    assert isinstance(rrsig, RRSIG)
                    key = (rrset.name.to_digestable(), int(rrsig.type_covered))
                    count, before = signatures.get(key, (0, b""))
                    alone = dns.rrset.from_rdata(rrset.name, rrset.ttl, rrsig)
                    signatures[key] = (count + 1, before + _wire(alone))
        for rrset in zone.rrsets:
            if rrset.rdtype != dns.rdatatype.RRSIG:
                owner = rrset.name.to_digestable()
                count, signed = signatures.get((owner, int(rrset.rdtype)), (0, b""))
                nodes.setdefault(owner, {})[int(rrset.rdtype)] = Rendered(
                    count=len(rrset), records=_wire(rrset), signatures=count, signed=signed
                )
        hashed = sorted((_hash_of(o), n.pop(_NSEC3)) for o, n in nodes.items() if _NSEC3 in n)
        return cls(
            apex=dns.name.from_text(zone.name).to_digestable(),
            nodes={owner: node for owner, node in nodes.items() if node},
            glue=_glue(zone, nodes),
            hashes=[digest for digest, _ in hashed],
            chain=[rendered for _, rendered in hashed],
        )

    def reply(self, asked: Asked) -> Reply:
        """The reply to a question about a name at or below the apex."""
        below = [name for name in _ancestors(asked.name) if len(name) > len(self.apex)]
        cut = below[-1] if below and _NS in self.nodes.get(below[-1], {}) else None
        if cut and not (asked.name == cut and asked.rdtype == _DS):
            return self._referral(cut)
        node = self.nodes.get(asked.name)
        if node is None:
            apex, covering = self._matching(self.apex), self._covering
            proof = self._proof(apex, covering(below[-1]), covering(b"\1*" + self.apex))
            return self._denial(dns.rcode.NXDOMAIN, proof)
        if asked.rdtype in node:
            return Reply(authoritative=True, answer=[node[asked.rdtype]])
        if asked.rdtype == _ANY:  # one RRset is a sufficient answer (RFC 8482 4.1)
            return Reply(authoritative=True, answer=[next(iter(node.values()))])
        return self._denial(dns.rcode.NOERROR, self._absence(asked.name))

    def _referral(self, cut: Wire) -> Reply:
        node = self.nodes[cut]
        proof = [node[_DS]] if _DS in node else self._absence(cut)
        return Reply(authority=[node[_NS]], proof=proof, additional=self.glue.get(cut, ()))

    def _denial(self, rcode: dns.rcode.Rcode, proof: Sequence[Rendered]) -> Reply:
        soa = self.nodes[self.apex][_SOA]
        return Reply(rcode=rcode, authoritative=True, authority=[soa], proof=proof)

    def _absence(self, name: Wire) -> list[Rendered]:
        """The proof that an existing name lacks a type: its NSEC3, or the opt-out records."""
        own = self._matching(name)
        if own is not None:
            return self._proof(own)
        return self._proof(self._matching(self.apex), self._covering(name))

    def _matching(self, name: Wire) -> int | None:
        digest = _nsec3(name)
        at = bisect.bisect_left(self.hashes, digest)
        return at if at < len(self.hashes) and self.hashes[at] == digest else None

    def _covering(self, name: Wire) -> int | None:
        """The place of the last hash before the name's; the chain wraps around."""
        if not self.hashes:
            return None
        return (bisect.bisect_right(self.hashes, _nsec3(name)) - 1) % len(self.hashes)

    def _proof(self, *places: int | None) -> list[Rendered]:
        """The NSEC3 RRsets at these places, each once."""
        return [self.chain[at] for at in dict.fromkeys(places) if at is not None]


def _section(rrsets: Iterable[Rendered], *, signed: bool) -> tuple[int, bytes]:
    """The number of records, and their bytes."""
    count, parts = 0, []
    for rrset in rrsets:
        count += rrset.count
        parts.append(rrset.records)
        if signed:
            count += rrset.signatures
            parts.append(rrset.signed)
    return count, b"".join(parts)


def _opt(asked: Asked, nsid: bytes) -> bytes:
    """The OPT record of an answer (RFC 6891 6.1), with the NSID if it was asked for (RFC 5001)."""
    if not asked.edns:
        return b""
    option = struct.pack("!HH", _NSID, len(nsid)) + nsid if asked.nsid and nsid else b""
    do = _DO if asked.do else 0
    return b"\0" + struct.pack("!HHHHH", _OPT, _PAYLOAD, 0, do, len(option)) + option


def _options(options: bytes) -> set[int]:
    """The codes of EDNS options."""
    codes, at = set(), 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from("!HH", options, at)
        codes.add(code)
        at += 4 + length
    return codes


def _skip(packet: bytes, at: int) -> int:
    """The offset after a name without compression. Raises IndexError or struct.error."""
    start = at
    while length := packet[at]:
        if length > 63 or at - start > 254:  # RFC 1035 2.3.4
            raise IndexError(at)
        at += 1 + length
    return at + 1


def _ancestors(name: Wire) -> list[Wire]:
    """The name, its parent, and so on up to the root."""
    names = [name]
    while name != b"\0":
        name = name[1 + name[0] :]
        names.append(name)
    return names


def _nsec3(name: Wire) -> bytes:
    """RFC 5155 5: one round of SHA-1 without salt."""
    return hashlib.sha1(name, usedforsecurity=False).digest()


def _hash_of(owner: Wire) -> bytes:
    """The hash that an NSEC3's owner name carries (base32hex, RFC 5155 3)."""
    return base64.b32hexdecode(owner[1 : 1 + owner[0]].upper())


def _wire(rrset: dns.rrset.RRset) -> bytes:
    """An RRset in wire format, without compression."""
    owner, head = rrset.name.to_wire(), struct.pack("!HHI", rrset.rdtype, _IN, rrset.ttl)
    assert owner is not None
    parts = []
    for rdata in rrset:
        data = rdata.to_wire()
        assert data is not None
        parts.append(owner + head + struct.pack("!H", len(data)) + data)
    return b"".join(parts)


def _glue(
    zone: SignedZone, nodes: Mapping[Wire, Mapping[int, Rendered]]
) -> dict[Wire, list[Rendered]]:
    """The addresses in the zone of every delegation's nameservers."""
    return {
        rrset.name.to_digestable(): [
            rendered
            for rdata in rrset
            for rdtype, rendered in nodes.get(rdata.to_digestable(), {}).items()
            if rdtype in (1, 28)
        ]
        for rrset in zone.rrsets
        if rrset.rdtype == dns.rdatatype.NS and rrset.name.to_text() != zone.name
    }
