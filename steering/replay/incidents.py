"""Incidents: from the events of one upstream, how long each stage of its trouble took."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from steering.decide.state import State
from steering.model import LOCAL, Event, Family, Health, Instant, Seconds, WallTime
from steering.rehearsed_events import decision

STAGES = ("suspected", "confirmed", "steered", "proved", "recovered", "released")
"""The events of an incident, in the order of a good one."""
_ILL = {Health.SUSPECT.word, Health.FAILING.word}


@dataclass(slots=True, kw_only=True)
class Incident:
    """One upstream's trouble, from the first bad answer until nothing of it is left."""

    upstream: str
    began: WallTime
    """When it was told of first."""
    first_bad: WallTime | None = None
    """The first bad answer over the local path; None: it is not known."""
    ended: WallTime | None = None
    first: dict[str, WallTime] = field(default_factory=dict)
    """Stage -> when it was reached first."""
    last: dict[str, WallTime] = field(default_factory=dict)
    """Stage -> when it was reached last."""
    away: dict[Family, WallTime] = field(default_factory=dict)
    """Family -> when the last of its addresses that ever moved was first steered."""
    moved: dict[str, int] = field(default_factory=dict)
    """Address -> how often it was steered away from the local path."""
    sites: tuple[str, ...] = ()
    carried_out: bool = True
    """What was decided in it; False: the agent did not act, and its moves are what would be."""

    @property
    def zero(self) -> WallTime:
        """What its times are counted from."""
        return self.began if self.first_bad is None else self.first_bad

    @property
    def moves(self) -> int:
        """Moves away from the local path, of all addresses."""
        return sum(self.moved.values())

    @property
    def again(self) -> int:
        """Moves of addresses that had come back within it."""
        return self.moves - len(self.moved)

    def took(self, family: Family) -> Seconds | None:
        """From the first bad answer to the last address of a family steered; None: none was."""
        at = self.away.get(family)
        return None if at is None else at - self.zero


class Incidents:
    """Collects them, turn by turn."""

    def __init__(self) -> None:
        self.all: list[Incident] = []
        self._open: dict[str, Incident] = {}
        self._ill: set[tuple[str, str]] = set()
        self._steered: dict[str, str] = {}

    def take_up(self, state: State) -> None:
        """Begin in the middle: what is under way already is no news."""
        layout = state.layout
        for a, target in enumerate(layout.targets):
            health = Health(int(state.ledger.health[a, 0]))
            if health.word in _ILL:
                self._ill.add((target.upstream, target.address))
            if state.plan[a]:
                self._steered[target.address] = target.upstream
            if health.word in _ILL or state.plan[a]:
                self._begin(target.upstream, state.wall)

    def see(self, events: Iterable[Event], wall: WallTime, now: Instant, state: State) -> None:
        """One turn's events."""
        ending: set[str] = set()
        for told in events:
            event = replace(told, event=decision(told.event))  # carried out or not
            upstream = event.upstream
            if upstream is None:
                continue
            if event.event in STAGES:
                self._reach(event, upstream, wall, now, state)
                self._open[upstream].carried_out &= told.event == event.event
            if event.event == "health_changed" and event.path == LOCAL and event.address:
                self._change(event, upstream)
                ending.add(upstream)
            if event.event in ("released", "rejected", "adopted"):
                ending.add(upstream)
        for upstream in ending & self._open.keys():
            if not self._going_on(upstream):
                self._open.pop(upstream).ended = wall

    def _begin(self, upstream: str, wall: WallTime) -> Incident:
        if upstream not in self._open:
            self._open[upstream] = Incident(upstream=upstream, began=wall)
            self.all.append(self._open[upstream])
        return self._open[upstream]

    def _reach(
        self, event: Event, upstream: str, wall: WallTime, now: Instant, state: State
    ) -> None:
        incident = self._begin(upstream, wall)
        incident.first.setdefault(event.event, wall)
        incident.last[event.event] = wall
        if event.event in ("suspected", "confirmed", "steered") and not incident.last.get("proved"):
            first = _first_bad(state, upstream, wall, now)
            if first is not None:
                incident.first_bad = min(first, incident.first_bad or first)
        if event.address is None:
            return
        if event.event == "steered" and event.now is not None:
            if event.was == LOCAL:
                incident.moved[event.address] = incident.moved.get(event.address, 0) + 1
                if incident.moved[event.address] == 1:
                    incident.away[Family.of(event.address)] = wall
            incident.sites = tuple(dict.fromkeys((*incident.sites, event.now)))
            self._steered[event.address] = upstream
        elif event.event == "released":
            self._steered.pop(event.address, None)

    def _change(self, event: Event, upstream: str) -> None:
        key = (upstream, event.address or "")
        if event.now in _ILL:
            self._ill.add(key)
        else:
            self._ill.discard(key)

    def _going_on(self, upstream: str) -> bool:
        return upstream in self._steered.values() or any(u == upstream for u, _ in self._ill)


def _first_bad(state: State, upstream: str, wall: WallTime, now: Instant) -> WallTime | None:
    rows = [a for a, t in enumerate(state.layout.targets) if t.upstream == upstream]
    first = state.ledger.first_bad[rows]
    return None if np.isnan(first).all() else wall - (now - float(np.nanmin(first)))


def moving(incidents: Iterable[Incident]) -> Iterator[Incident]:
    """Those in which something was steered, or is."""
    return (i for i in incidents if i.moved or "proved" in i.first or "released" in i.first)
