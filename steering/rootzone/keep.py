"""Keeps the copy, and the one before: written beside and renamed, so one is always whole.

A file's first line says what it is, so that no second file can contradict it. What the sources
showed in the last round is in `last.json`, with the greatest serial that was ever taken: it is the
floor below which nothing is taken, even if the copies are lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from steering.errors import FAILED, CommandError
from steering.model import WallTime
from steering.observe.zone.facts import Copy, Shown, newer
from steering.observe.zone.messages import read_head, seconds_from, whole_from
from steering.system.files import (
    make_directory,
    names_in,
    read_regular,
    sync_directory,
    write_atomically,
)
from steering.system.lockfile import LockFile

ROOT: Final = "."
FOLDER: Final = "rootzone"
"""Below `state`."""
_FILE: Final = "root.zone"
_DRAFT: Final = f".{_FILE}.draft."
_ENTRIES: Final = 1000
"""More files than the directory ever has."""
_SERIALS: Final = 1 << 32
_LARGEST_NOTE: Final = 1 << 20
_MODE: Final = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What came of the last round of asking the sources."""

    time: WallTime
    good: bool
    """A source showed the serial at hand or gave a newer copy, and none had one that is bad."""
    because: str
    shown: tuple[Shown, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is noted beside the copies."""

    floor: int | None = None
    """The serial of the newest copy that was ever taken."""
    last: Round | None = None
    published: Mapping[str, int] = field(default_factory=dict)
    """Resolver's file -> the serial that was published there and answered from."""


class Kept:
    """The directory of the copies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / _FILE
        self.previous = directory / f"{_FILE}.previous"
        self.draft = directory / f"{_DRAFT}{os.getpid()}.{time.monotonic_ns()}"
        """Where a new copy is written. Each process has its own: a child of one that was killed
        may still be writing."""
        self._note = directory / "last.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While one process changes it, no other does. Raises CommandError, OSError."""
        make_directory(self.directory)
        self.directory.chmod(_MODE)
        with LockFile.create(self.directory / "lock") as lock:
            try:
                lock.lock()
            except BlockingIOError:
                because = f"another process is at work in {self.directory}: try again later"
                raise CommandError(FAILED, because) from None
            try:
                yield
            finally:
                self._remove_drafts()

    def copy(self) -> Copy | None:
        """The copy, by the first line of its file; None: there is none, or it can't be read."""
        return read_head(self.file)

    def floor(self) -> int | None:
        """The newest serial that was ever taken; None: none was."""
        known = [self.note().floor, *(_serial(file) for file in (self.file, self.previous))]
        floor = None
        for serial in known:
            if floor is None or (serial is not None and newer(serial, floor)):
                floor = serial
        return floor

    def take(self, copy: Copy) -> None:
        """Puts the draft, which is on the disk, in the place of the copy. Raises OSError.

        Wherever this ends half-way there is a whole copy: the earlier one, or the new one.
        """
        spare = self.previous.with_name(f".{self.previous.name}")
        with contextlib.suppress(FileNotFoundError):
            spare.unlink()
        with contextlib.suppress(FileNotFoundError):  # it is the first copy
            spare.hardlink_to(self.file)
            spare.replace(self.previous)
        self.draft.replace(self.file)
        sync_directory(self.directory)
        self.keep(floor=copy.facts.serial)

    def _remove_drafts(self) -> None:
        """Removes what this process did not use, and what one before it left."""
        with contextlib.suppress(OSError):
            for name in names_in(self.directory, _ENTRIES):
                if name.startswith(_DRAFT):
                    (self.directory / name).unlink(missing_ok=True)

    def note(self) -> Note:
        """What is noted; nothing where the file is missing or can't be read."""
        try:
            made = json.loads(read_regular(self._note, _LARGEST_NOTE))
            last = made["last"]
            return Note(
                floor=None if made["floor"] is None else whole_from(made["floor"], _SERIALS),
                last=None
                if last is None
                else Round(
                    time=seconds_from(last["time"]),
                    good=bool(last["good"]),
                    because=str(last["because"]),
                    shown=tuple(Shown(**one) for one in last["shown"]),
                ),
                published={
                    str(file): whole_from(n, _SERIALS) for file, n in made["published"].items()
                },
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return Note()

    def keep(
        self,
        *,
        last: Round | None = None,
        published: Mapping[str, int] | None = None,
        floor: int | None = None,
    ) -> None:
        """Notes what is given, beside what is noted. Raises OSError."""
        was = self.note()
        now = Note(
            floor=self.floor() if floor is None else floor,
            last=last or was.last,
            published=was.published if published is None else published,
        )
        write_atomically(self._note, json.dumps(asdict(now)), durable=True)


def _serial(file: Path) -> int | None:
    copy = read_head(file)
    return None if copy is None else copy.facts.serial


def directory_of(state: Path) -> Path:
    """Where the copies are, below the agent's `state`."""
    return Path(os.path.abspath(state)) / FOLDER  # noqa: PTH100
