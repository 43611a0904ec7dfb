"""A file that a process holds locked for as long as it is there (flock(2)).

The lock belongs to one opening of the file, not to a process nor to a name:

- It lasts until the last descriptor of that opening is closed. The end of the process closes its
  own, SIGKILL included. A forked child has a copy and holds the lock as well until it closes that
  (`system.child` and `report.http.fork` close theirs first). An executed program has none, since
  the descriptors here are O_CLOEXEC, but where `keep_over_exec` is called.
- To close another opening of the same file ends nothing, unlike with the locks of fcntl(2). SQLite
  has locks of that kind on its database, and to close any descriptor of it would end them: a lock
  beside SQLite's needs a file of its own.
- It is on the inode. After the file is removed or replaced, its holder has a file that no
  other process finds (`is_at`), and another process may hold the new one.
- Whoever may open the file, if only for reading, may lock it. So it is made for its owner alone.

Nothing here is closed by the garbage collector: a lock that is forgotten is held.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from steering.model import Seconds


class LockFile:
    """One opening of a lock file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def create(cls, path: Path) -> Self:
        """Opens the file to hold it, and makes it where it is missing. Raises OSError."""
        return cls(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the file to see whether it is held. Raises OSError."""
        return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def lock(self) -> None:
        """Locks it. Raises BlockingIOError where another opening has it locked, OSError."""
        fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(
        self, within: Seconds, *, every: Seconds, meanwhile: Callable[[Seconds], None] | None = None
    ) -> bool:
        """Tries to lock it until it is locked or the time is over; whether it is locked.

        `meanwhile` is called after each try that failed, with the seconds waited so far. Raises
        OSError where the file can't be locked.
        """
        started = time.monotonic()
        while True:
            try:
                self.lock()
            except BlockingIOError:
                waited = time.monotonic() - started
            else:
                return True
            if meanwhile is not None:
                meanwhile(waited)
            if waited > within:
                return False
            time.sleep(every)

    def held(self) -> bool:
        """Whether another opening has it locked. Not for the holder, which would lose its lock.

        This takes a shared lock for a moment: others that look at the same time see nothing of it,
        but one that locks the file just then is refused and has to try again (`wait`).
        """
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        return False

    def is_at(self, path: Path) -> bool:
        """Whether this is the file at the path now. Raises OSError, also where there is none."""
        return os.path.samestat(os.fstat(self.descriptor), path.stat())

    def write(self, text: str) -> None:
        """Makes this all that the file says, for those that look. Only for the holder."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode("ascii"), 0)

    def read(self, at_most: int) -> bytes:
        """The first bytes that the file holds."""
        return os.pread(self.descriptor, at_most, 0)

    def keep_over_exec(self) -> None:
        """Lets the program that this process becomes hold the lock on."""
        os.set_inheritable(self.descriptor, True)

    def close(self) -> None:
        """Lets go of the lock, if it is held here."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
