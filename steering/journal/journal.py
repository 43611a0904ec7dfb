"""The journal: every turn written down, by a thread of its own, and never at the agent's cost.

The agent hands over each turn and goes on; a slow disk fills a queue, a full queue loses
turns, and each loss is counted. What becomes of a file that can't be written, `writer` knows.

A turn that does not follow from the one handed over before (the first, the one after a loss,
a reload or a lost lease) begins with a checkpoint: the world before it. So what is written
can always be run again, and what is not is no more than a gap.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from steering.config import Config, Setup
from steering.decide.state import State
from steering.journal.records import Turn, digest
from steering.journal.writer import Item, Writer
from steering.model import Event, Facts, Instant, Seconds, Step

NAME = "journal.sqlite"

CHECKPOINT: Seconds = 3600.0
"""A world is put down at least this often."""
QUEUED = 5_000
"""Turns, questions and tallies that may wait to be written: some 20 MB at the most."""


class Journal:
    """Takes turns from the agent's loop. Nothing here raises, and nothing waits but `close`."""

    def __init__(self, path: Path, *, max_age: Seconds, max_size: int) -> None:
        """Begins writing to `path`.

        Args:
            path: the file, created if missing.
            max_age: seconds after which a turn may be forgotten.
            max_size: bytes that the file takes, but for the segment being written.
        """
        self._writer = Writer(path, max_age=max_age, max_size=max_size)
        self._queue: deque[Item] = deque()
        self._weight = 0
        self._overflown = 0
        self._changed = threading.Condition()
        self._ending = False
        self._after: State | None = None
        self._put_down: Instant = float("-inf")
        # A disk that hangs must not hold up the agent's end.
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
        """Hand over one turn of the engine: what went in and what came out."""
        follows = before is self._after
        due = now - self._put_down >= CHECKPOINT or self._writer.wants_world
        item = Item(
            setup=setup,
            turn=Turn(now=now, facts=facts, steps=steps, events=events, plan=digest(after)),
            before=before if due or not follows else None,
            follows=follows,
        )
        with self._changed:
            if self._queue and self._weight + item.weight > QUEUED:
                self._overflown += 1
                self._after = None
                return
            if item.before is not None:
                self._put_down, self._writer.wants_world = now, False
            self._after = after
            self._queue.append(item)
            self._weight += item.weight
            self._changed.notify()

    def bound(self, *, max_age: Seconds, max_size: int) -> None:
        """Keep to other bounds from the next checkpoint on."""
        self._writer.bound(max_age, max_size)

    @property
    def lost(self) -> int:
        """Turns that were not written."""
        return self._overflown + self._writer.lost

    @property
    def trouble(self) -> str:
        """What is wrong now; empty if nothing is."""
        if self._thread.is_alive() or self._ending:
            return self._writer.trouble
        return "the journal's writer has died of a bug: nothing more is written"

    def news(self) -> tuple[Event, ...]:
        """What became of the file since the last call."""
        told = self._writer.news
        return tuple(told.popleft() for _ in range(len(told)))

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


def kept(journal: Journal | None, config: Config) -> Journal | None:
    """The journal as a configuration wants it: begun, ended, or within other bounds."""
    wanted = config.journal
    if wanted is None:
        if journal is not None:
            journal.close(patience=0.0)
        return None
    if journal is None:
        return Journal(config.state / NAME, max_age=wanted.max_age, max_size=wanted.max_size)
    journal.bound(max_age=wanted.max_age, max_size=wanted.max_size)
    return journal
