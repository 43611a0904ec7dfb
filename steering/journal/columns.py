"""Packs the turns of a journal by columns: the values of one field over many turns stand together.

A batch is a list of similar JSON values. Each place in them (`facts.rounds[].at`) gets a column
with the kinds of its values and the values. A column compresses well: a repeated text is a number;
a number is an integer if possible, less the smallest one or the one before, and all have the same
length and are stored octet by octet. Then each column is deflated with its own code. The result is
a quarter of the size of deflated text.

Unpacking returns equal values, bit for bit: each float is checked. Input is not trusted: the number
of values is limited by the unpacked octets, as each value takes at least one, and a repeated value
counts for all its parts.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, compress, count, islice, pairwise
from operator import ne, sub
from typing import Final, TypeVar

from steering.journal.codec import ForeignError, Json

MAGIC: Final = b"\x03"
"""The first octet; deflated text begins with another one (RFC 1950: 0x78)."""
LARGEST: Final = 1 << 26
"""The most octets that are unpacked, and the most values that are made of them."""
LONGEST: Final = 1 << 22
"""The most numbers that runs may expand to: otherwise a few octets could take seconds."""
_SCALES: Final = (0, 3, 4, 5, 6)
"""The numbers of decimals that are tried for floats."""
_EXACT: Final = 1 << 53
"""Integers below it are exact as floats."""
_LONG: Final = 1 << 60
_SAME, _NULL, _TRUE, _FALSE, _INT, _FLOAT, _TEXT, _LIST, _DICT = "=ntfidslo"
_HEAD: Final = struct.Struct(">I")
_OWN_CODE: Final = 64
"""A column of at least so many octets gets its own code, whose table costs about as many."""

T = TypeVar("T")
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
                kind = _NULL, None
            case bool():
                kind = (_TRUE if value else _FALSE), None
            case int():
                kind = _INT, None
                self.ints.append(value)
            case float():
                kind = _FLOAT, None
                self.floats.append(value)
            case str():
                kind = _TEXT, None
                self.texts.append(value)
            case _ if value and value == self.last and _alike(value, self.last):
                kind = _SAME, None
            case list():
                kind = _LIST, len(value)
                self.last = value
                inside = self._child("")
                for item in value:
                    inside.add(item)
            case dict():
                kind = _DICT, tuple(value)
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


# --- writing --------------------------------------------------------------------------------


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
        parts[0] = _HEAD.pack(len(head)) + head
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
    for scale in _SCALES:
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


# --- reading --------------------------------------------------------------------------------


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
        (length,) = _HEAD.unpack_from(raw) if len(raw) >= _HEAD.size else (0,)
        self._raw = memoryview(raw)[_HEAD.size :]
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
                return kind == _TRUE
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
        if kind == _LIST and isinstance(more, int):
            inside = place.below[""] if more else place
            place.last = [self._value(inside) for _ in range(more)]
        elif kind == _DICT:
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
            case [int(scale), numbers] if scale in _SCALES:
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
