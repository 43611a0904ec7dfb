"""What has happened lately, for the page: events, and each upstream's failing share of a day."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from steering.decide.state import State
from steering.model import LOCAL, Event, Seconds, WallTime

EVENTS: Final = 400
"""Events that are kept: a whole incident of a hundred addresses, as they are grouped."""
STEP: Final[Seconds] = 300.0
"""Between two points of the plot."""
POINTS: Final = 288
"""A day of them."""
_EVERY: Final[Seconds] = 2.0
"""Between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event as it was logged."""

    number: int
    wall: WallTime
    event: Event
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One upstream in one step."""

    share: float | None
    """The worst failing share of its addresses over the local path; None: no answers."""
    steered: int
    """The most addresses that were away from it."""


@dataclass(slots=True)
class History:
    """Kept in memory: it begins with the agent."""

    events: deque[Happened] = field(default_factory=lambda: deque(maxlen=EVENTS))
    times: deque[WallTime] = field(default_factory=lambda: deque(maxlen=POINTS))
    """When each point ended."""
    points: dict[str, deque[Point]] = field(default_factory=dict)
    """Upstream -> a point for each of these times."""
    _number: int = 0
    _worst: dict[str, float] = field(default_factory=dict)
    _most: dict[str, int] = field(default_factory=dict)
    _ends: WallTime = 0.0
    _looked: WallTime = 0.0

    def happened(self, event: Event, wall: WallTime, addresses: Sequence[str] = ()) -> None:
        """Keep an event."""
        self._number += 1
        named = tuple(addresses)
        self.events.append(Happened(number=self._number, wall=wall, event=event, addresses=named))

    def turned(self, state: State) -> None:
        """Take the shares of a turn: of addresses that are not as usual, and of all once a step."""
        if abs(state.wall - self._looked) < _EVERY:
            return
        self._looked = state.wall
        away = Counter(state.index.settings[address].upstream for address in state.plan)
        for upstream, number in away.items():
            self._most[upstream] = max(self._most.get(upstream, 0), number)
        ends = not 0 < self._ends - state.wall <= STEP  # also where the clock was set
        for address in state.index.settings if ends else state.ledger.open:
            share = state.ledger.path(address, LOCAL).recent.share(state.now)
            upstream = state.index.settings[address].upstream
            if share is not None:
                self._worst[upstream] = max(self._worst.get(upstream, 0.0), share)
        if ends:
            self._point(state)

    def _point(self, state: State) -> None:
        upstreams = dict.fromkeys(one.upstream for one in state.index.settings.values())
        for upstream in upstreams:
            if upstream not in self.points:
                missing = [Point(share=None, steered=0)] * len(self.times)
                self.points[upstream] = deque(missing, POINTS)
            self.points[upstream].append(
                Point(share=self._worst.get(upstream), steered=self._most.get(upstream, 0))
            )
        for gone in self.points.keys() - upstreams.keys():
            del self.points[gone]
        self.times.append(state.wall)
        self._ends, self._worst, self._most = state.wall + STEP, {}, {}
