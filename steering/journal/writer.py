"""Writes turns into the journal's file, and handles its failures.

A file that is damaged or of another version is renamed, and a new one begins. On a full disk the
file is removed, since the off switch needs the same disk, and a new one is tried. After any other
error (locked, read-only, no such directory) it tries again. Turns that are lost meanwhile are
counted.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from steering.config import Setup
from steering.decide.state import State
from steering.journal import setups
from steering.journal.records import Batch, Turn, pack_state
from steering.journal.store import Store, VersionError, files_of
from steering.model import Event, Instant, Seconds

BATCH = 4_096
LATEST: Seconds = 30.0
"""Turns, questions and tallies in a batch, and seconds until it is written. Similar turns compress
well together. A turn with events or steps is written at once."""
AGAIN: Seconds = 10.0
"""Seconds until the next try after a failure."""
ALARM_TIME: Seconds = 60.0
"""The least time of an alarm in seconds, so that operators can see it."""
ASIDE = 2
"""Damaged files that are kept: they take room beyond the journal's limit."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT})
_DAMAGED |= {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_FORMAT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One turn on its way to the file."""

    setup: Setup
    turn: Turn
    before: State | None
    """The state for a checkpoint before it."""
    follows: bool
    """Whether it follows the turn that was handed over before."""

    @property
    def weight(self) -> int:
        """Its turns, questions and tallies, as a measure of memory."""
        return 1 + len(self.turn.facts.rounds) + len(self.turn.facts.heard)


class Writer:
    """Owns the file. All methods but `set_limits` are called by one thread."""

    def __init__(self, path: Path, *, max_age: Seconds, max_size: int) -> None:
        self.path, self.max_age, self.max_size = path, max_age, max_size
        self.trouble = ""
        """The problem now; empty if there is none."""
        self.lost = 0
        self.news: deque[Event] = deque(maxlen=16)
        self.wants_checkpoint = False
        """The next turn should come with a checkpoint."""
        self._store: Store | None = None
        self._retry_at: Instant = float("-inf")
        self._alarm_until: Instant = float("-inf")
        self._in_sequence = False
        """Whether the next turn that `follows` can be appended."""
        self._setup: Setup | None = None
        self._number = 0
        self._batch = Batch()
        self._batch_since: Instant = 0.0

    @property
    def patience(self) -> Seconds:
        """Seconds until there is something to do if no turn comes."""
        return (
            max(0.0, self._batch_since + LATEST - time.monotonic()) if self._batch.count else AGAIN
        )

    def set_limits(self, max_age: Seconds, max_size: int) -> None:
        """Set other limits; may be called by any thread."""
        self.max_age, self.max_size = max_age, max_size
        if (store := self._store) is not None:
            store.max_age, store.max_size = max_age, max_size

    def take(self, item: Item) -> None:
        """Write one turn, or count it as lost."""
        if item.before is not None or not item.follows:
            self._flush()
            self._in_sequence = item.before is not None and self._checkpoint(item, item.before)
        if not self._in_sequence:
            self.lost += 1
            return
        if not self._batch.count:
            self._batch_since = time.monotonic()
        self._batch.add(item.turn)
        if item.turn.events or item.turn.steps or self._batch.weight >= BATCH:
            self._flush()

    def tick(self) -> None:
        """Write a batch that has waited long enough; open the file if it is not open."""
        if self._batch.count and time.monotonic() - self._batch_since >= LATEST:
            self._flush()
        self._open()

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._flush()
        self._close_file()

    def _checkpoint(self, item: Item, state: State) -> bool:
        store = self._open()
        if store is None:
            return False
        try:
            if item.setup is not self._setup:
                self._number = store.setup(setups.write(item.setup))
                self._setup = item.setup
            store.checkpoint(
                pack_state(state),
                setup=self._number,
                follows=item.follows and self._in_sequence,
                wall=item.turn.facts.wall,
                now=item.turn.now,
            )
        except (sqlite3.Error, OSError) as error:
            self._close_after(error)
            return False
        return True

    def _flush(self) -> None:
        batch, self._batch = self._batch, Batch()
        if not batch.count or self._store is None:
            self.lost += batch.count
            return
        try:
            self._store.append(batch, count=batch.count, wall=batch.wall, until=batch.until)
        except (sqlite3.Error, OSError) as error:
            self.lost += batch.count
            self._close_after(error)
            return
        if self.trouble and time.monotonic() >= self._alarm_until:
            self.trouble = ""
        self.wants_checkpoint |= self._store.full_segment
        if self._store.replaced:
            self._add_event(f"{self.path} was removed or replaced: a new journal begins")
            self._close_file()
            self._open()

    def _open(self) -> Store | None:
        if self._store is None and time.monotonic() >= self._retry_at:
            try:
                self._store = Store(self.path, max_age=self.max_age, max_size=self.max_size)
            except (sqlite3.Error, OSError) as error:
                self._close_after(error)
            else:
                self.wants_checkpoint = True
                if self.trouble:
                    self._add_event(f"{self.path} is written again")
        return self._store

    def _close_file(self) -> None:
        self._in_sequence, self._setup = False, None
        store, self._store = self._store, None
        if store is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                store.close()

    def _close_after(self, error: sqlite3.Error | OSError) -> None:
        """Close the file, then rename or remove it, depending on the error."""
        self._close_file()
        self._retry_at = time.monotonic() + AGAIN
        self._alarm_until = time.monotonic() + ALARM_TIME
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without SQLite's extension of it
        text = f"{self.path} can't be written: {error}"
        try:
            if isinstance(error, VersionError) or code in _DAMAGED:
                text = f"{self.path} is renamed to {self._set_aside().name}: {error}"
                self._retry_at = float("-inf")
            elif code == sqlite3.SQLITE_FULL:
                for file in files_of(self.path):
                    file.unlink(missing_ok=True)
                text = f"{self.path} is removed to free space: {error}"
        except OSError as worse:
            text += f"; it can't be renamed or removed either: {worse.strerror}"
        if isinstance(error, BlockingIOError):
            text = f"{self.path} is written by another process"
        if text != self.trouble:
            self._add_event(text)
        self.trouble = text

    def _set_aside(self) -> Path:
        """Rename the file, and remove older renamed ones. Raises OSError."""
        stamp = dt.datetime.now(tz=dt.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = self.path.with_name(f"{self.path.stem}.damaged-{stamp}{self.path.suffix}")
        for file, to in zip(files_of(self.path), files_of(aside), strict=True):
            with contextlib.suppress(FileNotFoundError):
                file.rename(to)
        older = sorted(self.path.parent.glob(f"{self.path.stem}.damaged-*{self.path.suffix}"))
        for one in older[:-ASIDE]:
            for file in files_of(one):
                file.unlink(missing_ok=True)
        return aside

    def _add_event(self, because: str) -> None:
        self.news.append(Event(event="journal", because=because))
