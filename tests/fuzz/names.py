"""Names on the wire: at every limit, beyond it, and elsewhere than where they belong."""

from __future__ import annotations

import random
from typing import Final

from fuzz.octets import below

ROOT: Final = b"\0"
COM: Final = b"\3com\0"
ZONES: Final = (COM, ROOT, b"\3net\0")
"""The zones of the policy: one with keys, the root, and one that has none."""

_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz0123456789"
_HEX: Final = b"0123456789abcdefghijklmnopqrstuv"  # RFC 4648 7


def label(text: bytes) -> bytes:
    """A label of up to 255 octets, whether it may have them or not."""
    return bytes([len(text)]) + text


def padded(tail: bytes, size: int, longest: int = 63) -> bytes:
    """A name of exactly so many octets that ends in `tail`."""
    left, made = size - len(tail), b""
    while left > 0:
        length = min(longest, left - 1)
        if left - 1 - length == 1:  # a label of no octets would be left
            length -= 1
        made += label(b"x" * length)
        left -= 1 + length
    return made + tail


LIMITS: Final = (
    ROOT,
    COM,
    b"\3net\0",
    b"\3org\0",
    b"\3COM\0",
    b"\3www\3com\0",
    b"\4safe\3com\0",
    b"\1x\4safe\3com\0",
    b"\7nothere\3com\0",
    b"\1*\3com\0",
    b"\1*\1*\3com\0",
    b"\1*\0",
    b"\2*a\3com\0",
    b"\3com\3com\0",
    b"\4comx\0",
    *(padded(tail, size) for tail in (COM, ROOT) for size in range(238, 256)),
    padded(COM, 255, longest=1),
    padded(ROOT, 255, longest=1),
    padded(COM, 256),
    padded(COM, 300),
    label(b"x" * 63) + COM,
    label(b"\xff" * 63) + COM,
    label(b"z" * 63) + COM,
    label(b"x" * 50) + COM,
    b"\x40" + b"x" * 64 + COM,
    b"\x80" + COM,
    *(
        label(odd) + COM
        for odd in (
            b"\0",
            b".",
            b"a.b",
            b"\\",
            b"\\000",
            b'"',
            b" ",
            b"\n",
            b"\xff",
            b"\xc3\xa9",
            b"\x7f",
            b"@",
            b"$",
            b"(",
            b";",
            b"xn--a",
            b"-",
            b"\0" * 63,
        )
    ),
    *(label(_HEX[:n] if n <= 32 else _HEX + _HEX[: n - 32]) + COM for n in (1, 8, 31, 32, 33, 52)),
    label(b"w" * 32) + COM,
    label(_HEX) + ROOT,
    label(_HEX) + b"\3net\0",
    label(_HEX.upper()) + COM,
)
"""What names can be, and some that can not."""

PROPER: Final = tuple(
    name
    for name in LIMITS
    if len(name) <= 255 and not name.startswith((b"\x40", b"\x80")) and b"\xc0" not in name[:1]
)
"""Those that a message can hold."""


def hashed(draw: random.Random, zone: bytes = COM) -> bytes:
    """An owner of an NSEC3 record."""
    return b"\x20" + bytes(draw.choices(_HEX, k=32)) + zone


def name(draw: random.Random) -> bytes:
    """Any name: nearly always one that a message can hold."""
    kind = draw.random()
    if kind < 0.6:
        return PROPER[below(draw, len(PROPER))]
    if kind < 0.75:
        return hashed(draw, ZONES[below(draw, 3)])
    if kind < 0.9:
        return label(bytes(draw.choices(_LETTERS, k=1 + below(draw, 20)))) + ZONES[below(draw, 3)]
    if kind < 0.985:
        return label(draw.randbytes(1 + below(draw, 63))) + PROPER[below(draw, 15)]
    return LIMITS[below(draw, len(LIMITS))]
