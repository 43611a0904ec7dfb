"""The directory of the overrides that commands write: one file for each, always complete.

A file is written under a name that the agent does not read, flushed to the disk, and renamed; it
gets the owner of the directory. A command that stops half-way leaves at most such a draft. Two
commands at once wait for each other.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from steering.config.override_files import FOLDER
from steering.model import Seconds
from steering.system.files import sync_directory
from steering.system.lockfile import LockFile

_WAITS: Seconds = 5.0
_LOOK_AGAIN: Seconds = 0.02


class OverrideDirectory:
    """`overrides.d` below one directory of policies."""

    def __init__(self, policies: Path) -> None:
        self.folder = policies / FOLDER

    def place(self, name: str) -> Path:
        """The path of the file for the override of this name."""
        return self.folder / f"{name}.yaml"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Locks the directory against other commands. Makes it if it is missing.

        Raises TimeoutError if another command holds the lock for seconds, OSError if the directory
        can't be used.
        """
        self._make()
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        with LockFile(os.open(self.folder, flags)) as lock:
            if not lock.wait(_WAITS, every=_LOOK_AGAIN):
                raise TimeoutError(
                    f"another command has been writing in {self.folder} for {_WAITS:g} s"
                )
            yield

    def put(self, place: Path, text: str) -> None:
        """Writes or replaces a file. Only within `alone`.

        Raises OSError, with nothing changed; except in the last step, where the file is in place
        but may not be on the disk: the message says so.
        """
        draft = place.with_name(f".{place.stem}.draft")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()  # of one that was killed
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(draft, flags, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                _as_its_directory(file.fileno(), self.folder)
                os.fsync(file.fileno())
            draft.replace(place)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise OSError(error.errno, error.strerror, str(place)) from error
        self._settle(f"{place} is in force")

    def take(self, place: Path) -> None:
        """Removes a file. Raises OSError, as `put` does. Only within `alone`."""
        place.unlink()
        self._settle(f"{place} is gone")

    def _make(self) -> None:
        try:
            self.folder.mkdir(mode=0o700)
        except FileExistsError:
            return
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _as_its_directory(descriptor, self.folder.parent)
        finally:
            os.close(descriptor)
        sync_directory(self.folder.parent)

    def _settle(self, what: str) -> None:
        try:
            sync_directory(self.folder)
        except OSError as error:
            raise OSError(
                error.errno, f"{what}, but may not be after a crash of this host: {error.strerror}"
            ) from error


def _as_its_directory(descriptor: int, directory: Path) -> None:
    """Gives it the owner and the permissions of its directory.

    So the users who may read or replace the other files may do so with this one, above all the
    agent.
    """
    above = directory.stat()
    mode = stat.S_IMODE(above.st_mode) & 0o777
    os.fchmod(descriptor, mode if stat.S_ISDIR(os.fstat(descriptor).st_mode) else mode & 0o666)
    if os.geteuid() == 0:
        os.fchown(descriptor, above.st_uid, above.st_gid)
