"""Sends one question and waits for its answer: by UDP, and by TCP if the answer was truncated.

It uses callbacks of the event loop, not tasks: hundreds of questions may be under way while a
server is silent. Each question has a socket of its own with a random port. The socket is marked
before it is connected, so that the mark chooses the route and the source address. It is connected,
so that packets from other addresses do not come in.

A datagram that is not the answer (`expected_answer`) is ignored: a forged packet must not end the
wait. One datagram is read in each turn of the loop, so that a flood delays nothing. After
MOST_STRAYS of them the question goes by TCP: the handshake shows that the one who answers also
receives what is sent to the address. That is why packets of a stream may come by any link.

An ICMP error does not end the wait either. It is only remembered: an answer that still comes
counts, and without one the error explains the silence. So a forged error has no more effect than
silence. By TCP an error ends the question, as the kernel gives up after it has checked the sequence
number; that counts as silence too.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import dns.rdatatype

from steering.model import Family, Instant, Seconds, Source
from steering.observe.dnssec.trust import name_of
from steering.observe.expected_answer import ROOM, Expected
from steering.observe.icmp_errors import disable_errors, enable_errors, read_errors
from steering.observe.nonce import mixed_case
from steering.observe.probe.echo import Echo
from steering.observe.strays import Stray

PAYLOAD: Final = 1232
"""Bytes of UDP payload that are accepted: they pass without fragments (DNS flag day 2020)."""

MOST_STRAYS: Final = 16
"""Packets that are ignored before a question goes by TCP. An attacker who guesses ids has so many
tries at a port. To cause the change to TCP takes that many packets to each of 28,000 ports within a
round trip."""

_RESET: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE})
"""Errors of TCP after an RST from the other end, unless an ICMP error caused them."""
SO_MARK: Final = 36  # asm-generic/socket.h; the socket module has no name for it
_TRAFFIC_CLASS: Final = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
_RD, _CD = 0x0100, 0x0010
_HEADER: Final = struct.Struct("!HHHHH")  # without the id
_OPT: Final = struct.Struct("!BHHIHHH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a question ended: with bytes, with an error of this host, or with neither (silence)."""

    wire: bytes | None = None
    error: OSError | None = None
    """This host's stack or firewall refused to send; it is no evidence about the address."""
    instead: str = ""
    """What came instead of an answer, for people."""
    reached: bool = False
    """Something came back from the address itself: a packet of its own, not ICMP."""
    stalled: bool = False
    """A connection was made, but no answer came over it in the rest of the time, which was at least
    as long as the handshake took. After a longer handshake the path may just be slow."""
    rtt: Seconds | None = None
    over_tcp: bool = False
    astray: str = ""
    """The link of an answer that was ignored because it came by that link."""

    @property
    def ours(self) -> bool:
        """Whether it failed on this host, so that it is no evidence about the address."""
        return self.error is not None

    @property
    def detail(self) -> str:
        """What happened, for people."""
        if self.wire is not None:
            return ""
        transport = "TCP: " if self.over_tcp else ""
        if self.error is not None:
            return transport + (self.error.strerror or str(self.error))
        return transport + (self.instead or "no answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePin:
    """The source address or DSCP by which routers choose a question's path."""

    ipv4: str | None = None
    """Source address for IPv4."""
    ipv6: str | None = None
    dscp: int | None = None
    interface: str | None = None
    """An interface of this host to bind to; routers don't see it."""

    def source(self, family: Family) -> str | None:
        """The source address for this family, None if it has none."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6

    def sent_from(self, source: Source) -> ProbePin:
        """The same pin with this source, unless it has a source of its own."""
        if self.source(source.family) is not None:
            return self
        if source.family is Family.IPV4:
            return replace(self, ipv4=source.address, interface=source.interface)
        return replace(self, ipv6=source.address, interface=source.interface)

    def put_on(self, sock: socket.socket) -> None:
        """Pin a socket before it is connected. Raises OSError: this host has no such address or
        link.
        """
        four = sock.family == socket.AF_INET
        if self.dscp is not None:
            # The upper six bits of the field (RFC 2474 section 3).
            level = (socket.IPPROTO_IP, socket.IP_TOS) if four else _TRAFFIC_CLASS
            sock.setsockopt(*level, self.dscp << 2)
        if self.interface is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.interface.encode())
        if (source := self.ipv4 if four else self.ipv6) is not None:
            sock.bind((source, 0))


UNPINNED: Final = ProbePin()


def query(
    name: str, rdtype: str, *, recursive: bool = False, rng: random.Random | None = None
) -> bytes:
    """A query's bytes after the id: with DO, a request for the NSID (RFC 5001), 1232 bytes.

    `recursive` is for resolvers: it sets RD, and CD, since the answer is validated here. `rng`
    draws the case of the name's letters; without it they are lower case.
    """
    flags = _RD | _CD if recursive else 0
    asked = name_of(name).to_digestable()
    if rng is not None:
        asked = mixed_case(asked, rng)
    asked += struct.pack("!HH", dns.rdatatype.from_text(rdtype), 1)
    return _HEADER.pack(flags, 1, 0, 0, 1) + asked + _OPT.pack(0, 41, PAYLOAD, 0x8000, 4, 3, 0)


class Query:
    """One question under way. It calls `done` once, perhaps before the constructor returns."""

    def __init__(
        self,
        body: bytes,
        query_id: int,
        address: str,
        *,
        done: Callable[[Reply], None],
        timeout: Seconds,
        port: int = 53,
        mark: int | None = None,
        pin: ProbePin = UNPINNED,
        tcp: bool = False,
        echo: Echo | None = None,
        link: int | None = None,
        error_ends_wait: bool = False,
        on_retry: Callable[[], None] | None = None,
        on_stray: Callable[[Stray], None] | None = None,
        monotonic: Callable[[], Instant] = time.monotonic,
    ) -> None:
        """Asks at once. `body` comes from `query`. `timeout` is in seconds, for UDP and for TCP.

        `on_retry` is called when it asks again by TCP, `on_stray` for each ignored packet. `echo`
        is what is known of the server's letter case, None if no case is required. `link` is the
        index of the interface that answers must come in by, None for any. With `error_ends_wait`
        an ICMP error ends the wait, for callers that can ask another server. Socket errors are not
        raised: they become replies.
        """
        self._loop = asyncio.get_running_loop()
        self._query = struct.pack("!H", query_id) + body
        self._expected = Expected(
            query_id=self._query[:2],
            question=body[_HEADER.size : -_OPT.size],
            echo=echo,
            link=link,
        )
        self._room = 0 if link is None else ROOM
        self._on_stray = on_stray
        self._where = (address, port)
        self._mark = mark
        self._pin = pin
        self._done: Callable[[Reply], None] | None = done
        self._on_retry = on_retry
        self._error_ends_wait = error_ends_wait
        self._timeout = timeout
        self._monotonic = monotonic
        self._rtt: Seconds | None = None
        self._reached = False
        self._established = False
        """A connection was made, within half of the time."""
        self._tcp = tcp
        self._buffer = bytearray()
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._start()

    def cancel(self) -> None:
        """Ends it without a reply."""
        self._done = None
        self._close()

    def _start(self) -> None:
        self._asked = self._monotonic()
        self._icmp = ""
        self._timer = self._loop.call_later(self._timeout, self._give_up)
        try:
            sock = self._open()
            if self._tcp:
                self._loop.add_writer(sock, self._run_step, self._connected, sock)
            else:
                sock.send(self._query)
                self._loop.add_reader(sock, self._run_step, self._datagram, sock)
        except OSError as error:
            self._end(error=error)  # nothing was sent yet: the fault is on this host

    def _open(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET
        kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
        self._socket = sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        if self._mark is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, self._mark)
        self._pin.put_on(sock)
        enable_errors(sock)
        with contextlib.suppress(BlockingIOError):  # a handshake takes its time
            sock.connect(self._where)
        return sock

    def _run_step(self, step: Callable[[socket.socket], None], sock: socket.socket) -> None:
        try:
            with contextlib.suppress(BlockingIOError):
                step(sock)
        except OSError as error:
            if not self._icmp:
                self._reached |= error.errno in _RESET
                self._icmp = error.strerror or str(error)
            self._end()

    def _take_errors(self, sock: socket.socket) -> bool:
        """Read ICMP errors; False if one ended the question, as those of this host's stack do."""
        for error in read_errors(sock):
            if error.ours and error.by != self._where[0]:  # unless the nameserver is this host
                self._end(error=OSError(error.errno, f"{error.what}, reported by this host"))
                return False
            self._icmp = f"{error.by}: {error.what}"
        if self._icmp and self._error_ends_wait:
            self._give_up()
            return False
        return True

    def _datagram(self, sock: socket.socket) -> None:
        if not self._take_errors(sock):
            return
        try:
            wire, ancillary, _, _ = sock.recvmsg(65535, self._room)
        except OSError:
            return  # another error came just now, and wakes the reader again; or nothing came
        rtt = self._monotonic() - self._asked
        why = self._expected.stray(wire, rtt, ancillary)
        self._reached |= why is not Stray.LINK
        if why is None:
            self._take(wire, rtt)
            return
        if self._on_stray is not None:
            self._on_stray(why)
        if self._expected.strays >= MOST_STRAYS:
            self._by_tcp()

    def _give_up(self) -> None:
        """The time is up, or no answer will come."""
        if not self._tcp and (kept := self._expected.second_best()) is not None:
            self._take(*kept)
            return
        self._end(stalled=self._established)

    def _take(self, wire: bytes, rtt: Seconds) -> None:
        self._rtt = rtt
        if wire[2] & 0x82 == 0x82:  # a truncated response (RFC 7766 5)
            self._by_tcp()
        else:
            self._end(wire)

    def _by_tcp(self) -> None:
        self._close()
        self._tcp = True
        if self._on_retry is not None:
            self._on_retry()
        self._start()

    def _connected(self, sock: socket.socket) -> None:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not self._take_errors(sock):
            return
        if code:
            raise OSError(code, os.strerror(code))
        # It fits any send buffer. Raises BlockingIOError if there is no connection yet.
        sock.send(struct.pack("!H", len(self._query)) + self._query)
        disable_errors(sock)
        self._reached = True
        self._established = 2 * (self._monotonic() - self._asked) <= self._timeout
        self._loop.remove_writer(sock)
        self._loop.add_reader(sock, self._run_step, self._stream, sock)

    def _stream(self, sock: socket.socket) -> None:
        piece = sock.recv(65537)
        if not piece:
            raise ConnectionResetError(errno.ECONNRESET, "closed before the answer")
        self._buffer += piece
        size = int.from_bytes(self._buffer[:2], "big")
        if len(self._buffer) >= 2 + size and len(self._buffer) >= 2:
            if self._rtt is None:
                self._rtt = self._monotonic() - self._asked
            self._end(bytes(self._buffer[2 : 2 + size]))

    def _end(
        self, wire: bytes | None = None, *, error: OSError | None = None, stalled: bool = False
    ) -> None:
        self._close()
        done, self._done = self._done, None
        if done is None:
            return
        done(
            Reply(
                wire=wire,
                error=error,
                instead=self._icmp or ("" if self._tcp else self._expected.detail),
                reached=self._reached,
                stalled=stalled,
                rtt=self._rtt,
                over_tcp=self._tcp,
                astray="" if wire is not None else self._expected.astray,
            )
        )

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None


async def send_query(
    body: bytes,
    query_id: int,
    address: str,
    *,
    time_limit: Seconds,
    port: int = 53,
    echo: Echo | None = None,
) -> Reply:
    """Send one question and await its reply: for the few questions to resolvers."""
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    under_way = Query(
        body,
        query_id,
        address,
        done=answer.set_result,
        timeout=time_limit,
        port=port,
        echo=echo,
        error_ends_wait=True,
    )
    try:
        return await answer
    finally:
        under_way.cancel()
