"""Events out: one JSON object a line, or a readable line where a person watches."""

from __future__ import annotations

import datetime as dt
import io
import json
import select
from dataclasses import dataclass, field
from typing import TextIO

from steering.model import Event, Instant, Seconds, WallTime

_TROUBLED: Seconds = 60.0
"""How long the alarm lasts after the last line that was lost."""

_COLOURS = {
    "suspected": "33",
    "confirmed": "31",
    "steered": "36",
    "proved": "32",
    "recovered": "32",
    "released": "32",
    "undone": "31",
    "held": "33",
    "alarm_raised": "31",
    "alarm_cleared": "32",
}


def timestamp(wall: WallTime) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    moment = dt.datetime.fromtimestamp(wall, tz=dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fields(event: Event, wall: WallTime) -> dict[str, object]:
    """The event as it is written: absent what it does not have."""
    named = {
        "time": timestamp(wall),
        "event": event.event,
        "upstream": event.upstream,
        "address": event.address,
        "path": event.path,
        "was": event.was,
        "now": event.now,
        "rule": event.rule,
        "because": event.because,
        **event.more,
    }
    return {key: value for key, value in named.items() if value is not None}


def sentence(event: Event, wall: WallTime, *, colour: bool) -> str:
    """The event for a terminal."""
    subject = " ".join(part for part in (event.address, event.path) if part)
    change = f"{event.was or '-'} -> {event.now or '-'}" if event.was or event.now else ""
    rule = f"[{event.rule}]" if event.rule else ""
    word = f"{event.event:<15}"
    if colour and event.event in _COLOURS:
        word = f"\x1b[{_COLOURS[event.event]}m{word}\x1b[0m"
    clock = timestamp(wall)[11:23]
    return "  ".join(part for part in (clock, word, subject, change, rule, event.because) if part)


@dataclass(slots=True)
class Log:
    """Writes events to a stream; a stream that is gone or full costs lines, never the agent.

    A pipe or socket that nobody empties would hold up the whole loop, and with it the lease.
    """

    stream: TextIO
    readable: bool
    lost: int = 0
    """Lines that nobody will ever read."""
    _seen: int = field(default=0, init=False)
    _lost_at: Instant = field(default=float("-inf"), init=False)

    def write(self, event: Event, wall: WallTime) -> None:
        """One line for one event."""
        line = (
            sentence(event, wall, colour=True)
            if self.readable
            else json.dumps(fields(event, wall), ensure_ascii=False)
        )
        try:
            if not self._has_room():
                self.lost += 1
                return
            self.stream.write(line + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            self.lost += 1

    def trouble(self, now: Instant) -> str:
        """What is wrong with the writing, for a minute after the last loss; empty if nothing is."""
        if self.lost > self._seen:
            self._seen, self._lost_at = self.lost, now
        if now - self._lost_at < _TROUBLED:
            return f"{self.lost} lines of events could not be written: nobody reads them"
        return ""

    def _has_room(self) -> bool:
        """Whether a line can be written at once: a pipe says so with 4 KiB free (pipe(7))."""
        try:
            descriptor = self.stream.fileno()
        except io.UnsupportedOperation:
            return True  # in memory
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        return bool(poll.poll(0))
