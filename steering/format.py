"""Values as text for people: lengths of time, times, shares, rates, counts.

All messages use these functions, so that one value is written in one way. Pure. Files and JSON have
their own forms, which programs read: `config.types` for durations that can be typed, `timestamp`
for times.
"""

from __future__ import annotations

import datetime as dt
import math

from steering.model import Seconds, WallTime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_HOURS_UNTIL = 3 * _DAY
"""Shorter lengths are in hours and minutes: "45 h 21 min" says more than "1 d 21 h"."""
UNKNOWN = "unknown"
NEVER = "never"


def duration(length: Seconds) -> str:
    """A length of time by its two largest units: `2.4 s`, `8 min 20 s`, `45 h 21 min`, `3 d 4 h`.

    It is rounded to a tenth of a second, from one minute on to a second. NaN and infinity are
    `unknown`.
    """
    if not math.isfinite(length):
        return UNKNOWN
    if round(length, 1) < 0:
        return f"-{duration(-length)}"
    if (tenths := round(length, 1)) < _MINUTE:
        return f"{abs(tenths):.1f}".removesuffix(".0") + " s"
    whole = round(length)
    if whole < _HOUR:
        return _two(whole // _MINUTE, "min", whole % _MINUTE, "s")
    if whole < _HOURS_UNTIL:
        return _two(whole // _HOUR, "h", whole % _HOUR // _MINUTE, "min")
    return _two(whole // _DAY, "d", whole % _DAY // _HOUR, "h")


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large} {unit}" + (f" {small} {smaller}" if small else "")


def age(length: Seconds) -> str:
    """How long ago, or how far away, in whole units of the largest size that fits: `5 min`.

    Negative is `0 s`, NaN and infinity are `unknown`.
    """
    if not math.isfinite(length):
        return UNKNOWN
    for unit, size in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if length >= size:
            return f"{int(length // size)} {unit}"
    return f"{max(0, int(length))} s"


def from_now(left: Seconds) -> str:
    """How far away a time is, in this direction or the other: `in 2 h`, `5 min ago`."""
    return f"in {duration(left)}" if left > 0 else f"{duration(-left)} ago"


def between(earlier: str, later: str) -> Seconds:
    """Seconds from one time to another, both in the form of RFC 3339."""
    one, other = map(dt.datetime.fromisoformat, (earlier, later))
    return (other - one).total_seconds()


def timestamp(wall: WallTime) -> str:
    """A time for programs: RFC 3339, UTC, always with milliseconds.

    Raises ValueError or OverflowError for a time that is no number or after the year 9999, as all
    functions for times do.
    """
    return _utc(wall).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339(wall: WallTime) -> str:
    """A time for people, as it may be typed: RFC 3339, UTC, a fraction only where there is one."""
    return _utc(wall).isoformat().replace("+00:00", "Z")


def whole_second(wall: WallTime) -> str:
    """The same without its fraction: `2023-07-17T05:12:00Z`."""
    return rfc3339(math.floor(wall))


def day(wall: WallTime) -> str:
    """The day in UTC: `2023-07-17`."""
    return f"{_utc(wall):%Y-%m-%d}"


def clock(wall: WallTime) -> str:
    """The time of day in UTC, with milliseconds: `05:12:00.250`."""
    return timestamp(wall)[11:23]


def _utc(wall: WallTime) -> dt.datetime:
    return dt.datetime.fromtimestamp(wall, tz=dt.UTC)


def percent(part: float | None, digits: int = 1) -> str:
    """A share of 1 in percent: `12.5%`; `-` for None and NaN."""
    return "-" if part is None or math.isnan(part) else f"{part:.{digits}%}"


def rate(queries: float) -> str:
    """Queries per second: `20 queries/s`; NaN is unknown."""
    return f"{UNKNOWN if math.isnan(queries) else f'{queries:.0f}'} queries/s"


def counted(number: int, what: str) -> str:
    """So many of something: `1 address`, `3 addresses`."""
    plural = "" if number == 1 else "es" if what.endswith("s") else "s"
    return f"{number} {what}{plural}"
