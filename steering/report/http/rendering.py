"""Answers that are being rendered for those who wait, one rendering at a time in each lane.

What a turn looks like is rendered once and shared by all who ask before the next turn. Metrics
of many addresses take a second, and have a lane to themselves: the status does not wait for them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from steering.model import Instant, Seconds
from steering.report.http.connection import Connection
from steering.report.http.ipc import (
    FRONT,
    METRICS,
    MOST_KEYS,
    OPENMETRICS,
    STATUS,
    Answer,
    unframed,
)

PAUSE: Final[Seconds] = 0.25
"""From the end of a rendering to the next one, at least; and as long as it took. So strangers
use half a core at most. Who is root or of the agent's user does not wait for it."""
LANES: Final = ("status", "metrics")
_METRICS: Final = (METRICS, OPENMETRICS)
_PIECE: Final = 1 << 20


def lane_of(key: str) -> str:
    """The lane in which an answer is made."""
    return LANES[key in _METRICS]


@dataclass(slots=True, kw_only=True)
class RenderQueue:
    """One lane, and the rendering under way in it."""

    name: str
    began: Instant = 0.0
    busy: bool = False
    """Answers were asked for, and are not all there."""
    number: int = 0
    """Of the turn that is shown."""
    keys: tuple[str, ...] = ()
    pipe: int | None = None
    _due: Instant = float("-inf")
    _came: bytearray = field(default_factory=bytearray)

    def wanted(self, waiting: Iterable[Connection], now: Instant) -> tuple[str, ...]:
        """What to ask for now: what the waiting want, the agent's own user first."""
        mine = [c for c in waiting if lane_of(c.key) == self.name]
        if self.busy or not mine or not (now >= self._due or any(c.ours for c in mine)):
            return ()
        mine.sort(key=lambda c: (not c.ours, c.key not in (STATUS, FRONT), c.since))
        return tuple(dict.fromkeys(c.key for c in mine))[:MOST_KEYS]

    def begin(self, keys: tuple[str, ...], now: Instant) -> None:
        """These were asked for."""
        self.busy, self.keys, self.began = True, keys, now

    def read(self) -> tuple[list[tuple[str, Answer]], bool]:
        """The answers that have come, and whether that was all. Raises ValueError for rubbish."""
        assert self.pipe is not None
        try:
            data = os.read(self.pipe, _PIECE)
        except BlockingIOError:
            return [], False
        self._came += data
        return list(unframed(self._came)), not data

    def end(self, now: Instant) -> None:
        """No more answers come of this rendering."""
        if self.pipe is not None:
            with contextlib.suppress(OSError):
                os.close(self.pipe)
        self._came.clear()
        self.pipe, self.busy = None, False
        self._due = now + max(PAUSE, now - self.began)
