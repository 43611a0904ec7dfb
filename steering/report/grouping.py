"""Events for the log: one for all addresses of which a turn says the same, and few of what flaps.

A path that is suspect and well again all day (a proxy that limits the rate does that) would bury
all else. So of each kind of change of one path some are told within ten minutes, and of the rest
one event says how many they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from steering.format import duration
from steering.model import Event, Instant, Seconds

TOLD = 8
"""Changes of one kind and path within WINDOW that are told: more than an incident has."""
WINDOW: Seconds = 600.0
TOGETHER = 50
"""Addresses in one event: a line of the log has room for so many."""
_FLAPS = frozenset(("health_changed", "suspected", "rejected"))

Gathered = tuple[Event, tuple[str, ...]]
"""An event, and the addresses it is about where these are several."""


class EventGrouping:
    """What was told lately, so that it is not told too often."""

    def __init__(self) -> None:
        self._often: dict[tuple[str, str | None, str | None], int] = {}
        self._untold: dict[tuple[str | None, str | None], tuple[int, set[str]]] = {}
        self._since: Instant = float("-inf")

    def of(self, events: Iterable[Event], now: Instant) -> Iterator[Gathered]:
        """What of one turn's events is to be told."""
        yield from ((event, ()) for event in self._told_later(now))
        yield from together(event for event in events if self._is_told(event))

    def _is_told(self, event: Event) -> bool:
        if event.event not in _FLAPS or event.address is None:
            return True
        key = event.event, event.address, event.path
        self._often[key] = self._often.get(key, 0) + 1
        if self._often[key] <= TOLD:
            return True
        number, addresses = self._untold.get((event.upstream, event.path), (0, set()))
        self._untold[event.upstream, event.path] = number + 1, addresses | {event.address}
        return False

    def _told_later(self, now: Instant) -> Iterator[Event]:
        if now - self._since < WINDOW:
            return
        for (upstream, path), (number, addresses) in self._untold.items():
            yield Event(
                event="flapping",
                upstream=upstream,
                path=path,
                because=(
                    f"{number} further changes of {len(addresses)} addresses within"
                    f" {duration(WINDOW)}, not listed one by one: a rate limit or a proxy on the"
                    " path looks like this (`steering explain` shows outcomes and NSIDs)"
                ),
            )
        self._often, self._untold, self._since = {}, {}, now


def together(events: Iterable[Event]) -> Iterator[Gathered]:
    """One event for all that say the same change of several addresses of an upstream."""
    alike: dict[tuple[str | None, ...], list[Event]] = {}
    for number, event in enumerate(events):
        change = event.upstream, event.path, event.was, event.now, event.rule
        alone = str(number) if event.address is None or event.more else None
        alike.setdefault((event.event, *change, alone), []).append(event)
    for same in alike.values():
        for at in range(0, len(same), TOGETHER):
            some = same[at : at + TOGETHER]
            named = tuple(event.address for event in some if event.address is not None)
            yield some[0], named if len(named) > 1 else ()
