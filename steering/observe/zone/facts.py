"""What is known of a whole zone after it was verified, as values without any record of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
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
    ends_with: tuple[Question, ...] = field(default=())
    """Names at the end of the zone, whose records only a whole copy has."""

    @property
    def good(self) -> bool:
        """Whether it may be used now."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about a name in the zone, and what a copy of this version answers."""

    name: str
    rdtype: str
    records: tuple[str, ...] = ()
    """The records in presentation form, sorted; empty: the name does not exist."""


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


LIMITS: Final = Limits()
"""The root zone has some 25,000 records and 2.2 MB. These are generous for it, and stop a server or
a file that never ends."""

EVERYWHERE: Final = frozenset(
    "SOA NS A AAAA CNAME DNAME PTR MX TXT SRV NAPTR SSHFP TLSA CAA"
    " DS DNSKEY RRSIG NSEC NSEC3 NSEC3PARAM CDS CDNSKEY ZONEMD".split()
)
"""Types that the four resolvers of Debian 12 read by name. All others are written in the form of
RFC 3597, which every loader reads."""
