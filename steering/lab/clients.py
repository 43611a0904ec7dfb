"""Clients of the edge host's resolver: random names at a steady rate, counted exactly.

A process in the edge namespace asks, and appends one JSON line of totals to a file a few times a
second. Random names below com. or net. don't exist, so every question is a cache miss and every
answer a signed denial: failures upstream appear here at once.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TextIO

from steering.lab.demo.tail import added
from steering.lab.network.sandbox import PYTHON, LabError, Program
from steering.lab.network.topology import EDGE, Topology
from steering.lab.waiting import poll
from steering.model import Instant, Seconds, WallTime

_SERVFAIL, _REFUSED = 2, 5
_HEADER = struct.Struct("!6H")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Totals since the start. Times are UNIX seconds, rounded to the millisecond."""

    time: WallTime = 0.0
    asked: int = 0
    answered: int = 0
    servfail: int = 0
    timeout: int = 0
    first_failure: WallTime | None = None
    last_failure: WallTime | None = None

    @property
    def failed(self) -> int:
        """Questions that ended in SERVFAIL, REFUSED or silence."""
        return self.servfail + self.timeout


@dataclass(slots=True)
class Clients:
    """The load, from the parent's side. ``rate`` in questions per second."""

    world: Topology
    rate: float = 50.0
    zones: Sequence[str] = ("com.", "net.")
    timeout: Seconds = 3.0
    server: str = "127.0.0.1"
    _program: Program | None = field(default=None, init=False)
    _read: int = field(default=0, init=False)
    _last: Tally = field(default_factory=Tally, init=False)

    @property
    def path(self) -> Path:
        """The file of JSON lines, one ``Tally`` each."""
        return self.world.work / "clients.jsonl"

    def start(self) -> None:
        """Begin to ask. Raises LabError if the process ends at once."""
        argv = [PYTHON, "-m", "steering.lab.clients", str(self.path), self.server]
        argv += [str(self.rate), str(self.timeout), *self.zones]
        self._program = self.world.start(EDGE, argv, log="clients.log")
        if not poll(lambda: self.tallies() or self._ended(), timeout=15.0):
            raise LabError(f"the clients do not ask{self._program.tail()}")

    def tallies(self) -> list[Tally]:
        """The totals written since the last call, the oldest first."""
        lines, self._read = added(self.path, self._read)
        found = [Tally(**json.loads(line)) for line in lines]
        self._last = found[-1] if found else self._last
        return found

    def totals(self) -> Tally:
        """The latest totals, at most a fraction of a second old."""
        self.tallies()
        return self._last

    def stop(self) -> Tally:
        """Stop asking, wait for open questions, and return the exact totals."""
        if self._program:
            self._program.stop(self.timeout + 3.0)
            self._program = None
        return self.totals()

    def _ended(self) -> bool:
        if self._program and not self._program.running:
            raise LabError(f"the clients ended{self._program.tail()}")
        return False


@dataclass(slots=True)
class Load:
    """The process itself: one socket, one loop."""

    path: Path
    server: str
    rate: float
    timeout: Seconds
    zones: Sequence[str]
    _tally: Tally = field(default_factory=Tally)
    _waiting: dict[int, Instant] = field(default_factory=dict)
    _order: deque[tuple[int, Instant]] = field(default_factory=deque)
    _number: int = 0
    _stopping: bool = False

    def run(self) -> None:
        """Ask until SIGTERM, then wait until every question is answered or timed out."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stopping", True))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.connect((self.server, 53))
        ask_at = write_at = time.monotonic()
        with self.path.open("a", buffering=1) as file:
            while not self._stopping or self._waiting:
                now = time.monotonic()
                if now >= ask_at and not self._stopping:
                    self._ask(udp, now)
                    ask_at = max(ask_at + 1 / self.rate, now - 1.0)  # never a burst of over 1 s
                self._give_up(now)
                if now >= write_at:
                    self._write(file)
                    write_at = now + 0.25
                udp.settimeout(max(0.001, min(ask_at - time.monotonic(), 0.05)))
                with contextlib.suppress(TimeoutError, ConnectionRefusedError):
                    self._receive(udp.recv(65_535))
            self._write(file)

    def _ask(self, udp: socket.socket, now: Instant) -> None:
        self._number = (self._number + 1) & 0xFFFF
        label = f"lab-{random.getrandbits(48):012x}".encode()
        zone = self.zones[self._number % len(self.zones)]
        labels = [label, *zone.rstrip(".").encode().split(b".")]
        name = b"".join(bytes([len(part)]) + part for part in labels if part) + b"\0"
        packet = _HEADER.pack(self._number, 0x0100, 1, 0, 0, 0) + name + b"\0\1\0\1"
        self._waiting[self._number] = now
        self._order.append((self._number, now))
        self._tally = replace(self._tally, asked=self._tally.asked + 1)
        with contextlib.suppress(ConnectionRefusedError):
            udp.send(packet)

    def _receive(self, packet: bytes) -> None:
        number, flags = struct.unpack_from("!HH", packet)
        if self._waiting.pop(number, None) is None:
            return  # too late: counted as a timeout already
        if flags & 0xF in (_SERVFAIL, _REFUSED):
            self._failed(replace(self._tally, servfail=self._tally.servfail + 1))
        else:
            self._tally = replace(self._tally, answered=self._tally.answered + 1)

    def _give_up(self, now: Instant) -> None:
        while self._order and self._order[0][1] < now - self.timeout:
            number, since = self._order.popleft()
            if self._waiting.get(number) == since:
                del self._waiting[number]
                self._failed(replace(self._tally, timeout=self._tally.timeout + 1))

    def _failed(self, tally: Tally) -> None:
        at = round(time.time(), 3)
        first = at if tally.first_failure is None else tally.first_failure
        self._tally = replace(tally, first_failure=first, last_failure=at)

    def _write(self, file: TextIO) -> None:
        file.write(json.dumps(asdict(replace(self._tally, time=round(time.time(), 3)))) + "\n")


if __name__ == "__main__":
    Load(
        path=Path(sys.argv[1]),
        server=sys.argv[2],
        rate=float(sys.argv[3]),
        timeout=float(sys.argv[4]),
        zones=sys.argv[5:],
    ).run()
