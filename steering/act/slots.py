"""A number in a file, renewed in place: no new descriptor, no more disk space, no torn read.

Two slots of fixed size are written in turn, each with a count and a checksum. A reader that finds
one half written takes the other one, which has the previous number.
"""

from __future__ import annotations

import errno
import math
import os
import zlib

from steering.model import Seconds

_SLOT = 50
_TEXT = _SLOT - 9  # the checksum and a space before it
SIZE = 2 * _SLOT
"""Bytes that both slots take in the file."""


class Slots:
    """The writer of one number at an offset of an open file. The caller closes the file."""

    def __init__(self, descriptor: int, at: int) -> None:
        self._descriptor, self._at, self._count = descriptor, at, 1

    def write(self, value: Seconds) -> None:
        """Renews the number. Raises OSError; the previous number can then still be read."""
        slot = _slot(self._count, value)
        if os.pwrite(self._descriptor, slot, self._at + self._count % 2 * _SLOT) < _SLOT:
            raise OSError(errno.EIO, "half a slot was written")  # the next try uses the same slot
        self._count += 1


def fresh(value: Seconds) -> bytes:
    """Both slots of a new file."""
    return 2 * _slot(0, value)


def read(data: bytes) -> Seconds | None:
    """The number in SIZE bytes of such a file; None if there is none."""
    found = [
        (count, value)
        for at in (0, _SLOT)
        for count, value in [_parsed(data[at : at + _SLOT])]
        if value is not None
    ]
    return max(found)[1] if found else None


def _slot(count: int, value: Seconds) -> bytes:
    text = f"{count:016x} {value:24.17g}".encode("ascii")
    return text + b" %08x" % zlib.crc32(text)


def _parsed(slot: bytes) -> tuple[int, Seconds | None]:
    text, checksum = slot[:_TEXT], slot[_TEXT + 1 :]
    if len(slot) != _SLOT or checksum != b"%08x" % zlib.crc32(text):
        return 0, None
    try:
        count, value = int(text[:16], 16), float(text[17:])
    except ValueError:
        return 0, None
    return count, value if math.isfinite(value) else None
