"""What the agent shows at one time: an immutable value, replaced after each turn.

Readers need no lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.act.bgp.status import BgpStatus
from steering.decide.overrides.acknowledge import Acknowledged
from steering.decide.state import Alarm, State
from steering.model import Instant, Seconds
from steering.report.copies import CopyStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficStatus:
    """The state of the resolvers' traffic (dnstap)."""

    frames: Mapping[str, int]
    """Frames by result."""
    lost: int
    """Dropped by the reader, unread."""
    writers: int
    """Connections."""
    rate: float
    """Frames per second, of the latest tally."""
    longest_gap: Seconds
    """The longest time without a read of a socket, in about the last minute."""
    looked: int
    """Messages verified with keys."""
    passed_over: int
    """Messages of the sample that were not verified for lack of time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """The state after a turn, and what only the agent knows."""

    mode: str
    state: State
    installed: Mapping[str, str]
    """Address -> site, read from the kernel."""
    alarms: Mapping[str, Alarm]
    """The engine's and the agent's own."""
    ready: bool
    """Every address has been probed at least once."""
    turned_at: Instant
    """Time of the last turn."""
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    """Which of the alarms are acknowledged."""
    dnstap: TrafficStatus | None = None
    """None: no dnstap is configured."""
    events_lost: int = 0
    """Lines of events that could not be written."""
    bgp: BgpStatus | None = None
    """None: BGP is not used."""
    strays: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(path, reason) -> packets to probes' sockets that were ignored."""
    journal_lost: int = 0
    """Turns that could not be written to the journal."""
    unreadable: Mapping[str, int] = field(default_factory=dict)
    """Received messages that caused an error in this program, by where they were read."""
    put_back: Mapping[str, int] = field(default_factory=dict)
    """Rules and routes of ours that were removed and are installed again, by kind."""
    copies: tuple[CopyStatus, ...] = ()
    """The copies of zones that resolvers of this site serve from."""
