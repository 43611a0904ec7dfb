"""What is known of a whole zone after it was verified, as values without any record of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from steering.model import Seconds, WallTime


class Digest(enum.StrEnum):
    """What the zone's ZONEMD records amount to (RFC 8976 section 4)."""

    VERIFIED = "verified"
    """One of them has the digest of these records, and is signed by the zone."""
    UNSIGNED = "unsigned"
    """One has the digest, but no good signature of the zone covers it."""
    ABSENT = "absent"
    WRONG = "wrong"
    """One is of a known scheme and hash, and has another digest."""
    UNSUPPORTED = "unsupported"
    """All are of a scheme or hash that this program does not know, or not well formed."""
    DOUBLED = "doubled"
    """All of known scheme and hash have it in common with another one (section 2.2.3)."""
    OTHER_SERIAL = "other_serial"
    """All of known scheme and hash are for another serial than the SOA's."""


class Fault(enum.StrEnum):
    """Whose fault it is that nothing is known of a zone."""

    FILE = "file"
    """It can't be read as a zone: absent, cut, too large, or of unknown words."""
    SOURCE = "source"
    """The server did not give it: silent, refused, or an answer that is no transfer."""
    HOST = "host"
    """This host could not look: no process, no memory, no time. It says nothing about the zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why nothing is known of a zone."""

    because: str
    fault: Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A name in the zone, and the type of records that every whole copy of it has there."""

    name: str
    rdtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneFacts:
    """One version of a zone, verified."""

    zone: str
    serial: int
    refresh: Seconds
    retry: Seconds
    expire: Seconds
    records: int
    octets: int
    """Of the file, or of the transfer's messages."""
    expires: WallTime | None
    """When the first of all its signatures ends; None: it has no signatures."""
    digest: Digest
    unknown_types: tuple[str, ...] = ()
    """Types in it that the resolver at hand may not know (`EVERYWHERE`), as TYPE123 or by name."""
    algorithms: tuple[int, ...] = ()
    """Of its keys and of its signatures, sorted."""
    problems: tuple[str, ...] = ()
    """Why it must not be used, for people; empty: it is good."""
    ends_with: tuple[Question, ...] = ()
    """Names at the end of the zone in canonical order: a copy that was cut has none of them."""

    @property
    def good(self) -> bool:
        """Whether it may be used now."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A copy of a zone that was fetched here, as the first line of its file says."""

    facts: ZoneFacts
    source: str
    verified: WallTime
    """When it was fetched and verified: until then an older one, or none, was the newest known."""

    def best_before(self) -> WallTime:
        """When it must no longer be used: after the SOA's expire, or with its first signature."""
        limits = [self.verified + self.facts.expire]
        return min(limits if self.facts.expires is None else [*limits, self.facts.expires])


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A server that gives the zone by AXFR, and how to reach it."""

    address: str
    port: int = 53
    mark: int | None = None
    """SO_MARK, by which the kernel chooses the path; None: as all other traffic."""
    path: str = ""
    """The name of that path, for people."""

    def __str__(self) -> str:
        port = "" if self.port == 53 else f" port {self.port}"
        return f"{self.address}{port}" + (f" over {self.path}" if self.path else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one source showed, in one round of asking all of them."""

    source: str
    serial: int | None = None
    """Of its SOA; None: it gave no answer."""
    because: str = ""
    """Why nothing was taken from it, for people; empty: it was not asked for more, or gave it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """How a round of asking the sources ended."""

    copy: Copy | None = None
    """The new copy, which is in the file now; None: there is none."""
    shown: tuple[Shown, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one look at a zone. A zone beyond them is refused."""

    octets: int = 64_000_000
    """Of the file, of the transfer, and of the file that is written."""
    records: int = 500_000
    memory: int = 512_000_000
    """Of the child's address space, in octets (RLIMIT_AS)."""
    cpu: Seconds = 60.0
    time: Seconds = 120.0
    """From start to end, the transfer included."""


def newer(serial: int, than: int) -> bool:
    """Whether a serial is greater (RFC 1982 3.2). At a distance of 2^31 neither is."""
    return 0 < (serial - than) % (1 << 32) < 1 << 31


LIMITS: Final = Limits()
"""The root zone has some 25,000 records and 2.2 MB. These are generous for it, and stop a server or
a file that never ends."""

_WORDS = """SOA NS A AAAA CNAME DNAME PTR MX TXT SRV NAPTR SSHFP TLSA CAA
DS DNSKEY RRSIG NSEC NSEC3 NSEC3PARAM CDS CDNSKEY ZONEMD"""
EVERYWHERE: Final = frozenset(_WORDS.split())
"""Types that the four resolvers of Debian 12 read by name. All others are written in the form of
RFC 3597, which every loader reads."""
