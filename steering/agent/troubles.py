"""The agent's own alarms: what is wrong with its means, as opposed to the upstreams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steering.model import Event, WallTime
from steering.world import Alarm


class Troubles:
    """What is the matter now, by name, and since when."""

    def __init__(self) -> None:
        self.alarms: Mapping[str, Alarm] = {}

    def settle(self, now: Mapping[str, str], wall: WallTime) -> tuple[Event, ...]:
        """Take over what is the matter (name to text); which alarms that raises and clears."""
        raised = (
            Event(event="alarm_raised", because=text, now=name)
            for name, text in now.items()
            if name not in self.alarms
        )
        cleared = (
            Event(event="alarm_cleared", because="no longer so", was=name)
            for name in self.alarms
            if name not in now
        )
        events = (*raised, *cleared)
        self.alarms = {
            name: replace(self.alarms.get(name, Alarm(since=wall, because=text)), because=text)
            for name, text in now.items()
        }
        return events
