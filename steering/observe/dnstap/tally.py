"""What the dnstap reader hands to the agent: counts, failing names, and a few whole messages.

The reader is a separate process. About five times a second it hands the agent one `Tally` of
everything since the last one. The number of watched addresses and zones bounds its size, not the
traffic. If the agent is slow, nothing queues: the next tally covers a longer time.

It holds nothing about clients. Only frames of kind RESOLVER_* and FORWARDER_* are read, so the
names are those of RRsets that an upstream sent, and only of failing ones. A sampled message is as
the upstream sent it, but without options (``redact``). It contains the name in the question, so
drop it after use.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.model import Failure, Instant, Seconds, WallTime
from steering.system.unreadable import Unread

NAMES = 16
"""New failing RRsets of one (address, zone) in one tally; and as many that were reported before."""

NAME_BYTES = 4096
"""Characters of the names of one (address, zone) in one tally: a name may have 1,000, and agent and
reader encode and decode a tally five times a second."""

CANDIDATES = 4
"""Messages of one address in one tally, for each reason to verify them."""

MESSAGES = 48
"""Messages in one tally for each reason, over all addresses."""

MESSAGE_BYTES = 1 << 17
"""Bytes of all messages in one tally."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What to count at one address: the zones that it serves in the policies."""

    zones: frozenset[str]
    skew: Seconds = 0.0
    """By how much this host's clock and a signer's may differ before a date is bad."""
    since: int = 0
    """Microseconds of UNIX time: earlier questions took another path and are only counted as
    frames, as are those without a time. 0: everything counts."""


Interest = Mapping[str, Watched]
"""Address -> what to count there. Frames of other addresses are only counted as frames."""


class Frames(enum.StrEnum):
    """What became of a frame: the label `result` of steering_dnstap_frames_total."""

    OK = "ok"
    """A query to a watched address, or an answer from one."""
    OTHER = "other"
    """A query to another upstream, or an answer from one."""
    IGNORED = "ignored"
    """Of a kind that is not read (client side), or PowerDNS's notice of a new domain."""
    MALFORMED = "malformed"
    """Not dnstap: the writer's fault. A malformed DNS message is an upstream's: see `Traffic`."""
    TOO_LARGE = "too_large"
    """Longer than any DNS message requires. The connection is out of step and is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The answers of one address for one of its zones, by the dates of the zone's signatures.

    One answer counts once, for the zone that was asked, by the worst of those RRsets that a
    resolver uses of it (`dnssec/used_records.py`) and that the zone signed. `good` means only that
    the signatures were in their validity period. An answer without such signatures, one that is
    not authoritative for the zone, and a truncated one are not counted here.
    """

    address: str
    zone: str
    good: int = 0
    expired: int = 0
    not_yet_valid: int = 0
    expires: WallTime | None = None
    """The earliest expiration of all signatures by the zone in the answer and authority sections of
    these answers; in the past if one has expired."""
    serial: int | None = None
    """Serial of the last SOA record of the zone that was seen in an answer for the zone."""
    failing: tuple[Failure, ...] = ()
    """RRsets without any signature by the zone within its validity period (RFC 4035 5.3.1): EXPIRED
    or NOT_YET_VALID, by the signature that is nearest to it. First those that are not among the few
    hundred reported last, at most `NAMES`, then at most as many that are; fewer if their names are
    long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Queries to one address, and its responses."""

    address: str
    since: int = 0
    """The `Watched.since` that held for these counts."""
    queries: int = 0
    """RESOLVER_QUERY frames. Queries without a response are losses, if the writer logs both."""
    forwarded: int = 0
    """FORWARDER_QUERY frames: queries with RD set."""
    responses: int = 0
    """RESOLVER_RESPONSE and FORWARDER_RESPONSE frames."""
    bare: int = 0
    """Complete NOERROR and NXDOMAIN answers without any signature in answer and authority: normal
    if DO was not set, otherwise a sign of stripped signatures."""
    truncated: int = 0
    """Responses with TC set: resolvers don't use their records (RFC 2181 9)."""
    malformed: int = 0
    """Responses that are not valid DNS messages in the part that was read. Not in `rcodes`."""
    rcodes: Mapping[int, int] = field(default_factory=dict)
    """Responses by the four bits of the header (RFC 1035 4.1.1)."""


class Reason(enum.StrEnum):
    """Why a message is handed over."""

    FAILING = "failing"  # a used RRset has no signature within its validity period
    BARE = "bare"  # it has no signatures
    RANDOM = "random"  # drawn evenly from all responses of watched addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One response, without its options, to be verified with keys."""

    address: str
    reason: Reason
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something about the writers that an operator should see: one event."""

    listener: str
    """The socket as it is configured."""
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Everything that was counted since the last one."""

    began: Instant
    """Everything before it is in the last tally; it lies a little before that one's end."""
    ended: Instant
    frames: Mapping[Frames, int] = field(default_factory=dict)
    lost: int = 0
    """Frames dropped unread because more was waiting than the reader holds."""
    writers: int = 0
    """Connections after their handshake, at `ended`."""
    longest_gap: Seconds = 0.0
    """The longest time without reading a socket although data was there: a resolver's queue lasts
    for about 0.2 s."""
    traffic: tuple[Traffic, ...] = ()
    """Only watched addresses with traffic."""
    signed: tuple[Signed, ...] = ()
    samples: tuple[Sample, ...] = ()
    """First suspicious messages, those with new names before others; then random ones."""
    notices: tuple[Notice, ...] = ()
    unnoticed: int = 0
    """Notices left out because there were too many."""
    unreadable: tuple[Unread, ...] = ()
    """Frames that raised an exception in the reader: a bug of the reader."""
