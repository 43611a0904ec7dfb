"""Unpacks what `packing` made.

Unpacking returns equal values, bit for bit: each float is checked. Input is not trusted: the number
of values is limited by the unpacked octets, as each value takes at least one, and a repeated value
counts for all its parts.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeVar

from steering.journal.codec import ForeignError, Json
from steering.journal.columns import DICT, HEAD, LIST, MAGIC, SCALES, TRUE

LARGEST: Final = 1 << 26
"""The most octets that are unpacked, and the most values that are made of them."""
LONGEST: Final = 1 << 22
"""The most numbers that runs may expand to: otherwise a few octets could take seconds."""

T = TypeVar("T")


def unpack(packed: bytes) -> list[Json]:
    """The values. Raises ForeignError for anything that `pack` does not make."""
    unzip = zlib.decompressobj()
    try:
        raw = unzip.decompress(packed[len(MAGIC) :], LARGEST)
        if not unzip.eof:
            raise ForeignError("it ends too soon, or is far too large")
        if packed[: len(MAGIC)] != MAGIC:
            raise ForeignError("it does not begin as a batch does")
        return _Reader(raw).values()
    except zlib.error as error:  # its checksum, too
        raise ForeignError(f"it can't be unpacked: {error}") from None
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        if isinstance(error, ForeignError):
            raise
        raise ForeignError(f"its columns do not fit: {error!r}") from None


@dataclass(slots=True)
class _ReadColumn:
    """A column as it is read."""

    shapes: list[tuple[str, Json]]
    kinds: Iterator[int]
    size: int
    """Number of values."""
    ints: Iterator[int]
    floats: Iterator[float]
    texts: Iterator[str]
    below: dict[str, _ReadColumn]
    last: Json = None
    weight: int = 0
    """Number of values in the last list or mapping."""


class _Reader:
    def __init__(self, raw: bytes) -> None:
        (length,) = HEAD.unpack_from(raw) if len(raw) >= HEAD.size else (0,)
        self._raw = memoryview(raw)[HEAD.size :]
        self._form: Json = json.loads(bytes(self._cut(length)).decode(errors="surrogatepass"))
        self._made = 0

    def values(self) -> list[Json]:
        root = self._column(self._form)
        return [self._value(root) for _ in range(root.size)]

    def _cut(self, size: int) -> memoryview:
        if not 0 <= size <= len(self._raw):
            raise ForeignError("it ends too soon")
        cut, self._raw = self._raw[:size], self._raw[size:]
        return cut

    def _column(self, form: Json) -> _ReadColumn:
        shapes, kinds, ints, floats, texts, below = _list(form)
        known = [(str(kind), more) for kind, more in map(_list, _list(shapes))]
        numbers = self._numbers(kinds)
        place = _ReadColumn(
            shapes=known,
            kinds=iter(numbers),
            size=len(numbers),
            ints=iter(self._numbers(ints)),
            floats=iter(self._floats(floats)),
            texts=iter(self._texts(texts)),
            below={},
        )
        if not isinstance(below, dict):
            raise ForeignError("its columns do not fit")
        place.below = {key: self._column(one) for key, one in below.items()}
        return place

    def _value(self, place: _ReadColumn) -> Json:
        self._made += 1
        if self._made > LARGEST:
            raise ForeignError("it is far too large")
        kind, more = place.shapes[_next(place.kinds)]
        match kind:
            case "n":
                return None
            case "t" | "f":
                return kind == TRUE
            case "i":
                return _next(place.ints)
            case "d":
                return _next(place.floats)
            case "s":
                return _next(place.texts)
            case "=":
                self._made += place.weight
                return place.last
        before = self._made
        if kind == LIST and isinstance(more, int):
            inside = place.below[""] if more else place
            place.last = [self._value(inside) for _ in range(more)]
        elif kind == DICT:
            keys = [str(key) for key in _list(more)]
            place.last = {key: self._value(place.below[f".{key}"]) for key in keys}
        else:
            raise ForeignError(f"there is no kind {kind[:9]!r}")
        place.weight = self._made - before
        return place.last

    def _numbers(self, form: Json) -> list[int]:
        if form is None:
            return []
        match _list(form):
            case [int(length)]:
                found = _list(json.loads(bytes(self._cut(length))))
                return [number for number in found if type(number) is int]
            case [list(lengths), list(values)]:
                runs = self._octets(lengths)
                if min(runs) < 0 or sum(runs) > LONGEST:
                    raise ForeignError("it is far too large")
                each = zip(runs, self._octets(values), strict=True)
                return [value for run, value in each for _ in range(run)]
            case plain:
                return self._octets(plain)

    def _octets(self, form: list[Json]) -> list[int]:
        match form:
            case [int(many), int(width), int(least), bool(stepped)] if 1 <= width <= 8:
                numbers = struct.unpack(f"<{many}Q", self._joined(many, width))
                if not stepped:
                    return [number + least for number in numbers]
                return list(accumulate((n >> 1) ^ -(n & 1) for n in numbers))
        raise ForeignError("its columns do not fit")

    def _joined(self, many: int, width: int) -> bytearray:
        """The octets of numbers of eight each, of which so many were stored apart."""
        planes = self._cut(many * width)
        octets = bytearray(8 * many)
        for place in range(width):
            octets[place::8] = planes[place * many : (place + 1) * many]
        return octets

    def _floats(self, form: Json) -> list[float]:
        if form is None:
            return []
        match _list(form):
            case [int(many)]:
                return list(struct.unpack(f"<{many}d", self._joined(many, 8)))
            case [int(scale), numbers] if scale in SCALES:
                return [number / 10**scale for number in self._numbers(numbers)]
        raise ForeignError("its columns do not fit")

    def _texts(self, form: Json) -> list[str]:
        if form is None:
            return []
        heads, tails = _list(form)
        both = zip(self._labels(heads), self._labels(tails), strict=True)
        return [head + tail for head, tail in both]

    def _labels(self, form: Json) -> list[str]:
        places, lengths = map(self._numbers, _list(form))
        new = [bytes(self._cut(size)).decode(errors="surrogatepass") for size in lengths]
        coming = iter(new)
        return [new[place - 1] if place > 0 else _next(coming) for place in places]


def _list(form: Json) -> list[Json]:
    if not isinstance(form, list):
        raise ForeignError("its columns do not fit")
    return form


def _next(column: Iterator[T]) -> T:
    for value in column:
        return value
    raise ForeignError("a column ends too soon")
