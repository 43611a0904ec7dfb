"""When to probe which address over which paths. Pure: time is an argument.

Each address has a timeline. Normally it is due once an interval, over every path in the same
instant, so that the answers can be compared. During fast probing it is due at the fast interval, or
at a longer one that was asked for, over the attended paths; the other paths join when their slow
interval is over. This limits the load on each server over each path, however attention changes:

* never two questions within the fast interval, or within the longer one that was asked for
  (a repeat by TCP is a question),
* and, while the path is not attended, none within nine tenths of the slow interval.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from steering.model import Attention, Instant, Seconds

LIVE: Final = "live"
"""The path of questions without a mark: the one that the host's own traffic takes now."""

_JITTER: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The intervals of probing, and the time to wait for an answer, in seconds."""

    interval: Seconds = 10.0
    fast_interval: Seconds = 0.2
    timeout: Seconds = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.fast_interval <= self.interval or self.timeout <= 0:
            raise ValueError("wanted: 0 < fast_interval <= interval, 0 < timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class DueProbe:
    """One address to ask now, over these paths."""

    address: str
    paths: tuple[str, ...]
    fast: bool
    witnesses: tuple[str, ...] = ()


@dataclass(slots=True)
class _Timeline:
    slow_due: Instant
    attention: Attention | None = None
    asked: dict[str, Instant] = field(default_factory=dict)  # path -> the last question
    entry: int = -1  # the heap entry that counts; older ones are skipped


class Schedule:
    """The timelines of all addresses."""

    def __init__(
        self,
        addresses: Sequence[str],
        paths: Sequence[str],
        pace: Pace,
        *,
        rng: random.Random,
        now: Instant,
    ) -> None:
        """The first probes are spread over the interval from `now` on."""
        self._paths = tuple(paths)
        self._pace = pace
        self._rng = rng
        self._heap: list[tuple[Instant, int, str]] = []
        self._entries = itertools.count()
        self._timelines = {
            address: _Timeline(slow_due=now + pace.interval * rng.random()) for address in addresses
        }
        for address, timeline in self._timelines.items():
            self._push(address, timeline, timeline.slow_due)

    @property
    def wake_at(self) -> Instant:
        """When the next probe is due; infinity for never."""
        while self._heap and self._heap[0][1] != self._timelines[self._heap[0][2]].entry:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else math.inf

    def attend(self, attention: Mapping[str, Attention], now: Instant) -> None:
        """Replace what is probed fast. Addresses not named go back to the slow interval."""
        for address, timeline in self._timelines.items():
            wanted = attention.get(address)
            if wanted is not None and not wanted.paths and not wanted.live:
                wanted = None
            if wanted == timeline.attention:
                continue
            timeline.attention = wanted
            self._push(address, timeline, max(now, self._next(timeline)))

    def repeated(self, address: str, path: str, now: Instant) -> None:
        """A question was repeated by TCP: the interval counts from the repeat."""
        self._timelines[address].asked[path] = now

    def due(self, now: Instant) -> list[DueProbe]:
        """The probes that are due. Each counts as asked at `now`."""
        probes = []
        while self._heap and self._heap[0][0] <= now:
            _, entry, address = heapq.heappop(self._heap)
            timeline = self._timelines[address]
            if entry != timeline.entry:
                continue
            probe = self._turn(address, timeline, now)
            if probe is not None:
                probes.append(probe)
            self._push(address, timeline, self._next(timeline))
        return probes

    def _turn(self, address: str, timeline: _Timeline, now: Instant) -> DueProbe | None:
        fast = self._fast_paths(timeline)
        if any(self._free_at(timeline, path, fast) > now for path in fast):
            return None  # a repeat by TCP came in between: all paths wait, to stay a pair
        paths = fast
        if timeline.slow_due <= now:
            slow = [path for path in self._paths if path not in fast]
            paths += tuple(path for path in slow if self._free_at(timeline, path, fast) <= now)
            spread = self._rng.uniform(1 - _JITTER, 1 + _JITTER)
            timeline.slow_due = now + self._pace.interval * spread
        if not paths:
            return None
        timeline.asked.update(dict.fromkeys(paths, now))
        witnesses = timeline.attention.witnesses if timeline.attention else ()
        return DueProbe(address=address, paths=paths, fast=bool(fast), witnesses=witnesses)

    def _fast_paths(self, timeline: _Timeline) -> tuple[str, ...]:
        attention = timeline.attention
        if attention is None:
            return ()
        attended = tuple(path for path in self._paths if path in attention.paths)
        return attended + ((LIVE,) if attention.live else ())

    def _free_at(self, timeline: _Timeline, path: str, fast: tuple[str, ...]) -> Instant:
        """When a path may be asked again."""
        gap = self._gap(timeline) if path in fast else self._least_slow
        return timeline.asked.get(path, -math.inf) + gap

    def _gap(self, timeline: _Timeline) -> Seconds:
        """The interval between two questions over an attended path."""
        wanted = timeline.attention.every if timeline.attention is not None else 0.0
        return max(self._pace.fast_interval, min(wanted, self._least_slow))

    @property
    def _least_slow(self) -> Seconds:
        return max(self._pace.interval * (1 - _JITTER), self._pace.fast_interval)

    def _next(self, timeline: _Timeline) -> Instant:
        fast = self._fast_paths(timeline)
        if not fast:
            return timeline.slow_due
        return max(self._free_at(timeline, path, fast) for path in fast)

    def _push(self, address: str, timeline: _Timeline, at: Instant) -> None:
        timeline.entry = next(self._entries)
        heapq.heappush(self._heap, (at, timeline.entry, address))
