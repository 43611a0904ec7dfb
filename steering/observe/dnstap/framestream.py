"""One writer's Frame Streams connection, from its bytes to counts; no socket in here.

Frame Streams (farsightsec/fstrm, ``fstrm/control.h``): a frame is its length in four bytes
and its payload; the length 0 announces a control frame. A writer that can listen opens with
READY, is told ACCEPT, and then sends START; one that cannot begins with START. After its data
comes STOP, which a reader answers with FINISH: BIND hangs for a minute without. Whatever else
comes is garbage, and ends this connection alone.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

from steering.observe.dnstap.counter import FRAME_LIMIT, FrameCounter
from steering.system.unreadable import HERE, Where

CONTENT_TYPE: Final = b"protobuf:dnstap.Dnstap"

_CONTROL_LIMIT: Final = 512  # FSTRM_CONTROL_FRAME_LENGTH_MAX
_PATIENCE: Final = 64
"""Malformed frames in a row that are taken for a writer out of step. A few are only counted:
a connection that is closed for each of them would lose more."""

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
    """How far a connection has got."""

    NEW = enum.auto()
    ACCEPTED = enum.auto()
    DATA = enum.auto()
    DONE = enum.auto()


class GarbageError(Exception):
    """What came is not Frame Streams, or not dnstap. The connection can only be closed."""


class TooLargeError(GarbageError):
    """A frame that says it is longer than any can be."""


def control(kind: Control, *, content_type: bytes | None = None) -> bytes:
    """A control frame."""
    body = _WORD.pack(kind)
    if content_type is not None:
        body += _FIELD.pack(_FIELD_CONTENT_TYPE, len(content_type)) + content_type
    return _FIELD.pack(0, len(body)) + body


class FrameStream:
    """What is known of one connection."""

    def __init__(self, walker: FrameCounter) -> None:
        self.phase = Phase.NEW
        self._walker = walker
        self._answers = False
        self._parts: list[bytes] = []
        self._held = 0
        self._needed = 0
        self._broken_run = 0

    def receive(self, data: bytes, now: int, *, drop: bool = False) -> bytes:
        """Count what came, at `now` in UNIX seconds; what is to be sent back.

        With `drop`, frames are only counted as lost. Raises GarbageError.
        """
        if self._held:
            # Bytes are put together once per frame, not once per read: a writer that sends
            # them one by one costs no more than their number.
            self._parts.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return b""
            data, self._parts = b"".join(self._parts), []
        reply = b""
        at = 0
        while True:
            if self.phase is Phase.DATA:
                at = self._walk(data, at, now, drop=drop)
            end = self._next(data, at)
            if end > len(data):
                break
            reply += self._control(data[at + 8 : end])
            at = end
        self._parts, self._held, self._needed = [data[at:]], len(data) - at, end - at
        return reply

    def _walk(self, data: bytes, at: int, now: int, *, drop: bool) -> int:
        if drop:
            return self._walker.drop(data, at)
        self._walker.broken_run = self._broken_run
        stopped = -1
        while stopped < 0:
            self._walker.failed_at = len(data)
            with HERE.reading(Where.DNSTAP, lambda: self._failed(data)):
                stopped = self._walker.walk(data, at, now)
            at = self._walker.failed_at + 4 + len(self._failed(data))  # behind that frame
        at = stopped
        self._broken_run = self._walker.broken_run
        if self._broken_run >= _PATIENCE:
            raise GarbageError(f"{self._broken_run} frames in a row are no dnstap")
        return at

    def _failed(self, data: bytes) -> bytes:
        """The frame over which the walker failed."""
        at = self._walker.failed_at
        length = int.from_bytes(data[at : at + 4], "big")
        return data[at + 4 : at + 4 + length]

    def _next(self, data: bytes, at: int) -> int:
        """Where the control frame ends that begins here, or what has not come of any frame."""
        if len(data) < at + 4:
            return at + 4
        (length,) = _WORD.unpack_from(data, at)
        if length:
            if self.phase is not Phase.DATA:
                raise GarbageError(f"data {self._where()}")
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
        raise GarbageError(f"control frame {number} {self._where()}")

    def _where(self) -> str:
        match self.phase:
            case Phase.NEW:
                return "before the handshake"
            case Phase.ACCEPTED:
                return "before START"
            case Phase.DATA:
                return "amid the data"
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
    """A writer that names no content type takes any (fstrm_control_match_field_content_type)."""
    if offered and CONTENT_TYPE not in offered:
        raise GarbageError(f"content type {b', '.join(offered)[:80]!r}")
