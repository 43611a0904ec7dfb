"""The agents that act on tables of this network namespace, found by their sockets (`presence`).

`steering off` does not stop an agent of another configuration: that has another `runtime`, and
checks the switch there.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from steering.act.kernel.presence import PresenceSocket, be_present, others
from steering.system.permissions import may_change_routes

SHOWN = "steering/table"
"""The beginning of these sockets' names; the table's number follows."""
LOCK = "agent.lock"
"""The file in `runtime` that an agent has open and locked while it acts."""
_NAME = re.compile(rf"\0{SHOWN}/([0-9]{{1,10}})/([0-9]{{1,9}})/")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActingAgent:
    """A process that acts on a table."""

    table: int
    pid: int
    command: str
    """Its command line; empty if that can't be read."""

    def __str__(self) -> str:
        return f"process {self.pid}{f' ({self.command})' if self.command else ''}"


def elsewhere(runtime: Path) -> tuple[ActingAgent, ...]:
    """All agents that act with another runtime directory than this one, by table.

    Raises OSError if the kernel can't list sockets.
    """
    with be_present(SHOWN + "/none") as mine:
        shown = [one for one in others(SHOWN, mine) if may_act(one)]
    found = {acting for one in shown for acting in _named(one) if not _of(acting.pid, runtime)}
    return tuple(sorted(found, key=lambda acting: (acting.table, acting.pid)))


def may_act(one: PresenceSocket) -> bool:
    """Whether it may belong to an agent: any user can give a socket such a name."""
    if one.uid in (0, os.geteuid()):
        return True
    try:
        return one.pid is not None and may_change_routes(one.pid, uid=one.uid)
    except OSError:
        return False


def _named(one: PresenceSocket) -> Iterator[ActingAgent]:
    if found := _NAME.match(one.name):
        table, pid = map(int, found.groups())
        command = b""
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        text = command.decode(errors="replace").strip()
        yield ActingAgent(table=table, pid=pid, command=text[text.find("steering") :])


def _of(pid: int, runtime: Path) -> bool:
    """Whether this process has the lock of this directory open."""
    with contextlib.suppress(OSError):
        lock = (runtime / LOCK).stat()
        for open_file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(open_file.stat(), lock):
                    return True
    return False
