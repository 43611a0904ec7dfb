"""What outlives the process: what the next agent needs and can't measure.

That is the path of an address when its freeze began, how often it moved and was breached lately,
and since when it is steered. Without the first three an agent that is killed and started again and
again would move a flapping address without end, and return it a little early each time.

Pure. A file keeps them from one process to the next (`agent.restart_state`). The engine reads them
in its first turn as one of the facts, so a replay does the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from steering.decide.moves import damping
from steering.decide.state import State
from steering.facts import Breaches, Memory, Steered
from steering.judge.known.ledger import Ledger
from steering.judge.known.recovery import CALM, Hold
from steering.model import Event, WallTime


def remember(state: State) -> Memory:
    """What the next agent has to know of this state.

    An agent that does not act keeps no freezes: it does not know real paths. The next agent, which
    may act, begins them with the paths of then.
    """
    index, now = state.index, state.now
    worn = {
        address: damping.penalty(level, state.worn_at, index.settings[address], now)
        for address, level in state.worn.items()
    }
    known = ((a, state.ledger.address(a).hold) for a in index.in_order(state.ledger.held))
    held = ((address, hold) for address, hold in known if hold is not None)
    return Memory(
        at=state.wall,
        frozen=dict(state.frozen) if index.acts else {},
        worn={address: worn[address] for address in index.in_order(worn) if worn[address]},
        breaches={
            address: Breaches(
                number=hold.breaches,
                since=max(0.0, now - hold.since),
                ended=max(0.0, now - hold.ended),
            )
            for address, hold in held
        },
        moves=tuple((max(0.0, now - at), number) for at, number in state.moves),
        steered={
            address: Steered(site=site, ago=max(0.0, state.wall - state.since[address]))
            for address, site in state.steers().items()
        },
    )


def steered_since(memory: Memory | None, wall: WallTime) -> Mapping[tuple[str, str], WallTime]:
    """(address, site) -> since when it is steered there, by the memory; empty if that is newer."""
    if memory is None or memory.at > wall:
        return {}
    return {(a, past.site): memory.at - past.ago for a, past in memory.steered.items()}


def recall(state: State, memory: Memory | None) -> tuple[State, tuple[Event, ...]]:
    """The state with an earlier agent's memory, and the events of that.

    Frozen paths hold as long as the same freeze does. The rest is lengths of time. If the memory
    is from the future or over a day old, they mean nothing and are not used.
    """
    if memory is None:
        return state, ()
    state = replace(state, frozen=dict(memory.frozen))
    age = state.wall - memory.at
    if age > CALM or not (memory.worn or memory.breaches or memory.moves):
        return state, ()
    if age < 0:
        because = (
            f"ignoring saved history of moves and breaches: its time is {-age:.0f} s in the future "
            "(was the clock set?)"
        )
        return state, (Event(event="notice", because=because),)
    settings, then = state.index.settings, state.now - age
    worn = {**state.worn, **{a: level for a, level in memory.worn.items() if a in settings}}
    holds = {
        address: Hold(breaches=past.number, since=then - past.since, ended=then - past.ended)
        for address, past in memory.breaches.items()
        if address in settings
    }
    return (
        replace(
            state,
            ledger=_holding(state.ledger, holds),
            worn={a: damping.bounded(level, settings[a]) for a, level in worn.items()},
            worn_at=then,
            moves=tuple((then - ago, number) for ago, number in memory.moves),
        ),
        (),
    )


def with_holds(ledger: Ledger, before: Ledger, addresses: Iterable[str]) -> Ledger:
    """The ledger in which these addresses have the holds from before, where they had any."""
    known = ((address, before.address(address).hold) for address in addresses)
    return _holding(ledger, {address: hold for address, hold in known if hold is not None})


def _holding(ledger: Ledger, holds: Mapping[str, Hold]) -> Ledger:
    made = {address: replace(ledger.address(address), hold=hold) for address, hold in holds.items()}
    held = ledger.held | made.keys()
    return replace(ledger, addresses={**ledger.addresses, **made}, held=held)
