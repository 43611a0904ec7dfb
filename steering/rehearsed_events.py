"""What a decision is called that nobody carries out: the same words, as what would be done.

An agent in `mode: observe` or `mode: rehearse` decides as one that acts. Whoever reads its events
is not to take one of them for a change of traffic.
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
"""The event of a decision -> the event that says it was not carried out."""
_DECISIONS: Final = {would: event for event, would in WOULD.items()}


def told(event: str, *, acts: bool) -> str:
    """The name under which an event is told by an agent that acts, or does not."""
    return event if acts else WOULD.get(event, event)


def decision(event: str) -> str:
    """The name that an event has where it is carried out."""
    return _DECISIONS.get(event, event)
