"""A message before it is bytes: everything in it may be wrong.

An answer goes through three forms, and mutations take hold at each: RRsets with signatures
(`Draft.answer` …), then single records in their order (`Draft.records`), then octets.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import dns.flags
import dns.name
import dns.rdata
import dns.rdatatype

from contract.keys import Signed
from contract.zone import Reply

SECTIONS: Final = ("answer", "authority", "additional")
DO: Final = 0x8000
_RR: Final = struct.Struct("!HHIH")


@dataclass
class Record:
    """One record as it goes out."""

    owner: dns.name.Name
    rdtype: int
    ttl: int
    rdata: dns.rdata.Rdata | bytes
    rdclass: int = 1


@dataclass
class Opt:
    """An OPT record (RFC 6891 6.1.2)."""

    size: int = 1232
    extended: int = 0
    version: int = 0
    flags: int = DO
    options: bytes = b""
    owner: bytes = b"\0"

    def wire(self) -> bytes:
        """As it stands in the additional section."""
        head = struct.pack(
            "!HHBBHH", 41, self.size, self.extended, self.version, self.flags, len(self.options)
        )
        return self.owner + head + self.options


@dataclass
class Draft:
    """An answer in the making."""

    name: dns.name.Name
    rdtype: int
    flags: int = int(dns.flags.QR)
    opcode: int = 0
    rcode: int = 0
    answer: list[Signed] = field(default_factory=list)
    authority: list[Signed] = field(default_factory=list)
    additional: list[Signed] = field(default_factory=list)
    records: dict[str, list[Record]] = field(default_factory=dict)
    opts: list[Opt] = field(default_factory=lambda: [Opt()])
    opt_first: bool = False
    """Before the other records of the additional section."""
    questions: list[tuple[dns.name.Name, int, int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    """What is added to the numbers in the header."""
    compress: str = "names"
    """Which names are compressed: none, owners, names (as RFC 3597 4 allows), all (also those in
    RDATA that may not be)."""
    owners: dict[int, Callable[[Writer], bytes]] = field(default_factory=dict)
    """Owner names that are written in another way, by the number of the record."""
    behind: bytes = b""
    """Octets behind the message."""

    @classmethod
    def of(cls, name: dns.name.Name, rdtype: int, reply: Reply) -> Draft:
        """An answer as it should be."""
        draft = cls(name, rdtype, rcode=reply.rcode)
        draft.flags |= int(dns.flags.AA) if reply.authoritative else 0
        draft.questions = [(name, rdtype, 1)]
        draft.answer, draft.authority = reply.answer, reply.authority
        draft.additional = reply.additional
        return draft

    @property
    def rrsets(self) -> list[Signed]:
        """Those of the answer and authority sections."""
        return [*self.answer, *self.authority]

    def flatten(self) -> None:
        """Goes over to single records: each RRset, then its signatures."""
        for section in SECTIONS:
            held = self.records[section] = []
            for rrset in getattr(self, section):
                held += [
                    Record(rrset.owner, rrset.rdtype, rrset.ttl, rdata) for rdata in rrset.rdatas
                ]
                held += [Record(rrset.owner, 46, rrset.ttl, rrsig) for rrsig in rrset.sigs]

    def wire(self) -> bytes:
        """The message, with the id 0."""
        if not self.records:
            self.flatten()
        out = Writer(self.compress)
        for name, rdtype, rdclass in self.questions:
            out.name(name, compress=self.compress != "none")
            out.octets += struct.pack("!HH", rdtype, rdclass)
        number = 0
        opts = b"".join(opt.wire() for opt in self.opts)
        for section in SECTIONS:
            if section == "additional" and self.opt_first:
                out.octets += opts
            for record in self.records[section]:
                out.record(record, self.owners.get(number))
                number += 1
        if not self.opt_first:
            out.octets += opts
        lengths = [len(self.questions), *(len(self.records[section]) for section in SECTIONS)]
        lengths[3] += len(self.opts)
        counts = [max(length + more, 0) for length, more in zip(lengths, self.counts, strict=True)]
        flags = self.flags | self.opcode << 11 | self.rcode & 15
        struct.pack_into("!HHHHHH", out.octets, 0, 0, flags, *counts)
        return bytes(out.octets) + self.behind


class Writer:
    """Writes names, compressed or not (RFC 1035 4.1.4)."""

    def __init__(self, compress: str) -> None:
        self.octets = bytearray(12)
        self.places: dict[tuple[bytes, ...], int] = {}
        self.starts: list[int] = []
        """Where the records begin."""
        self._compress = compress

    def name(self, name: dns.name.Name, *, compress: bool) -> None:
        """A name at the end of what is written."""
        labels = name.labels
        while labels != (b"",):
            if compress and labels in self.places:
                self.octets += struct.pack("!H", 0xC000 | self.places[labels])
                return
            if len(self.octets) < 0x4000:
                self.places.setdefault(labels, len(self.octets))
            self.octets += bytes([len(labels[0])]) + labels[0]
            labels = labels[1:]
        self.octets += b"\0"

    def record(self, record: Record, owner: Callable[[Writer], bytes] | None) -> None:
        """One record."""
        self.starts.append(len(self.octets))
        if owner is None:
            self.name(record.owner, compress=self._compress != "none")
        else:
            self.octets += owner(self)
        at = len(self.octets)
        self.octets += _RR.pack(record.rdtype, record.rdclass, record.ttl, 0)
        self._rdata(record)
        struct.pack_into("!H", self.octets, at + 8, len(self.octets) - at - _RR.size)

    def _rdata(self, record: Record) -> None:
        rdata = record.rdata
        if isinstance(rdata, bytes):
            self.octets += rdata
            return
        wire = rdata.to_wire()
        assert wire is not None
        before, names, behind = _parts(rdata, wire)
        kinds = {"names": (2, 5, 6), "all": (2, 5, 6, 39, 46, 47)}.get(self._compress, ())
        self.octets += before
        for name in names:
            self.name(name, compress=record.rdtype in kinds)
        self.octets += behind


def _parts(rdata: dns.rdata.Rdata, wire: bytes) -> tuple[bytes, list[dns.name.Name], bytes]:
    """What stands before the names in RDATA, the names, and what stands behind them."""
    here: dict[int, tuple[int, tuple[str, ...]]] = {
        2: (0, ("target",)),
        5: (0, ("target",)),
        6: (0, ("mname", "rname")),
        39: (0, ("target",)),
        46: (18, ("signer",)),
        47: (0, ("next",)),
    }
    start, fields = here.get(int(rdata.rdtype), (len(wire), ()))
    names = [getattr(rdata, one) for one in fields]
    length = sum(sum(map(len, name.labels)) + len(name.labels) for name in names)
    return wire[:start], names, wire[start + length :]
