"""What the agent shows to the outside at one moment: a value, swapped whole after each turn.

The HTTP thread reads it without a lock; nothing in it changes any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.act.bgp.status import BgpStatus
from steering.decide.acknowledge import Acknowledged
from steering.decide.state import Alarm, State
from steering.model import Instant, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficStatus:
    """How well the resolvers' traffic is heard."""

    frames: Mapping[str, int]
    """By what became of them."""
    lost: int
    """Dropped by the reader, unread."""
    writers: int
    """Connections."""
    rate: float
    """Frames per second, of the latest tally."""
    longest_gap: Seconds
    """The longest of the last minute or so for which no socket was read."""
    looked: int
    """Messages verified with keys."""
    passed_over: int
    """Messages of the sample for which there was no time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """The world after a turn, and what only the agent knows."""

    mode: str
    state: State
    installed: Mapping[str, str]
    """Address -> site, read from the kernel."""
    alarms: Mapping[str, Alarm]
    """The engine's and the agent's own."""
    ready: bool
    """Every address has been asked at least once."""
    turned_at: Instant
    """When the loop last turned."""
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    """Which of the alarms somebody has seen."""
    hearing: TrafficStatus | None = None
    """None: no dnstap is configured."""
    events_lost: int = 0
    """Lines of events that could not be written."""
    speaking: BgpStatus | None = None
    """None: nothing is told by BGP."""
    strays: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(path, reason) -> packets to probes' sockets that were passed over."""
    journal_lost: int = 0
    """Turns that could not be written down."""
    unreadable: Mapping[str, int] = field(default_factory=dict)
    """Messages of others over which this program failed, by where they were read."""
    put_back: Mapping[str, int] = field(default_factory=dict)
    """Rules and routes of ours that somebody took out and that are back, by kind."""
