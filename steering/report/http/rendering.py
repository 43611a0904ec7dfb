"""Answers that are being rendered for waiting clients, one rendering at a time in each lane.

The answers of one turn are rendered once, for all clients that ask before the next turn. Metrics of
many addresses take a second and have their own lane, so that the status does not wait for them.
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
"""Least time from the end of a rendering to the next one, or as long as it took. So other users use
at most half a core. Root and the agent's user do not wait for it."""
LANES: Final = ("status", "metrics")
_METRICS: Final = (METRICS, OPENMETRICS)
_PIECE: Final = 1 << 20


def lane_of(key: str) -> str:
    """The lane in which an answer is made."""
    return LANES[key in _METRICS]


@dataclass(slots=True, kw_only=True)
class RenderQueue:
    """One lane, with its present rendering."""

    name: str
    began: Instant = 0.0
    busy: bool = False
    """Answers are wanted, and not all are there."""
    number: int = 0
    """The turn that is shown."""
    keys: tuple[str, ...] = ()
    pipe: int | None = None
    _due: Instant = float("-inf")
    _came: bytearray = field(default_factory=bytearray)

    def wanted(self, waiting: Iterable[Connection], now: Instant) -> tuple[str, ...]:
        """The keys to render now for the waiting clients, the agent's own user first."""
        mine = [c for c in waiting if lane_of(c.key) == self.name]
        if self.busy or not mine or not (now >= self._due or any(c.ours for c in mine)):
            return ()
        mine.sort(key=lambda c: (not c.ours, c.key not in (STATUS, FRONT), c.since))
        return tuple(dict.fromkeys(c.key for c in mine))[:MOST_KEYS]

    def free(self, now: Instant) -> bool:
        """Whether anybody may have something rendered now."""
        return not self.busy and now >= self._due

    def begin(self, keys: tuple[str, ...], now: Instant) -> None:
        """These are being rendered."""
        self.busy, self.keys, self.began = True, keys, now

    def read(self) -> tuple[list[tuple[str, Answer]], bool]:
        """The answers so far, and whether these were all. Raises ValueError for other bytes."""
        assert self.pipe is not None
        try:
            data = os.read(self.pipe, _PIECE)
        except BlockingIOError:
            return [], False
        self._came += data
        return list(unframed(self._came)), not data

    def end(self, now: Instant) -> None:
        """This rendering is over."""
        if self.pipe is not None:
            with contextlib.suppress(OSError):
                os.close(self.pipe)
        self._came.clear()
        self.pipe, self.busy = None, False
        self._due = now + max(PAUSE, now - self.began)
