"""What the agent may have a resolver do, whichever resolver it is.

A driver changes what a resolver answers from, and never says that this helped: that is seen at the
clients. Each call may be repeated, and may follow one that ended half-way: it completes what it
finds. A call that fails is a value with its reason: a driver raises nothing for what others do.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from steering.model import Seconds

LONGEST = 300
"""Characters of `Result.said`."""


class Kind(enum.StrEnum):
    """A resolver, by the name of its page in the docs."""

    UNBOUND = "unbound"
    BIND = "bind"
    POWERDNS = "pdns-recursor"
    KNOT = "knot-resolver"


class Fault(enum.StrEnum):
    """What an upstream did that its resolvers may remember."""

    BOGUS = "bogus"
    """Signatures that do not verify."""
    KEYS = "keys"
    """Bogus, and the signatures of the DNSKEY RRset were among them."""
    SILENCE = "silence"
    """No answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What was moved to another path, or back, and why."""

    zones: tuple[str, ...]
    """Of the upstreams."""
    silent: tuple[str, ...] = ()
    """The addresses among those moved that gave no answers."""
    faults: frozenset[Fault]

    @property
    def bogus(self) -> bool:
        """Whether there were bogus answers, of whatever records."""
        return bool(self.faults & {Fault.BOGUS, Fault.KEYS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one call."""

    done: bool
    """The resolver acknowledged it. Whether it helps its clients has to be seen there."""
    said: str
    """The resolver's words, or why it was not done: one line of printable text, at most LONGEST."""
    seconds: Seconds


class Driver(Protocol):
    """One resolver. Zones and addresses are canonical: `.`, `com.`, `2001:db8::1`."""

    @property
    def kind(self) -> Kind:
        """Which resolver it is."""

    async def take_out(self, zone: str) -> Result:
        """Has it no longer answer from its copy of the zone, over its restarts too."""

    async def put_back(self, zone: str) -> Result:
        """Has it answer from its copy again, as the operator configured it."""

    async def is_out(self, zone: str) -> bool | None:
        """Whether it runs without a copy of the zone, by its own word; None: it can't be known."""

    async def reach(self) -> Result:
        """Whether it can be reached by its control channel: it is asked, and changes nothing."""

    def remembers(self, moved: Moved) -> bool:
        """Whether it remembers something after such faults that keeps its clients failing."""

    async def flush(self, moved: Moved) -> Result:
        """Has it forget that, and nothing else."""


class NotDoneError(Exception):
    """A step of a call failed; the text says how."""


async def result(work: Awaitable[str]) -> Result:
    """What comes of work that returns the resolver's words, or raises NotDoneError."""
    began = time.monotonic()
    try:
        said, done = await work, True
    except NotDoneError as error:
        said, done = str(error), False
    return Result(done=done, said=one_line(said), seconds=time.monotonic() - began)


def one_line(text: str) -> str:
    """Any text as one line of printable characters, at most LONGEST."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * LONGEST]).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."
