"""The journal as the agent uses it: a thread writes every turn, so that the agent never waits.

The agent hands over each turn and goes on. A slow disk fills the queue, a full queue drops turns,
and each dropped turn is counted. `writer` handles a file that can't be written.

A turn that does not follow from the one handed over before (the first one, or the one after a loss,
a reload or a lost lease) begins with a checkpoint: the state before it. So everything that is
written can be replayed, and a loss is only a gap.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from steering.config import Config, Setup
from steering.decide.state import State
from steering.facts import Facts
from steering.journal.records import Turn, digest
from steering.journal.writer import Item, Writer
from steering.model import Event, Instant, Seconds, Step

NAME = "journal.sqlite"

CHECKPOINT: Seconds = 3600.0
"""Seconds between two checkpoints at the most."""
QUEUED = 5_000
"""Turns, questions and tallies that may wait to be written: at most some 20 MB."""


class Journal:
    """Takes turns from the agent's loop. No method raises, and only `close` waits."""

    def __init__(self, path: Path, *, max_age: Seconds, max_size: int) -> None:
        """Begins writing to `path`.

        Args:
            path: the file, created if missing.
            max_age: seconds after which a turn may be deleted.
            max_size: bytes that the file may take, without the segment being written.
        """
        self._writer = Writer(path, max_age=max_age, max_size=max_size)
        self._queue: deque[Item] = deque()
        self._weight = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._ending = False
        self._after: State | None = None
        self._digest = ""
        """Of the plan and rules in it; most turns change neither."""
        self._checkpoint_at: Instant = float("-inf")
        # A daemon thread: a disk that hangs must not delay the agent's end.
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def note(
        self,
        setup: Setup,
        facts: Facts,
        now: Instant,
        *,
        before: State,
        after: State,
        steps: tuple[Step, ...],
        events: tuple[Event, ...],
    ) -> None:
        """Hand over one turn of the engine: its inputs and results."""
        follows = before is self._after
        if not (follows and after.plan is before.plan and after.rule is before.rule):
            self._digest = digest(after)
        due = now - self._checkpoint_at >= CHECKPOINT or self._writer.wants_checkpoint
        item = Item(
            setup=setup,
            turn=Turn(now=now, facts=facts, steps=steps, events=events, plan=self._digest),
            before=before if due or not follows else None,
            follows=follows,
        )
        with self._changed:
            if self._queue and self._weight + item.weight > QUEUED:
                self._dropped += 1
                self._after = None
                return
            if item.before is not None:
                self._checkpoint_at, self._writer.wants_checkpoint = now, False
            self._after = after
            self._queue.append(item)
            self._weight += item.weight
            self._changed.notify()

    def set_limits(self, *, max_age: Seconds, max_size: int) -> None:
        """Set other limits, from the next checkpoint on."""
        self._writer.set_limits(max_age, max_size)

    @property
    def lost(self) -> int:
        """Turns that were not written."""
        return self._dropped + self._writer.lost

    @property
    def trouble(self) -> str:
        """The problem now; empty if there is none."""
        if self._thread.is_alive() or self._ending:
            return self._writer.trouble
        return "the journal's writer has ended by a bug: nothing more is written"

    def news(self) -> tuple[Event, ...]:
        """Events about the file since the last call."""
        events = self._writer.news
        return tuple(events.popleft() for _ in range(len(events)))

    def close(self, patience: Seconds = 2.0) -> None:
        """Write what is left, unless the disk takes longer than `patience` for it."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(patience)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ending, self._writer.patience)
                items = tuple(self._queue)
                self._queue.clear()
                self._weight = 0
                ending = self._ending
            for item in items:
                self._writer.take(item)
            if ending:
                self._writer.close()
                return
            self._writer.tick()


def journal_for(journal: Journal | None, config: Config) -> Journal | None:
    """The journal for a configuration: a new one, the same with its limits, or None."""
    wanted = config.journal
    if wanted is None:
        if journal is not None:
            journal.close(patience=0.0)
        return None
    if journal is None:
        return Journal(config.state / NAME, max_age=wanted.max_age, max_size=wanted.max_size)
    journal.set_limits(max_age=wanted.max_age, max_size=wanted.max_size)
    return journal
