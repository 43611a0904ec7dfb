"""Writes events: a JSON object on each line, or text on a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from steering.format import clock, timestamp
from steering.model import Event, Instant, Seconds, WallTime
from steering.rehearsed_events import decision
from steering.report.terminal import WIDTH, width, wrapped
from steering.system.output import LONGEST, ROOM, Output

_ALARM_LASTS: Seconds = 60.0
"""How long the alarm lasts after the last line that was lost."""

_STALLED: Seconds = 5.0
"""A busy disk, or a log daemon that restarts, works again within this time."""

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


def fields(event: Event, wall: WallTime, addresses: Sequence[str] = ()) -> dict[str, object]:
    """The fields of the event that it has.

    `addresses`: all that it is about, if there are several; the reason is that of the first one.
    """
    named = {
        "time": timestamp(wall),
        "event": event.event,
        "upstream": event.upstream,
        "address": None if addresses else event.address,
        "addresses": list(addresses) or None,
        "path": event.path,
        "was": event.was,
        "now": event.now,
        "rule": event.rule,
        "because": event.because,
        **event.more,
    }
    return {key: value for key, value in named.items() if value is not None}


def sentence(
    event: Event,
    wall: WallTime,
    *,
    colour: bool,
    columns: int = WIDTH,
    addresses: Sequence[str] = (),
) -> str:
    """The event for a terminal of so many columns: a line, and indented ones if needed."""
    subject = f"{len(addresses)} addresses of {event.upstream}" if addresses else event.address
    subject = " ".join(part for part in (subject, event.path) if part)
    change = f"{event.was or '-'} -> {event.now or '-'}" if event.was or event.now else ""
    rule = f"[{event.rule}]" if event.rule else ""
    parts = (clock(wall), f"{event.event:<15}", subject, change, rule, event.because)
    lines = wrapped("  ".join(part for part in parts if part), columns, " " * 14)
    if colour and (shade := _COLOURS.get(decision(event.event))):
        painted = f"\x1b[{shade}m{event.event}\x1b[0m"
        lines[0] = lines[0].replace(event.event, painted, 1)
    return "\n".join(lines)


def json_line(event: Event, wall: WallTime, at_most: int, addresses: Sequence[str] = ()) -> str:
    """The event as a line of JSON of at most so many bytes.

    The longest texts are cut, with a note of how much is left out.
    """
    values = fields(event, wall, addresses)
    line = _json(values)
    kept = {key: len(_text(value)) for key, value in values.items()}
    cut: dict[str, object] = {}
    while (excess := len(_encoded(line)) - at_most) > 0:
        key = max(kept, key=lambda key: len(_encoded(_json(cut.get(key, values[key])))))
        if not kept[key]:
            break  # no event is like that; if one were, Output would cut it
        text = _text(values[key])
        kept[key] = max(0, kept[key] - excess - _NOTE)
        cut[key] = f"{text[: kept[key]]}... ({len(text) - kept[key]} characters left out)"
        line = _json(values | cut)
    return line


_NOTE = 48  # the note is shorter


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _text(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


@dataclass(slots=True)
class Log:
    """Writes events to an output. If it is closed or full, lines are lost, and nothing else."""

    output: Output
    readable: bool
    colour: bool = False
    _seen: int = field(default=0, init=False)
    _lost_at: Instant = field(default=float("-inf"), init=False)

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self.output.lost

    def write(self, event: Event, wall: WallTime, addresses: Sequence[str] = ()) -> None:
        """Write one line of JSON for one event; on a terminal as many lines as it takes."""
        if not self.readable:
            self.output.write(json_line(event, wall, LONGEST - 1, addresses))
            return
        columns = width(self.output.descriptor)
        text = sentence(event, wall, colour=self.colour, columns=columns, addresses=addresses)
        for line in text.split("\n"):
            self.output.write(line)

    def trouble(self, now: Instant) -> str:
        """What is wrong with the output, for a minute after the last loss; empty: nothing."""
        if self.lost > self._seen:
            self._seen, self._lost_at = self.lost, now
        if now - self._lost_at < _ALARM_LASTS:
            return f"{self.lost} lines of events could not be written: no program reads them"
        if self.output.stalled() > _STALLED:
            return f"no program reads the events: {ROOM >> 10} KiB wait, further ones are lost"
        return ""
