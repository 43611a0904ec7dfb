"""Groups events for the log: one for all addresses with the same change, few for flapping paths.

A path that is suspect and healthy in turns all day (because of a rate limit, for example) would
hide all else. So of each kind of change of one path some are logged in ten minutes, and one event
has the number of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from steering.format import duration
from steering.model import Event, Instant, Seconds

LOGGED = 8
"""Changes of one kind and path that are logged within WINDOW: more than an incident has."""
WINDOW: Seconds = 600.0
TOGETHER = 50
"""Addresses in one event: as many as fit into a line of the log."""
_FLAPS = frozenset(("health_changed", "suspected", "rejected"))

Gathered = tuple[Event, tuple[str, ...]]
"""An event, and its addresses if there are several."""


class EventGrouping:
    """Counts the events logged lately, so that they are not logged too often."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str | None, str | None], int] = {}
        self._left_out: dict[tuple[str | None, str | None], tuple[int, set[str]]] = {}
        self._since: Instant = float("-inf")

    def of(self, events: Iterable[Event], now: Instant) -> Iterator[Gathered]:
        """The events of one turn that are logged."""
        yield from ((event, ()) for event in self._summaries(now))
        yield from together(event for event in events if self._is_logged(event))

    def _is_logged(self, event: Event) -> bool:
        if event.event not in _FLAPS or event.address is None:
            return True
        key = event.event, event.address, event.path
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] <= LOGGED:
            return True
        number, addresses = self._left_out.get((event.upstream, event.path), (0, set()))
        self._left_out[event.upstream, event.path] = number + 1, addresses | {event.address}
        return False

    def _summaries(self, now: Instant) -> Iterator[Event]:
        if now - self._since < WINDOW:
            return
        for (upstream, path), (number, addresses) in self._left_out.items():
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
        self._counts, self._left_out, self._since = {}, {}, now


def together(events: Iterable[Event]) -> Iterator[Gathered]:
    """One event for the same change of several addresses of an upstream."""
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
