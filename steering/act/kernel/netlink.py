"""Three netlink sockets: one for queries, one for notifications, one for changes.

All three are plain blocking or polled AF_NETLINK sockets. They work inside an asyncio loop, since
an answer takes microseconds, and need no thread. They send and receive messages. What is in these
is encoded by `rtnetlink` and decoded by `decoding`.
"""

from __future__ import annotations

import array
import contextlib
import errno
import itertools
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from steering.act.kernel import framing, rtnetlink

# linux/netlink.h; the socket module has no names for these.
_SOL_NETLINK = 270
_EXT_ACK, _CAP_ACK, _STRICT_CHECK = 11, 10, 12
_SO_RCVBUFFORCE = 33
_SO_ATTACH_FILTER = 26
_MESSAGE_ATTRIBUTE = 1  # NLMSGERR_ATTR_MSG

_TIMEOUT = struct.pack("ll", 1, 0)  # 1 s: far more than the kernel needs, microseconds
_DATAGRAM = 1 << 16  # the kernel's dumps come in pieces of at most 32 KiB
_DUMP_TRIES = 5
_REQUESTS_AT_ONCE = 64  # their answers fit into a socket's default receive buffer

BATCH = 256
"""Most messages in one send: their acknowledgements fit into the receive buffer."""

_UNSTABLE = "the routing tables change faster than they can be read"

# RTNLGRP_LINK 1, IPV4_ROUTE 7, IPV4_RULE 8, IPV6_ROUTE 11, IPV6_RULE 19: bit n-1 of the groups.
_CHANGES = sum(1 << (group - 1) for group in (1, 7, 8, 11, 19))


_BPF = struct.Struct("=HBBI")  # code, jump if true, jump if false, operand
_LOAD_BYTE, _RETURN, _JUMP_EQUAL, _JUMP_GREATER_OR_EQUAL = 0x30, 0x06, 0x15, 0x35


class _Socket:
    def __init__(self, groups: int = 0, protocol: int = socket.NETLINK_ROUTE) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        self._socket.bind((0, groups))
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class QuerySocket(_Socket):
    """A socket that only sends requests that change nothing."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        super().__init__(protocol=protocol)
        self._protocol, self._torn = protocol, False
        # The kernel filters dumps: a host may have a full BGP table beside ours.
        self._socket.setsockopt(_SOL_NETLINK, _STRICT_CHECK, 1)

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of everything that matches; empty if the kernel has no such table or family.

        Raises OSError when the kernel refuses, or when the table changes faster than it is listed.
        """
        for _ in range(_DUMP_TRIES):
            found = self._dump_once(kind, body)
            if found is not None:
                return found
        raise OSError(errno.EAGAIN, _UNSTABLE)

    def _dump_once(self, kind: int, body: bytes) -> list[bytes] | None:
        self._torn = False
        bodies = list(self._listed(kind, body))
        return None if self._torn else bodies

    def _listed(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The bodies as they come; at the end `_torn` is true if the table changed meanwhile."""
        sequence = self._ask(kind, framing.DUMP, body)
        while True:
            for message in framing.messages(self._socket.recv(_DATAGRAM)):
                if message.sequence != sequence:
                    continue
                self._torn |= bool(message.flags & framing.DUMP_INTERRUPTED)
                if message.kind in {framing.DONE, framing.ERROR}:
                    refusal = _refusal(message)
                    # No such table, no such family: nothing is there.
                    if refusal and refusal.number not in {
                        errno.ENOENT,
                        errno.EAFNOSUPPORT,
                        errno.EOPNOTSUPP,
                    }:
                        raise OSError(refusal.number, refusal.text)
                    return
                yield message.body

    def some(self, kind: int, body: bytes, at_most: int) -> list[bytes]:
        """Some of what matches, read by a separate socket, so the rest is never listed.

        The table may have changed meanwhile. Raises OSError when the kernel refuses.
        """
        with QuerySocket(self._protocol) as query:
            return list(itertools.islice(query._listed(kind, body), at_most))

    def first(self, kind: int, body: bytes, at_most: int) -> tuple[list[bytes], bool]:
        """The first `at_most` of what matches, and whether that is all. Raises as `dump`."""
        for _ in range(_DUMP_TRIES):
            with QuerySocket(self._protocol) as query:  # closing it drops what is not read
                found = list(itertools.islice(query._listed(kind, body), at_most + 1))
                if len(found) > at_most or not query._torn:
                    return found[:at_most], len(found) <= at_most
        raise OSError(errno.EAGAIN, _UNSTABLE)

    def get(self, kind: int, body: bytes) -> bytes | None:
        """The one thing requested; None if there is nothing, or it is refused."""
        (found,) = self.get_each(kind, [body])
        return found

    def get_each(self, kind: int, bodies: Sequence[bytes]) -> list[bytes | None]:
        """As `get` for each of them, in order; None if there is nothing, or it is refused."""
        found: list[bytes | None] = []
        for at in range(0, len(bodies), _REQUESTS_AT_ONCE):
            found += self._get_some(kind, bodies[at : at + _REQUESTS_AT_ONCE])
        return found

    def _get_some(self, kind: int, bodies: Sequence[bytes]) -> list[bytes | None]:
        first = self._sequence + 1
        self._sequence += len(bodies)
        self._socket.send(
            b"".join(
                framing.message(kind, framing.REQUEST, first + i, b) for i, b in enumerate(bodies)
            )
        )
        found: list[bytes | None] = [None] * len(bodies)
        waiting = set(range(len(bodies)))
        while waiting:
            for message in framing.messages(self._socket.recv(_DATAGRAM)):
                index = message.sequence - first
                if index in waiting:
                    waiting.discard(index)
                    found[index] = None if message.kind == framing.ERROR else message.body
        return found

    def _ask(self, kind: int, flags: int, body: bytes) -> int:
        self._sequence += 1
        self._socket.send(framing.message(kind, framing.REQUEST | flags, self._sequence, body))
        return self._sequence


class NoticeSocket(_Socket):
    """A socket on which the kernel reports changes; nothing is ever sent by it."""

    def __init__(self, *, buffer: int | None = None) -> None:
        super().__init__(_CHANGES)
        self.overrun = False
        """Messages were lost before the last call of `changed`: anything may have changed."""
        self._socket.setblocking(False)
        if buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)

    def fileno(self) -> int:
        return self._socket.fileno()

    def ignore_system_tables(self) -> None:
        """Drops notifications of routes in the tables default, main and local (253 to 255).

        A converging router changes a million of them in a minute; a classic BPF program on the
        socket (linux/filter.h) drops the messages before they are queued.
        """
        kind = 4 if sys.byteorder == "little" else 5  # the lower byte of nlmsg_type
        code = array.array("B")
        for step in (
            (_LOAD_BYTE, 0, 0, kind),
            (_JUMP_EQUAL, 1, 0, rtnetlink.NEWROUTE),
            (_JUMP_EQUAL, 0, 2, rtnetlink.DELROUTE),
            (_LOAD_BYTE, 0, 0, 16 + 4),  # rtm_table behind the message's header
            (_JUMP_GREATER_OR_EQUAL, 1, 0, 253),
            (_RETURN, 0, 0, _DATAGRAM),
            (_RETURN, 0, 0, 0),
        ):
            code.frombytes(_BPF.pack(*step))
        where, size = code.buffer_info()
        program = struct.pack("HP", size // _BPF.size, where)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def changed(self, concerns: Callable[[framing.Message], bool], at_most: int = 1000) -> bool:
        """Whether a relevant notification came since the last call. Reads all that are queued.

        `concerns` is called for each message. When some were lost (ENOBUFS), anything may have
        changed. It reads at most `at_most` datagrams, so that a storm of changes in other tables
        can't delay the caller.
        """
        changed = self.overrun = False
        for _ in range(at_most):
            try:
                data = self._socket.recv(_DATAGRAM)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                changed = self.overrun = True
            else:
                for message in framing.messages(data):
                    changed |= concerns(message)
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRefusal:
    """Why the kernel refused one change."""

    number: int  # errno
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRequest:
    """One change for the kernel: message type, flags and body."""

    kind: int
    flags: int
    body: bytes


class ChangeSocket(_Socket):
    """A socket that changes the kernel's tables."""

    def __init__(self) -> None:
        super().__init__()
        # If this is not permitted, the first change is refused with the kernel's own message.
        with contextlib.suppress(PermissionError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 20)

    def carry_out(self, requests: Sequence[KernelRequest]) -> tuple[KernelRefusal | None, ...]:
        """Sends at most BATCH requests at once; the kernel's answer to each, in order.

        A refused request doesn't stop the rest. A lost acknowledgement counts as a refusal; the
        caller reads back what really happened. Raises OSError when the batch can't be sent.
        """
        if not requests:
            return ()
        first = self._sequence + 1
        self._sequence += len(requests)
        flags = framing.REQUEST | framing.ACK
        data = b"".join(
            framing.message(request.kind, flags | request.flags, first + i, request.body)
            for i, request in enumerate(requests)
        )
        self._socket.send(data)
        lost = KernelRefusal(number=errno.ENOBUFS, text="no acknowledgement from the kernel")
        results: list[KernelRefusal | None] = [lost] * len(requests)
        waiting = set(range(len(requests)))
        while waiting:
            try:
                answer = self._socket.recv(_DATAGRAM)
            except OSError as error:
                if error.errno in {errno.EAGAIN, errno.ENOBUFS}:
                    break
                raise
            for message in framing.messages(answer):
                index = message.sequence - first
                if message.kind == framing.ERROR and index in waiting:
                    waiting.discard(index)
                    results[index] = _refusal(message)
        return tuple(results)


def _refusal(message: framing.Message) -> KernelRefusal | None:
    """The refusal in an ERROR or DONE message; None: it is an acknowledgement."""
    if len(message.body) < 4:
        return None
    number = -struct.unpack_from("=i", message.body)[0]
    if number <= 0:
        return None
    words = os.strerror(number)
    if message.flags & framing.ACK_TLVS:
        # An ERROR contains the header of the request (RFC 3549, 2.3.2.2), a DONE doesn't.
        start = 20 if message.kind == framing.ERROR else 4
        more = framing.attributes(message.body, start).get(_MESSAGE_ATTRIBUTE)
        if more:
            words += f" ({more.rstrip(bytes(1)).decode(errors='replace')})"
    return KernelRefusal(number=number, text=words)
