"""Every attacker of ``attackers`` at once on one agent, and witnesses of what it does meanwhile.

The witnesses are not the agent's own figures. When it turned is told by the service manager's
socket: it sends WATCHDOG=1 at the end of each turn (sd_notify(3)), and the kernel stamps the time.
What is left of the lease is read from the lease. Which moves were right is told by the faults that
the scene really had.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from steering.act.lease import Lease, boot_time
from steering.lab.agent import STATUS_PORT
from steering.lab.sandbox import PYTHON, LabError, Program
from steering.lab.scene import Scene
from steering.lab.topology import EDGE, ISP
from steering.model import Seconds, WallTime
from steering.report.http.listeners import NAME

POWERS: Final = ("names", "answers", "status", "dnstap", "files")
DUE: Seconds = 1.0
"""A turn comes so long after the one before, at the latest."""

_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the socket module has no name for it
_TIMESPEC: Final = struct.Struct("qq")


class Turns:
    """When the agent turned: its messages to the service manager, by the kernel's clock."""

    def __init__(self, path: Path) -> None:
        self.at: list[WallTime] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(str(path))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                said, more, _, _ = self._socket.recvmsg(256, 64)
            except OSError:
                return
            if b"WATCHDOG=1" in said:
                for level, kind, data in more:
                    if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                        whole, nano = _TIMESPEC.unpack(data[: _TIMESPEC.size])
                        self.at.append(whole + nano * 1e-9)

    def late(self, since: WallTime, until: WallTime) -> list[Seconds]:
        """By how much each turn between two times came later than it was due."""
        at = [one for one in self.at if since <= one <= until]
        return [max(0.0, b - a - DUE) for a, b in pairwise((since, *at, until))]

    def close(self) -> None:
        self._socket.close()


class Remaining:
    """The least that was left of the lease, looked at ten times a second."""

    def __init__(self, runtime: Path) -> None:
        self.least: Seconds = float("inf")
        self.missing = 0
        """Looks at which there was none that can be read."""
        self._lease = Lease(runtime)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            state = self._lease.read()
            if state is None or state.claim is None:
                self.missing += 1
            else:
                self.least = min(self.least, state.deadline - boot_time())

    def close(self) -> None:
        self._over.set()
        self._thread.join(5.0)


@dataclass(slots=True)
class Attack:
    """One agent under attack, and what is known of it."""

    scene: Scene
    turns: Turns
    remaining: Remaining
    attackers: dict[str, Program] = field(default_factory=dict)

    def begin(self, powers: Sequence[str] = POWERS, *, connections: int = 400) -> None:
        """Let these attackers loose. Raises LabError where one can't begin."""
        world = self.scene.world
        overrides = self.scene.config.parent / "policies" / "overrides.d"
        words = {
            "names": (EDGE, ["127.0.0.1", "50", "com.", "net."]),
            "answers": (ISP, [EDGE, "50"]),
            "status": (EDGE, ["127.0.0.1", str(STATUS_PORT), str(connections)]),
            "dnstap": (EDGE, [str(self.scene.tap), "500", *world.addresses]),
            "files": (EDGE, [str(overrides), "5"]),
        }
        for power in powers:
            namespace, arguments = words[power]
            argv = [PYTHON, "-m", "steering.lab.attackers", power, *arguments]
            self.attackers[power] = world.start(namespace, argv, log=f"attack-{power}.log")

    def lives(self) -> None:
        """Raises LabError where the agent or one of the attackers has ended."""
        assert self.scene.agent is not None
        for program in (self.scene.agent, *self.attackers.values()):
            if not program.running:
                raise LabError(f"{program.name} ended{program.tail(40)}")

    def end(self) -> None:
        """Call the attackers off."""
        for program in self.attackers.values():
            program.kill()
        self.attackers.clear()


@contextmanager
def watched(scene: Scene) -> Iterator[Attack]:
    """Start the agent of a configured scene, with the witnesses listening."""
    notify = scene.world.work / "notify"
    turns = Turns(notify)
    remaining = None
    try:
        scene.start_agent(prefix=["env", f"NOTIFY_SOCKET={notify}"])
        scene.door = scene.world.work / "run" / NAME
        remaining = Remaining(scene.world.work / "run")
        attack = Attack(scene=scene, turns=turns, remaining=remaining)
        try:
            yield attack
        finally:
            attack.end()
    finally:
        if remaining is not None:
            remaining.close()
        turns.close()


def say(text: str) -> None:
    """Progress, for whoever waits for an hour."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
