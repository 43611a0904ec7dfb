"""Event names for decisions that are not carried out: what the agent would do.

An agent in `mode: observe` or `mode: rehearse` decides as one that acts. Its events have other
names, so that none of them is taken for a change of traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WOULD: Final[Mapping[str, str]] = {
    "steered": "would_steer",
    "released": "would_release",
    "held": "would_hold",
    "proved": "would_prove",
    "undone": "would_undo",
    "relapsed": "would_relapse",
}
"""The event of a decision -> the event of the same decision when it is not carried out."""
_DECISIONS: Final = {would: event for event, would in WOULD.items()}


def event_name(event: str, *, acts: bool) -> str:
    """The name of an event of an agent that acts, or does not."""
    return event if acts else WOULD.get(event, event)


def decision(event: str) -> str:
    """The name that an event has when it is carried out."""
    return _DECISIONS.get(event, event)
