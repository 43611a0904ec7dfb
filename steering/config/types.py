"""The kinds of single values in the files: what is accepted, and how it is written.

A field is declared with an alias (`Name`) or as `Annotated[float, duration("2s", "1h", why=...)]`.
Both are a `Kind`, which pydantic takes apart into a validator, a serializer and a JSON Schema. The
reference reads the same `Kind`.

In a file a number needs its unit. In Python, where a length of time is seconds by its type, a
bare number is accepted as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from steering.config.problems import shown
from steering.model import LOCAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the values come from: the context of a validation. There is none in Python."""

    file: Path


@dataclass(frozen=True, slots=True, eq=False)  # hashed by identity, as a part of annotations
class Kind:
    """One kind of value: three of pydantic's annotations, and its words in the reference."""

    word: str
    """Its name in the reference."""
    read: Callable[..., object]
    """A validator of pydantic. Raises ValueError: what is wrong, and what is wanted."""
    schema: Mapping[str, object]
    """The JSON Schema of what may be typed."""
    write: Callable[[Any], object] = str
    """The value as it may be typed."""
    low: int | str | None = None
    high: int | str | None = None
    """The bounds as they may be typed; None: there are none."""

    # The protocol `annotated_types.GroupedMetadata`: pydantic replaces the group by its members.
    __is_annotated_types_grouped_metadata__: ClassVar[Literal[True]] = True

    def __iter__(self) -> Iterator[object]:
        yield PlainValidator(self.read)
        yield PlainSerializer(self.write, return_type=Any, when_used="json")
        yield WithJsonSchema(dict(self.schema))


# --- words --------------------------------------------------------------------------------------

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"


def read_name(value: object) -> str:
    """A name that we give ourselves: it labels metrics and is typed in commands."""
    if not isinstance(value, str):
        raise ValueError(f"is {shown(value)}, wanted a word (quoted, if it is one)")  # noqa: TRY004
    if not re.fullmatch(_NAME, value):
        raise ValueError(
            f"{shown(value)} is no name, wanted up to 63 letters, digits, '.', '-' and '_'"
        )
    return value


def _read_site_name(value: object) -> str:
    if (name := read_name(value)) == LOCAL:
        raise ValueError(f"{name!r} is the name of the path without a detour, wanted another name")
    return name


def _read_text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        raise ValueError(f"is {shown(value)}, wanted a line of text")
    return value


def _read_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"is {shown(value)}, wanted true or false")  # noqa: TRY004
    return value


def _read_permissions(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError(f"is {shown(value)}, wanted three octal digits in quotes, as '0660'")
    return value.zfill(4)


def _read_path(value: object, info: ValidationInfo[Place | None]) -> Path:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"is {shown(value)}, wanted a path")
    return Path(os.path.abspath(info.context.file.parent / value if info.context else value))  # noqa: PTH100


# Anything may be in a label (RFC 2181, section 11), but what would need escaping in a zone
# file is a typing mistake here. RFC 2317 zones have a slash.
_LABEL = re.compile(r"[A-Za-z0-9_/+*-]+")


def canonical_name(text: str) -> str:
    """The name in lower case with a final dot.

    Raises ValueError where labels are empty, longer than 63 octets, or the whole is longer
    than 255 octets on the wire (RFC 1035, section 2.3.4).
    """
    if text == ".":
        return text
    labels = text.removesuffix(".").split(".")
    for label in labels:
        if not label:
            raise ValueError(f"{shown(text)} is no domain name (an empty label), wanted com.")
        if not label.isascii():
            raise ValueError(f"{shown(text)} is no domain name, wanted its A-labels (xn--...)")
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{shown(text)} is no domain name ({shown(label)}), wanted com.")
        if len(label) > 63:
            raise ValueError(f"a label of {len(label)} octets in {shown(text)}, wanted at most 63")
    if (octets := sum(len(label) + 1 for label in labels) + 1) > 255:
        raise ValueError(f"{shown(text)} has {octets} octets on the wire, wanted at most 255")
    return ".".join(labels).lower() + "."


def _read_domain_name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {shown(value)}, wanted a domain name")  # noqa: TRY004
    return canonical_name(value)


def text_schema(pattern: str) -> Mapping[str, object]:
    """The JSON Schema of text that matches a pattern as a whole."""
    return {"type": "string", "pattern": f"^{pattern}$"}


_SOME_TEXT = {"type": "string", "minLength": 1}

Name = Annotated[str, Kind("name", read_name, text_schema(_NAME))]
SiteName = Annotated[str, Kind("name", _read_site_name, text_schema(_NAME))]
Text = Annotated[str, Kind("text", _read_text, _SOME_TEXT)]
Flag = Annotated[bool, Kind("`true` or `false`", _read_flag, {"type": "boolean"}, bool)]
FilePath = Annotated[Path, Kind("path", _read_path, _SOME_TEXT)]
"""Relative to the file that it stands in; absolute inside."""
Permissions = Annotated[str, Kind("permissions", _read_permissions, text_schema("0?[0-7]{3}"))]
"""Octal digits, quoted: YAML takes 0660 for the number 432."""
HostName = Annotated[
    str,
    Kind(
        "host name",
        lambda value: _read_domain_name(value).removesuffix("."),
        text_schema(r"[^\s.]{1,63}(\.[^\s.]{1,63})*\.?"),
    ),
]
"""Lower-case, without the final dot."""
DomainName = Annotated[
    str,
    Kind("domain name", _read_domain_name, text_schema(r"(\.|[^\s.]{1,63}(\.[^\s.]{1,63})*\.?)")),
]
"""Lower-case, absolute."""


# --- numbers ------------------------------------------------------------------------------------

UNITS: Mapping[str, Decimal] = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
"""Seconds in each unit of time."""

SIZES: Mapping[str, int] = {"kB": 1000, "MB": 1000**2, "GB": 1000**3}
"""Bytes in each unit of size."""

_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_DURATION = re.compile(rf"({_NUMBER}) ?(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,6}) ?(kB|MB|GB)")
_SHARE = re.compile(rf"({_NUMBER}) ?%")


def seconds(text: str) -> float:
    """The seconds in a duration such as 200ms, 1.5m or 1h. Raises ValueError."""
    if not (found := _DURATION.fullmatch(text)):
        raise ValueError(f"{shown(text)} is no duration, wanted a number with a unit (200ms, 10s)")
    return float(Decimal(found[1]) * UNITS[found[2]])


def duration_text(length: float) -> str:
    """A length in seconds as it may be typed: 0.2 is 200ms, 3600 is 1h."""
    exact = Decimal(repr(length))
    fitting = [unit for unit, size in UNITS.items() if exact and exact % size == 0]
    unit = fitting[-1] if fitting else "s" if not exact or exact >= 1 else "ms"
    return f"{(exact / UNITS[unit]).normalize():f}{unit}"


def octets(text: object) -> int:
    """The bytes in a size such as 256MB. Raises ValueError."""
    if not isinstance(text, str) or not (found := _SIZE.fullmatch(text)):
        raise ValueError(f"is {shown(text)}, wanted a number with a unit (256MB, 1GB)")
    return int(found[1]) * SIZES[found[2]]


def _size_text(size: int) -> str:
    unit = next(name for name in ("GB", "MB", "kB") if size % SIZES[name] == 0)
    return f"{size // SIZES[unit]}{unit}"


def _part(text: str) -> float | None:
    found = _SHARE.fullmatch(text)
    return float(Decimal(found[1]) / 100) if found else None


def _share_text(part: float) -> str:
    return f"{(Decimal(repr(part)) * 100).normalize():f}%"


def bare(value: object, info: ValidationInfo[Place | None]) -> float | None:
    """A number without a unit, if it comes from Python; None for everything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and info.context is None:
        return float(value)
    return None


def whole(low: int, high: int, *, why: str, taken: Mapping[int, str] | None = None) -> Kind:
    """A whole number. `taken`: numbers within the bounds that are in use, and by what."""
    used = taken or {}

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"is {shown(value)}, wanted a whole number")  # noqa: TRY004
        if not low <= value <= high:
            raise ValueError(f"is {value}, wanted {low} to {high}: {why}")
        if value in used:
            raise ValueError(f"is {value}, which is {used[value]}, wanted a free number")
        return value

    free = {"not": {"enum": sorted(used)}} if used else {}
    schema = {"type": "integer", "minimum": low, "maximum": high, **free}
    return Kind("whole number", read, schema, int, low, high)


def whole_in(numbers: range, *, why: str, taken: Mapping[int, str] | None = None) -> Kind:
    """A whole number of a range."""
    return whole(numbers[0], numbers[-1], why=why, taken=taken)


def duration(low: str, high: str, *, why: str) -> Kind:
    """A length of time: seconds inside, a number with a unit outside."""
    least, most = seconds(low), seconds(high)

    def read(value: object, info: ValidationInfo[Place | None]) -> float:
        length = seconds(value) if isinstance(value, str) else bare(value, info)
        if length is None:
            hint = f" ({value}s?)" if isinstance(value, int | float) else ""
            raise ValueError(f"is {shown(value)}, wanted a number with a unit{hint}")
        if not least <= length <= most:
            # A number may be infinite here, or too large to be cut into units.
            typed = value if isinstance(value, str) else f"{length:g}s"
            raise ValueError(f"is {typed}, wanted {low} to {high}: {why}")
        return length

    return Kind("duration", read, text_schema(_DURATION.pattern), duration_text, low, high)


def size(low: str, high: str, *, why: str) -> Kind:
    """Room on a disk: bytes inside, a number with a unit outside."""

    def read(value: object, info: ValidationInfo[Place | None]) -> int:
        room = value if isinstance(value, int) and bare(value, info) is not None else octets(value)
        if not octets(low) <= room <= octets(high):
            raise ValueError(f"is {value}, wanted {low} to {high}: {why}")
        return room

    return Kind("size", read, text_schema(_SIZE.pattern), _size_text, low, high)


def percentage(low: str, *, why: str) -> Kind:
    """A part of a whole: 0 to 1 inside, a percentage outside.

    A bare 0.3 in a file is 30 % to one reader and 0.3 % to another, so the sign is required.
    """
    least = _part(low) or 0.0

    def read(value: object, info: ValidationInfo[Place | None]) -> float:
        part = _part(value) if isinstance(value, str) else bare(value, info)
        if part is None:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            hint = f" ({shown(value)}%?)" if number else ""
            raise ValueError(f"is {shown(value)}, wanted a percentage such as 0.3%{hint}")
        if not least <= part <= 1:
            raise ValueError(f"is {value}, wanted {low} to 100%: {why}")
        return part

    return Kind("share", read, text_schema(_SHARE.pattern), _share_text, low, "100%")
