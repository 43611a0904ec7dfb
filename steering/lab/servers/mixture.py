"""Clients that repeatedly ask several resolvers for every name of the tangled zones.

Each resolver gets all questions in a random order at a steady rate. For missing names and wildcards
the name is random, so that not all answers come from caches.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import dns.message
import dns.rcode

from steering.lab.network.topology import EDGE, Topology
from steering.lab.servers.tangled import TYPES, names
from steering.model import Family, Instant, Seconds

SILENT = "silent"
_TIMEOUT: Seconds = 10.0
"""Seconds; longer than resolvers try before they give up."""
_DRAWN: Final = re.compile("-[0-9a-f]{8}")


@dataclass(slots=True)
class Mixture:
    """A thread that asks, from entering the context until leaving it."""

    world: Topology
    resolvers: Mapping[str, str]
    """Name -> its address in the edge namespace."""
    rate: float
    """Questions per second to each."""
    counts: dict[str, Counter[str]] = field(init=False)
    """Resolver -> rcode, or SILENT -> number."""
    failed: Counter[tuple[str, str, str]] = field(init=False, default_factory=Counter)
    """Resolver, name (without its random part) and type of each SERVFAIL."""
    _ended: threading.Event = field(init=False, default_factory=threading.Event)
    _clients: list[_Client] = field(init=False, default_factory=list)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.counts = {name: Counter() for name in self.resolvers}
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        rng = random.Random(7)  # noqa: S311 - a mixed order
        for name, at in self.resolvers.items():
            # Not in the thread: two threads would get each other's sockets from the lab.
            self._clients.append(
                _Client(
                    udp=_connected(self.world, at),
                    name=name,
                    counts=self.counts[name],
                    failed=self.failed,
                    questions=_questions(random.Random(rng.random())),  # noqa: S311
                )
            )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for client in self._clients:
            client.udp.close()

    def answered(self) -> int:
        """The fewest answers that one of the resolvers gave."""
        return min(c.total() - c[SILENT] for c in self.counts.values())

    def _ask(self) -> None:
        while not self._ended.wait(1.0 / self.rate):
            now = time.monotonic()
            for client in self._clients:
                client.receive(now)
                client.ask(now)


@dataclass(slots=True)
class _Client:
    """One resolver's client."""

    udp: socket.socket
    counts: Counter[str]
    name: str
    failed: Counter[tuple[str, str, str]]
    questions: Iterator[tuple[str, str]]
    _waiting: dict[int, tuple[str, str]] = field(default_factory=dict)
    _order: deque[tuple[int, Instant]] = field(default_factory=deque)
    _number: int = 0

    def ask(self, now: Instant) -> None:
        name, rdtype = next(self.questions)
        self._number = (self._number + 1) & 0xFFFF
        query = dns.message.make_query(name, rdtype, want_dnssec=True, id=self._number)
        with contextlib.suppress(OSError):
            self.udp.send(query.to_wire())
        self._waiting[self._number] = (name, rdtype)
        self._order.append((self._number, now))

    def receive(self, now: Instant) -> None:
        with contextlib.suppress(OSError):
            while packet := self.udp.recv(65_535):
                number, flags = struct.unpack_from("!HH", packet)
                if (asked := self._waiting.pop(number, None)) is None:
                    continue
                rcode = dns.rcode.to_text(dns.rcode.Rcode(flags & 0xF))
                self.counts[rcode] += 1
                if rcode == "SERVFAIL":
                    self.failed[self.name, _DRAWN.sub("", asked[0]), asked[1]] += 1
        while self._order and self._order[0][1] < now - _TIMEOUT:
            if self._waiting.pop(self._order.popleft()[0], None):
                self.counts[SILENT] += 1


def _connected(world: Topology, at: str) -> socket.socket:
    udp = world.socket(EDGE, Family.IPV4)
    udp.connect((at, 53))
    udp.setblocking(False)
    return udp


def _questions(rng: random.Random) -> Iterator[tuple[str, str]]:
    """All questions in a random order, repeatedly."""
    both = [(name, rdtype) for name in names() for rdtype in TYPES]
    while True:
        rng.shuffle(both)
        for name, rdtype in both:
            first, _, rest = name.partition(".")
            if first in {"nx", "q", "a"}:
                yield f"{first}-{rng.getrandbits(32):08x}.{rest}", rdtype
            else:
                yield name, rdtype
