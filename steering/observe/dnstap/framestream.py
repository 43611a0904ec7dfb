"""The protocol of one writer's Frame Streams connection: from bytes to counts, without a socket.

Frame Streams (farsightsec/fstrm, ``fstrm/control.h``): a frame is its length in four bytes and its
payload; the length 0 announces a control frame. A bidirectional writer opens with READY, gets
ACCEPT, and then sends START; a unidirectional one begins with START. After its data comes STOP,
which the reader answers with FINISH: without it BIND hangs for a minute. Anything else is garbage,
and ends this connection only.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

from steering.observe.dnstap.counter import FRAME_LIMIT, FrameCounter
from steering.system.unreadable import HERE, Where

CONTENT_TYPE: Final = b"protobuf:dnstap.Dnstap"

_CONTROL_LIMIT: Final = 512  # FSTRM_CONTROL_FRAME_LENGTH_MAX
_MOST_BROKEN: Final = 64
"""Malformed frames in a row after which the writer counts as out of step. Fewer are only counted:
closing the connection for each would lose more frames."""

_WORD: Final = struct.Struct("!I")
_FIELD: Final = struct.Struct("!II")
_FIELD_CONTENT_TYPE: Final = 1


class Control(enum.IntEnum):
    """Kinds of control frames."""

    ACCEPT = 1
    START = 2
    STOP = 3
    READY = 4
    FINISH = 5


class Phase(enum.Enum):
    """The phases of a connection."""

    NEW = enum.auto()
    ACCEPTED = enum.auto()
    DATA = enum.auto()
    DONE = enum.auto()


class GarbageError(Exception):
    """The bytes are not Frame Streams, or not dnstap. The connection can only be closed."""


class TooLargeError(GarbageError):
    """A frame whose length is larger than any frame's can be."""


def control(kind: Control, *, content_type: bytes | None = None) -> bytes:
    """A control frame."""
    body = _WORD.pack(kind)
    if content_type is not None:
        body += _FIELD.pack(_FIELD_CONTENT_TYPE, len(content_type)) + content_type
    return _FIELD.pack(0, len(body)) + body


class FrameStream:
    """The state of one connection."""

    def __init__(self, counter: FrameCounter) -> None:
        self.phase = Phase.NEW
        self._counter = counter
        self._answers = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._needed = 0
        self._broken_run = 0

    def receive(self, data: bytes, now: int, *, drop: bool = False) -> bytes:
        """Count received bytes, at `now` in UNIX seconds. Returns the bytes to send back.

        With `drop`, frames are only counted as lost. Raises GarbageError.
        """
        if self._size:
            # Bytes are joined once per frame, not once per read. So a writer that sends single
            # bytes does not cause quadratic cost.
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._needed:
                return b""
            data, self._pieces = b"".join(self._pieces), []
        reply = b""
        at = 0
        while True:
            if self.phase is Phase.DATA:
                at = self._count(data, at, now, drop=drop)
            end = self._next(data, at)
            if end > len(data):
                break
            reply += self._control(data[at + 8 : end])
            at = end
        self._pieces, self._size, self._needed = [data[at:]], len(data) - at, end - at
        return reply

    def _count(self, data: bytes, at: int, now: int, *, drop: bool) -> int:
        if drop:
            return self._counter.drop(data, at)
        self._counter.broken_run = self._broken_run
        stopped = -1
        while stopped < 0:
            self._counter.failed_at = len(data)
            with HERE.reading(Where.DNSTAP, lambda: self._failed(data)):
                stopped = self._counter.walk(data, at, now)
            at = self._counter.failed_at + 4 + len(self._failed(data))  # after that frame
        at = stopped
        self._broken_run = self._counter.broken_run
        if self._broken_run >= _MOST_BROKEN:
            raise GarbageError(f"{self._broken_run} frames in a row are not dnstap")
        return at

    def _failed(self, data: bytes) -> bytes:
        """The frame at which the counter raised an exception."""
        at = self._counter.failed_at
        length = int.from_bytes(data[at : at + 4], "big")
        return data[at + 4 : at + 4 + length]

    def _next(self, data: bytes, at: int) -> int:
        """The end of the control frame that begins here, or of the bytes needed to go on."""
        if len(data) < at + 4:
            return at + 4
        (length,) = _WORD.unpack_from(data, at)
        if length:
            if self.phase is not Phase.DATA:
                raise GarbageError(f"data {self._phase_name()}")
            if length > FRAME_LIMIT:
                raise TooLargeError(f"a frame of {length} bytes")
            return at + 4 + int(length)
        if len(data) < at + 8:
            return at + 8
        (length,) = _WORD.unpack_from(data, at + 4)
        if not 4 <= length <= _CONTROL_LIMIT:
            raise GarbageError(f"a control frame of {length} bytes")
        return at + 8 + int(length)

    def _control(self, body: bytes) -> bytes:
        (number,) = _WORD.unpack_from(body)
        kinds = _content_types(body)
        match self.phase, number:
            case Phase.NEW, Control.READY:
                _check(kinds)
                self.phase, self._answers = Phase.ACCEPTED, True
                return control(Control.ACCEPT, content_type=CONTENT_TYPE)
            case ((Phase.NEW | Phase.ACCEPTED), Control.START):
                _check(kinds)
                self.phase = Phase.DATA
                return b""
            case Phase.DATA, Control.STOP:
                self.phase = Phase.DONE
                return control(Control.FINISH) if self._answers else b""
        raise GarbageError(f"control frame {number} {self._phase_name()}")

    def _phase_name(self) -> str:
        match self.phase:
            case Phase.NEW:
                return "before the handshake"
            case Phase.ACCEPTED:
                return "before START"
            case Phase.DATA:
                return "after START"
            case Phase.DONE:
                return "after STOP"


def _content_types(body: bytes) -> list[bytes]:
    found = []
    at = 4
    while at < len(body):
        if len(body) < at + 8:
            raise GarbageError("half a field in a control frame")
        kind, length = _FIELD.unpack_from(body, at)
        at += 8
        if kind != _FIELD_CONTENT_TYPE or len(body) < at + length:
            raise GarbageError("a control frame with an unknown field, or half of one")
        found.append(body[at : at + length])
        at += length
    return found


def _check(offered: list[bytes]) -> None:
    """A writer without a content type accepts any (fstrm_control_match_field_content_type)."""
    if offered and CONTENT_TYPE not in offered:
        raise GarbageError(f"content type {b', '.join(offered)[:80]!r}")
