"""What the kernel's error queue holds, byte for byte as Linux 6.18 filled it."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steering.observe.icmp_errors import IcmpError, parse_error

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
