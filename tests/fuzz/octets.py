"""Octets changed at random, cheaply: what strikes any format, whatever it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

TELLING: Final = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0",
    b"\xff\xff",
    b"\x7f\xff",
    b"\x80\0",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
)
"""Numbers at the limits of 8, 16 and 32 bits."""

Splinters = Sequence[bytes]
Change = Callable[[random.Random, bytearray, Splinters], None]


def below(draw: random.Random, limit: int) -> int:
    """A number from 0 up to a limit, three times as quick as `randrange`."""
    return int(draw.random() * limit)


def mangled(
    draw: random.Random, message: bytes, splinters: Splinters = TELLING, most: int = 4
) -> bytes:
    """The message with one change to `most`."""
    made = bytearray(message)
    for _ in range(1 + below(draw, most)):
        if not made:
            made += splinters[below(draw, len(splinters))]
        _CHANGES[below(draw, len(_CHANGES))](draw, made, splinters)
    return bytes(made)


def _flip(draw: random.Random, made: bytearray, _: Splinters) -> None:
    made[below(draw, len(made))] ^= 1 << below(draw, 8)


def _set(draw: random.Random, made: bytearray, _: Splinters) -> None:
    made[below(draw, len(made))] = below(draw, 256)


def _step(draw: random.Random, made: bytearray, _: Splinters) -> None:
    at = below(draw, len(made))
    made[at] = (made[at] + (1 if draw.random() < 0.5 else 255)) & 255


def _overwrite(draw: random.Random, made: bytearray, splinters: Splinters) -> None:
    piece, at = splinters[below(draw, len(splinters))], below(draw, len(made))
    made[at : at + len(piece)] = piece


def _insert(draw: random.Random, made: bytearray, splinters: Splinters) -> None:
    at = below(draw, len(made) + 1)
    made[at:at] = splinters[below(draw, len(splinters))]


def _cut(draw: random.Random, made: bytearray, _: Splinters) -> None:
    at = below(draw, len(made))
    del made[at : at + 1 + below(draw, 16)]


def _truncate(draw: random.Random, made: bytearray, _: Splinters) -> None:
    del made[below(draw, len(made)) :]


def _repeat(draw: random.Random, made: bytearray, _: Splinters) -> None:
    at = below(draw, len(made))
    piece = bytes(made[at : at + 1 + below(draw, 64)])
    to = below(draw, len(made) + 1)
    made[to:to] = piece * (1 + below(draw, 3))


def _append(draw: random.Random, made: bytearray, _: Splinters) -> None:
    made += draw.randbytes(1 + below(draw, 12))


_CHANGES: Final[tuple[Change, ...]] = (
    _flip,
    _flip,
    _set,
    _set,
    _step,
    _overwrite,
    _overwrite,
    _insert,
    _cut,
    _truncate,
    _repeat,
    _append,
)
