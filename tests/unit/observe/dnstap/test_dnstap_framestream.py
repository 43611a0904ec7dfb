"""Frame Streams, one connection at a time, without a socket."""

from __future__ import annotations

import struct

import pytest
from dnstap_frames import ADDRESS, NOW, frame, payload
from hypothesis import given, settings
from hypothesis import strategies as st

from steering.observe.dnstap.counter import FRAME_LIMIT, FrameCounter
from steering.observe.dnstap.framestream import (
    CONTENT_TYPE,
    Control,
    FrameStream,
    GarbageError,
    Phase,
    TooLargeError,
    control,
)
from steering.observe.dnstap.tally import Watched
from steering.observe.dnstap.tally_builder import upstreams

READY = control(Control.READY, content_type=CONTENT_TYPE)
START = control(Control.START, content_type=CONTENT_TYPE)
STOP = control(Control.STOP)
ACCEPT = control(Control.ACCEPT, content_type=CONTENT_TYPE)
FINISH = control(Control.FINISH)
QUERY = frame(payload(3))


def stream() -> tuple[FrameStream, FrameCounter]:
    walker = FrameCounter(upstreams({ADDRESS: Watched(zones=frozenset({"com."}))}), 1)
    return FrameStream(walker), walker


def test_a_writer_that_listens_is_accepted_and_told_that_all_was_read() -> None:
    writer, walker = stream()
    assert writer.receive(READY, NOW) == ACCEPT
    assert writer.receive(START + QUERY * 3, NOW) == b""
    assert writer.receive(QUERY + STOP, NOW) == FINISH
    assert (writer.phase, walker.ok) == (Phase.DONE, 4)


def test_a_writer_that_does_not_listen_is_told_nothing() -> None:
    writer, walker = stream()
    assert writer.receive(START + QUERY + STOP, NOW) == b""
    assert (writer.phase, walker.ok) == (Phase.DONE, 1)


def test_control_frames_are_as_fstrm_writes_them() -> None:
    assert bytes.fromhex("00000000 00000004 00000005") == FINISH
    assert bytes.fromhex("00000000 00000022 00000001 00000001 00000016") + CONTENT_TYPE == ACCEPT


def test_a_writer_may_offer_several_content_types_or_name_none() -> None:
    several = struct.pack("!III", Control.READY, 1, 3) + b"abc"
    several += struct.pack("!II", 1, len(CONTENT_TYPE)) + CONTENT_TYPE
    for ready in (several, struct.pack("!I", Control.READY)):
        writer, _ = stream()
        assert writer.receive(struct.pack("!II", 0, len(ready)) + ready, NOW) == ACCEPT


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1), st.booleans())
def test_it_does_not_matter_how_the_bytes_are_cut(sizes: list[int], drop: bool) -> None:
    data = READY + START + QUERY * 20 + frame(b"x") + STOP
    writer, walker = stream()
    replies = b""
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        replies += writer.receive(data[at : at + size], NOW, drop=drop)
        at, turn = at + size, turn + 1
    assert replies == ACCEPT + FINISH
    assert (walker.ok, walker.malformed, walker.lost) == ((0, 0, 21) if drop else (20, 1, 0))


@pytest.mark.parametrize(
    ("data", "because"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "data before the handshake"),
        (QUERY, "data before the handshake"),
        (READY + QUERY, "data before START"),
        (READY + READY, "control frame 4 before START"),
        (STOP, "control frame 3 before the handshake"),
        (FINISH, "control frame 5 before the handshake"),
        (ACCEPT, "control frame 1 before the handshake"),
        (START + START, "control frame 2 after START"),
        (START + STOP + QUERY, "data after STOP"),
        (START + STOP + STOP, "control frame 3 after STOP"),
        (bytes(4) + bytes(4), "a control frame of 0 bytes"),
        (bytes(4) + b"\0\0\2\1" + bytes(513), "a control frame of 513 bytes"),
        (bytes(4) + b"\xff\xff\xff\xff", "a control frame of 4294967295 bytes"),
        (bytes(4) + b"\0\0\0\5\0\0\0\4\0", "half a field"),
        (bytes(4) + b"\0\0\0\x0c\0\0\0\4\0\0\0\1\0\0\0\1", "half of one"),
        (bytes(4) + b"\0\0\0\x0c\0\0\0\4\0\0\0\7\0\0\0\0", "an unknown field"),
        (control(Control.READY, content_type=b"protobuf:other"), "content type b'protobuf:other'"),
        (control(Control.START, content_type=b"protobuf:other"), "content type b'protobuf:other'"),
    ],
)
def test_garbage_is_refused_with_the_reason(data: bytes, because: str) -> None:
    with pytest.raises(GarbageError, match=because):
        stream()[0].receive(data, NOW)


@pytest.mark.parametrize("length", [FRAME_LIMIT + 1, 2**31, 2**32 - 1])
def test_a_frame_longer_than_any_can_be_is_not_waited_for(length: int) -> None:
    writer, walker = stream()
    with pytest.raises(TooLargeError):
        writer.receive(START + QUERY + struct.pack("!I", length), NOW)
    assert walker.ok == 1


def test_a_few_broken_frames_are_counted_and_many_in_a_row_are_garbage() -> None:
    writer, walker = stream()
    writer.receive(START, NOW)
    for _ in range(10):
        writer.receive(frame(b"broken") * 63, NOW)
        writer.receive(QUERY, NOW)
    assert (walker.malformed, walker.ok) == (630, 10)
    with pytest.raises(GarbageError, match="in a row"):
        writer.receive(frame(b"broken") * 64, NOW)


def test_a_writer_of_single_bytes_costs_no_more_than_their_number() -> None:
    writer, walker = stream()
    big = frame(payload(4, message=bytes(60_000)))
    for byte in START + big:
        writer.receive(bytes([byte]), NOW)
    assert walker.ok == 1
    assert max(map(len, writer._pieces)) <= 4
