"""A journal run again through the engine: the same facts, and what comes of them.

With the recorded policies every decision must come out bit for bit as it was written down:
steps, events and plan at every turn, and at every checkpoint the whole world. With other
policies the facts are taken as they are: what was measured while traffic went another way
than it would have gone, how fast was asked, and what live answers showed belong to the plan
that was in force then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steering.decide.state import State
from steering.engine import engine
from steering.engine.migrate import migrate
from steering.journal import setups
from steering.journal.reader import Checkpoint, DamagedError, Recording
from steering.journal.records import Turn, differing, digest
from steering.layout import Layout
from steering.model import Event, Instant, Step, WallTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first thing that came out otherwise than it was recorded."""

    what: str
    recorded: str
    replayed: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rerun:
    """One turn, run again."""

    turn: Turn
    """As it was recorded."""
    state: State
    """After it."""
    steps: tuple[Step, ...]
    events: tuple[Event, ...]
    difference: Difference | None = None

    @property
    def wall(self) -> WallTime:
        """When it was."""
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
        DamagedError: where the journal can't be read on, or the engine can't run what it says.
        ConfigError: where the other policies are wrong.
    """
    state: State | None = None
    unlike: Difference | None = None
    for item in recording.read(since, until):
        if isinstance(item, Checkpoint):
            if policies is not None:
                state = _under(policies, item, state)
            else:
                unlike = _unlike(item, state)
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
        difference = unlike
        if policies is None and difference is None:
            difference = _difference(item, state, steps, events)
        unlike = None
        yield Rerun(turn=item, state=state, steps=steps, events=events, difference=difference)


def _under(policies: Path, begin: Checkpoint, state: State | None) -> State:
    """The world under other policies: at first what was known then, later what it became."""
    layout = Layout.of(setups.with_policies(begin.setup, policies))
    if not begin.state.started:
        return State.blank(layout, begin.now, begin.wall)  # the agent was started anew
    if state is None or not _same_time(state.now, begin.now):
        state = begin.state
    carried, _ = migrate(state, layout, begin.now, begin.wall)
    return carried


def _same_time(one: Instant, other: Instant) -> bool:
    """Whether both are of one clock: it goes on, and begins anew when a host starts."""
    return one <= other


def _unlike(begin: Checkpoint, state: State | None) -> Difference | None:
    if state is None or not begin.follows:
        return None
    where = differing(state, begin.state)
    if where is None:
        return None
    return Difference(
        what=f"the world at a checkpoint: {where}", recorded="another", replayed="than this one"
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
