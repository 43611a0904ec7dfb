"""The servers of all cases: one program on every address of the lab's network.

Who asks a case's address for its question gets the odd answer, in UDP and TCP; everything else is
answered well by the zone of that address. An answer larger than the client takes comes truncated
first, as from any server.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name

from contract.case import Case, World
from contract.draft import Draft
from contract.zone import DS, Zone

_PKTINFO: Final = 8  # IP_PKTINFO (ip(7)), which `socket` does not name


class Authority:
    """Answers by address. Cases are added as they are made."""

    def __init__(self, world: World, udp: socket.socket, tcp: socket.socket) -> None:
        self._zones: dict[str, Zone] = {zone.address: zone for zone in world.zones}
        self._apexes: dict[dns.name.Name, Zone] = {zone.apex: zone for zone in world.zones}
        self._cases: dict[str, Case] = {}
        self._udp, self._tcp = udp, tcp
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        udp.setsockopt(socket.IPPROTO_IP, _PKTINFO, 1)
        for one in (udp, tcp):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("0.0.0.0", 53))
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        udp.setblocking(False)

    async def start(self) -> None:
        """From now on it answers."""
        asyncio.get_running_loop().add_reader(self._udp, self._received)
        self._server = await asyncio.start_server(self._accepted, sock=self._tcp, backlog=512)

    async def stop(self) -> None:
        """No more."""
        asyncio.get_running_loop().remove_reader(self._udp)
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._udp.close()
        self._tcp.close()

    def add(self, case: Case) -> None:
        """A case's zones are there from now on."""
        for zone in case.zones:
            self._zones[zone.address] = zone
            self._apexes[zone.apex] = zone
        self._cases[case.zone.address] = case

    def remove(self, case: Case) -> None:
        """And no longer."""
        for zone in case.zones:
            del self._zones[zone.address], self._apexes[zone.apex]
        del self._cases[case.zone.address]

    def reply(self, address: str, name: dns.name.Name, rdtype: int) -> bytes | None:
        """The answer of the server at an address, with the id 0; None where there is none."""
        case = self._cases.get(address)
        if case is not None and (name, rdtype) == (case.name, case.rdtype):
            return case.wire
        zone = self._zones.get(address)
        if zone is None or not name.is_subdomain(zone.apex):
            return None
        if case is not None and (name, rdtype) in case.others:
            return case.others[name, rdtype]
        return Draft.of(name, rdtype, zone.reply(name, rdtype)).wire()

    def zone_of(self, name: dns.name.Name, rdtype: int) -> Zone:
        """The zone that answers for a name, whatever its address."""
        above = name.parent() if rdtype == DS and name != dns.name.root else name
        while above not in self._apexes:
            above = above.parent()
        return self._apexes[above]

    def _answer(self, query: bytes, address: str, *, stream: bool) -> bytes | None:
        try:
            asked = dns.message.from_wire(query)
            question = asked.question[0]
        except (dns.exception.DNSException, ValueError, IndexError):
            return None
        made = self.reply(address, question.name, int(question.rdtype))
        if made is None:
            return None
        wire = query[:2] + made[2:]
        if not stream and len(wire) > max(asked.payload, 512):
            (flags,) = struct.unpack_from("!H", wire, 2)
            head = struct.pack("!HHHHH", flags | int(dns.flags.TC), 1, 0, 0, 0)
            asked_for = question.name.to_wire()
            assert asked_for is not None
            tail = struct.pack("!HH", question.rdtype, question.rdclass)
            return query[:2] + head + asked_for + tail
        return wire

    def _received(self) -> None:
        while True:
            try:
                query, ancillary, _, client = self._udp.recvmsg(4096, 64)
            except BlockingIOError:
                return
            except OSError:
                continue
            for level, kind, data in ancillary:
                if (level, kind) == (socket.IPPROTO_IP, _PKTINFO):
                    address = socket.inet_ntoa(data[8:12])
                    wire = self._answer(query, address, stream=False)
                    if wire is not None:
                        self._send(wire, address, client)

    def _send(self, wire: bytes, address: str, client: tuple[str, int]) -> None:
        source = struct.pack("!I4s4s", 0, socket.inet_aton(address), b"\0" * 4)
        with suppress(OSError):  # its port is closed, or its buffer full: it asks again
            self._udp.sendmsg([wire], [(socket.IPPROTO_IP, _PKTINFO, source)], 0, client)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connected(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("sockname")[0]
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                query = await reader.readexactly(length)
                wire = self._answer(query, address, stream=True)
                if wire is None:
                    return
                writer.write(struct.pack("!H", len(wire)) + wire)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
