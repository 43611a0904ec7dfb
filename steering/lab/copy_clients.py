"""Clients of resolvers that serve from a copy of the lab's root: they ask all of them all the time.

One process on the edge host. Half of its questions are for names that exist (the DS of a top-level
domain, the one at the zone's end among them), half for random ones that don't, so that most answers
are not in any cache. They have DO, and an answer is good only if its signatures are valid: BIND
gives expired ones with AD.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from steering.lab.network.sandbox import PYTHON, LabError, Program
from steering.lab.network.topology import EDGE, Topology
from steering.lab.waiting import poll
from steering.model import Instant, Seconds, WallTime

MOST_KEPT = 20
"""Failures of which it is written down what they were."""


@dataclass(slots=True, kw_only=True)
class Count:
    """What became of the questions to one address."""

    asked: int = 0
    good: int = 0
    failed: int = 0
    failures: list[tuple[WallTime, str]] = field(default_factory=list)
    """The first few: when, and what."""


@dataclass(slots=True)
class CopyClients:
    """The load, from the test's side. `rate` is in questions per second and address."""

    world: Topology
    addresses: Sequence[str]
    count: int
    rate: float = 10.0
    timeout: Seconds = 4.0
    _program: Program | None = field(default=None, init=False)

    @property
    def path(self) -> Path:
        """The file of the counts, by address."""
        return self.world.work / "copy-clients.json"

    def start(self) -> None:
        """Begin to ask. Raises LabError if the process ends at once."""
        argv = [PYTHON, "-m", "steering.lab.copy_clients", str(self.path), str(self.count)]
        argv += [str(self.rate), str(self.timeout), *self.addresses]
        program = self._program = self.world.start(EDGE, argv, log="copy-clients.log")
        if not poll(lambda: self.path.exists() or not program.running, timeout=15.0):
            raise LabError(f"the clients do not ask{program.tail()}")

    def counts(self) -> dict[str, Count]:
        """By address, at most half a second old."""
        if self._program and not self._program.running:
            raise LabError(f"the clients ended{self._program.tail()}")
        return _read(self.path)

    def stop(self) -> dict[str, Count]:
        """Stop asking, wait for open questions, and return the exact counts."""
        if self._program:
            self._program.stop(self.timeout + 5.0)
            self._program = None
        return _read(self.path)


def _read(path: Path) -> dict[str, Count]:
    return {address: Count(**count) for address, count in json.loads(path.read_text()).items()}


@dataclass(slots=True)
class _Client:
    """The questions to one address."""

    address: str
    udp: socket.socket
    count: Count = field(default_factory=Count)
    waiting: dict[int, str] = field(default_factory=dict)
    order: deque[tuple[int, str, Instant]] = field(default_factory=deque)

    def ask(self, number: int, name: str, rdtype: str, now: Instant) -> None:
        query = dns.message.make_query(name, rdtype, want_dnssec=True, id=number)
        self.waiting[number] = name
        self.order.append((number, name, now))
        self.count.asked += 1
        try:
            self.udp.send(query.to_wire())
        except OSError as error:
            self._over(number, name, f"{error.strerror}")

    def receive(self) -> None:
        while True:
            try:
                wire = self.udp.recv(65_535)
                answer = dns.message.from_wire(wire)
            except (OSError, dns.exception.DNSException):
                return
            if (name := self.waiting.get(answer.id)) is not None:
                self._over(answer.id, name, _wrong(answer, name))

    def give_up(self, before: Instant) -> None:
        while self.order and self.order[0][2] < before:
            number, name, _ = self.order.popleft()
            if self.waiting.get(number) == name:
                self._over(number, name, "no answer")

    def _over(self, number: int, name: str, wrong: str) -> None:
        del self.waiting[number]
        if not wrong:
            self.count.good += 1
            return
        self.count.failed += 1
        if len(self.count.failures) < MOST_KEPT:
            self.count.failures.append((round(time.time(), 3), f"{name}: {wrong}"))


def _wrong(answer: dns.message.Message, name: str) -> str:
    """Why an answer does not serve a client; empty if it does."""
    wanted = dns.rcode.NXDOMAIN if name.startswith("no-") else dns.rcode.NOERROR
    if answer.rcode() != wanted:
        return dns.rcode.to_text(answer.rcode())
    if wanted == dns.rcode.NOERROR and not answer.answer:
        return "no records"
    before = time.time() - 1.0  # the second in which a signature ends belongs to it
    for rrset in (*answer.answer, *answer.authority):
        if rrset.rdtype == dns.rdatatype.RRSIG and any(sig.expiration < before for sig in rrset):
            return "expired signature"
    return ""


def _run(path: Path, count: int, rate: float, timeout: Seconds, addresses: Sequence[str]) -> None:
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    clients = []
    for address in addresses:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.setblocking(False)
        udp.connect((address, 53))
        clients.append(_Client(address, udp))
    number, ask_at, write_at = 0, time.monotonic(), 0.0
    while not stopping or any(client.waiting for client in clients):
        now = time.monotonic()
        if now >= ask_at and not stopping:
            number = (number + 1) & 0xFFFF
            for client in clients:
                client.ask(number, *_question(number, count), now)
            ask_at = max(ask_at + 1 / rate, now - 1.0)
        for client in clients:
            client.receive()
            client.give_up(now - timeout)
        if now >= write_at:
            _write(path, clients)
            write_at = now + 0.5
        time.sleep(max(0.001, min(ask_at - time.monotonic(), 0.02)))
    _write(path, clients)


def _question(number: int, count: int) -> tuple[str, str]:
    """Every second one for a random name; of the others each tenth for the name at the end."""
    if number % 2:
        return f"no-{random.getrandbits(48):012x}.", "A"
    which = count - 1 if number % 20 == 0 else (number * 7919) % count
    return f"d{which | 1:04}.", "DS"


def _write(path: Path, clients: Sequence[_Client]) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({client.address: asdict(client.count) for client in clients}))
    draft.replace(path)


if __name__ == "__main__":
    _run(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), sys.argv[5:])
