"""Netlink's framing: messages and their attributes, as all its protocols have them. Pure.

After linux/netlink.h. The guard must have it in memory before anything goes wrong, so it is small
and uses only the standard library.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator, Mapping
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import NamedTuple

ERROR, DONE = 2, 3

REQUEST, MULTI, ACK, DUMP_INTERRUPTED, DUMP = 0x1, 0x2, 0x4, 0x10, 0x300
REPLACE, EXCLUSIVE, CREATE, ACK_TLVS = 0x100, 0x200, 0x400, 0x200

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_U32 = struct.Struct("=I")


class Message(NamedTuple):
    """One netlink message, with an undecoded body. A tuple: a dump has thousands."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def messages(data: bytes) -> Iterator[Message]:
    """The messages in one received datagram, up to a truncated one."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        body = data[at + _HEADER.size : at + length]
        yield Message(kind, flags, sequence, body)
        at += (length + 3) & ~3


def attribute(kind: int, payload: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def attributes(data: bytes, at: int) -> Mapping[int, bytes]:
    """Kind to payload, of the attributes from an offset on."""
    found: dict[int, bytes] = {}
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[at + _ATTRIBUTE.size : at + length]  # without the flag bits
        at += (length + 3) & ~3
    return found


def u32(value: int) -> bytes:
    return _U32.pack(value)


def number(payload: bytes | None) -> int | None:
    return None if payload is None else int(_U32.unpack_from(payload)[0])


def packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def text(payload: bytes) -> str:
    """An address as text, in the form of `ipaddress`, as everywhere in the project."""
    if len(payload) == 4:
        return inet_ntop(AF_INET, payload)
    written = inet_ntop(AF_INET6, payload)
    # The C library ends some addresses in dotted quads, ipaddress does not.
    return str(ipaddress.IPv6Address(payload)) if "." in written else written
