"""Times as people type them: `14:20`, `10m ago`, `in 2h`, `now`, RFC 3339. All without an offset
are UTC, as all that is printed.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

from steering.config.overrides import moment
from steering.config.problems import shown
from steering.config.types import seconds
from steering.model import WallTime

FORMS: Final = "14:20, 10m ago, 2026-11-24 05:12, RFC 3339; UTC without an offset"
"""What may be typed for a time that has been."""
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?Z?", re.ASCII)
_DAY: Final = 86_400


def past(text: str, now: WallTime) -> WallTime:
    """A time that has been: a time of day is the latest one. Raises ValueError."""
    if (found := _CLOCK.fullmatch(text)) is not None:
        today = _of_day(found, now)
        return today if today <= now else today - _DAY
    if text == "now":
        return now
    if text.endswith(" ago"):
        return now - seconds(text.removesuffix(" ago"))
    return _written(text)


def coming(text: str, now: WallTime) -> WallTime:
    """A time to come: a time of day is the next one. Raises ValueError."""
    if (found := _CLOCK.fullmatch(text)) is not None:
        today = _of_day(found, now)
        return today if today > now else today + _DAY
    if text.startswith("in "):
        return now + seconds(text.removeprefix("in "))
    return _written(text)


def _of_day(found: re.Match[str], now: WallTime) -> WallTime:
    hour, minute, second = (int(part or 0) for part in found.groups())
    return now - now % _DAY + 3600 * hour + 60 * minute + second


def _written(text: str) -> WallTime:
    try:
        return moment(text)
    except ValueError:
        pass
    try:
        found = dt.datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{shown(text)} is no time, wanted {FORMS}") from None
