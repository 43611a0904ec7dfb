"""What the kernel's error queue holds, byte for byte as Linux 6.18 filled it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import select
import socket
import struct
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steering.lab.waiting import until
from steering.observe import icmp_errors
from steering.observe.icmp_errors import IcmpError, parse_error, read_errors

V4, V4_ARRIVAL = (socket.IPPROTO_IP, 11), (socket.IPPROTO_IP, 8)
V6, V6_ARRIVAL = (socket.IPPROTO_IPV6, 25), (socket.IPPROTO_IPV6, 50)
LO, LINK = 1, 2


def arrival(interface: int, *, four: bool) -> tuple[int, int, bytes]:
    if four:
        return *V4_ARRIVAL, struct.pack("=i8x", interface)
    return *V6_ARRIVAL, struct.pack("=16xi", interface)


def four(text: str) -> tuple[int, int, bytes]:
    return *V4, bytes.fromhex(text)


def six(text: str) -> tuple[int, int, bytes]:
    return *V6, bytes.fromhex(text)


UNREACHABLE = four("71000000020301000000000000000000020000000a0200020000000000000000")
PROHIBITED = four("7100000002030d000000000000000000020000000a0200020000000000000000")
NO_ROUTE = six(
    "650000000301000000000000000000000a00000000000000fd02000000000000000000000000000200000000"
)
PROHIBITED_6 = six(
    "0d0000000301010000000000000000000a00000000000000fd02000000000000000000000000000200000000"
)


@pytest.mark.parametrize(
    ("said", "by", "what", "number"),
    [
        (UNREACHABLE, "10.2.0.2", "host unreachable", errno.EHOSTUNREACH),
        (PROHIBITED, "10.2.0.2", "administratively prohibited", errno.EHOSTUNREACH),
        (NO_ROUTE, "fd02::2", "no route", errno.ENETUNREACH),
        (PROHIBITED_6, "fd02::2", "administratively prohibited", errno.EACCES),
    ],
)
def test_a_router_is_named_with_its_word(
    said: tuple[int, int, bytes], by: str, what: str, number: int
) -> None:
    came = [arrival(LINK, four=said[0] == socket.IPPROTO_IP), said]
    assert parse_error(came) == IcmpError(by=by, what=what, errno=number, ours=False)


@pytest.mark.parametrize("said", [UNREACHABLE, NO_ROUTE])
def test_what_came_by_the_loopback_interface_is_our_own_word(
    said: tuple[int, int, bytes],
) -> None:
    came = [said, arrival(LO, four=said[0] == socket.IPPROTO_IP)]
    seen = parse_error(came)
    assert seen is not None
    assert seen.ours


def test_of_unknown_arrival_it_is_a_strangers_word() -> None:
    seen = parse_error([UNREACHABLE])
    assert seen is not None
    assert not seen.ours


def test_what_the_kernel_says_without_a_packet_is_our_own_word() -> None:
    seen = parse_error([four("5a0000000100000000000000dc05000000000000" + "00" * 12)])
    assert seen == IcmpError(by="kernel", what="message too long", errno=errno.EMSGSIZE, ours=True)


def test_a_word_without_a_name_of_its_own_is_the_kernels() -> None:
    seen = parse_error([four("7100000002030c000000000000000000020000000a0200020000000000000000")])
    assert seen is not None
    assert seen.what == "no route to host"


@pytest.mark.parametrize("said", [UNREACHABLE, NO_ROUTE])
def test_a_word_that_is_cut_short_names_nobody_or_is_none(said: tuple[int, int, bytes]) -> None:
    whole = parse_error([said])
    assert whole is not None
    cut = [parse_error([(*said[:2], said[2][:size])]) for size in range(len(said[2]))]
    assert {one and one.by for one in cut} <= {None, "kernel", whole.by}
    assert cut[:16] == [None] * 16


@example([(0, 11, bytes([0, 0, 0, 0x80]) + bytes(12))])  # a number beyond those of errors
@given(st.lists(st.tuples(st.sampled_from([0, 1, 41]), st.integers(0, 60), st.binary(max_size=48))))
def test_whatever_the_queue_holds_is_an_error_or_none(
    came: list[tuple[int, int, bytes]],
) -> None:
    assert isinstance(parse_error(came), IcmpError | None)


WORDS = {
    # RFC 792, and RFC 1812 5.2.7.1 for 9 to 13
    2: """3.0 network unreachable
        3.1 host unreachable
        3.2 protocol unreachable
        3.3 port unreachable
        3.9 administratively prohibited
        3.10 administratively prohibited
        3.13 administratively prohibited
        11.0 time exceeded in transit""",
    # RFC 4443 3.1 and 3.3
    3: """1.0 no route
        1.1 administratively prohibited
        1.3 address unreachable
        1.4 port unreachable
        1.5 source address failed policy
        1.6 route rejected
        3.0 time exceeded in transit""",
}


@pytest.mark.parametrize("origin", WORDS)
def test_each_error_has_the_words_of_its_rfc(origin: int) -> None:
    lines = (line.split(maxsplit=1) for line in WORDS[origin].splitlines())
    words = {number: what.strip() for number, what in lines}
    for kind, code in itertools.product(range(16), repeat=2):
        said = struct.pack("=iBBBxII", errno.EHOSTUNREACH, origin, kind, code, 0, 0)
        error = parse_error([(socket.IPPROTO_IP, 11, said)])
        assert error is not None
        assert error.what == words.get(f"{kind}.{code}", os.strerror(errno.EHOSTUNREACH).lower())


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_host_s_own_stack_tells_of_a_port_that_nobody_listens_on(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as opened:
        sock, peer = (
            opened.enter_context(socket.socket(family, socket.SOCK_DGRAM)) for _ in range(2)
        )
        try:
            peer.bind((address, 0))
        except OSError:
            pytest.skip(f"this host has no {address}")
        place = peer.getsockname()
        sock.bind((address, 0))
        icmp_errors.enable_errors(sock)
        peer.sendto(b"here", sock.getsockname())
        _, ancillary, _, _ = sock.recvmsg(9, 64)
        assert icmp_errors.arrival(ancillary) == socket.if_nametoindex("lo")
        assert not [*read_errors(sock)]
        peer.close()
        sock.sendto(b"there", place)
        select.select([], [], [sock], 5.0)
        told: list[IcmpError] = []

        def read() -> bool:
            told.extend(read_errors(sock))
            return bool(told)

        until(read)
        (error,) = told
        assert (error.by, error.what, error.ours) == (address, "port unreachable", True)
        assert error.errno == errno.ECONNREFUSED
        icmp_errors.disable_errors(sock)
        level, option = icmp_errors._RECVERR[family]
        assert sock.getsockopt(level, option) == 0


def test_a_flood_of_errors_is_read_in_parts() -> None:
    said = struct.pack("=iBBBxII", errno.ECONNREFUSED, 2, 3, 3, 0, 0)

    class Flooded:
        read = 0

        def recvmsg(self, *_: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
            self.read += 1
            return b"", [(socket.IPPROTO_IP, 11, said)] if self.read % 2 else [], 0, None

    sock = Flooded()
    assert len([*read_errors(cast("socket.socket", sock))]) == 8, "what holds none is passed over"
    assert sock.read == 16
