"""One acting agent per runtime directory, and per table in a network namespace.

A locked file guards the directory. A socket whose name holds the table's number guards the table:
each agent first creates its own, then looks for others. Both end with the process, however it
ends. Two agents that start in the same moment see each other and both end; their supervisors
start them again.

Any local user can create a socket with such a name. It keeps no agent from acting, unless its
user is root or the agent's own, or its process may change routes.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from pathlib import Path

from steering.act.kernel.acting_agents import LOCK, SHOWN, may_act
from steering.act.kernel.presence import PresenceSocket, be_present, others
from steering.errors import CannotRunError
from steering.system.lockfile import LockFile


class Exclusive:
    """Keeps a second agent from acting while this process runs."""

    def __init__(self) -> None:
        self.notices: tuple[str, ...] = ()
        """Sockets that claim to act on the table held last and may not, or why that is unknown."""
        self._lock: LockFile | None = None
        self._tables: dict[int, socket.socket] = {}

    def hold(self, runtime: Path, table: int) -> None:
        """Take this directory and this table, beside tables taken before.

        Raises CannotRunError where another agent has one; what was taken before stays taken.
        """
        if self._lock is None:
            self._lock = _lock_file(runtime)
        if table not in self._tables:
            self._tables[table], self.notices = _take_table(table)

    def release_all_but(self, tables: Collection[int]) -> None:
        """Release all other tables."""
        for table in self._tables.keys() - tables:
            self._tables.pop(table).close()

    def close(self) -> None:
        """Release the directory and all tables."""
        self.release_all_but(())
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _lock_file(runtime: Path) -> LockFile:
    lock = LockFile.create(runtime / LOCK)
    try:
        lock.lock()
    except OSError:
        lock.close()
        raise CannotRunError(1, f"another agent runs in {runtime}: one acts at a time") from None
    return lock


def _take_table(table: int) -> tuple[socket.socket, tuple[str, ...]]:
    what = f"{SHOWN}/{table}"
    mine = be_present(what)
    try:
        return mine, tuple(_others_on(table, others(what, mine)))
    except CannotRunError:
        mine.close()
        raise
    except OSError as error:
        return mine, (f"can't find other agents on table {table}: {error.strerror}",)


def _others_on(table: int, present: Collection[PresenceSocket]) -> Iterator[str]:
    """Raises CannotRunError where one of them may be an agent."""
    for one in present:
        if may_act(one):
            raise CannotRunError(1, f"another agent runs on table {table}: one acts at a time")
    for uid in sorted({one.uid for one in present}):
        yield (
            f"user {uid} has a socket that claims an agent acts on table {table}, but may not "
            "change routes: ignored"
        )
