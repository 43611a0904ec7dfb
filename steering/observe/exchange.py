"""One question and what became of it in detail, for `steering check --sites`.

The prober (`query`) needs answers and ignores all else. This module finds out what happened instead
of an answer: its UDP sockets are not connected, so a packet from another address or port, or by
another link, is seen and reported. None of those counts as an answer. By TCP one connection carries
a first question and, when that was answered, all others at once, whose answers fill several
segments.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import errno
import os
import random
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from steering.model import Family, Instant, Seconds
from steering.observe.icmp_errors import (
    IcmpError,
    arrival,
    disable_errors,
    enable_errors,
    read_errors,
)
from steering.observe.nonce import random_label
from steering.observe.probe.echo import Likeness, likeness
from steering.observe.query import SO_MARK, UNPINNED, ProbePin, query
from steering.observe.strays import link_name

_HEADER: Final = 12
_OPT: Final = 11 + 4  # with the empty NSID option that `query` asks by
_ADDITIONAL: Final = slice(8, 10)  # ARCOUNT, in a message without its id
_PORT: Final = 53
_ROOM: Final = 64
_TCP_INFO: Final = struct.Struct("=20xI")  # struct tcp_info of linux/tcp.h up to tcpi_rcv_mss
_GUESS: Final = 536  # TCP_MIN_RCVMSS and TCP_MSS_DEFAULT of net/tcp.h: where rcv_mss begins
_MTU: Final = {
    Family.IPV4: (socket.IPPROTO_IP, 14),  # IP_MTU of linux/in.h
    Family.IPV6: (socket.IPPROTO_IPV6, 24),  # IPV6_MTU of linux/in6.h
}


class Ended(enum.StrEnum):
    """How one question ended."""

    ANSWERED = "answered"
    SILENT = "silent"
    ELSEWHERE = "elsewhere"
    """An answer came from another address or port than the question went to."""
    ASTRAY = "astray"
    """An answer came in by another link than the path's."""
    ERROR = "error"
    """An ICMP error, or a TCP reset, came instead."""
    LOCAL_ERROR = "local_error"
    """This host's own stack refused to send it, or reported the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What became of one question, or by TCP of several together."""

    ended: Ended
    rtt: Seconds | None = None
    octets: int = 0
    """Of the answers."""
    packet: int = 0
    """Of the largest packet that brought them, without its headers; 0 if not known."""
    connected: bool = False
    """By TCP: the handshake was answered."""
    detail: str = ""
    """What came, from where or by which link, for people."""
    errno: int = 0
    """The errno that the kernel derived."""

    @property
    def answered(self) -> bool:
        return self.ended is Ended.ANSWERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How questions leave this host."""

    address: str
    mark: int | None = None
    pin: ProbePin = UNPINNED
    link: int | None = None
    """Index of the interface that answers by UDP must come in by; None for any."""

    @property
    def family(self) -> Family:
        return Family.of(self.address)

    @contextlib.contextmanager
    def socket(self, kind: socket.SocketKind) -> Iterator[socket.socket]:
        """A socket set up so. Raises OSError: no such source or link, or not permitted."""
        four = self.family is Family.IPV4
        with socket.socket(socket.AF_INET if four else socket.AF_INET6, kind) as sock:
            sock.setblocking(False)
            if self.mark is not None:
                sock.setsockopt(socket.SOL_SOCKET, SO_MARK, self.mark)
            self.pin.put_on(sock)
            enable_errors(sock)
            yield sock


def small(zone: str) -> bytes:
    """The body of a question with a small answer: the SOA, without EDNS, so at most 512 octets.

    The body of a message is what follows its id.
    """
    body = query(zone, "SOA")[:-_OPT]
    return body[: _ADDITIONAL.start] + b"\0\0" + body[_ADDITIONAL.stop :]


def large(zones: Sequence[str], rng: random.Random) -> Mapping[str, bytes]:
    """The bodies of the questions with the largest answers that probes get, by what they ask.

    They are the same for all paths, so that their answers can be compared.
    """
    found: dict[str, bytes] = {}
    for zone in zones:
        for rdtype in ("SOA", "DNSKEY"):
            found[f"{zone} {rdtype}"] = query(zone, rdtype)
        name = f"{random_label(rng)}.{zone.lstrip('.')}"
        found[f"a name below {zone}"] = query(name, "A")
    return found


def route_mtu(sending: Sending) -> int | None:
    """The path MTU that the kernel assumes, perhaps from a router's ICMP; None without a route."""
    try:
        with sending.socket(socket.SOCK_DGRAM) as sock:
            sock.connect((sending.address, _PORT))
            return sock.getsockopt(*_MTU[sending.family])
    except OSError:
        return None


def source_of(sending: Sending) -> str | None:
    """The address that such questions are sent from; None: there is no route."""
    try:
        with sending.socket(socket.SOCK_DGRAM) as sock:
            sock.connect((sending.address, _PORT))
            return str(sock.getsockname()[0])
    except OSError:
        return None


async def by_udp(sending: Sending, body: bytes, query_id: int, *, time_limit: Seconds) -> Exchange:
    """Ask once. `time_limit` is how long to wait for an answer."""
    try:
        with sending.socket(socket.SOCK_DGRAM) as sock:
            sock.sendto(_message(query_id, body), (sending.address, _PORT))
            return await _datagram(sock, sending, _message(query_id, body), time_limit)
    except OSError as error:
        return _ours(error)


async def by_tcp(
    sending: Sending,
    first: bytes,
    others: Sequence[bytes],
    query_id: int,
    *,
    time_limit: Seconds,
) -> tuple[Exchange, Exchange | None]:
    """Ask by TCP: the first question and, when that is answered, all others at once.

    `time_limit` is for each of the two steps. The second result is None if the first question was
    not answered.
    """
    try:
        with sending.socket(socket.SOCK_STREAM) as sock:
            one = await _first(sock, sending, _message(query_id, first), time_limit)
            if not one.answered or not others:
                return one, None
            messages = [_message(query_id + n, body) for n, body in enumerate(others, start=1)]
            return one, await _stream(sock, messages, time_limit)
    except OSError as error:
        return _ours(error), None


def _message(query_id: int, body: bytes) -> bytes:
    return struct.pack("!H", query_id & 0xFFFF) + body


def _question(message: bytes) -> bytes:
    """The question section: all but the header, and the OPT record if there is one."""
    has_opt = message[10:12] != b"\0\0"
    return message[_HEADER : -_OPT if has_opt else None]


def _answers(wire: bytes, message: bytes) -> bool:
    """Whether it is an answer to this question, from any sender."""
    if len(wire) < _HEADER or wire[:2] != message[:2] or not wire[2] & 0x80:
        return False
    return likeness(wire, _question(message)) is not Likeness.ANOTHER


async def _datagram(
    sock: socket.socket, sending: Sending, message: bytes, time_limit: Seconds
) -> Exchange:
    asked = time.monotonic()
    instead = Exchange(ended=Ended.SILENT)
    while await _ready(sock, asked + time_limit):
        for error in read_errors(sock):
            if error.ours:
                return _icmp_ended(error)
            if instead.ended is Ended.SILENT:
                instead = _icmp_ended(error)
        try:
            wire, ancillary, _, peer = sock.recvmsg(65535, _ROOM)
        except OSError:
            continue  # nothing came, or another error came just now
        if not _answers(wire, message):
            continue
        if peer[:2] != (sending.address, _PORT):
            instead = Exchange(ended=Ended.ELSEWHERE, detail=f"{peer[0]}, port {peer[1]}")
            continue
        arrived_by = arrival(ancillary)
        if sending.link is not None and arrived_by != sending.link:
            instead = Exchange(ended=Ended.ASTRAY, detail=link_name(arrived_by or 0))
            continue
        return Exchange(
            ended=Ended.ANSWERED,
            rtt=time.monotonic() - asked,
            octets=len(wire),
            packet=len(wire),
        )
    return instead


async def _first(
    sock: socket.socket, sending: Sending, message: bytes, time_limit: Seconds
) -> Exchange:
    asked = time.monotonic()
    until = asked + time_limit
    with contextlib.suppress(BlockingIOError):
        sock.connect((sending.address, _PORT))
    if not await _ready(sock, until, writing=True):
        error = next(read_errors(sock), None)
        return Exchange(ended=Ended.SILENT) if error is None else _icmp_ended(error)
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    for error in read_errors(sock):
        return _icmp_ended(error)
    if code:
        return _reset(code)
    disable_errors(sock)
    found = await _stream(sock, [message], until - time.monotonic())
    return replace(found, rtt=time.monotonic() - asked) if found.answered else found


async def _stream(sock: socket.socket, messages: Sequence[bytes], time_limit: Seconds) -> Exchange:
    """Send these on an established connection, and wait for as many answers."""
    asked = time.monotonic()
    silent = Exchange(ended=Ended.SILENT, connected=True)
    octets, got, buffer = 0, 0, bytearray()
    try:
        sock.send(b"".join(struct.pack("!H", len(each)) + each for each in messages))
        while await _ready(sock, asked + time_limit):
            piece = sock.recv(65537)
            if not piece:
                return replace(silent, ended=Ended.ERROR, detail="closed before the answer")
            buffer += piece
            while len(buffer) >= 2 and len(buffer) >= (end := 2 + int.from_bytes(buffer[:2])):
                octets, got = octets + end, got + 1
                del buffer[:end]
            if got >= len(messages):
                return Exchange(
                    ended=Ended.ANSWERED,
                    rtt=time.monotonic() - asked,
                    octets=octets,
                    packet=_largest_segment(sock),
                    connected=True,
                )
    except OSError as error:
        return replace(_reset(error.errno or 0), connected=True)
    return replace(silent, octets=octets + len(buffer))


def _largest_segment(sock: socket.socket) -> int:
    """The largest segment that the kernel has received; 0 while it has only its initial guess."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    (seen,) = _TCP_INFO.unpack(info)
    return seen if seen > _GUESS else 0


async def _ready(sock: socket.socket, until: Instant, *, writing: bool = False) -> bool:
    """Whether the socket becomes readable, or writable, before `until`."""
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    add, remove = (
        (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    )
    add(sock, woken.set)
    try:
        async with asyncio.timeout(max(0.0, until - time.monotonic())):
            await woken.wait()
    except TimeoutError:
        return False
    finally:
        remove(sock)
    return True


def _icmp_ended(error: IcmpError) -> Exchange:
    return Exchange(
        ended=Ended.LOCAL_ERROR if error.ours else Ended.ERROR,
        detail=f"{error.by}: {error.what}",
        errno=error.errno,
    )


def _reset(code: int) -> Exchange:
    silent = code == errno.ETIMEDOUT
    return Exchange(
        ended=Ended.SILENT if silent else Ended.ERROR,
        detail="" if silent else os.strerror(code).lower(),
        errno=code,
    )


def _ours(error: OSError) -> Exchange:
    return Exchange(
        ended=Ended.LOCAL_ERROR,
        detail=(error.strerror or str(error)).lower(),
        errno=error.errno or 0,
    )
