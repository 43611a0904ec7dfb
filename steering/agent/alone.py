"""One acting agent per runtime directory, and per table in a network namespace.

Abstract sockets belong to a network namespace as routing tables do, and are gone with the
process, however it goes; so is the lock on a file.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Collection
from pathlib import Path

from steering.agent.parts import CannotRun


class Alone:
    """What keeps a second agent from acting, for as long as this process lives."""

    def __init__(self) -> None:
        self._lock: int | None = None
        self._tables: dict[int, socket.socket] = {}

    def hold(self, runtime: Path, table: int) -> None:
        """Be the only one in this directory, and on this table besides those held before.

        Raises CannotRun where there is another; what was held before is held still.
        """
        if self._lock is None:
            self._lock = _locked(runtime)
        if table not in self._tables:
            self._tables[table] = _bound(table)

    def leave_all_but(self, tables: Collection[int]) -> None:
        """Let others act on the other tables."""
        for table in self._tables.keys() - tables:
            self._tables.pop(table).close()

    def close(self) -> None:
        """Let others act everywhere."""
        self.leave_all_but(())
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


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
