"""Lengths of time and shares: numbers that need a unit to be read without doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from steering.config.problems import shown
from steering.config.scalars import Place, Scalar

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


def octets(text: object) -> int:
    """The bytes in a size such as 256MB. Raises ValueError."""
    if not isinstance(text, str) or not (found := _SIZE.fullmatch(text)):
        raise ValueError(f"is {shown(text)}, wanted a number with a unit (256MB, 1GB)")
    return int(found[1]) * SIZES[found[2]]


def duration(length: float) -> str:
    """A length in seconds as one would type it: 0.2 is 200ms, 3600 is 1h."""
    exact = Decimal(repr(length))
    fitting = [unit for unit, size in UNITS.items() if exact and exact % size == 0]
    unit = fitting[-1] if fitting else "s" if not exact or exact >= 1 else "ms"
    return f"{(exact / UNITS[unit]).normalize():f}{unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration(Scalar[float]):
    """A length of time: seconds inside, a number with a unit outside."""

    low: str
    high: str
    why: str

    word: ClassVar[str] = "duration"

    def read(self, value: object, place: Place | None, /) -> float:
        if isinstance(value, str):
            length = seconds(value)
        elif isinstance(value, int | float) and not isinstance(value, bool) and place is None:
            length = float(value)
        else:
            bare = f" ({value}s?)" if isinstance(value, int | float) else ""
            raise ValueError(f"is {shown(value)}, wanted a number with a unit{bare}")
        if not seconds(self.low) <= length <= seconds(self.high):
            # A number may be infinite here, or too large to be cut into units.
            typed = value if isinstance(value, str) else f"{length:g}s"
            raise ValueError(f"is {typed}, wanted {self.low} to {self.high}: {self.why}")
        return length

    def write(self, value: float) -> str:
        return duration(value)

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": f"^{_DURATION.pattern}$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size(Scalar[int]):
    """Room on a disk: bytes inside, a number with a unit outside."""

    low: str
    high: str
    why: str

    word: ClassVar[str] = "size"

    def read(self, value: object, place: Place | None, /) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and place is None:
            size = value
        else:
            size = octets(value)
        if not octets(self.low) <= size <= octets(self.high):
            raise ValueError(f"is {value}, wanted {self.low} to {self.high}: {self.why}")
        return size

    def write(self, value: int) -> str:
        unit = next(name for name in ("GB", "MB", "kB") if value % SIZES[name] == 0)
        return f"{value // SIZES[unit]}{unit}"

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": f"^{_SIZE.pattern}$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share(Scalar[float]):
    """A part of a whole: 0 to 1 inside, a percentage outside.

    A bare 0.3 in a file is 30 % to one reader and 0.3 % to another, so the sign is required.
    """

    low: str
    why: str

    word: ClassVar[str] = "share"

    def read(self, value: object, place: Place | None, /) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, str) and (found := _SHARE.fullmatch(value)):
            part = float(Decimal(found[1]) / 100)
        elif isinstance(value, int | float) and number and place is None:
            part = float(value)
        else:
            bare = f" ({shown(value)}%?)" if number else ""
            raise ValueError(f"is {shown(value)}, wanted a percentage such as 0.3%{bare}")
        least = float(Decimal(self.low.rstrip("%")) / 100)
        if not least <= part <= 1:
            raise ValueError(f"is {value}, wanted {self.low} to 100%: {self.why}")
        return part

    def write(self, value: float) -> str:
        return f"{(Decimal(repr(value)) * 100).normalize():f}%"

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": f"^{_SHARE.pattern}$"}
