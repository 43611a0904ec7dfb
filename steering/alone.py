"""One acting agent per runtime directory, and per table in a network namespace.

Abstract sockets belong to a network namespace as routing tables do, and are gone with the
process, however it goes; so is the lock on a file.
"""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from steering.parts import CannotRun


class Alone:
    """What keeps a second agent from acting, for as long as this process lives."""

    def __init__(self) -> None:
        self._lock: int | None = None
        self._table: tuple[int, socket.socket] | None = None

    def hold(self, runtime: Path, table: int) -> None:
        """Be the only one in this directory and on this table, and leave the table before it.

        Raises CannotRun where there is another; what was held before is held still.
        """
        if self._lock is None:
            self._lock = _locked(runtime)
        if self._table is None or self._table[0] != table:
            taken = _bound(table)
            if self._table is not None:
                self._table[1].close()
            self._table = table, taken

    def close(self) -> None:
        """Let others act."""
        if self._table is not None:
            self._table[1].close()
        if self._lock is not None:
            os.close(self._lock)
        self._table = self._lock = None


def _locked(runtime: Path) -> int:
    lock = os.open(runtime / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise CannotRun(1, f"another agent runs in {runtime}: one acts at a time") from None
    return lock


def _bound(table: int) -> socket.socket:
    taken = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        taken.bind(f"\0steering/table/{table}")
    except OSError:
        taken.close()
        raise CannotRun(1, f"another agent runs on table {table}: one acts at a time") from None
    return taken
