"""ICMP errors about packets that this program sent, read from the socket's error queue.

Anyone can send such an error: a distant router that has no route or forbids the port, the
nameserver's own host, or an attacker who guesses the socket's random port. The kernel checks both
addresses and both ports, and for TCP the sequence number (RFC 5927 4), but not the sender.
Only an error that arrives by the loopback interface is certain: it comes from this host's own
stack, since no packet from outside arrives there. Every other error counts as silence. The
gateway's address can be forged like any other. So can this host's own: if a neighbour does not
answer, the stack reports it by the loopback interface in IPv4, but in IPv6 by the link, from this
host's address. Whether the gateway is dead is read from the kernel's neighbour table at every
silence.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

# linux/in.h and linux/in6.h; the socket module has no names for them.
_RECVERR: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}
_PKTINFO: Final = {
    socket.AF_INET: (socket.IPPROTO_IP, 8),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO),
}
_ERRORS: Final = frozenset(_RECVERR.values())
_ARRIVAL: Final = {
    (socket.IPPROTO_IP, 8): struct.Struct("=i8x"),
    (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO): struct.Struct("=16xi"),
}
"""struct in_pktinfo, struct in6_pktinfo: the interface of arrival."""
_MOST_ERRORS: Final = 16
_LOOPBACK: Final = 1  # LOOPBACK_IFINDEX, the same in every network namespace
_ERROR: Final = struct.Struct("=iBBBxII")  # struct sock_extended_err of linux/errqueue.h
_OFFENDER: Final[dict[int, slice]] = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}
_BY_LOCAL, _BY_ICMP, _BY_ICMP6 = 1, 2, 3

_PROHIBITED: Final = "administratively prohibited"
_MEANINGS: Final = {
    (_BY_ICMP, 3, 0): "network unreachable",
    (_BY_ICMP, 3, 1): "host unreachable",
    (_BY_ICMP, 3, 2): "protocol unreachable",
    (_BY_ICMP, 3, 3): "port unreachable",
    (_BY_ICMP, 3, 9): _PROHIBITED,
    (_BY_ICMP, 3, 10): _PROHIBITED,
    (_BY_ICMP, 3, 13): _PROHIBITED,
    (_BY_ICMP, 11, 0): "time exceeded in transit",
    (_BY_ICMP6, 1, 0): "no route",
    (_BY_ICMP6, 1, 1): _PROHIBITED,
    (_BY_ICMP6, 1, 3): "address unreachable",
    (_BY_ICMP6, 1, 4): "port unreachable",
    (_BY_ICMP6, 1, 5): "source address failed policy",
    (_BY_ICMP6, 1, 6): "route rejected",
    (_BY_ICMP6, 3, 0): "time exceeded in transit",
}
"""(origin, type, code) -> meaning (RFC 792, RFC 1812 5.2.7.1, RFC 4443 3)."""

Ancillary = Iterable[tuple[int, int, bytes]]
"""Ancillary data of a received message (cmsg(3)): level, type, value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpError:
    """One error about a packet that this program sent."""

    by: str
    """Address of the sender of the error, or "kernel"."""
    what: str
    errno: int
    """The errno that the kernel derives from it."""
    ours: bool
    """Whether this host's own stack reports it, for certain."""


def enable_errors(sock: socket.socket) -> None:
    """Let the kernel queue ICMP errors for a socket, and note the interface of each packet."""
    sock.setsockopt(*_RECVERR[sock.family], 1)
    sock.setsockopt(*_PKTINFO[sock.family], 1)


def arrival(ancillary: Ancillary) -> int | None:
    """The index of the interface that a datagram arrived by, after `enable_errors`."""
    for level, kind, value in ancillary:
        if (shape := _ARRIVAL.get((level, kind))) is not None and len(value) == shape.size:
            (index,) = shape.unpack(value)
            return int(index)
    return None


def disable_errors(sock: socket.socket) -> None:
    """Undo `enable_errors`: on an established TCP connection each ICMP error would end it."""
    sock.setsockopt(*_RECVERR[sock.family], 0)


def read_errors(sock: socket.socket) -> Iterator[IcmpError]:
    """The errors queued so far, the oldest first. Reading them clears the socket's error.

    At most `_MOST_ERRORS` at a time, so that a flood delays nothing: the rest wakes the reader
    again.
    """
    for _ in range(_MOST_ERRORS):
        try:
            _, ancillary, _, _ = sock.recvmsg(0, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if (error := parse_error(ancillary)) is not None:
            yield error


def parse_error(ancillary: Ancillary) -> IcmpError | None:
    """The ICMP error in ancillary data from the error queue; None if it holds none."""
    held = list(ancillary)
    errors = [v for level, kind, v in held if (level, kind) in _ERRORS and len(v) >= _ERROR.size]
    if not errors:
        return None
    error = errors[-1]
    number, origin, kind, code, _, _ = _ERROR.unpack_from(error)
    return IcmpError(
        by=_offender(error[_ERROR.size :]),
        what=_MEANINGS.get((origin, kind, code)) or os.strerror(number).lower(),
        errno=number,
        ours=origin == _BY_LOCAL or arrival(held) == _LOOPBACK,
    )


def _offender(address: bytes) -> str:
    """SO_EE_OFFENDER as text: a socket address, whose family is 0 if the sender is unknown."""
    family = int.from_bytes(address[:2], sys.byteorder)
    part = _OFFENDER.get(family)
    if part is None or len(address) < part.stop:
        return "kernel"
    return socket.inet_ntop(family, address[part])
