"""Writes values as JSON and reads them back by their type hints: facts, events and states.

A dataclass becomes a mapping without the fields at their defaults, a named tuple a list, an enum
its value, a mapping whose keys are not text a list of pairs. The text names no types and nothing in
it is executed: the reader accepts only what the type hints allow, since a journal may come from an
untrusted source.

Values are read back bit for bit: floats by their shortest repr, which denotes exactly one double
(NaN and infinities as Python's `json` writes them).
"""

from __future__ import annotations

import dataclasses
import enum
import math
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Generic, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Given = Mapping[object, object]
"""Values that are not written, by their types: the caller gives them to the reader."""

_Write = Callable[[Any], Json]
_Read = Callable[[Json, Given], Any]

_SCALARS = (type(None), bool, int, float, str)


class ForeignError(ValueError):
    """The data do not fit the expected type; the text has the place and the reason."""


@dataclasses.dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """The codec of one type."""

    kind: type[T]
    given: tuple[object, ...] = ()
    """Types whose values are left out."""

    def write(self, value: T) -> Json:
        """The value as JSON."""
        kind: Any = self.kind
        return _writer(kind, self.given)(value)

    def read(self, written: Json, given: Given = {}) -> T:  # noqa: B006
        """The value. Raises ForeignError for anything that `write` does not make."""
        kind: Any = self.kind
        return cast("T", _reader(kind, self.given)(written, given))


# --- writing --------------------------------------------------------------------------------


@cache
def _writer(kind: Any, given: tuple[object, ...]) -> _Write:  # noqa: ANN401
    """The function that writes values of a type. Raises TypeError for a type with no form."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = [part for part in arguments if part is not type(None)]
        if len(inner) > 1:
            if not set(inner) <= set(_SCALARS):
                raise TypeError(f"{kind} could be read in two ways")
            return lambda value: value
        some = _writer(inner[0], given)
        return lambda value: None if value is None else some(value)
    if kind is float:
        return lambda value: value if type(value) in (float, int) else float(value)
    if kind in (int, bool, str):
        return cast("_Write", kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return lambda value: value.value
    if each := _fixed(kind):
        writers = [_writer(part, given) for part in each]
        return lambda value: [write(item) for write, item in zip(writers, value, strict=True)]
    if origin is tuple:
        one = _writer(arguments[0], given)
        return lambda value: [one(item) for item in value]
    if origin is frozenset:
        one = _writer(arguments[0], given)
        return lambda value: [one(item) for item in sorted(value)]
    if origin is Mapping:
        return _mapping_writer(arguments[0], arguments[1], given)
    if dataclasses.is_dataclass(kind):
        return _record_writer(kind, given)
    raise TypeError(f"{kind} has no written form")


def _mapping_writer(key: Any, value: Any, given: tuple[object, ...]) -> _Write:  # noqa: ANN401
    write_key, write_value = _writer(key, given), _writer(value, given)
    if _is_text(key):
        return lambda items: {str(write_key(k)): write_value(v) for k, v in items.items()}
    return lambda items: [[write_key(k), write_value(v)] for k, v in items.items()]


def _record_writer(kind: Any, given: tuple[object, ...]) -> _Write:  # noqa: ANN401
    each = [
        (name, _writer(hint, given), _omitted(field))
        for name, hint, field in _fields(kind)
        if hint not in given
    ]

    def write(value: object) -> Json:
        built: dict[str, Json] = {}
        for name, write_one, omitted in each:
            item = getattr(value, name)
            if not (omitted and (omitted[0] is item or omitted[0] == item)):
                built[name] = write_one(item)
        return built

    return write


def _omitted(field: dataclasses.Field[Any]) -> tuple[object, ...]:
    """The default that need not be written, in a tuple of one; empty: it is always written.

    Finite floats are always written: -0.0 equals 0.0 and is another value.
    """
    default = field.default
    if default is not dataclasses.MISSING:
        return () if isinstance(default, float) and math.isfinite(default) else (default,)
    if field.default_factory is not dataclasses.MISSING:
        return (field.default_factory(),)
    return ()


# --- reading --------------------------------------------------------------------------------


@cache
def _reader(kind: Any, given: tuple[object, ...]) -> _Read:  # noqa: ANN401
    """The function that reads values of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = [part for part in arguments if part is not type(None)]
        if len(inner) > 1:
            return _scalar_reader(*arguments)
        some = _reader(inner[0], given)
        return lambda item, from_caller: None if item is None else some(item, from_caller)
    if kind is float:
        return _read_float
    if kind in _SCALARS:
        return _scalar_reader(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enum_reader(kind)
    if each := _fixed(kind):
        built = kind._make if origin is None else tuple
        return _tuple_reader(built, [_reader(part, given) for part in each])
    if origin in (tuple, frozenset):
        return _items_reader(origin, _reader(arguments[0], given))
    if origin is Mapping:
        return _mapping_reader(arguments[0], arguments[1], given)
    if dataclasses.is_dataclass(kind):
        return _record_reader(kind, given)
    raise TypeError(f"{kind} has no written form")


def _scalar_reader(*kinds: type) -> _Read:
    def read(item: Json, _given: Given) -> object:
        if type(item) not in kinds:
            raise ForeignError(f"{_shown(item)}, wanted {' or '.join(k.__name__ for k in kinds)}")
        return item

    return read


_read_number = _scalar_reader(float, int)


def _read_float(item: Json, given: Given) -> object:
    if type(item) is int and abs(item) > sys.float_info.max:
        raise ForeignError(f"{_shown(item)} is too large for a float")
    return _read_number(item, given)


def _enum_reader(kind: type[enum.Enum]) -> _Read:
    members = {member.value: member for member in kind}

    def read(item: Json, _given: Given) -> object:
        member = members.get(item) if isinstance(item, str | int) else None
        if member is None:
            raise ForeignError(f"{_shown(item)} is no {kind.__name__}")
        return member

    return read


def _tuple_reader(built: Callable[[Iterable[object]], object], each: list[_Read]) -> _Read:
    def read(item: Json, given: Given) -> object:
        if not isinstance(item, list) or len(item) != len(each):
            raise ForeignError(f"{_shown(item)}, wanted a list of {len(each)}")
        return built(one(part, given) for one, part in zip(each, item, strict=True))

    return read


def _items_reader(built: type, one: _Read) -> _Read:
    def read(item: Json, given: Given) -> object:
        if not isinstance(item, list):
            raise ForeignError(f"{_shown(item)}, wanted a list")
        return built([one(part, given) for part in item])

    return read


def _mapping_reader(key: Any, value: Any, given: tuple[object, ...]) -> _Read:  # noqa: ANN401
    read_key, read_value = _reader(key, given), _reader(value, given)
    if _is_text(key):

        def read_object(item: Json, from_caller: Given) -> object:
            if not isinstance(item, dict):
                raise ForeignError(f"{_shown(item)}, wanted a mapping")
            return {read_key(k, from_caller): read_value(v, from_caller) for k, v in item.items()}

        return read_object
    pair = _tuple_reader(tuple, [read_key, read_value])

    def read_pairs(item: Json, from_caller: Given) -> object:
        if not isinstance(item, list):
            raise ForeignError(f"{_shown(item)}, wanted a list of pairs")
        return dict(pair(part, from_caller) for part in item)

    return read_pairs


def _record_reader(kind: Any, given: tuple[object, ...]) -> _Read:  # noqa: ANN401
    each = {name: _reader(hint, given) for name, hint, _ in _fields(kind) if hint not in given}
    left_out = {name: hint for name, hint, _ in _fields(kind) if hint in given}
    needed = {
        name
        for name, hint, field in _fields(kind)
        if hint not in given
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    }

    def read(item: Json, from_caller: Given) -> object:
        if not isinstance(item, dict):
            raise ForeignError(f"{_shown(item)}, wanted {kind.__name__}")
        if missing := needed - item.keys():
            raise ForeignError(f"{kind.__name__} without {min(missing)}")
        built: dict[str, object] = {name: from_caller[hint] for name, hint in left_out.items()}
        for name, part in item.items():
            if (one := each.get(name)) is None:
                raise ForeignError(f"{kind.__name__} has no {_shown(name)}")
            try:
                built[name] = one(part, from_caller)
            except ForeignError as error:
                raise ForeignError(f"{name}: {error}") from None
        try:
            return kind(**built)
        except ValueError as error:
            raise ForeignError(str(error)) from None

    return read


# --- both -----------------------------------------------------------------------------------


@cache
def _fields(kind: Any) -> tuple[tuple[str, Any, dataclasses.Field[Any]], ...]:  # noqa: ANN401
    hints = get_type_hints(kind)
    return tuple((field.name, hints[field.name], field) for field in dataclasses.fields(kind))


def _fixed(kind: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """The types in a tuple of fixed length, named or not; empty: it is none."""
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return tuple(get_type_hints(kind).values())
    arguments = get_args(kind)
    return arguments if get_origin(kind) is tuple and arguments[-1:] != (...,) else ()


def _is_text(kind: Any) -> bool:  # noqa: ANN401
    return kind is str or (isinstance(kind, type) and issubclass(kind, enum.StrEnum))


def _shown(item: Json) -> str:
    text = repr(item)
    return text if len(text) <= 60 else f"{text[:56]}..."
