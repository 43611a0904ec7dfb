"""Nameservers on loopback that answer, by UDP and TCP, what a test tells them to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import cast

Respond = Callable[[bytes, bool], Iterable[bytes]]
"""A query's bytes, and whether they came by TCP -> the datagrams (or TCP answers) to send."""
Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]


@dataclass
class Server:
    """One scripted nameserver, and what it was asked."""

    address: str
    respond: Respond
    port: int = 0
    asked: list[tuple[bytes, bool]] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)
    peers: set[str] = field(default_factory=set)
    """Addresses that datagrams came from."""

    def answers(self, wire: bytes, by_tcp: bool) -> Iterable[bytes]:
        self.asked.append((wire, by_tcp))
        return self.respond(wire, by_tcp)


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.server.ports.add(addr[1])
        self.server.peers.add(addr[0])
        for answer in self.server.answers(data, False):
            self.transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def serving(*servers: Server, tcp: bool = True) -> AsyncIterator[int]:
    """The servers, all at one port, which it gives."""
    async with contextlib.AsyncExitStack() as stack:
        while True:
            async with contextlib.AsyncExitStack() as tried:
                try:
                    port = await _listen(servers, tcp, tried)
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        raise
                    continue
                stack.push_async_exit(tried.pop_all())
                break
        yield port


async def _listen(servers: tuple[Server, ...], tcp: bool, made: contextlib.AsyncExitStack) -> int:
    """Raises OSError where the port that the first one got is not free for the rest."""
    loop, port = asyncio.get_running_loop(), 0
    for server in servers:
        family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
        transport, _ = await loop.create_datagram_endpoint(
            functools.partial(_Udp, server), local_addr=(server.address, port), family=family
        )
        made.callback(transport.close)
        port = server.port = transport.get_extra_info("sockname")[1]
        if tcp:
            each = functools.partial(_stream, server)
            await made.enter_async_context(accepting(each, server.address, port))
    return port


@contextlib.asynccontextmanager
async def accepting(each: Stream, address: str, port: int) -> AsyncIterator[None]:
    """What is accepted by TCP there; all ends with it, also what has not begun.

    Raises OSError where the port is not free.
    """
    writers: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.append(asyncio.create_task(each(reader, writer)))

    listener = await asyncio.start_server(accept, address, port)
    try:
        yield
    finally:
        listener.close()
        for _ in range(5):  # whoever was accepted just now comes to `accept` a little later
            await asyncio.sleep(0)
        for writer in writers:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception):
                raise error


async def _stream(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        for answer in server.answers(await reader.readexactly(size), True):
            writer.write(struct.pack("!H", len(answer)))
            await writer.drain()  # so that the length may come alone
            writer.write(answer)
        await writer.drain()
    writer.close()
