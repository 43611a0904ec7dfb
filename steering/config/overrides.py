"""Overrides in the files: which addresses they cover, what they order, when they end.

`overrides.yaml` and each file in `overrides.d/` have the same form. An end (or the word `never`),
a reason and an author are required.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Self

from pydantic import Field, ValidationInfo, model_validator

from steering.config.address_types import Address
from steering.config.base import FieldError, Section
from steering.config.problems import shown
from steering.config.types import DomainName, Kind, Name, Place, Text, bare
from steering.model import Family, WallTime
from steering.override import Action, Match, Override

NEVER = "never"

# RFC 3339, section 5.6. Without an offset the time zone would be a guess.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def moment(text: str) -> WallTime:
    """UNIX seconds of a time in the form of RFC 3339 with an offset. Raises ValueError."""
    wanted = "wanted RFC 3339 with an offset (2026-11-24T06:00:00Z)"
    if not _MOMENT.fullmatch(text):
        raise ValueError(f"{shown(text)} is no time, {wanted}")
    try:
        when = dt.datetime.fromisoformat(text.upper()).astimezone(dt.UTC).timestamp()
        rfc3339(when)  # the end of 9999, rounded to a float, is in a year that cannot be written
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{shown(text)} is no time ({error}), {wanted}") from None
    return when


def rfc3339(when: WallTime) -> str:
    """A time as it may be typed, in UTC."""
    text = dt.datetime.fromtimestamp(when, tz=dt.UTC).isoformat()
    return text.replace("+00:00", "Z")


def until(text: str) -> WallTime | None:
    """An end as it may be typed; None: never. Raises ValueError."""
    if text == NEVER:
        return None
    try:
        return moment(text)
    except ValueError as error:
        raise ValueError(f"{error}, or never") from None


def until_text(end: WallTime | None) -> str:
    """An end as it may be typed."""
    return NEVER if end is None else rfc3339(end)


def _read_until(value: object, info: ValidationInfo[Place | None]) -> WallTime | None:
    if isinstance(value, str):
        return until(value)
    when = bare(value, info)
    if when is None and not (value is None and info.context is None):
        raise ValueError(f"is {shown(value)}, wanted a time such as 2026-11-24T06:00:00Z, or never")
    return when


_Until = Annotated[
    WallTime | None,
    Kind(
        "time or `never`",
        _read_until,
        {"anyOf": [{"const": NEVER}, {"type": "string", "format": "date-time"}]},
        until_text,
    ),
]


class Matched(Section):
    """Which addresses an override covers. A key that is left out matches everything."""

    upstream: Name | None = Field(default=None, description="All addresses of this upstream.")
    nameserver: DomainName | None = Field(
        default=None, description="All addresses of this nameserver."
    )
    address: Address | None = Field(default=None, description="This address.")
    family: Family | None = Field(default=None, description="All addresses of this family.")
    site: Name | None = Field(
        default=None,
        description="Only the agent of this site applies it. So one file may serve all sites.",
    )

    def match(self) -> Match:
        """As a value of the engine."""
        return Match(
            upstream=self.upstream,
            nameserver=self.nameserver,
            address=self.address,
            family=self.family,
            site=self.site,
        )


class Entry(Section):
    """One override: an operator's order for some addresses, whatever was measured."""

    name: Name = Field(
        description="Its name, in the status, the metrics and the events. Unique in all files."
    )
    matched: Matched = Field(
        alias="match",
        description="Which addresses it covers: those that match all keys; `{}` is every address.",
    )
    action: Action = Field(
        description="`steer` through a site, keep `local`, `freeze` the current path, `avoid` a"
        " site, or `acknowledge` an alarm."
    )
    to: Name | None = Field(
        default=None,
        description="The remote site: required with `steer` and `avoid`, refused otherwise.",
    )
    alarm: Name | None = Field(
        default=None,
        description="The alarm that was seen: required with `acknowledge`, refused otherwise.",
    )
    until: _Until = Field(description="When it ends: RFC 3339 with an offset, or `never`.")
    reason: Text = Field(description="Why. Shown to everyone who looks at it.")
    by: Text = Field(description="Who ordered it.")

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        needed = self.action in (Action.STEER, Action.AVOID)
        if needed and self.to is None:
            raise FieldError("to", f"is missing, wanted the site to {self.action}")
        if not needed and self.to is not None:
            raise FieldError("to", f"has no meaning with action: {self.action}, wanted none")
        seen = self.action is Action.ACKNOWLEDGE
        if seen and self.alarm is None:
            raise FieldError("alarm", "is missing, wanted the alarm that was seen")
        if not seen and self.alarm is not None:
            raise FieldError("alarm", f"has no meaning with action: {self.action}, wanted none")
        return self

    def override(self) -> Override:
        """As a value of the engine."""
        return Override(
            name=self.name,
            match=self.matched.match(),
            action=self.action,
            to=self.to,
            until=self.until,
            reason=self.reason,
            by=self.by,
            alarm=self.alarm,
        )


class Overrides(Section):
    """The operators' orders, in sequence: where two match, the later one applies."""

    overrides: tuple[Entry, ...] = Field(
        description="The overrides of this file; `[]` for none. An empty file is refused: it may be"
        " half written."
    )
