"""A small authoritative server, for machines without NSD.

One process, one thread, one selector; UDP and TCP on every address. It reads its configuration from
a JSON file (``ServerConfig``) at the start and at every SIGHUP.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import dns.rcode

from steering.lab.servers.answers import Answers, Asked, Rendered, Reply
from steering.lab.servers.signzone import read_zone
from steering.model import Family

_BURST = 64  # packets from one socket before the next has its turn
_CONNECTIONS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The configuration of the server."""

    addresses: tuple[str, ...]
    zones: tuple[tuple[str, str], ...]
    """Name and zone file of each zone."""
    nsid: str = ""
    rcode: str | None = None
    """Answer everything with this rcode."""
    before: str = ""
    """Records in hexadecimal digits, to insert before the authority section of every answer."""
    before_count: int = 0

    @classmethod
    def read(cls, path: Path) -> ServerConfig:
        text = json.loads(path.read_text())
        return cls(
            addresses=tuple(text["addresses"]),
            zones=tuple((name, file) for name, file in text["zones"]),
            nsid=text["nsid"],
            rcode=text["rcode"],
            before=text["before"],
            before_count=text["before_count"],
        )

    def write(self, path: Path) -> None:
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.rename(path)


@dataclass(slots=True)
class Connection:
    """One TCP connection, and the bytes received on it."""

    socket: socket.socket
    received: bytes = b""


@dataclass(slots=True)
class Server:
    """The server: ``run`` until SIGTERM."""

    path: Path
    _config: ServerConfig = field(init=False)
    _answers: Answers = field(default_factory=Answers)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _connections: int = 0

    def run(self) -> None:
        """Serve until SIGTERM. Raises OSError if an address can't be bound."""
        wakeup_read, wakeup_write = socket.socketpair()
        for end in (wakeup_read, wakeup_write):
            end.setblocking(False)
        signal.set_wakeup_fd(wakeup_write.fileno())
        signal.signal(signal.SIGHUP, lambda *_: None)
        self._selector.register(
            wakeup_read, selectors.EVENT_READ, lambda: self._on_signal(wakeup_read)
        )
        self._load()
        for address in self._config.addresses:
            self._listen(address)
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _on_signal(self, signals: socket.socket) -> None:
        signals.recv(4096)
        self._load()

    def _load(self) -> None:
        self._config = ServerConfig.read(self.path)
        self._answers = Answers.of(read_zone(Path(f), name) for name, f in self._config.zones)

    def _listen(self, address: str) -> None:
        family = socket.AF_INET if Family.of(address) is Family.IPV4 else socket.AF_INET6
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        tcp = socket.create_server((address, 53), family=family, backlog=128)
        reads: tuple[tuple[socket.socket, Callable[[socket.socket], None]], ...]
        reads = ((udp, self._datagrams), (tcp, self._accept))
        for listening, read in reads:
            listening.setblocking(False)
            self._selector.register(
                listening, selectors.EVENT_READ, lambda s=listening, read=read: read(s)
            )

    def _datagrams(self, udp: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            for _ in range(_BURST):
                packet, peer = udp.recvfrom(4096)
                if answer := self._answer(packet, udp=True):
                    udp.sendto(answer, peer)

    def _accept(self, tcp: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            accepted, _ = tcp.accept()
            if self._connections >= _CONNECTIONS:
                accepted.close()
                return
            self._connections += 1
            accepted.settimeout(1.0)  # for writing; reading waits for the selector
            connection = Connection(accepted)
            self._selector.register(
                accepted, selectors.EVENT_READ, lambda: self._stream(connection)
            )

    def _stream(self, connection: Connection) -> None:
        try:
            arrived = connection.socket.recv(4096)
            connection.received += arrived
            while len(connection.received) >= 2:
                length = struct.unpack_from("!H", connection.received)[0]
                if len(connection.received) < 2 + length:
                    break
                packet = connection.received[2 : 2 + length]
                connection.received = connection.received[2 + length :]
                if answer := self._answer(packet, udp=False):
                    connection.socket.sendall(struct.pack("!H", len(answer)) + answer)
        except OSError:
            arrived = b""
        if not arrived:
            self._connections -= 1
            self._selector.unregister(connection.socket)
            connection.socket.close()

    def _answer(self, packet: bytes, *, udp: bool) -> bytes | None:
        asked = Asked.parse(packet)
        if asked is None:
            return None
        if self._config.rcode:
            reply = Reply(rcode=dns.rcode.from_text(self._config.rcode))
        else:
            reply = self._answers.reply(asked)
            if self._config.before_count:
                put = Rendered(
                    count=self._config.before_count, records=bytes.fromhex(self._config.before)
                )
                reply = replace(reply, authority=(put, *reply.authority))
        limit = asked.payload if udp else 65_535
        return reply.render(asked, nsid=self._config.nsid.encode(), limit=limit)


if __name__ == "__main__":
    Server(Path(sys.argv[1])).run()
