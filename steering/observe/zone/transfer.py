"""Takes a zone from a server: first its SOA, then the whole of it by AXFR (RFC 5936).

The server is not trusted: the zone is verified afterwards, and what comes is bounded in octets,
records and time. A transfer begins and ends with one and the same SOA. What is of another zone,
another class, or behind the end, ends it.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.wire
import dns.zone

from steering.model import Instant, Seconds
from steering.observe.dnssec.trust import name_of
from steering.observe.query import SO_MARK
from steering.observe.zone.facts import Limits, Source
from steering.observe.zone.text import UnreadableZoneError

CONNECT: Final[Seconds] = 3.0
"""For a connection, and for the SOA."""
SILENCE: Final[Seconds] = 10.0
"""Between two pieces of a transfer."""

_HEADER: Final = struct.Struct("!HHHHHH")
_RECORD: Final = struct.Struct("!HHIH")
_PIECE: Final = 65536
_QR, _OPCODE, _TC, _RCODE = 0x8000, 0x7800, 0x0200, 0x000F
SOA = dns.rdtypes.ANY.SOA.SOA
IN = dns.rdataclass.IN


class SilentSourceError(Exception):
    """The server gave no zone: silent, refused, or no DNS. What it did, for people."""


class Connection:
    """A connection to a source. Raises SilentSourceError from each method."""

    def __init__(self, source: Source, zone: str, rng: random.Random, until: Instant) -> None:
        """Connects. `until` is when everything must be over."""
        self._zone, self._rng, self._until = name_of(zone), rng, until
        self._buffer = bytearray()
        family = socket.AF_INET6 if ":" in source.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            if source.mark is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_MARK, source.mark)
            self._patience(CONNECT)
            self._socket.connect((source.address, source.port))
        except OSError as error:
            self._socket.close()
            raise SilentSourceError(_said(error)) from error

    def close(self) -> None:
        self._socket.close()

    def serial(self) -> int:
        """The serial of the zone's SOA as the server has it."""
        query_id = self._ask(dns.rdatatype.SOA)
        wire = self._message(CONNECT)
        try:
            message = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError) as error:
            raise SilentSourceError("its answer for the SOA can't be read") from error
        if message.id != query_id or message.rcode() != dns.rcode.NOERROR:
            raise SilentSourceError(f"{dns.rcode.to_text(message.rcode())} for the SOA")
        for rrset in message.answer:
            if rrset.name == self._zone and rrset.rdtype == dns.rdatatype.SOA:
                for rdata in rrset:
                    if isinstance(rdata, SOA):
                        return rdata.serial
        raise SilentSourceError("no SOA in its answer")

    def zone(self, limits: Limits) -> tuple[dns.zone.Zone, int]:
        """The whole zone, not verified, and the octets of its messages.

        Raises UnreadableZoneError where what came is no whole zone.
        """
        zone = dns.zone.Zone(self._zone, IN, relativize=False)
        octets = records = 0
        first: dns.rdata.Rdata | None = None
        query_id = self._ask(dns.rdatatype.AXFR)
        while True:
            wire = self._message(SILENCE)
            octets += 2 + len(wire)
            if octets > limits.octets:
                raise UnreadableZoneError(f"the transfer has more than {limits.octets} octets")
            over = False
            for name, ttl, rdata in records_in(wire, query_id, self._zone):
                if over:
                    raise UnreadableZoneError("records behind the SOA that ends the transfer")
                records += 1
                if records > limits.records:
                    raise UnreadableZoneError(f"more than {limits.records} records")
                if rdata.rdtype == dns.rdatatype.SOA:
                    if name != self._zone:
                        raise UnreadableZoneError(f"a SOA of {name} inside")
                    if first is not None and rdata != first:
                        raise UnreadableZoneError("a second SOA inside, other than the first")
                    over = first is not None
                    first = rdata
                elif first is None:
                    raise UnreadableZoneError("it does not begin with a SOA")
                if not over:
                    zone.find_rdataset(name, rdata.rdtype, rdata.covers(), create=True).add(
                        rdata, ttl
                    )
            if over:
                return zone, octets

    def _ask(self, rdtype: dns.rdatatype.RdataType) -> int:
        query = dns.message.make_query(
            self._zone, rdtype, id=self._rng.getrandbits(16), flags=0, use_edns=False
        )
        wire = query.to_wire()
        try:
            self._patience(CONNECT)
            self._socket.sendall(len(wire).to_bytes(2, "big") + wire)
        except OSError as error:
            raise SilentSourceError(_said(error)) from error
        return query.id

    def _message(self, silence: Seconds) -> bytes:
        while True:
            size = int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) >= 2 + size and len(self._buffer) >= 2:
                wire = bytes(self._buffer[2 : 2 + size])
                del self._buffer[: 2 + size]
                return wire
            try:
                self._patience(silence)
                piece = self._socket.recv(_PIECE)
            except OSError as error:
                raise SilentSourceError(_said(error)) from error
            if not piece:
                raise SilentSourceError("it closed the connection before the end")
            self._buffer += piece

    def _patience(self, longest: Seconds) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time left")
        self._socket.settimeout(min(left, longest))


def records_in(
    wire: bytes, query_id: int, zone: dns.name.Name
) -> Iterator[tuple[dns.name.Name, int, dns.rdata.Rdata]]:
    """The records of one message of the transfer (RFC 5936 2.2): owner, TTL, data.

    Raises UnreadableZoneError, and SilentSourceError for an error that the server answers.
    """
    if len(wire) < _HEADER.size:
        raise UnreadableZoneError("a message shorter than a header")
    answers_to, flags, questions, answers, authorities, _ = _HEADER.unpack_from(wire)
    if rcode := flags & _RCODE:
        raise SilentSourceError(f"{dns.rcode.to_text(dns.rcode.Rcode(rcode))} for the AXFR")
    if answers_to != query_id or not flags & _QR or flags & (_OPCODE | _TC):
        raise UnreadableZoneError("a message that is no part of this transfer")
    if authorities or questions > 1:
        raise UnreadableZoneError("a message with other sections than a transfer has")
    if not answers:
        raise UnreadableZoneError("a message without a record")
    try:
        parser = dns.wire.Parser(wire, _HEADER.size)
        for _ in range(questions):
            name, (rdtype, rdclass) = parser.get_name(decompress=True), parser.get_struct("!HH")
            if (name, rdtype, rdclass) != (zone, dns.rdatatype.AXFR, IN):
                raise UnreadableZoneError("another question's answer")
        for _ in range(answers):
            yield _record(parser, zone)
    except (dns.exception.DNSException, ValueError, struct.error) as error:
        raise UnreadableZoneError(f"a record can't be read: {error}") from error


def _record(
    parser: dns.wire.Parser, zone: dns.name.Name
) -> tuple[dns.name.Name, int, dns.rdata.Rdata]:
    name = parser.get_name(decompress=True)
    rdtype, rdclass, ttl, size = parser.get_struct(_RECORD.format)
    if rdclass != IN:
        raise UnreadableZoneError(f"a record of class {rdclass} at {name}")
    if not name.is_subdomain(zone):
        raise UnreadableZoneError(f"a record outside the zone, at {name}")
    with parser.restrict_to(size):
        rdata = dns.rdata.from_wire_parser(IN, dns.rdatatype.RdataType.make(rdtype), parser)
    return name, ttl, rdata


def _said(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or str(error)).lower()
