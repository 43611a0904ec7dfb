"""The file that holds the configuration of a copy: replaced by a comment, and put back.

The operator's text is kept beside it, in a file whose name ends with `.kept`. Three states are
possible, and a process that dies between two steps leaves one of them:

| the file | `.kept` | |
|---|---|---|
| the operator's text | none | in |
| the operator's text | a copy of it | in: half-way out, or half-way back |
| our comment | the operator's text | out |

Each step writes a whole file beside and renames it, with the owner and permissions of the one that
it replaces, for the resolver has to read it. What an operator has written meanwhile is the
operator's text: it is never overwritten but by the comment, and then kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from steering.act.resolvers.driver import NotDoneError
from steering.model import Seconds
from steering.system import files
from steering.system.lockfile import LockFile
from steering.system.side_thread import aside

MOST: Final = 65_536
"""Octets of the file."""
OUT: Final = "taken out by steering; the text of this file is in"
"""What our comment begins with."""
_EVERY: Final[Seconds] = 0.05


class Include:
    """One such file. Its methods raise NotDoneError, and then the file is in one of its states."""

    def __init__(self, path: Path, *, comment: str, limit: Seconds) -> None:
        """`comment` begins one in the resolver's language; `limit`: of each call to the disk."""
        self.path, self.kept = path, path.with_name(path.name + ".kept")
        self._comment = f"{comment} {_said(path)}".encode()
        self._limit = limit
        self._busy = threading.Lock()

    async def take_out(self) -> None:
        """Replaces the text by the comment, after it was kept; nothing where that is so."""
        await self._aside(self._take_out)

    async def put_back(self) -> None:
        """Brings the text back, which stays kept; nothing where it is there."""
        await self._aside(self._put_back)

    async def forget(self) -> None:
        """Removes what is kept, once the resolver has the text; not where it is out again."""
        await self._aside(self._forget)

    def _take_out(self) -> None:
        text, like = _read(self.path)
        if text != self._comment:
            _write(self.kept, text, like)
            _write(self.path, self._comment, like)

    def _put_back(self) -> None:
        text, _ = _read(self.path)
        if text == self._comment:
            _write(self.path, *_read(self.kept))

    def _forget(self) -> None:
        if _read(self.path)[0] != self._comment:
            files.remove(self.kept)

    async def _aside(self, work: Callable[[], object]) -> None:
        try:
            async with asyncio.timeout(self._limit):
                await aside(lambda: self._alone(work))
        except TimeoutError:
            raise NotDoneError(f"{self.path}: the disk did not answer") from None
        except OSError as error:
            name = error.filename or self.path
            raise NotDoneError(f"{name}: {error.strerror or error}") from None

    def _alone(self, work: Callable[[], object]) -> None:
        """A call that the disk holds up must not be overtaken: it would undo the later one.

        Nor one of another `Include` of this file, in whatever process.
        """
        if not self._busy.acquire(blocking=False):
            raise OSError(None, "an earlier call still waits for the disk", str(self.path))
        try:
            with LockFile.create(self.path.with_name(f".{self.path.name}.lock")) as lock:
                if not lock.wait(self._limit / 2, every=_EVERY):
                    raise OSError(None, "another process is at work on it", str(self.path))
                work()
        finally:
            self._busy.release()


async def holds_comment(path: Path, limit: Seconds) -> bool | None:
    """Whether the file holds our comment, so that the copy is out; None: it can't be read.

    `limit`: of the call to the disk.
    """
    try:
        async with asyncio.timeout(limit):
            text, _ = await aside(lambda: _read(path))
    except OSError:
        return None
    return text.partition(b" ")[2] == _said(path).encode()


def _said(path: Path) -> str:
    """Our comment in the file of this name, without what begins a comment."""
    return f"{OUT} {path.name}.kept\n"


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """A file's text and status. Raises OSError: not for links, whose name would be replaced."""
    if path.is_symlink():
        raise OSError(None, "is a link, wanted the file itself", str(path))
    with files.open_regular(path, within=path.parent) as file:
        return files.read_open(file, MOST), os.fstat(file.fileno())


def _write(path: Path, text: bytes, like: os.stat_result) -> None:
    """Writes a file durably, whole or not at all. Raises OSError.

    The draft begins anew: one that a dead process left is removed, and a link is not followed.
    """
    draft = path.with_name(f".{path.name}.draft")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(draft, flags, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            now = os.fstat(descriptor)
            if (now.st_uid, now.st_gid) != (like.st_uid, like.st_gid):
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    files.sync_directory(path.parent)
