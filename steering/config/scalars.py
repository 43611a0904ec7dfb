"""The kinds of single values the files hold: what each looks like, which are taken.

A field is declared as `Annotated[float, Duration(low="2s", high="1h", why="...")]`. The same
object reads the value, bounds it, writes it back as one would type it, describes it to an
editor (JSON Schema) and names itself in the reference, so these can't drift apart.

In a file, units are required. In Python, where a length of time is seconds by its type, a
bare number is taken as seconds.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic_core import CoreSchema, core_schema

from steering.config.names import canonical_name
from steering.config.problems import shown

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the values being checked come from."""

    file: Path


class Scalar(ABC, Generic[T]):
    """One kind of value, as a pydantic annotation."""

    word: ClassVar[str]
    """What the reference calls it."""

    @abstractmethod
    def read(self, value: object, place: Place | None, /) -> T:
        """The checked value. Raises ValueError saying what is wrong and what is wanted."""

    @abstractmethod
    def schema(self) -> Mapping[str, object]:
        """The JSON Schema of what may be typed."""

    def write(self, value: T) -> str | int | float | Mapping[str, str]:
        """The value as it may be typed."""
        return str(value)

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        def validate(value: object, info: ValidationInfo[Any]) -> T:
            return self.read(value, info.context)

        return core_schema.with_info_plain_validator_function(
            validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                self.write, when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema())


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Scalar[int]):
    """A whole number within bounds, some of which may be somebody else's."""

    low: int
    high: int
    why: str
    taken: Mapping[int, str] | None = None
    """Numbers within the bounds that are not free, and whose they are."""

    word: ClassVar[str] = "whole number"

    @classmethod
    def within(cls, bounds: range, *, why: str, taken: Mapping[int, str] | None = None) -> Whole:
        """A number of a range."""
        return cls(low=bounds[0], high=bounds[-1], why=why, taken=taken)

    def read(self, value: object, _place: Place | None, /) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"is {shown(value)}, wanted a whole number")  # noqa: TRY004
        if not self.low <= value <= self.high:
            raise ValueError(f"is {value}, wanted {self.low} to {self.high}: {self.why}")
        if self.taken and value in self.taken:
            raise ValueError(f"is {value}, which is {self.taken[value]}, wanted a free number")
        return value

    def write(self, value: int) -> int:
        return value

    def schema(self) -> Mapping[str, object]:
        taken = {"not": {"enum": sorted(self.taken)}} if self.taken else {}
        return {"type": "integer", "minimum": self.low, "maximum": self.high, **taken}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Scalar[bool]):
    """Yes or no."""

    word: ClassVar[str] = "`true` or `false`"

    def read(self, value: object, _place: Place | None, /) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"is {shown(value)}, wanted true or false")  # noqa: TRY004
        return value

    def write(self, value: bool) -> bool:
        return value

    def schema(self) -> Mapping[str, object]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Word(Scalar[str]):
    """A name of our own making: it labels metrics and is typed in commands."""

    reserved: Mapping[str, str] | None = None
    """Words that mean something already, and what."""

    word: ClassVar[str] = "name"

    def read(self, value: object, _place: Place | None, /) -> str:
        if not isinstance(value, str):
            raise ValueError(f"is {shown(value)}, wanted a word (quoted, if it is one)")  # noqa: TRY004
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
            raise ValueError(
                f"{shown(value)} is no name, wanted up to 63 letters, digits, '.', '-' and '_'"
            )
        if self.reserved and value in self.reserved:
            raise ValueError(f"{value!r} is {self.reserved[value]}, wanted another name")
        return value

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions(Scalar[str]):
    """Who may use a file, in octal digits. Quoted: YAML takes 0660 for the number 432."""

    word: ClassVar[str] = "permissions"

    def read(self, value: object, _place: Place | None, /) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
            raise ValueError(f"is {shown(value)}, wanted three octal digits in quotes, as '0660'")
        return value.zfill(4)

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": "^0?[0-7]{3}$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Scalar[str]):
    """Words for people."""

    word: ClassVar[str] = "text"

    def read(self, value: object, _place: Place | None, /) -> str:
        if not isinstance(value, str) or not value.isprintable() or not value.strip():
            raise ValueError(f"is {shown(value)}, wanted a line of text")
        return value

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Name(Scalar[str]):
    """A domain name: lower-case, absolute."""

    word: ClassVar[str] = "domain name"

    def read(self, value: object, _place: Place | None, /) -> str:
        if not isinstance(value, str):
            raise ValueError(f"is {shown(value)}, wanted a domain name")  # noqa: TRY004
        return canonical_name(value)

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "pattern": r"^(\.|[^\s.]{1,63}(\.[^\s.]{1,63})*\.?)$"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePath(Scalar[Path]):
    """A path in the file system, relative to the file that names it; absolute inside."""

    word: ClassVar[str] = "path"

    def read(self, value: object, place: Place | None, /) -> Path:
        if isinstance(value, Path):
            value = str(value)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise ValueError(f"is {shown(value)}, wanted a path")
        return Path(os.path.abspath(place.file.parent / value if place else value))  # noqa: PTH100

    def schema(self) -> Mapping[str, object]:
        return {"type": "string", "minLength": 1}
