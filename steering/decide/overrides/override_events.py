"""The overrides of one turn: read, frozen paths recorded, and the events about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from steering.decide.overrides.override_state import OverrideState, OverrideStatus, read
from steering.decide.state import State
from steering.facts import Facts
from steering.model import Event
from steering.override import Frozen, Override
from steering.override_text import override_text

SHOWN = 16
"""Addresses that an event lists; of the others it has the number."""
AT_ONCE = 100
"""Events of one kind in one turn."""


def apply_overrides(state: State, facts: Facts) -> tuple[State, tuple[Event, ...]]:
    """The state with this turn's overrides, and events for those applied, ended or in conflict."""
    was = state.override_state
    override_state = read(was, state.index, facts.overrides, facts.wall)
    frozen = _frozen(state, override_state)
    if override_state is was:
        return state if frozen == state.frozen else replace(state, frozen=frozen), ()
    return replace(state, override_state=override_state, frozen=frozen), _bounded(
        _events(was, override_state)
    )


def _frozen(state: State, override_state: OverrideState) -> Mapping[str, Frozen]:
    """The path of each frozen address when its freeze began.

    The path that another freeze kept does not count: that one may have ended while no agent ran.
    """
    frozen: dict[str, Frozen] = {}
    for address in state.index.in_order(override_state.frozen):
        by = override_state.overrides[override_state.decides[address]].name
        known = state.frozen.get(address)
        path = known.path if known and known.by == by else state.path_of(address)
        frozen[address] = Frozen(path=path, by=by)
    return frozen


def _bounded(events: Iterator[Event]) -> tuple[Event, ...]:
    """The first events of each kind, and how many more there are: the log has limited room."""
    first: list[Event] = []
    number = Counter[str]()
    for event in events:
        number[event.event] += 1
        if number[event.event] <= AT_ONCE:
            first.append(event)
    for kind, all_of_them in number.items():
        if (more := all_of_them - AT_ONCE) > 0:
            why = f"and {more} more at once: `steering override list` shows them all"
            first.append(Event(event=kind, because=why, rule="override"))
    return tuple(first)


def _events(was: OverrideState, override_state: OverrideState) -> Iterator[Event]:
    before = {entry[0].name: entry for entry in _entries(was)}
    for override, status, addresses in _entries(override_state):
        old = before.pop(override.name, None)
        same = old is not None and old[:2] == (override, status)
        if old is not None and same and (addresses == old[2] or status is OverrideStatus.EXPIRED):
            continue
        about = _About(override=override, addresses=len(addresses))
        covered = _listed(addresses)
        if status is OverrideStatus.ACTIVE:
            yield about.event("override_applied", f"{override_text(override)}; {covered}")
        elif status is OverrideStatus.EXPIRED:
            yield about.event("override_expired", f"its end has come; {covered}")
        elif status is OverrideStatus.UNMATCHED:
            yield about.event(
                "override_unmatched", f"{override_text(override)}; it matches nothing"
            )
    for override, status, addresses in before.values():
        if status is not OverrideStatus.EXPIRED:
            about = _About(override=override, addresses=len(addresses))
            yield about.event("override_removed", override_text(override))
    known = {(clash.loser, clash.winner): clash.addresses for clash in was.conflicts}
    for clash in override_state.conflicts:
        if known.get((clash.loser, clash.winner)) != clash.addresses:
            covered = _listed(clash.addresses)
            why = f"{clash.winner} comes after {clash.loser} and takes precedence; {covered}"
            yield Event(
                event="override_conflict",
                because=why,
                was=clash.loser,
                now=clash.winner,
                rule="override",
                more={"addresses": len(clash.addresses)},
            )


def _entries(
    override_state: OverrideState,
) -> Iterator[tuple[Override, OverrideStatus, tuple[str, ...]]]:
    return zip(override_state.overrides, override_state.states, override_state.covers, strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    """The override that an event is about."""

    override: Override
    addresses: int

    def event(self, name: str, because: str) -> Event:
        """One event about the override."""
        return Event(
            event=name,
            because=because,
            upstream=self.override.match.upstream,
            path=self.override.to,
            rule="override",
            more={
                "override": self.override.name,
                "by": self.override.by,
                "covered": self.addresses,
            },
        )


def _listed(addresses: tuple[str, ...]) -> str:
    if not addresses:
        return "covers no address"
    more = len(addresses) - SHOWN
    return f"covers {', '.join(addresses[:SHOWN])}" + (f" and {more} more" if more > 0 else "")
