"""What one look at a zone and its copies showed, as values: `observe` sees, `judge` judges."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from steering.model import Instant, Seconds, WallTime


class Way(enum.StrEnum):
    """How one question to a resolver ended."""

    GOOD = "good"
    SERVFAIL = "servfail"
    EXPIRED = "expired"
    """Answered with a signature of the zone that has ended: validators behind it fail."""
    DENIED = "denied"
    """NXDOMAIN for a name that the zone's servers have."""
    REFUSED = "refused"
    SILENT = "silent"

    @property
    def bad(self) -> bool:
        """Whether it may be the copy's fault. Silence and a refusal have other causes."""
        return self in (Way.SERVFAIL, Way.EXPIRED, Way.DENIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question to a resolver, as a client asks it."""

    resolver: str
    """Its address."""
    name: str
    rdtype: str
    way: Way
    behind: bool = False
    """The address belongs to a forwarder or a node before the resolver, which has its own cache."""
    serial: int | None = None
    """Of the zone's SOA, where the answer has it."""
    denied: int | None = None
    """Serial of the version, often an old one in a cache, that DENIED is from; None: not known."""
    expires: WallTime | None = None
    """When the first of the zone's own signatures in the answer ends."""

    def __str__(self) -> str:
        return f"{self.name} {self.rdtype} at {self.resolver}: {self.way}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a server answers, or a file holds, of a copy."""

    serial: int
    expires: WallTime | None = None
    """When the first of the signatures seen ends."""
    expire: Seconds | None = None
    """SOA expire."""
    left: Seconds | None = None
    """EDNS EXPIRE (RFC 7314): how long the server will go on serving it."""
    authoritative: bool = False
    """Answered with AA and without recursion: by the server that holds the copy, no other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileShown:
    """What the file of a copy amounts to."""

    shown: Shown | None = None
    """None: it is no zone."""
    refused: str = ""
    """Why it must not be used; empty: it is good."""
    foreign: tuple[str, ...] = ()
    """Record types in it that the resolver may not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at one resolver's copy."""

    address: Shown | None = None
    """By the address of its server; None: it showed none."""
    own: int | None = None
    """Serial of what the resolver itself has, from no cache; None: not known."""
    file: FileShown | None = None
    """None: there is none, or nothing is known of it."""
    asked: tuple[Asked, ...] = ()
    trouble: str = ""
    """Why the copy could not be looked at; empty: it could."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """What the zone's own servers show at the same time."""

    serial: int | None = None
    """The newest that is proven by a signature; None: none is."""
    expires: WallTime | None = None
    """When the first signature ends of the answer that lives longest."""
    refresh: Seconds = 1800.0
    """SOA refresh."""
    expire: Seconds | None = None
    """SOA expire."""
    answers: bool = False
    """A server answers well over the path in use: resolvers could do without a copy."""
    doubt: str = ""
    """Why this host's clock may be wrong; empty: nothing speaks for that."""
    history: tuple[tuple[int, Instant], ...] = ()
    """The newest serials of late, each with the instant it was first seen, the latest last."""
