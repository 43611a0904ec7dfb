"""Reads a journal: checkpoints and turns in order, also while an agent writes it.

It is opened read-only. Every query is a transaction of its own, so that a long replay delays
neither writing nor deleting. The content is not trusted: a part that can't be read raises a
DamagedError with its place.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from steering.config import Setup
from steering.decide.state import State
from steering.index import Index
from steering.journal import setups
from steering.journal.codec import ForeignError
from steering.journal.records import Turn, unpack_batch, unpack_state
from steering.journal.store import VersionError, known_tables
from steering.model import Instant, WallTime

_KINDS = {"i": int, "r": float, "t": str, "b": bytes}
_FOREVER = 1 << 62


class DamagedError(Exception):
    """The journal can't be read, or not any further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint: the state before the next turn, and the setup from then on."""

    number: int
    """The number of the next turn."""
    wall: WallTime
    now: Instant
    follows: bool
    """Whether it is also the state after the turn before."""
    version: str
    """Version of the program that wrote it."""
    setup: Setup
    index: Index
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The period and the number of turns of a journal."""

    since: WallTime
    until: WallTime
    turns: int


class Recording:
    """An open journal."""

    def __init__(self, path: Path) -> None:
        """Opens it. Raises DamagedError if there is no readable journal."""
        self.path = path
        self._base = _open(path)
        self._setups: dict[int, tuple[str, Setup, Index]] = {}

    def close(self) -> None:
        """Close it."""
        self._base.close()

    def span(self) -> Span:
        """From the first turn to the last. Raises DamagedError if there is no turn."""
        row = self._one("SELECT min(wall), max(until), sum(last - first + 1) FROM batches", "rri")
        if row is None:
            raise DamagedError(f"{self.path}: there is no turn in it")
        return Span(since=row[0], until=row[1], turns=row[2])

    def read(
        self, since: WallTime | None = None, until: WallTime | None = None
    ) -> Iterator[Checkpoint | Turn]:
        """Checkpoints and turns, from the latest checkpoint before `since`, if there is one.

        Raises DamagedError at a part that can't be read.
        """
        number = self._start(since)
        while (begin := self._checkpoint(number)) is not None:
            if until is not None and begin.wall > until:
                return
            yield begin
            number = begin.number
            following = self._one("SELECT min(turn) FROM checkpoints WHERE turn > ?", "i", number)
            end = following[0] if following else _FOREVER
            for batch in self._batches(number, end):
                for turn in batch:
                    if until is not None and turn.facts.wall > until:
                        return
                    yield turn
            number = end

    def _start(self, since: WallTime | None) -> int:
        row = self._one(
            "SELECT coalesce((SELECT max(turn) FROM checkpoints WHERE wall <= ?),"
            " (SELECT min(turn) FROM checkpoints))",
            "i",
            float("-inf") if since is None else since,
        )
        if row is None:
            raise DamagedError(f"{self.path}: there is nothing in it to begin from")
        return int(row[0])

    def _checkpoint(self, number: int) -> Checkpoint | None:
        row = self._one(
            "SELECT turn, setup, follows, wall, now, world FROM checkpoints"
            " WHERE turn >= ? ORDER BY turn LIMIT 1",
            "iiirrb",
            number,
        )
        if row is None:
            return None
        turn, setup, follows, wall, now, packed = row
        with self._damage_in(f"the checkpoint before turn {turn}"):
            version, known, index = self._setup(setup)
            return Checkpoint(
                number=turn,
                wall=wall,
                now=now,
                follows=bool(follows),
                version=version,
                setup=known,
                index=index,
                state=unpack_state(packed, index),
            )

    def _batches(self, start: int, end: int) -> Iterator[Iterator[Turn]]:
        """The batches between two checkpoints. Each is read after the one before is used."""
        at = start
        while True:
            row = self._one(
                "SELECT first, last, turns FROM batches WHERE first >= ? AND first < ?"
                " ORDER BY first LIMIT 1",
                "iib",
                at,
                end,
            )
            if row is None:
                return
            first, last, packed = row
            if first != at:
                raise DamagedError(
                    f"{self.path}: turn {at} is missing (deleted meanwhile, or never written)"
                )
            yield self._batch(first, last, packed)
            at = last + 1

    def _batch(self, first: int, last: int, packed: bytes) -> Iterator[Turn]:
        with self._damage_in(f"turns {first} to {last}"):
            turns = list(unpack_batch(packed))
            if len(turns) != last - first + 1:
                raise ForeignError(f"{len(turns)} turns are in it")
        yield from turns

    def _setup(self, number: int) -> tuple[str, Setup, Index]:
        if number not in self._setups:
            row = self._one("SELECT version, text FROM setups WHERE id = ?", "tb", number)
            if row is None:
                raise ForeignError(f"setup {number} is missing")
            try:
                text = zlib.decompress(row[1]).decode()
            except (zlib.error, UnicodeDecodeError) as error:
                raise ForeignError(f"setup {number} can't be unpacked: {error}") from None
            setup = setups.read(text)
            self._setups[number] = (row[0], setup, Index.of(setup))
        return self._setups[number]

    def _one(self, query: str, kinds: str, *values: object) -> tuple[Any, ...] | None:
        """One row whose columns have these types, a letter each (`_KINDS`); None: no row."""
        try:
            row: tuple[Any, ...] | None = self._base.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise DamagedError(f"{self.path}: can't be read: {error}") from None
        if row is None or row[0] is None:  # an aggregate of nothing
            return None
        if not all(isinstance(v, _KINDS[kind]) for v, kind in zip(row, kinds, strict=True)):
            raise DamagedError(f"{self.path}: can't be read: it has a value of a wrong type")
        return row

    @contextlib.contextmanager
    def _damage_in(self, part: str) -> Iterator[None]:
        """Turn a ForeignError into a DamagedError with the name of the part."""
        try:
            yield
        except ForeignError as error:
            raise DamagedError(f"{self.path}: {part}: {error}") from None


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise DamagedError(f"{path}: there is no such file")
    problems = []
    # `immutable` reads a copy in a directory where SQLite can't create its other files.
    for how in ("mode=ro", "mode=ro&immutable=1"):
        base = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True, timeout=5.0)
        try:
            if not known_tables(base):
                raise VersionError("it is empty")
        except sqlite3.OperationalError as error:
            base.close()
            problems.append(str(error))
        except sqlite3.Error as error:
            base.close()
            raise DamagedError(f"{path}: is no journal of steering: {error}") from None
        else:
            return base
    raise DamagedError(f"{path}: can't be opened: {problems[0]}")
