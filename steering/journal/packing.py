"""Packs similar values by `columns`."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import compress, count, islice, pairwise
from operator import ne, sub
from typing import Final

from steering.journal.codec import Json
from steering.journal.columns import (
    DICT,
    FALSE,
    FLOAT,
    HEAD,
    INT,
    LIST,
    MAGIC,
    NULL,
    SAME,
    SCALES,
    TEXT,
    TRUE,
)

_EXACT: Final = 1 << 53
"""Integers below it are exact as floats."""
_LONG: Final = 1 << 60
_OWN_CODE: Final = 64
"""A column of at least so many octets gets its own code, whose table costs about as many."""

Shape = tuple[str, int | tuple[str, ...] | None]
"""A kind of value; with a list's length, or a mapping's keys."""


@dataclass(slots=True)
class _Column:
    """All values at one place."""

    shapes: dict[Shape, int] = field(default_factory=dict)
    """The shapes that occur, numbered."""
    kinds: list[int] = field(default_factory=list)
    """The shape of each value."""
    ints: list[int] = field(default_factory=list)
    floats: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    below: dict[str, _Column] = field(default_factory=dict)
    """Columns of a mapping's values by key; that of a list's items by the empty key."""
    last: Json = None

    def add(self, value: Json) -> None:
        """Add a value."""
        kind: Shape
        match value:
            case None:
                kind = NULL, None
            case bool():
                kind = (TRUE if value else FALSE), None
            case int():
                kind = INT, None
                self.ints.append(value)
            case float():
                kind = FLOAT, None
                self.floats.append(value)
            case str():
                kind = TEXT, None
                self.texts.append(value)
            case _ if value and value == self.last and _alike(value, self.last):
                kind = SAME, None
            case list():
                kind = LIST, len(value)
                self.last = value
                inside = self._child("")
                for item in value:
                    inside.add(item)
            case dict():
                kind = DICT, tuple(value)
                self.last = value
                for key, item in value.items():
                    self._child(f".{key}").add(item)
        self.kinds.append(self.shapes.setdefault(kind, len(self.shapes)))

    def _child(self, name: str) -> _Column:
        if (found := self.below.get(name)) is None:
            found = self.below[name] = _Column()
        return found


def _alike(one: Json, other: Json) -> bool:
    """Whether two equal values are identical: in Python 1 equals 1.0 and true, and 0.0 -0.0."""
    return repr(one) == repr(other)


class Packing:
    """Packs similar values as they come; most of the work is done at each `add`."""

    def __init__(self) -> None:
        self._root = _Column()

    def add(self, value: Json) -> None:
        """Add a value."""
        self._root.add(value)

    def packed(self) -> bytes:
        """All values, deflated."""
        parts = [b""]
        form = _written(self._root, parts)
        head = json.dumps(form, separators=(",", ":")).encode(errors="surrogatepass")
        parts[0] = HEAD.pack(len(head)) + head
        squeeze = zlib.compressobj(9, strategy=zlib.Z_FILTERED)
        deflated = [MAGIC]
        for part in parts:
            deflated.append(squeeze.compress(part))
            if len(part) >= _OWN_CODE:
                deflated.append(squeeze.flush(zlib.Z_BLOCK))
        deflated.append(squeeze.flush())
        return b"".join(deflated)


def pack(values: Iterable[Json]) -> bytes:
    """Similar values, deflated."""
    packing = Packing()
    for value in values:
        packing.add(value)
    return packing.packed()


def _written(column: _Column, parts: list[bytes]) -> Json:
    """A column's description; its octets are appended to `parts`."""
    form: list[Json] = [
        [[kind, list(more) if isinstance(more, tuple) else more] for kind, more in column.shapes],
        _numbers(column.kinds, parts),
        _numbers(column.ints, parts),
        _floats(column.floats, parts),
        _texts(column.texts, parts),
    ]
    form.append({key: _written(one, parts) for key, one in column.below.items()})
    return form


def _numbers(values: list[int], parts: list[bytes]) -> Json:
    """Numbers as they are; or as lengths of runs and their values, if most repeat."""
    if not values:
        return None
    if any(abs(value) >= _LONG for value in values):
        raw = json.dumps(values).encode()
        parts.append(raw)
        return [len(raw)]
    begins = [0, *compress(count(1), map(ne, values, islice(values, 1, None)))]
    if 2 * len(begins) > len(values):
        return _octets(values, parts)
    lengths = [end - begin for begin, end in pairwise([*begins, len(values)])]
    return [_octets(lengths, parts), _octets([values[begin] for begin in begins], parts)]


def _octets(plain: list[int], parts: list[bytes]) -> Json:
    """[count, octets of each, the least number, whether they are differences]."""
    least = min(plain)
    whole = [number - least for number in plain]
    # Zigzag encoding: a small difference of either sign is a small number.
    steps = [(step << 1) ^ (step >> 63) for step in map(sub, plain, [0, *plain])]
    stepped = _bits(steps) < _bits(whole)
    chosen = steps if stepped else whole
    width = max(1, (max(chosen).bit_length() + 7) // 8)
    _planes(struct.pack(f"<{len(chosen)}Q", *chosen), width, parts)
    return [len(plain), width, 0 if stepped else least, stepped]


def _planes(octets: bytes, width: int, parts: list[bytes]) -> None:
    """The first octets of all numbers of eight, then their second ones, and so on."""
    parts += [octets[place::8] for place in range(width)]


def _bits(values: list[int]) -> float:
    """About how many bits these values need."""
    return math.fsum(map(math.log2, map((1).__add__, values)))


def _floats(values: list[float], parts: list[bytes]) -> Json:
    """The number of decimals and then integers; or the floats' own octets."""
    if not values:
        return None
    for scale in SCALES:
        whole = _decimals(values, 10.0**scale)
        if whole is not None:
            return [scale, _numbers(whole, parts)]
    _planes(struct.pack(f"<{len(values)}d", *values), 8, parts)
    return [len(values)]


def _decimals(values: list[float], power: float) -> list[int] | None:
    """The integers that are these floats if divided by `power`; None: there are none."""
    made = []
    for value in values:
        number = value * power
        if not -_EXACT < number < _EXACT:  # NaN, too
            return None
        whole = round(number)
        if whole / power != value or (not whole and math.copysign(1.0, value) < 0):
            return None
        made.append(whole)
    return made


def _texts(values: list[str], parts: list[bytes]) -> Json:
    """The place where each text was seen before (0: new), and the lengths and octets of new ones.

    The first label of a name is stored separately, since the rest often repeats.
    """
    if not values:
        return None
    split = [value.partition(".") for value in values]
    heads, dots, tails = zip(*split, strict=True)
    return [
        _labels(heads, parts),
        _labels([dot + tail for dot, tail in zip(dots, tails, strict=True)], parts),
    ]


def _labels(values: Iterable[str], parts: list[bytes]) -> Json:
    seen: dict[str, int] = {}
    places = []
    for value in values:
        place = seen.get(value, 0)
        if not place:
            seen[value] = len(seen) + 1
        places.append(place)
    new = [value.encode(errors="surrogatepass") for value in seen]
    form = [_numbers(places, parts), _numbers([len(text) for text in new], parts)]
    parts.append(b"".join(new))
    return form
