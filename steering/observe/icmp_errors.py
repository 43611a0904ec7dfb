"""What is said of a packet of ours on its way: ICMP errors, read from the kernel's queue.

Anybody may say so. A router far away that has no route or forbids the port, the nameserver's
own host, and whoever guesses a socket's random port and makes it up: the kernel checks both
addresses and both ports, and for TCP the sequence number (RFC 5927 4), but not who sent it.
Only what comes by the loopback interface is certain: no stranger's packet does, so this host's
own stack says it. All else is hearsay of a silence. A path's own gateway is no exception, as its
address can be forged like any other. Nor are we ourselves: where a neighbour does not answer,
our stack says so by the loopback interface in IPv4, but in IPv6 as if it had come by the link,
from our own address, which a stranger may write there as well. Whether the gateway is dead the
kernel knows better, and is asked at every silence.
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
"""struct in_pktinfo, struct in6_pktinfo: the interface that it came by."""
_MOST: Final = 16
_LOOPBACK: Final = 1  # LOOPBACK_IFINDEX: of every network namespace
_ERROR: Final = struct.Struct("=iBBBxII")  # struct sock_extended_err of linux/errqueue.h
_OFFENDER: Final[dict[int, slice]] = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}
_BY_LOCAL, _BY_ICMP, _BY_ICMP6 = 1, 2, 3

_PROHIBITED: Final = "administratively prohibited"
_WORDS: Final = {
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
"""Origin, type, code -> what it means (RFC 792, RFC 1812 5.2.7.1, RFC 4443 3)."""

Ancillary = Iterable[tuple[int, int, bytes]]
"""What comes beside a message: level, type, value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpError:
    """One word on a packet of ours: who says what."""

    by: str
    """Address of who says so, or "kernel"."""
    what: str
    errno: int
    """What the kernel makes of it."""
    ours: bool
    """It is this host's own stack that says so, for certain."""


def invite(sock: socket.socket) -> None:
    """Let the kernel keep for a socket what is said of its packets."""
    sock.setsockopt(*_RECVERR[sock.family], 1)
    sock.setsockopt(*_PKTINFO[sock.family], 1)


def arrival(ancillary: Ancillary) -> int | None:
    """The index of the interface by which a datagram came to a socket after `invite`."""
    for level, kind, value in ancillary:
        if (shape := _ARRIVAL.get((level, kind))) is not None and len(value) == shape.size:
            (index,) = shape.unpack(value)
            return int(index)
    return None


def decline(sock: socket.socket) -> None:
    """End `invite`. On a TCP connection that stands, it would turn hints into its end."""
    sock.setsockopt(*_RECVERR[sock.family], 0)


def complaints(sock: socket.socket) -> Iterator[IcmpError]:
    """What has been said meanwhile, the oldest first; taking it clears the socket's error.

    Only so much at a time: what is left wakes the reader again, and a flood holds up nobody.
    """
    for _ in range(_MOST):
        try:
            _, ancillary, _, _ = sock.recvmsg(0, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        if (said := complaint(ancillary)) is not None:
            yield said


def complaint(ancillary: Ancillary) -> IcmpError | None:
    """The complaint in what came from the error queue; None: there is none in it."""
    held = list(ancillary)
    errors = [v for level, kind, v in held if (level, kind) in _ERRORS and len(v) >= _ERROR.size]
    if not errors:
        return None
    error = errors[-1]
    number, origin, kind, code, _, _ = _ERROR.unpack_from(error)
    return IcmpError(
        by=_offender(error[_ERROR.size :]),
        what=_WORDS.get((origin, kind, code)) or os.strerror(number).lower(),
        errno=number,
        ours=origin == _BY_LOCAL or arrival(held) == _LOOPBACK,
    )


def _offender(address: bytes) -> str:
    """SO_EE_OFFENDER: a socket address, of no family where nobody is known."""
    family = int.from_bytes(address[:2], sys.byteorder)
    part = _OFFENDER.get(family)
    if part is None or len(address) < part.stop:
        return "kernel"
    return socket.inet_ntop(family, address[part])
