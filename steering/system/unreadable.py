"""The one place where an error over the bytes of others is caught: counted, told of, dropped.

Whoever handles what somebody else wrote does so one message at a time inside `reading`. An error
there is this program's own fault, whatever was sent; still the message costs itself and nothing
more. Without that, one message ends the process, and the same message sent again ends the next.

An event names the first error at a place since the last event about it, once a minute at most,
so that a message repeated without end fills no log. `steering_unreadable_total` counts them all.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

OCTETS: Final = 256
"""Octets of a message that an event shows; what it was in full is named by its length."""
QUIET: Final = 60.0
"""Seconds between two events about one place."""
LONGEST: Final = 200
"""Characters of a text of others in events, alarms and the status."""


class Where(enum.StrEnum):
    """Where bytes of others are read: the label of steering_unreadable_total."""

    PROBE = "probe"  # answers to own questions
    SECOND_LOOK = "second_look"  # answers to the resolvers, verified with keys
    DNSTAP = "dnstap"  # frames of resolvers, and the tallies made of them
    KEYS = "keys"  # what resolvers answer of the chain of trust
    BGP = "bgp"  # what ExaBGP says
    HTTP = "http"  # requests to the status port
    FILE = "file"  # contents of files


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """What could not be read at one place since it was last told of."""

    where: Where
    times: int
    error: str
    """The type of the first exception, and the line of code that it came from."""
    size: int
    """Octets of the message that it came of; 0: nobody knows which it was."""
    octets: str
    """The first of them, in hexadecimal digits."""

    def __str__(self) -> str:
        over = f" over a message of {self.size} octets" if self.size else ""
        return f"{self.error}{over}; {self.times} dropped"


class Unreadable:
    """What could not be read in this process. May be used by several threads."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(Where, 0)
        self._news: dict[Where, Unread] = {}
        self._told: dict[Where, float] = {}
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[str, int]:
        """How many messages were dropped since the start, by place."""
        with self._lock:
            return {str(where): number for where, number in self._counts.items()}

    @contextmanager
    def reading(self, where: Where, message: bytes | Callable[[], bytes]) -> Iterator[None]:
        """Read a message of others inside; an error ends the block, and nothing else.

        `message` is what an event will show; where it has to be made first, what makes it.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the one boundary
            self.met(where, error, message if isinstance(message, bytes) else message())

    def met(self, where: Where, error: Exception, message: bytes) -> None:
        """Count an error over a message, for whoever has to say something of its own as well."""
        self.add(_unread(where, error, message))

    def add(self, unread: Unread) -> None:
        """Count what could not be read here, or in a process of ours that says so."""
        with self._lock:
            self._counts[unread.where] += unread.times
            first = self._news.get(unread.where)
            if first is not None:
                unread = replace(first, times=first.times + unread.times)
            self._news[unread.where] = unread

    def news(self, now: float, *, quiet: float = QUIET) -> tuple[Unread, ...]:
        """What is to be told at the instant `now`: of each place once in `quiet` seconds."""
        with self._lock:
            due = [w for w in self._news if now - self._told.get(w, float("-inf")) >= quiet]
            self._told |= dict.fromkeys(due, now)
            return tuple(self._news.pop(where) for where in due)


HERE: Final = Unreadable()
"""Of this process: there is one, as there is one metric."""


def _unread(where: Where, error: Exception, message: bytes) -> Unread:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    at = "" if last is None else f" at {last.tb_frame.f_globals.get('__name__')}:{last.tb_lineno}"
    return Unread(
        where=where,
        times=1,
        error=f"{type(error).__qualname__}{at}",
        size=len(message),
        octets=message[:OCTETS].hex(),
    )


def printable(text: str, at_most: int = LONGEST) -> str:
    """A text of others as it may be shown: no control characters, no more than so many in all."""
    shown = text[: at_most + 1]
    if not shown.isprintable():
        shown = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown
        )
    return shown if len(shown) <= at_most else f"{shown[: at_most - 1]}…"
