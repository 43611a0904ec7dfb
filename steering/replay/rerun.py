"""Runs a journal through the engine again: the same facts, and the decisions that follow.

With the recorded policies every decision must be equal to the recorded one, bit for bit: steps,
events and plan of every turn, and the whole state at every checkpoint. With other policies the
recorded facts are used unchanged: the measurements over a path, the rate of probing, and the live
answers belong to the plan that was in force then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steering.decide.state import State
from steering.engine import engine
from steering.engine.migrate import migrate
from steering.index import Index
from steering.journal import setups
from steering.journal.reader import Checkpoint, DamagedError, Recording
from steering.journal.records import Turn, differing, digest
from steering.model import Event, Instant, Step, WallTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first result that differs from the recorded one."""

    what: str
    recorded: str
    replayed: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rerun:
    """One turn, run again."""

    turn: Turn
    """The recorded turn."""
    state: State
    """The state after it."""
    steps: tuple[Step, ...]
    events: tuple[Event, ...]
    difference: Difference | None = None

    @property
    def wall(self) -> WallTime:
        """The wall time of the turn."""
        return self.turn.facts.wall


def rerun(
    recording: Recording,
    *,
    policies: Path | None = None,
    since: WallTime | None = None,
    until: WallTime | None = None,
) -> Iterator[Rerun]:
    """Every turn from the last checkpoint before `since`.

    Raises:
        DamagedError: the journal can't be read on, or the engine can't run its facts.
        ConfigError: the other policies have problems.
    """
    state: State | None = None
    differs: Difference | None = None
    for item in recording.read(since, until):
        if isinstance(item, Checkpoint):
            if policies is not None:
                state = _with_policies(policies, item, state)
            else:
                differs = _state_difference(item, state)
                state = item.state
            continue
        if state is None:
            raise DamagedError(f"{recording.path}: it does not begin with a checkpoint")
        try:
            state, steps, events = engine.turn(state, item.facts, item.now)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise DamagedError(
                f"{recording.path}: the engine can't run these facts: {error!r}"
            ) from error
        difference = differs
        if policies is None and difference is None:
            difference = _difference(item, state, steps, events)
        differs = None
        yield Rerun(turn=item, state=state, steps=steps, events=events, difference=difference)


def _with_policies(policies: Path, begin: Checkpoint, state: State | None) -> State:
    """The state with other policies: of the first checkpoint, later the one that has evolved."""
    index = Index.of(setups.with_policies(begin.setup, policies))
    if not begin.state.started:
        return State.blank(index, begin.now, begin.wall)  # the agent was restarted
    if state is None or not _same_time(state.now, begin.now):
        state = begin.state
    carried, _ = migrate(state, index, begin.now, begin.wall)
    return carried


def _same_time(one: Instant, other: Instant) -> bool:
    """Whether both can be of one clock: it goes on, and begins anew when a host starts."""
    return one <= other


def _state_difference(begin: Checkpoint, state: State | None) -> Difference | None:
    if state is None or not begin.follows:
        return None
    where = differing(state, begin.state)
    if where is None:
        return None
    return Difference(
        what=f"the state at a checkpoint ({where})", recorded="another value", replayed="this one"
    )


def _difference(
    recorded: Turn, state: State, steps: tuple[Step, ...], events: tuple[Event, ...]
) -> Difference | None:
    for what, was, now in (
        ("step", recorded.steps, steps),
        ("event", recorded.events, events),
        ("plan or rules (digest)", (recorded.plan,), (digest(state),)),
    ):
        for at in range(max(len(was), len(now))):
            one, other = was[at : at + 1], now[at : at + 1]
            if repr(one) != repr(other):
                return Difference(what=what, recorded=_shown(one), replayed=_shown(other))
    return None


def _shown(items: tuple[Step | Event | str, ...]) -> str:
    return str(items[0]) if items else "nothing"
