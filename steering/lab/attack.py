"""Runs all attackers of ``attackers`` at once against one agent, and measures what it does.

The measurements don't use the agent's own figures. The times of its turns come from the service
manager's socket: it sends WATCHDOG=1 at the end of each turn (sd_notify(3)), and the kernel stamps
the time. The remaining time of the lease is read from the lease file. Which moves were right
follows from the faults in the scene.
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
from steering.lab.network.sandbox import PYTHON, LabError, Program
from steering.lab.network.topology import EDGE, ISP
from steering.lab.scene import Scene
from steering.model import Seconds, WallTime
from steering.report.http.listeners import NAME

POWERS: Final = ("names", "answers", "status", "dnstap", "files")
TURN_INTERVAL: Seconds = 1.0
"""Seconds after a turn in which the next one is due."""

_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the socket module has no name for it
_TIMESPEC: Final = struct.Struct("qq")


class TurnWatch:
    """The times of the agent's turns, from its messages to the service manager."""

    def __init__(self, path: Path) -> None:
        self.at: list[WallTime] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(str(path))
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        while True:
            try:
                message, more, _, _ = self._socket.recvmsg(256, 64)
            except OSError:
                return
            if b"WATCHDOG=1" in message:
                for level, kind, data in more:
                    if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                        whole, nano = _TIMESPEC.unpack(data[: _TIMESPEC.size])
                        self.at.append(whole + nano * 1e-9)

    def late(self, since: WallTime, until: WallTime) -> list[Seconds]:
        """How late each turn between two times was, in seconds."""
        at = [one for one in self.at if since <= one <= until]
        return [max(0.0, b - a - TURN_INTERVAL) for a, b in pairwise((since, *at, until))]

    def close(self) -> None:
        self._socket.close()


class LeaseWatch:
    """The least remaining time of the lease, read ten times a second."""

    def __init__(self, runtime: Path) -> None:
        self.least: Seconds = float("inf")
        self.missing = 0
        """Readings without a readable lease."""
        self._lease = Lease(runtime)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def _poll(self) -> None:
        while not self._ended.wait(0.1):
            state = self._lease.read()
            if state is None or state.claim is None:
                self.missing += 1
            else:
                self.least = min(self.least, state.deadline - boot_time())

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5.0)


@dataclass(slots=True)
class Attack:
    """One agent under attack, with the measurements."""

    scene: Scene
    turns: TurnWatch
    remaining: LeaseWatch
    attackers: dict[str, Program] = field(default_factory=dict)

    def begin(self, powers: Sequence[str] = POWERS, *, connections: int = 400) -> None:
        """Start these attackers. Raises LabError if one can't start."""
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

    def check_running(self) -> None:
        """Raises LabError if the agent or one of the attackers has ended."""
        assert self.scene.agent is not None
        for program in (self.scene.agent, *self.attackers.values()):
            if not program.running:
                raise LabError(f"{program.name} ended{program.tail(40)}")

    def end(self) -> None:
        """Stop the attackers."""
        for program in self.attackers.values():
            program.kill()
        self.attackers.clear()


@contextmanager
def under_watch(scene: Scene) -> Iterator[Attack]:
    """Start the agent of a configured scene, with the measurements running."""
    notify = scene.world.work / "notify"
    turns = TurnWatch(notify)
    remaining = None
    try:
        scene.start_agent(prefix=["env", f"NOTIFY_SOCKET={notify}"])
        scene.status_socket = scene.world.work / "run" / NAME
        remaining = LeaseWatch(scene.world.work / "run")
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
    """Print a line of progress; a run may take an hour."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
