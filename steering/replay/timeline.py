"""Events and incidents as lines of text; similar events of one turn share a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from steering.format import day, duration, whole_second
from steering.model import LOCAL, Event, Family, Health, WallTime
from steering.rehearsed_events import event_name
from steering.replay.incidents import STAGES, Incident
from steering.report.log import sentence
from steering.report.terminal import WIDTH

_UNREMARKABLE = {Health.UNKNOWN.word, Health.HEALTHY.word}


class Timeline:
    """Makes the lines of turns, with a line for each new day."""

    def __init__(self, *, colour: bool, columns: int = WIDTH) -> None:
        self.colour, self.columns = colour, columns
        self._day = ""

    def lines(self, events: Iterable[Event], wall: WallTime) -> Iterator[str]:
        """The lines of one turn."""
        for event in _grouped(events):
            if (today := day(wall)) != self._day:
                self._day = today
                yield f"--- {today}"
            yield sentence(event, wall, colour=self.colour, columns=self.columns)


def _grouped(events: Iterable[Event]) -> Iterator[Event]:
    """One event for all equal events about several addresses of an upstream."""
    alike: dict[tuple[str | None, ...], list[Event]] = {}
    for event in events:
        if event.event == "health_changed" and _is_unremarkable(event):
            continue
        key = (event.event, event.upstream, event.path, event.was, event.now, event.rule)
        alike.setdefault(key, []).append(event)
    for first, *others in alike.values():
        several = f"{len(others) + 1} addresses of {first.upstream}"
        yield replace(first, address=several) if others and first.address else first


def _is_unremarkable(event: Event) -> bool:
    """Whether an event is left out: that an address answers, or is no longer asked.

    The changes of the local path are shown by `suspected`, `confirmed` and `recovered`, except that
    it became stale.
    """
    if event.path == LOCAL:
        return event.now != Health.STALE.word
    return {event.was, event.now} <= _UNREMARKABLE


def incident_lines(incidents: Sequence[Incident], most: int = 20) -> Iterator[str]:
    """A few lines for each incident: how long each stage took."""
    for incident in incidents[:most]:
        what = "first bad answer" if incident.first_bad is not None else "first event"
        yield f"{incident.upstream}: {what} {whole_second(incident.start)}"
        for stage in STAGES:
            if stage in incident.first:
                name = event_name(stage, acts=incident.carried_out)
                first, last = incident.first[stage], incident.last[stage]
                begun, done = duration(first - incident.start), duration(last - incident.start)
                until = f" to {done}" if done != begun else ""
                reached = f"{begun}{until}{_more(incident, stage)}"
                yield f"  {name:<10} after {reached}"
        if incident.ended is None:
            yield "  not ended"
    if len(incidents) > most:
        yield f"and {len(incidents) - most} more"


def _more(incident: Incident, stage: str) -> str:
    if stage != "steered":
        return ""
    families = ", ".join(
        f"{family} after {duration(took)}"
        for family in Family
        if (took := incident.took(family)) is not None
    )
    repeated = f", {incident.repeated_moves} of them again" if incident.repeated_moves else ""
    by = ", ".join(incident.sites)
    return (
        f": {len(incident.moved)} addresses by {by} ({families}; {incident.moves} moves{repeated})"
    )
