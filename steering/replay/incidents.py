"""Incidents: the stages of one upstream's fault and their times, from its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from steering.decide.state import State
from steering.model import LOCAL, Event, Family, Health, Instant, Seconds, WallTime
from steering.rehearsed_events import decision

STAGES = ("suspected", "confirmed", "steered", "proved", "recovered", "released")
"""The events of an incident, in the order of a good one."""
_BAD = {Health.SUSPECT.word, Health.FAILING.word}


@dataclass(slots=True, kw_only=True)
class Incident:
    """One upstream's fault, from the first bad answer until nothing is bad or steered."""

    upstream: str
    began: WallTime
    """When its first event came."""
    first_bad: WallTime | None = None
    """The first bad answer over the local path; None: it is not known."""
    ended: WallTime | None = None
    first: dict[str, WallTime] = field(default_factory=dict)
    """Stage -> when an address first reached it."""
    last: dict[str, WallTime] = field(default_factory=dict)
    """Stage -> when an address last reached it."""
    steered_at: dict[Family, WallTime] = field(default_factory=dict)
    """Family -> when the last of its addresses that ever moved was first steered."""
    moved: dict[str, int] = field(default_factory=dict)
    """Address -> how often it was steered steered_at from the local path."""
    sites: tuple[str, ...] = ()
    carried_out: bool = True
    """False: the agent did not act, so the moves are those that it would have made."""

    @property
    def start(self) -> WallTime:
        """The time from which its durations count."""
        return self.began if self.first_bad is None else self.first_bad

    @property
    def moves(self) -> int:
        """Moves steered_at from the local path, of all addresses."""
        return sum(self.moved.values())

    @property
    def repeated_moves(self) -> int:
        """Moves of addresses that had returned within the incident."""
        return self.moves - len(self.moved)

    def took(self, family: Family) -> Seconds | None:
        """From the first bad answer to the last address of a family steered; None: none was."""
        at = self.steered_at.get(family)
        return None if at is None else at - self.start


class Incidents:
    """Collects the incidents, turn by turn."""

    def __init__(self) -> None:
        self.all: list[Incident] = []
        self._open: dict[str, Incident] = {}
        self._bad: set[tuple[str, str]] = set()
        self._steered: dict[str, str] = {}

    def begin_at(self, state: State) -> None:
        """Begin at a state: incidents that are under way there."""
        for target in state.index.targets:
            bad = state.ledger.path(target.address).health.word in _BAD
            steered = target.address in state.plan
            if bad:
                self._bad.add((target.upstream, target.address))
            if steered:
                self._steered[target.address] = target.upstream
            if bad or steered:
                self._begin(target.upstream, state.wall)

    def add_turn(self, events: Iterable[Event], wall: WallTime, now: Instant, state: State) -> None:
        """Add the events of one turn."""
        ending: set[str] = set()
        for event_ in events:
            event = replace(event_, event=decision(event_.event))  # carried out or not
            upstream = event.upstream
            if upstream is None:
                continue
            if event.event in STAGES:
                self._reach(event, upstream, wall, now, state)
                self._open[upstream].carried_out &= event_.event == event.event
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
                    incident.steered_at[Family.of(event.address)] = wall
            incident.sites = tuple(dict.fromkeys((*incident.sites, event.now)))
            self._steered[event.address] = upstream
        elif event.event == "released":
            self._steered.pop(event.address, None)

    def _change(self, event: Event, upstream: str) -> None:
        key = (upstream, event.address or "")
        if event.now in _BAD:
            self._bad.add(key)
        else:
            self._bad.discard(key)

    def _going_on(self, upstream: str) -> bool:
        return upstream in self._steered.values() or any(u == upstream for u, _ in self._bad)


def _first_bad(state: State, upstream: str, wall: WallTime, now: Instant) -> WallTime | None:
    addresses = state.index.upstreams.get(upstream, ())
    each = (state.ledger.address(address).first_bad for address in addresses)
    first = min((at for at in each if at is not None), default=None)
    return None if first is None else wall - (now - first)


def with_moves(incidents: Iterable[Incident]) -> Iterator[Incident]:
    """The incidents in which an address was or is steered."""
    return (i for i in incidents if i.moved or "proved" in i.first or "released" in i.first)
