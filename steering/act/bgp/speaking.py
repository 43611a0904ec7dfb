"""What there is to tell of the speaker at one moment: values, for the status and the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steering.model import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One neighbour's session, for the status."""

    up: bool
    because: str
    """Why it is down."""
    routes: int
    """Announced in it now."""
    lacking: tuple[str, ...]
    """Families that were asked for and not negotiated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaking:
    """What there is to tell of the speaker at one moment."""

    sessions: Mapping[str, Line]
    wanted: int
    announced: Mapping[str, str]
    """Address -> site, in some established session."""
    updates: int
    starts: int
    acknowledged: tuple[Seconds, ...]
    """How long answers took since the last report."""
    version: str
    linked: bool
    """Whether its helper is connected."""
    read: int
    """How often its table was read back, of all speakers."""
