"""A server that gives a zone by AXFR, as it should or in a hostile way."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone

from steering.observe.zone.facts import Source

ROOT = dns.name.root
PER_MESSAGE = 20

Transfer = Callable[[dns.message.Message], Iterable[bytes]]
"""From the query to the messages of the answer, without their lengths."""


def records(zone: dns.zone.Zone) -> list[dns.rrset.RRset]:
    """All records one by one: the SOA first and last."""
    soa = one(ROOT, zone.find_rdataset(ROOT, "SOA").ttl, zone.get_soa())
    others = [
        one(name, rdataset.ttl, rdata)
        for name, node in zone.nodes.items()
        for rdataset in node
        for rdata in rdataset
        if rdata.rdtype != dns.rdatatype.SOA
    ]
    return [soa, *others, soa]


def one(name: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> dns.rrset.RRset:
    return dns.rrset.from_rdata(name, ttl, rdata)


def message(query: dns.message.Message, rrsets: Iterable[dns.rrset.RRset]) -> bytes:
    """One message of a transfer."""
    made = dns.message.make_response(query)
    made.answer = list(rrsets)
    return made.to_wire(max_size=65535)


def whole(zone: dns.zone.Zone) -> Transfer:
    """The whole zone, in order."""
    rrsets = records(zone)

    def transfer(query: dns.message.Message) -> Iterator[bytes]:
        for at in range(0, len(rrsets), PER_MESSAGE):
            yield message(query, rrsets[at : at + PER_MESSAGE])

    return transfer


def of(rrsets: list[dns.rrset.RRset]) -> Transfer:
    """These records, whatever they are."""
    return lambda query: [message(query, rrsets)]


def refusing(query: dns.message.Message) -> Iterator[bytes]:
    made = dns.message.make_response(query)
    made.set_rcode(dns.rcode.REFUSED)
    yield made.to_wire()


@contextmanager
def serving(zone: dns.zone.Zone, transfer: Transfer | None = None) -> Iterator[Source]:
    """A server on a port of its own, which shows this zone's SOA; a whole transfer by default."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        served = threading.Thread(
            target=_serve, args=(listening, zone, transfer or whole(zone)), daemon=True
        )
        served.start()
        yield Source(address="127.0.0.1", port=listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)
    served.join(5)


def _serve(listening: socket.socket, zone: dns.zone.Zone, transfer: Transfer) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection, suppress(OSError):
                _answer(connection, zone, transfer)


def _answer(connection: socket.socket, zone: dns.zone.Zone, transfer: Transfer) -> None:
    connection.settimeout(20)
    while size := connection.recv(2, socket.MSG_WAITALL):
        wire = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        query = dns.message.from_wire(wire)
        if query.question[0].rdtype == dns.rdatatype.SOA:
            soa = zone.find_rrset(ROOT, "SOA")
            made = dns.message.make_response(query)
            made.flags |= dns.flags.AA
            made.answer.append(soa)
            answers: Iterable[bytes] = [made.to_wire()]
        else:
            answers = transfer(query)
        for answer in answers:
            connection.sendall(struct.pack("!H", len(answer)) + answer)
