"""The names of events of decisions that are not carried out: `would_steer` for `steered`.

An agent in `mode: observe` or `mode: rehearse` decides as one that acts. The names make clear that
its events are no changes of traffic.
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
"""The event of a decision -> the event of the same decision, not carried out."""
_DECISIONS: Final = {would: event for event, would in WOULD.items()}


def event_name(event: str, *, acts: bool) -> str:
    """The name of this event in an agent that acts, or does not."""
    return event if acts else WOULD.get(event, event)


def decision(event: str) -> str:
    """The name of this event where the decision is carried out."""
    return _DECISIONS.get(event, event)
