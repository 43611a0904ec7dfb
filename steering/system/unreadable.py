"""The one place where any exception over received bytes is caught: counted, reported, dropped.

Received bytes are handled one message at a time inside `reading`. An exception there is a bug of
this program, whatever was sent, but only that message is dropped. Otherwise one message would end
the process, and the same message sent again would end the next one.

An event names the first error at a place since the last event about it, once a minute at most, so
that a message that is sent again and again fills no log. `steering_unreadable_total` counts all.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

OCTETS: Final = 256
"""Octets of a message that an event shows; its whole length is named beside them."""
QUIET: Final = 60.0
"""Seconds between two events about one place."""
LONGEST: Final = 200
"""Characters of a received text in events, alarms and the status."""


class Where(enum.StrEnum):
    """Where received bytes are read: the label of steering_unreadable_total."""

    PROBE = "probe"  # answers to own questions
    SECOND_LOOK = "second_look"  # answers to the resolvers, verified with keys here
    DNSTAP = "dnstap"  # frames of resolvers, and the tallies of the reader
    KEYS = "keys"  # answers of resolvers about the chain of trust
    COPIES = "copies"  # answers about copies of zones
    BGP = "bgp"  # lines of ExaBGP
    HTTP = "http"  # requests to the status port
    FILE = "file"  # contents of files


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """What could not be read at one place since the last event about it."""

    where: Where
    times: int
    error: str
    """The type of the first exception, and the line of code that it came from."""
    size: int
    """Octets of the message; 0: unknown which message it was."""
    octets: str
    """The first octets, in hexadecimal digits."""

    def __str__(self) -> str:
        over = f" over a message of {self.size} octets" if self.size else ""
        return f"{self.error}{over}; {self.times} dropped"


class Unreadable:
    """What could not be read in this process. For use by several threads."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(Where, 0)
        self._unreported: dict[Where, Unread] = {}
        self._reported_at: dict[Where, float] = {}
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[str, int]:
        """How many messages were dropped since the start, by place."""
        with self._lock:
            return {str(where): number for where, number in self._counts.items()}

    @contextmanager
    def reading(self, where: Where, message: bytes | Callable[[], bytes]) -> Iterator[None]:
        """Handles one received message inside; an exception ends the block, and nothing else.

        `message` is what an event shows, or a function that returns it.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the one boundary
            self.met(where, error, message if isinstance(message, bytes) else message())

    def met(self, where: Where, error: Exception, message: bytes) -> None:
        """Counts an error over a message, for a caller that also reports it in its own way."""
        self.add(_unread(where, error, message))

    def add(self, unread: Unread) -> None:
        """Counts what could not be read, here or in another process of this program."""
        with self._lock:
            self._counts[unread.where] += unread.times
            first = self._unreported.get(unread.where)
            if first is not None:
                unread = replace(first, times=first.times + unread.times)
            self._unreported[unread.where] = unread

    def news(self, now: float, *, quiet: float = QUIET) -> tuple[Unread, ...]:
        """What is to be reported at the instant `now`: each place once in `quiet` seconds."""
        with self._lock:
            never = float("-inf")
            due = [w for w in self._unreported if now - self._reported_at.get(w, never) >= quiet]
            self._reported_at |= dict.fromkeys(due, now)
            return tuple(self._unreported.pop(where) for where in due)


HERE: Final = Unreadable()
"""The one of this process, as there is one metric."""


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
    """A received text as it may be shown: no control characters, at most so many characters."""
    shown = text[: at_most + 1]
    if not shown.isprintable():
        shown = "".join(
            c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown
        )
    return shown if len(shown) <= at_most else f"{shown[: at_most - 1]}…"
