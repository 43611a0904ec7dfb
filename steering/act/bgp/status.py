"""The state of the speaker at one moment: values for the status and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steering.act.bgp.sync import Sync
from steering.model import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus:
    """One neighbour's session, for the status."""

    up: bool
    because: str
    """Why it is down."""
    routes: int
    """Number of routes announced in it now."""
    lacking: tuple[str, ...]
    """Families that are configured and not negotiated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BgpStatus:
    """The state of the speaker at one moment."""

    sessions: Mapping[str, SessionStatus]
    wanted: int
    announced: Mapping[str, str]
    """Address -> site, of the routes in at least one established session."""
    updates: int
    starts: int
    acknowledged: tuple[Seconds, ...]
    """Delays of the answers since the last report."""
    version: str
    linked: bool
    """Whether its helper is connected."""
    read: int
    """How often adj-rib-out was read back, of all speakers."""


def bgp_status(
    sync: Sync, *, wanted: int, announced: Mapping[str, str], starts: int, linked: bool
) -> BgpStatus:
    """The values at this moment. Empties `sync.acknowledged`: each delay is reported once."""
    sessions = {
        peer: SessionStatus(
            up=session.up,
            because=session.because,
            routes=len(session.sent) if session.up else 0,
            lacking=tuple(sorted(session.families - session.negotiated)) if session.up else (),
        )
        for peer, session in sync.sessions.items()
    }
    times, sync.acknowledged = tuple(sync.acknowledged), []
    return BgpStatus(
        sessions=sessions,
        wanted=wanted,
        announced=announced,
        updates=sync.updates,
        starts=starts,
        acknowledged=times,
        version=sync.version,
        linked=linked,
        read=sync.readings,
    )
