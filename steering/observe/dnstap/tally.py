"""What the reader of dnstap hands over: counts, names that fail, and a few whole messages.

The reader is a process of its own. About five times a second it hands the agent one `Tally`
of everything since the last one. Its size is bounded by the interest alone, never by the
traffic. While the agent is slow nothing queues: the next tally just covers more time.

Nothing about clients is in it. Only frames of kind RESOLVER_* and FORWARDER_* are looked at,
so the names are those of RRsets that an upstream sent, and only of those that fail. A message
in a sample is as the upstream sent it, but without options (``redact``). The name that was asked
for is in it: look, and drop it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.model import Instant, Outcome, Seconds, WallTime
from steering.system.unreadable import Unread

NAMES = 16
"""Failing RRsets told of one (address, zone) in one tally; and as many again told before."""

NAME_BYTES = 4096
"""Characters of the names told of one (address, zone) in one tally: they may have 1,000 each, and
agent and reader take tallies apart five times a second."""

CANDIDATES = 4
"""Messages of one address in one tally, for each reason there is to look at them again."""

MESSAGES = 48
"""Messages in one tally for each reason, over all addresses."""

MESSAGE_BYTES = 1 << 17
"""Bytes of all messages in one tally."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is of interest at one address: the zones it serves in the policies."""

    zones: frozenset[str]
    skew: Seconds = 0.0
    """By how much our clock and a signer's may differ before a date is called bad."""
    since: int = 0
    """Microseconds of UNIX time: what was asked before went another way, and is only counted as a
    frame, as is what does not say when it was asked. 0: everything counts."""


Interest = Mapping[str, Watched]
"""Address -> what is of interest there. Frames of other addresses are only counted."""


class Frames(enum.StrEnum):
    """What became of a frame: the label `result` of steering_dnstap_frames_total."""

    OK = "ok"
    """A query to an address of interest, or an answer from one."""
    OTHER = "other"
    """A query to another upstream, or an answer from one."""
    IGNORED = "ignored"
    """Of a kind that is not looked at (client side), or PowerDNS's notice of a new domain."""
    MALFORMED = "malformed"
    """No dnstap: the writer's fault. A malformed DNS message is an upstream's: see `Traffic`."""
    TOO_LARGE = "too_large"
    """Longer than any DNS message can make it. The connection is closed: it is out of step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """One RRset of which no signature by the zone is within its dates (RFC 4035 5.3.1)."""

    owner: str
    """Lower case, with a final dot, escaped as in zone files (RFC 4343 2.1)."""
    rdtype: int
    outcome: Outcome
    """EXPIRED or NOT_YET_VALID, by the signature that comes nearest to being valid."""
    key_tag: int
    inception: WallTime
    expiration: WallTime
    new: bool
    """Not among the last few hundred that were told of this address and zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What one address answered for one of its zones, by the dates of the zone's signatures.

    One answer counts once, for the zone that was asked, by the worst of the RRsets that a
    resolver uses of it (`dnssec/used_records.py`) and the zone signed. That the signatures
    were within their dates is all that is known of `good` ones. What has none that counts, does
    not speak for the zone or is truncated counts for nothing here.
    """

    address: str
    zone: str
    good: int = 0
    expired: int = 0
    not_yet_valid: int = 0
    expires: WallTime | None = None
    """The soonest expiration seen in answers that count, of all signatures by the zone in their
    answer and authority sections: in the past if one is over."""
    serial: int | None = None
    """Serial of the last SOA record of the zone that was seen where the zone was asked."""
    failing: tuple[Failing, ...] = ()
    """New ones first, at most `NAMES` of them, then at most as many that were told before; fewer
    where their names are long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What was asked of one address, and what came back."""

    address: str
    since: int = 0
    """`Watched.since`, as it was for all of this."""
    queries: int = 0
    """RESOLVER_QUERY frames. Queries without a response are losses, if the writer logs both."""
    forwarded: int = 0
    """FORWARDER_QUERY frames: queries with RD set."""
    responses: int = 0
    """RESOLVER_RESPONSE and FORWARDER_RESPONSE frames."""
    bare: int = 0
    """Complete NOERROR and NXDOMAIN answers without any signature in answer and authority: as it
    should be where DO was not set, a sign of stripped signatures elsewhere."""
    truncated: int = 0
    """Responses with TC set: no resolver uses their records (RFC 2181 9)."""
    malformed: int = 0
    """Responses that are no DNS message as far as they were read. Not in `rcodes`."""
    rcodes: Mapping[int, int] = field(default_factory=dict)
    """Responses by the four bits of the header (RFC 1035 4.1.1)."""


class Reason(enum.StrEnum):
    """Why a message is handed over."""

    FAILING = "failing"  # what a resolver uses of it is out of its dates
    BARE = "bare"  # it holds no signature at all
    RANDOM = "random"  # drawn evenly from all responses of addresses of interest


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One response as it came but for its options, for a second look with keys."""

    address: str
    reason: Reason
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something about the writers that an operator should hear of: one event."""

    listener: str
    """The socket as it is configured."""
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Everything that was counted since the last one."""

    began: Instant
    """Whatever came before was counted before: a little before the last one ended."""
    ended: Instant
    frames: Mapping[Frames, int] = field(default_factory=dict)
    lost: int = 0
    """Frames dropped unread because more was waiting than the reader holds."""
    writers: int = 0
    """Connections whose handshake is done, at the end."""
    longest_gap: Seconds = 0.0
    """The longest time for which no socket was read although something had come: a resolver's
    queue lasts for about 0.2 s."""
    traffic: tuple[Traffic, ...] = ()
    """Only addresses of interest, and only those that had any."""
    signed: tuple[Signed, ...] = ()
    samples: tuple[Sample, ...] = ()
    """Candidates of trouble first, new names before others; then random ones."""
    notices: tuple[Notice, ...] = ()
    unnoticed: int = 0
    """Notices left out because there were too many."""
    unreadable: tuple[Unread, ...] = ()
    """Frames over which the reader failed: its own fault, whatever was in them."""
