"""The unit of counting: one failing name, once an hour.

Otherwise a single broken name that all clients ask for would give tens of thousands of false
alarms a year. With it there is none, as a suspicion needs seven *new* names. For probes the name
is the one asked for. (The owner of the failing RRset would hide the worst case: when the apex's
own NSEC3 signature expires, nearly every denial fails, and all by that one owner.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from types import MappingProxyType

from steering.model import Instant, Seconds

HOUR: Seconds = 3600.0
SLOTS = 64
WITNESSES = 32
IGNORED = 1024

Names = Mapping[str, Instant]
"""Name -> when it was counted, or since when it is ignored."""

NONE: Names = MappingProxyType({})


def holds(names: Names, name: str, now: Instant) -> bool:
    """Whether the name was noted within the hour."""
    at = names.get(name)
    return at is not None and now - at < HOUR


def count_once(names: Names, name: str, now: Instant) -> tuple[Names, bool]:
    """The names that were counted, and whether a failing name counts now.

    A new name replaces the oldest of 64: by then every bucket is long full.
    """
    if holds(names, name, now):
        return names, False
    kept = {n: at for n, at in names.items() if now - at < HOUR}
    if len(kept) >= SLOTS:
        del kept[min(kept, key=kept.__getitem__)]
    kept[name] = now
    return kept, True


def remember(names: Names, name: str, now: Instant) -> Names:
    """The last few names to ask again, with this one added."""
    kept = {n: at for n, at in names.items() if n != name}
    while len(kept) >= WITNESSES:
        del kept[min(kept, key=kept.__getitem__)]
    kept[name] = now
    return kept


def ignore(names: Names, more: Iterable[str], now: Instant) -> Names:
    """The names that are ignored for the next hour, with `more` added."""
    kept = {n: at for n, at in names.items() if now - at < HOUR}
    for name in more:
        kept.pop(name, None)  # to keep the order of time
        kept[name] = now
    return dict(islice(kept.items(), max(0, len(kept) - IGNORED), None))


def latest(names: Names) -> tuple[str, ...]:
    """The names that failed last, newest first, to ask them again."""
    return tuple(sorted(names, key=lambda n: (-names[n], n))[:WITNESSES])
