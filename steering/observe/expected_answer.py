"""Checks whether a datagram is the answer to one question, so that a forged packet does not count.

The id and the question must match (RFC 5452 9.1). The letter case must be as sent if the server
echoes it (`echo`). The packet must arrive by the link that its path uses, if that is only one.
A packet that fails a check is ignored. It does not count as a bad answer, since its sender is
unknown.
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
"""Bytes for ancillary data with a datagram's link: more than struct in6_pktinfo (RFC 3542 6)."""


@dataclass(slots=True, kw_only=True)
class Expected:
    """The answer that a question waits for, and what came instead."""

    query_id: bytes
    question: bytes
    """The question section as sent."""
    echo: Echo | None
    """None: no letter case is required."""
    link: int | None
    """Index of the interface that the answer must come in by; None for any."""
    strays: int = 0
    astray: str = ""
    """The link of an answer that was ignored because it came by that link."""
    detail: str = ""
    """Text about an ignored answer, for people."""
    _other_case: tuple[bytes, Seconds] | None = None

    def stray(self, wire: bytes, rtt: Seconds, ancillary: Ancillary) -> Stray | None:
        """Why a datagram is not the answer; None: it is the answer."""
        why = self._why(wire, ancillary)
        if why is not None:
            self.strays += 1
        if why is Stray.CASE and self._other_case is None:
            self._other_case = wire, rtt
        return why

    def second_best(self) -> tuple[bytes, Seconds] | None:
        """When the time is up: an answer in another letter case and its round-trip time, if the
        server may be one that does not echo the case.
        """
        if self._other_case is None or self.echo is None:
            return None
        kept, self._other_case = self._other_case, None
        if self.echo.other():
            return kept
        self.detail = "an answer in another case than the question's"
        return None

    def _why(self, wire: bytes, ancillary: Ancillary) -> Stray | None:
        if len(wire) < _HEADER or wire[:2] != self.query_id:
            return Stray.ID
        like = likeness(wire, self.question)
        if like is Likeness.ANOTHER:
            self.detail = "an answer to another question"
            return Stray.QUESTION
        if self.link is not None and (arrived_by := arrival(ancillary)) != self.link:
            self.astray = f"{link_name(arrived_by or 0)}, not by {link_name(self.link)}"
            self.detail = f"an answer came in by {self.astray}"
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
