"""The writer: turns into the file, and what becomes of the file when that fails.

Damaged, or of another version: set aside under another name, a new one begun. Disk full:
removed, since the disk also holds the off switch, and a new one tried. Anything else (locked,
read-only, no such directory): tried again. Meanwhile turns are lost, and counted.
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
from steering.journal.records import Batch, Turn, pack_world
from steering.journal.store import Store, VersionError, files_of
from steering.model import Event, Instant, Seconds

BATCH = 4_096
LATEST: Seconds = 30.0
"""Turns, questions and tallies in a batch, and how long they wait for company: alike, they are
small together. What tells of something goes at once."""
AGAIN: Seconds = 10.0
"""What can't be written is tried again after this long."""
TROUBLED: Seconds = 60.0
"""How long an alarm lasts at the least, so that somebody can see it."""
ASIDE = 2
"""Damaged files that are kept: they take room that the journal was not given."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT})
_DAMAGED |= {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_FORMAT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One turn on its way to the file."""

    setup: Setup
    turn: Turn
    before: State | None
    """The world to put down in front of it."""
    follows: bool
    """It continues what was handed over before."""

    @property
    def weight(self) -> int:
        """What it takes up while it waits."""
        return 1 + len(self.turn.facts.rounds) + len(self.turn.facts.heard)


class Writer:
    """Owns the file. All methods but `bound` are called by one thread."""

    def __init__(self, path: Path, *, max_age: Seconds, max_size: int) -> None:
        self.path, self.max_age, self.max_size = path, max_age, max_size
        self.trouble = ""
        """What is wrong now; empty if nothing is."""
        self.lost = 0
        self.news: deque[Event] = deque(maxlen=16)
        self.wants_world = False
        """The next turn should come with a world."""
        self._store: Store | None = None
        self._try_at: Instant = float("-inf")
        self._troubled_until: Instant = float("-inf")
        self._goes_on = False
        """The next turn that follows continues what is in the file."""
        self._setup: Setup | None = None
        self._number = 0
        self._batch = Batch()
        self._since: Instant = 0.0

    @property
    def patience(self) -> Seconds:
        """How long there is nothing to do if nothing comes in."""
        return max(0.0, self._since + LATEST - time.monotonic()) if self._batch.count else AGAIN

    def bound(self, max_age: Seconds, max_size: int) -> None:
        """Keep to other bounds; from any thread."""
        self.max_age, self.max_size = max_age, max_size
        if (store := self._store) is not None:
            store.max_age, store.max_size = max_age, max_size

    def take(self, item: Item) -> None:
        """Write one turn, or count it as lost."""
        if item.before is not None or not item.follows:
            self._flush()
            self._goes_on = item.before is not None and self._checkpoint(item, item.before)
        if not self._goes_on:
            self.lost += 1
            return
        if not self._batch.count:
            self._since = time.monotonic()
        self._batch.add(item.turn)
        if item.turn.events or item.turn.steps or self._batch.weight >= BATCH:
            self._flush()

    def tick(self) -> None:
        """Write what has waited long enough; see to a file that is not there."""
        if self._batch.count and time.monotonic() - self._since >= LATEST:
            self._flush()
        self._open()

    def close(self) -> None:
        """Write what is left and let go of the file."""
        self._flush()
        self._shut()

    def _checkpoint(self, item: Item, state: State) -> bool:
        store = self._open()
        if store is None:
            return False
        try:
            if item.setup is not self._setup:
                self._number = store.setup(setups.write(item.setup))
                self._setup = item.setup
            store.checkpoint(
                pack_world(state),
                setup=self._number,
                follows=item.follows and self._goes_on,
                wall=item.turn.facts.wall,
                now=item.turn.now,
            )
        except (sqlite3.Error, OSError) as error:
            self._give_way(error)
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
            self._give_way(error)
            return
        if self.trouble and time.monotonic() >= self._troubled_until:
            self.trouble = ""
        self.wants_world |= self._store.full_segment
        if self._store.gone:
            self._tell(f"{self.path} was removed or replaced: a new one is begun")
            self._shut()
            self._open()

    def _open(self) -> Store | None:
        if self._store is None and time.monotonic() >= self._try_at:
            try:
                self._store = Store(self.path, max_age=self.max_age, max_size=self.max_size)
            except (sqlite3.Error, OSError) as error:
                self._give_way(error)
            else:
                self.wants_world = True
                if self.trouble:
                    self._tell(f"{self.path} is written again")
        return self._store

    def _shut(self) -> None:
        self._goes_on, self._setup = False, None
        store, self._store = self._store, None
        if store is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                store.close()

    def _give_way(self, error: sqlite3.Error | OSError) -> None:
        """Let go of the file, and do with it what the error asks for."""
        self._shut()
        self._try_at = time.monotonic() + AGAIN
        self._troubled_until = time.monotonic() + TROUBLED
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without SQLite's extension of it
        text = f"{self.path} can't be written: {error}"
        try:
            if isinstance(error, VersionError) or code in _DAMAGED:
                text = f"{self.path} is set aside as {self._set_aside().name}: {error}"
                self._try_at = float("-inf")
            elif code == sqlite3.SQLITE_FULL:
                for file in files_of(self.path):
                    file.unlink(missing_ok=True)
                text = f"{self.path} is dropped, so that there is room again: {error}"
        except OSError as worse:
            text += f", and not be moved away: {worse.strerror}"
        if isinstance(error, BlockingIOError):
            text = f"{self.path} is written by another process"
        if text != self.trouble:
            self._tell(text)
        self.trouble = text

    def _set_aside(self) -> Path:
        """Rename the file, and forget those set aside long ago. Raises OSError."""
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

    def _tell(self, because: str) -> None:
        self.news.append(Event(event="journal", because=because))
