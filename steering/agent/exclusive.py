"""One acting agent per runtime directory, and per table in a network namespace.

The lock on a file is the one; the other is a socket whose name each agent looks for, before
it acts and after it has shown its own. Both are gone with the process, however it goes. Two
that start in the same moment see each other and both give way: their supervisors try again.

Any local user may give a socket such a name. He is no agent, and keeps none from acting,
unless he is root, we ourselves, or one who may change routes.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Collection, Iterator
from pathlib import Path

from steering.act.kernel.acting_agents import LOCK, SHOWN, may_act
from steering.act.kernel.presence import PresenceSocket, be_present, others
from steering.agent.from_config import CannotRunError


class Exclusive:
    """What keeps a second agent from acting, for as long as this process lives."""

    def __init__(self) -> None:
        self.notices: tuple[str, ...] = ()
        """Who says that he acts on the table held last and does not, or why that is unknown."""
        self._lock: int | None = None
        self._tables: dict[int, socket.socket] = {}

    def hold(self, runtime: Path, table: int) -> None:
        """Be the only one in this directory, and on this table besides those held before.

        Raises CannotRunError where there is another; what was held before is held still.
        """
        if self._lock is None:
            self._lock = _locked(runtime)
        if table not in self._tables:
            self._tables[table], self.notices = _shown(table)

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
    lock = os.open(runtime / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise CannotRunError(1, f"another agent runs in {runtime}: one acts at a time") from None
    return lock


def _shown(table: int) -> tuple[socket.socket, tuple[str, ...]]:
    what = f"{SHOWN}/{table}"
    mine = be_present(what)
    try:
        return mine, tuple(_strangers(table, others(what, mine)))
    except CannotRunError:
        mine.close()
        raise
    except OSError as error:
        return mine, (f"can't find other agents on table {table}: {error.strerror}",)


def _strangers(table: int, present: Collection[PresenceSocket]) -> Iterator[str]:
    """Raises CannotRunError where one of them may be an agent."""
    for one in present:
        if may_act(one):
            raise CannotRunError(1, f"another agent runs on table {table}: one acts at a time")
    for uid in sorted({one.uid for one in present}):
        yield (
            f"user {uid} has a socket that claims that an agent acts on table {table}, but may "
            "change no routes: ignored"
        )
