"""The agent's own alarms: what is wrong with its means, as opposed to the upstreams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steering.agent.outfit import Outfit
from steering.model import Event, Instant, WallTime
from steering.world import Alarm

_NAMED = 3
"""Things told of where there may be more."""


class Troubles:
    """What is the matter now, by name, and since when."""

    def __init__(self) -> None:
        self.alarms: Mapping[str, Alarm] = {}

    def settle(self, now: Mapping[str, str], wall: WallTime) -> tuple[Event, ...]:
        """Take over what is the matter (name to text); which alarms that raises and clears.

        An empty text is nothing the matter.
        """
        now = {name: text for name, text in now.items() if text}
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


def matters(outfit: Outfit, now: Instant) -> Mapping[str, str]:
    """What is the matter with what an agent acts, asks and listens with."""
    hands, ears, hungry = outfit.hands, outfit.ears, outfit.keys.troubles
    return {
        "kernel": "; ".join(hands.troubles[:_NAMED]) if hands is not None else "",
        "bgp": "; ".join(hands.voice.troubles[:_NAMED]) if hands is not None else "",
        "keys": "; ".join(f"{zone}: {why}" for zone, why in sorted(hungry.items())),
        "dnstap": ears.troubles(now) if ears is not None else "",
    }
