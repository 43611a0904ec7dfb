"""The journal's file: SQLite, one writer, any number of readers.

Turns come in compressed batches. Between batches there are checkpoints: the state before the next
turn, from which a replay can begin. From one checkpoint to the next is a *segment*. The oldest
segments are deleted as a whole, so that the rest can always be replayed from its beginning.

All methods raise sqlite3.Error or OSError; `writer` handles these.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path

from steering import __version__
from steering.journal.records import Batch, pack_batch
from steering.model import Instant, Seconds, WallTime
from steering.system.lockfile import LockFile

APPLICATION = 0x53544A31  # "STJ1": SQLite's application_id, also shown by file(1)
VERSION = 9
"""Version of the tables and of their content, including each field of a state and of facts."""

BUSY: Seconds = 2.0
"""How long to wait for another process that locks the file."""
PARTS = 16
"""A segment takes at most this fraction of the size, so that deleting one loses little."""

_TABLES = """
CREATE TABLE setups (id INTEGER PRIMARY KEY, version TEXT NOT NULL, text BLOB NOT NULL);
CREATE TABLE checkpoints (
    turn INTEGER PRIMARY KEY,       -- the state before this turn
    setup INTEGER NOT NULL,
    follows INTEGER NOT NULL,       -- 1: it is also the state after the turn before
    wall REAL NOT NULL, now REAL NOT NULL,
    world BLOB NOT NULL);
CREATE TABLE batches (
    first INTEGER PRIMARY KEY, last INTEGER NOT NULL,
    wall REAL NOT NULL, until REAL NOT NULL,
    turns BLOB NOT NULL);
"""


class VersionError(sqlite3.DatabaseError):
    """A file of another version, or of another program."""


class Store:
    """The open file, for the writer."""

    def __init__(self, path: Path, *, max_age: Seconds, max_size: int) -> None:
        """Opens or creates it.

        Raises sqlite3.Error, OSError; BlockingIOError where another process writes it, VersionError
        for a stranger's.
        """
        self.path, self.max_age, self.max_size = path, max_age, max_size
        self.segment = 0
        """Bytes written since the latest checkpoint."""
        self._closing = contextlib.ExitStack()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # On a file of its own: closing any descriptor of the database would end SQLite's own
            # locks (sqlite.org/howtocorrupt.html, section 2.2).
            lock = LockFile.create(path.with_name(path.name + ".lock"))
            self._closing.enter_context(lock).lock()
            self._base = self._closing.enter_context(contextlib.closing(_connect(path)))
            self._inode = path.stat().st_ino
            # A checkpoint at the end may have no turns yet: the next one replaces it.
            last, start = "SELECT max(last) FROM batches", "SELECT max(turn) FROM checkpoints"
            self.next = max(1, int(self._one(last)) + 1, int(self._one(start)))
        except BaseException:
            self._closing.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._closing.close()

    @property
    def replaced(self) -> bool:
        """Whether the file at the path was removed or replaced."""
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def setup(self, text: str) -> int:
        """The number of a setup, new or known."""
        packed = zlib.compress(text.encode())
        known = self._one(
            "SELECT max(id) FROM setups WHERE text = ? AND version = ?", packed, __version__
        )
        if known:
            return int(known)
        with self._base:
            made = self._base.execute(
                "INSERT INTO setups (version, text) VALUES (?, ?)", (__version__, packed)
            )
        return int(made.lastrowid or 0)

    def checkpoint(
        self, state: bytes, *, setup: int, follows: bool, wall: WallTime, now: Instant
    ) -> None:
        """Write the state before the next turn, and delete segments above the limits."""
        with self._base:
            self._base.execute(
                "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)",
                (self.next, setup, follows, wall, now, state),
            )
        self.segment = len(state)
        self._delete_old(wall)

    def append(
        self, turns: Batch | Iterable[bytes], *, count: int, wall: WallTime, until: WallTime
    ) -> int:
        """Write one batch of turns, or the lines of one. Returns its size in bytes."""
        packed = turns.packed() if isinstance(turns, Batch) else pack_batch(turns)
        with self._base:
            self._base.execute(
                "INSERT INTO batches VALUES (?, ?, ?, ?, ?)",
                (self.next, self.next + count - 1, wall, until, packed),
            )
        self.next += count
        self.segment += len(packed)
        return len(packed)

    @property
    def full_segment(self) -> bool:
        """Whether the segment is large enough for a checkpoint before the hour is over."""
        return self.segment > self.max_size // PARTS

    def _delete_old(self, wall: WallTime) -> None:
        # At most two segments for age, which is enough to reach a shorter limit over time: a clock
        # that jumps ahead for a minute must not delete the whole journal.
        for _ in range(2):
            starts = self._starts()
            if len(starts) < 2:
                break
            ended = self._one("SELECT max(until) FROM batches WHERE first < ?", starts[1])
            if wall - ended <= self.max_age:
                break
            self._drop_before(starts[1])
        while self._size() > self.max_size and len(starts := self._starts()) > 1:
            self._drop_before(starts[1])

    def _starts(self) -> list[int]:
        rows = self._base.execute("SELECT turn FROM checkpoints ORDER BY turn LIMIT 2")
        return [turn for (turn,) in rows]

    def _drop_before(self, turn: int) -> None:
        with self._base:
            self._base.execute("DELETE FROM batches WHERE first < ?", (turn,))
            self._base.execute("DELETE FROM checkpoints WHERE turn < ?", (turn,))
            self._base.execute(
                "DELETE FROM setups WHERE id NOT IN (SELECT setup FROM checkpoints)"
                " AND id < (SELECT max(id) FROM setups)"
            )
        self._base.execute("PRAGMA incremental_vacuum").fetchall()

    def _size(self) -> int:
        pages, free, size = (
            int(self._one(f"PRAGMA {name}"))
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _one(self, query: str, *values: object) -> float:
        """The number that a query returns; 0 for none."""
        (value,) = self._base.execute(query, values).fetchone()
        return value or 0


def files_of(path: Path) -> tuple[Path, ...]:
    """The file and the others that SQLite keeps beside it."""
    return tuple(path.with_name(path.name + end) for end in ("", "-wal", "-shm"))


def _connect(path: Path) -> sqlite3.Connection:
    # It contains failed names, some of which clients asked for: only its owner may read it. SQLite
    # gives the files beside it the same mode.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    # A single thread opens, uses and closes it.
    base = sqlite3.connect(path, timeout=BUSY)
    try:
        tables = known_tables(base)
        if not tables:
            base.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must precede the first table
        for setting in (
            "journal_mode = WAL",  # readers and the writer don't wait for each other
            "synchronous = NORMAL",  # a loss of power costs the last minutes, not the file
            "cache_size = -512",
            f"journal_size_limit = {1 << 20}",
        ):
            base.execute(f"PRAGMA {setting}").fetchall()
        if not tables:
            base.executescript(
                f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION};"
                f" PRAGMA application_id = {APPLICATION}; COMMIT;"
            )
    except BaseException:
        base.close()
        raise
    return base


def known_tables(base: sqlite3.Connection) -> int:
    """The number of tables. Raises VersionError if they are of another version."""
    version, application, tables = (
        base.execute(query).fetchone()[0]
        for query in (
            "PRAGMA user_version",
            "PRAGMA application_id",
            "SELECT count(*) FROM sqlite_schema",
        )
    )
    if tables and (application != APPLICATION or version != VERSION):
        whose = f"version {version}" if application == APPLICATION else "another program"
        raise VersionError(f"it is of {whose}, wanted version {VERSION}")
    return int(tables)
