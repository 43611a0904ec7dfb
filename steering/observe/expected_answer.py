"""What an answer to one question has to be like, so that a stranger's packet is not taken for it.

The id and the question have to be right (RFC 5452 9.1), the case of the question's letters as it
was sent where the server gives it back (`echo`), and the link by which it came the one that its
path uses, where there is only one. What is otherwise is passed over, not taken for a bad answer:
who sent it is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from steering.model import Seconds
from steering.observe.icmp_errors import Ancillary, arrival
from steering.observe.probe.echo import Echo, Likeness, likeness
from steering.observe.strays import Stray, link_name

_HEADER: Final = 12
ROOM: Final = 64
"""Bytes for what tells of a datagram's link: more than struct in6_pktinfo takes (RFC 3542 6)."""


@dataclass(slots=True, kw_only=True)
class Expected:
    """The answer that is waited for, and what came instead."""

    query_id: bytes
    question: bytes
    """The question section as it was sent."""
    echo: Echo | None
    """None: no case is required."""
    link: int | None
    """Index of the interface that it has to come in by; None for any."""
    strays: int = 0
    astray: str = ""
    """By which link an answer came that was passed over for it."""
    said: str = ""
    """What is worth telling of the strays."""
    _kept: tuple[bytes, Seconds] | None = None

    def stray(self, wire: bytes, rtt: Seconds, ancillary: Ancillary) -> Stray | None:
        """Why a datagram is not taken for the answer; None: it is the answer."""
        why = self._why(wire, ancillary)
        if why is not None:
            self.strays += 1
        if why is Stray.CASE and self._kept is None:
            self._kept = wire, rtt
        return why

    def second_best(self) -> tuple[bytes, Seconds] | None:
        """The time is up: an answer in another case, where the server may be one that gives such;
        and its round-trip time.
        """
        if self._kept is None or self.echo is None:
            return None
        kept, self._kept = self._kept, None
        if self.echo.other():
            return kept
        self.said = "an answer in another case than the question's"
        return None

    def _why(self, wire: bytes, ancillary: Ancillary) -> Stray | None:
        if len(wire) < _HEADER or wire[:2] != self.query_id:
            return Stray.ID
        like = likeness(wire, self.question)
        if like is Likeness.ANOTHER:
            self.said = "an answer to another question"
            return Stray.QUESTION
        if self.link is not None and (came_by := arrival(ancillary)) != self.link:
            self.astray = f"{link_name(came_by or 0)}, not by {link_name(self.link)}"
            self.said = f"an answer came in by {self.astray}"
            return Stray.LINK
        if self.echo is None:
            return None
        if like is Likeness.SAME:
            self.echo.same(self.question)
        elif self.echo.required:
            return Stray.CASE
        else:
            self.echo.other()
        return None
