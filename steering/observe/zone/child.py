"""Starts the child process that looks at a zone, and takes what it says.

The agent never holds a zone: the child transfers, parses and verifies it, with limits of memory, of
CPU and of time, and says what the zone amounts to. A child that says nothing in time, or too much,
is killed, and that is this host's fault, not the zone's.
"""

from __future__ import annotations

from pathlib import Path

from steering.model import WallTime
from steering.observe.dnssec.anchors import Anchors
from steering.observe.zone.facts import EVERYWHERE, LIMITS, Failed, Limits, ZoneFacts


async def examine(
    file: Path,
    zone: str,
    anchors: Anchors,
    wall: WallTime,
    limits: Limits = LIMITS,
    *,
    understood: frozenset[str] = EVERYWHERE,
) -> ZoneFacts | Failed:
    """What a zone's file (RFC 1035 5.1) amounts to at this time, seen by a child process.

    The chain begins at the zone's own anchor. `understood`: the types that the resolver which reads
    the file knows.
    """
    raise NotImplementedError
