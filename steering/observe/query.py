"""One question on its way: a fresh UDP socket, TCP where the answer was truncated.

Callbacks of the event loop and no tasks: hundreds of questions may be under way while a
server is silent. Each socket has its own random port, is connected (so strangers' packets
do not come in) and marked before it is connected (so the mark chooses the route and the
source address). Datagrams that are not like its answer (`expected_answer`) are passed over, since
a stranger's packet must not end the wait: one a turn of the loop, so that a flood of them delays
nothing, and after some of them the question goes by TCP, where a handshake shows that whoever
answers also gets what is sent to the address. That is why a stream's packets may come by any
link. Nor does an ICMP error end the wait, of whoever it be, which is only
remembered: an answer that comes all the same counts, and where none comes it is the silence
that a router spoke of. So a forged one does nothing that silence does not. TCP alone is
ended by one, as the kernel gives up (it has checked the sequence number): a silence as well.
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
from steering.observe.icmp_errors import complaints, decline, invite
from steering.observe.nonce import mixed_case
from steering.observe.probe.echo import Echo
from steering.observe.strays import Stray

PAYLOAD: Final = 1232
"""Bytes of UDP payload we take: what passes everywhere without fragments (DNS flag day 2020)."""

MOST_STRAYS: Final = 16
"""Packets that are passed over before a question goes by TCP. Who guesses ids has so many tries
at a port; who sends that many to each of 28,000 ports within a round trip could bring it about."""

_RESET: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE})
"""What TCP makes of the other end's RST, unless an ICMP error brought it about."""
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
    """Our own stack or firewall would not have it: it says nothing of the address."""
    said: str = ""
    """What came instead of an answer, for people."""
    reached: bool = False
    """Something came back from the address itself: a packet of its own, not ICMP."""
    stalled: bool = False
    """A connection was made, and the answer did not come over it in the time that was left: as long
    as making it took, at the least. Where it took longer, the path may just be slow."""
    rtt: Seconds | None = None
    over_tcp: bool = False
    astray: str = ""
    """By which link an answer came that was passed over for it."""

    @property
    def ours(self) -> bool:
        """Whether it failed on this host, so that it says nothing of the address."""
        return self.error is not None

    @property
    def detail(self) -> str:
        """What happened, for people."""
        if self.wire is not None:
            return ""
        way = "TCP: " if self.over_tcp else ""
        if self.error is not None:
            return way + (self.error.strerror or str(self.error))
        return way + (self.said or "no answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePin:
    """What routers know a question's path by."""

    ipv4: str | None = None
    """Source address of the one family."""
    ipv6: str | None = None
    dscp: int | None = None
    interface: str | None = None
    """Of this host's, to bind to; no router sees it."""

    def source(self, family: Family) -> str | None:
        """Source address of this family, where it has one."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6

    def sent_from(self, source: Source) -> ProbePin:
        """The same from this source, unless it has one of its own."""
        if self.source(source.family) is not None:
            return self
        if source.family is Family.IPV4:
            return replace(self, ipv4=source.address, interface=source.interface)
        return replace(self, ipv6=source.address, interface=source.interface)

    def put_on(self, sock: socket.socket) -> None:
        """Pin a socket not connected yet. Raises OSError: no address or link of this host's."""
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
    """A query's bytes after the id: DO, NSID asked for (RFC 5001), 1232 bytes.

    `recursive` is for resolvers: RD and CD, as we check ourselves. The case of the name's letters
    is drawn from `rng`; without one they are small.
    """
    flags = _RD | _CD if recursive else 0
    asked = name_of(name).to_digestable()
    if rng is not None:
        asked = mixed_case(asked, rng)
    asked += struct.pack("!HH", dns.rdatatype.from_text(rdtype), 1)
    return _HEADER.pack(flags, 1, 0, 0, 1) + asked + _OPT.pack(0, 41, PAYLOAD, 0x8000, 4, 3, 0)


class Query:
    """One question under way. `done` is called once, perhaps before the constructor returns."""

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
        yielding: bool = False,
        retried: Callable[[], None] | None = None,
        strayed: Callable[[Stray], None] | None = None,
        monotonic: Callable[[], Instant] = time.monotonic,
    ) -> None:
        """Asks at once; `body` is of `query`. `timeout` is in seconds, for UDP and TCP each;
        `retried` is called when it asks again by TCP. `echo` is what is known of the server,
        None for one of whom no case is required; `link` the index of the interface that answers
        have to come in by, None for any; `strayed` is told of each packet that is passed over.
        `yielding` lets an ICMP error end the wait after all, where somebody else can be asked.
        Raises no error of a socket's: those are replies.
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
        self._strayed = strayed
        self._where = (address, port)
        self._mark = mark
        self._pin = pin
        self._done: Callable[[Reply], None] | None = done
        self._retried = retried
        self._yielding = yielding
        self._timeout = timeout
        self._monotonic = monotonic
        self._rtt: Seconds | None = None
        self._reached = False
        self._established = False
        """A connection was made, in half of the time or less."""
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
        self._said = ""
        self._timer = self._loop.call_later(self._timeout, self._give_up)
        try:
            sock = self._open()
            if self._tcp:
                self._loop.add_writer(sock, self._guarded, self._connected, sock)
            else:
                sock.send(self._query)
                self._loop.add_reader(sock, self._guarded, self._datagram, sock)
        except OSError as error:
            self._end(error=error)  # nothing has left yet: it is our own

    def _open(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._where[0] else socket.AF_INET
        kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
        self._socket = sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        if self._mark is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, self._mark)
        self._pin.put_on(sock)
        invite(sock)
        with contextlib.suppress(BlockingIOError):  # a handshake takes its time
            sock.connect(self._where)
        return sock

    def _guarded(self, step: Callable[[socket.socket], None], sock: socket.socket) -> None:
        try:
            with contextlib.suppress(BlockingIOError):
                step(sock)
        except OSError as error:
            if not self._said:
                self._reached |= error.errno in _RESET
                self._said = error.strerror or str(error)
            self._end()

    def _listen(self, sock: socket.socket) -> bool:
        """Take in what was said of our packets; False: that ended it, as our own stack's does."""
        for said in complaints(sock):
            if said.ours and said.by != self._where[0]:  # but where the nameserver is this host
                self._end(error=OSError(said.errno, f"{said.what}, says this host"))
                return False
            self._said = f"{said.by}: {said.what}"
        if self._said and self._yielding:
            self._give_up()
            return False
        return True

    def _datagram(self, sock: socket.socket) -> None:
        if not self._listen(sock):
            return
        try:
            wire, ancillary, _, _ = sock.recvmsg(65535, self._room)
        except OSError:
            return  # one more was said just now, and wakes us again; or nothing came
        rtt = self._monotonic() - self._asked
        why = self._expected.stray(wire, rtt, ancillary)
        self._reached |= why is not Stray.LINK
        if why is None:
            self._take(wire, rtt)
            return
        if self._strayed is not None:
            self._strayed(why)
        if self._expected.strays >= MOST_STRAYS:
            self._by_tcp()

    def _give_up(self) -> None:
        """The time is up, or nobody will answer."""
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
        if self._retried is not None:
            self._retried()
        self._start()

    def _connected(self, sock: socket.socket) -> None:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not self._listen(sock):
            return
        if code:
            raise OSError(code, os.strerror(code))
        # Fits any send buffer; raises BlockingIOError where there is no connection yet.
        sock.send(struct.pack("!H", len(self._query)) + self._query)
        decline(sock)
        self._reached = True
        self._established = 2 * (self._monotonic() - self._asked) <= self._timeout
        self._loop.remove_writer(sock)
        self._loop.add_reader(sock, self._guarded, self._stream, sock)

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
                said=self._said or ("" if self._tcp else self._expected.said),
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


async def inquire(
    body: bytes,
    query_id: int,
    address: str,
    *,
    patience: Seconds,
    port: int = 53,
    echo: Echo | None = None,
) -> Reply:
    """One question, awaited: for the few that are asked of resolvers."""
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    inquiry = Query(
        body,
        query_id,
        address,
        done=answer.set_result,
        timeout=patience,
        port=port,
        echo=echo,
        yielding=True,
    )
    try:
        return await answer
    finally:
        inquiry.cancel()
