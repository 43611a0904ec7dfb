"""Overrides as they are written: whom they are about, what they say, until when.

The same form serves `overrides.yaml` and each file in `overrides.d/`. Everything an operator
could leave to chance is required: an end (or the word `never`), a reason, and who said it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from steering.config.addresses import Address, Role
from steering.config.base import MisfitError, Section
from steering.config.problems import shown
from steering.config.scalars import Name, Place, Scalar, Text, Word
from steering.format import NEVER, rfc3339
from steering.model import Action, Family, Match, Override, WallTime

# RFC 3339, section 5.6. Without an offset nobody knows whose time is meant.
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
        rfc3339(when)  # the last of 9999, rounded to what a float holds, is a year without a name
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{shown(text)} is no time ({error}), {wanted}") from None
    return when


@dataclass(frozen=True, slots=True, kw_only=True)
class Until(Scalar[WallTime | None]):
    """When something ends; None inside and the word `never` outside where it does not."""

    word: ClassVar[str] = "time or `never`"

    def read(self, value: object, place: Place | None, /) -> WallTime | None:
        if value == NEVER or (value is None and place is None):
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and place is None:
            return float(value)
        if not isinstance(value, str):
            raise ValueError(  # noqa: TRY004
                f"is {shown(value)}, wanted a time such as 2026-11-24T06:00:00Z, or never"
            )
        try:
            return moment(value)
        except ValueError as error:
            raise ValueError(f"{error}, or never") from None

    def write(self, value: WallTime | None) -> str:
        return NEVER if value is None else rfc3339(value)

    def schema(self) -> Mapping[str, object]:
        return {"anyOf": [{"const": NEVER}, {"type": "string", "format": "date-time"}]}


class Matched(Section):
    """Whom an override is about. What is left out matches everything: `{}` matches all."""

    upstream: Annotated[str, Word()] | None = Field(
        default=None, description="All addresses of this upstream."
    )
    nameserver: Annotated[str, Name()] | None = Field(
        default=None, description="All addresses of this nameserver."
    )
    address: Annotated[str, Address(role=Role.NAMESERVER)] | None = Field(
        default=None, description="This address."
    )
    family: Family | None = Field(default=None, description="All addresses of this family.")
    site: Annotated[str, Word()] | None = Field(
        default=None,
        description="Only the agent of this site obeys: one file may be given to all of them.",
    )

    def match(self) -> Match:
        """The same as a value."""
        return Match(
            upstream=self.upstream,
            nameserver=self.nameserver,
            address=self.address,
            family=self.family,
            site=self.site,
        )


class Entry(Section):
    """One override: an operator's word on some addresses, whatever was measured."""

    name: Annotated[str, Word()] = Field(
        description="Its name, in the status, the metrics and the events: once in all files."
    )
    matched: Matched = Field(
        alias="match",
        description="Which addresses it is about: what fits all keys; `{}`, every address.",
    )
    action: Action = Field(
        description="`steer` through a site, keep `local`, `freeze` what is, `avoid` a site, or"
        " `acknowledge` an alarm."
    )
    to: Annotated[str, Word()] | None = Field(
        default=None,
        description="The remote site to steer to, or to avoid: with these two, and only then.",
    )
    alarm: Annotated[str, Word()] | None = Field(
        default=None,
        description="The alarm that was seen: with `acknowledge`, and only then.",
    )
    until: Annotated[WallTime | None, Until()] = Field(
        description="When it ends: RFC 3339 with an offset, or `never`."
    )
    reason: Annotated[str, Text()] = Field(description="Why, for those who find it in force.")
    by: Annotated[str, Text()] = Field(description="Who said so.")

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        needed = self.action in (Action.STEER, Action.AVOID)
        if needed and self.to is None:
            raise MisfitError("to", f"is missing, wanted the site to {self.action}")
        if not needed and self.to is not None:
            raise MisfitError("to", f"says nothing with action: {self.action}, wanted none")
        seen = self.action is Action.ACKNOWLEDGE
        if seen and self.alarm is None:
            raise MisfitError("alarm", "is missing, wanted the alarm that was seen")
        if not seen and self.alarm is not None:
            raise MisfitError("alarm", f"says nothing with action: {self.action}, wanted none")
        return self

    def override(self) -> Override:
        """The same as a value."""
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
    """What operators said, in order: where two match, the later one has the word."""

    overrides: tuple[Entry, ...] = Field(
        description="The overrides of this file. `[]`: none; an empty file may be half a file."
    )
