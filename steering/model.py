"""The values that the stages hand to each other: an answer, a round, a step of the plan.

Everything here is immutable and checked where it is made. The stages (observe, judge,
decide, act, report) exchange these values only. Addresses are canonical text (``ipaddress``
form). Zones and names are lower-case with a final dot.
"""

from __future__ import annotations

import enum
import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

Seconds = float
"""A length of time in seconds."""

Instant = float
"""A point on the monotonic clock, in seconds. Never compared with wall time."""

NEVER: Instant = -math.inf
"""The instant of what has not happened yet: it is longer ago than anything else."""

WallTime = float
"""Seconds since the UNIX epoch. Only where a signature, a serial or a log line needs it."""

LOCAL = "local"
"""The name of the path that needs no detour."""

LARGE = 1000
"""An answer of this many octets or more is large. A path that carries such a datagram carries about
the largest that resolvers accept (1,232). By TCP it fills most of a segment, or several.
"""


class Family(enum.StrEnum):
    """An address family."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"

    @classmethod
    def of(cls, address: str) -> Family:
        """The family of an address in text form. Raises ValueError if it is none."""
        return cls.IPV4 if ipaddress.ip_address(address).version == 4 else cls.IPV6

    @property
    def bits(self) -> int:
        """Length of a host route's prefix: 32 or 128."""
        return 32 if self is Family.IPV4 else 128


class Verdict(enum.StrEnum):
    """The class in which an outcome is counted for the upstream."""

    GOOD = "good"
    BOGUS = "bogus"
    TIMEOUT = "timeout"
    ERROR = "error"
    NOTHING = "nothing"  # this host's own fault: never counted for or against an upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the resolvers of this host send from. Raises ValueError if it is no address."""

    address: str
    interface: str | None = None
    """The interface, or VRF, that their sockets are bound to."""

    def __post_init__(self) -> None:
        Family.of(self.address)

    @property
    def family(self) -> Family:
        """The family of its address."""
        return Family.of(self.address)

    def __str__(self) -> str:
        return f"{self.address}@{self.interface}" if self.interface else self.address


class Outcome(enum.StrEnum):
    """How one question to a nameserver ended."""

    SECURE = "secure"
    INSECURE = "insecure"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    BAD_SIGNATURE = "bad_signature"
    UNSIGNED = "unsigned"
    NO_KEY = "no_key"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    LAME = "lame"
    MALFORMED = "malformed"
    TIMEOUT = "timeout"
    LOCAL_ERROR = "local_error"

    @property
    def verdict(self) -> Verdict:
        """The class this outcome is counted in."""
        return _VERDICTS[self]


_VERDICTS: Mapping[Outcome, Verdict] = {
    Outcome.SECURE: Verdict.GOOD,
    Outcome.INSECURE: Verdict.GOOD,
    Outcome.EXPIRED: Verdict.BOGUS,
    Outcome.NOT_YET_VALID: Verdict.BOGUS,
    Outcome.BAD_SIGNATURE: Verdict.BOGUS,
    Outcome.UNSIGNED: Verdict.BOGUS,
    Outcome.NO_KEY: Verdict.BOGUS,
    Outcome.SERVFAIL: Verdict.ERROR,
    Outcome.REFUSED: Verdict.ERROR,
    Outcome.LAME: Verdict.ERROR,
    Outcome.MALFORMED: Verdict.ERROR,
    Outcome.TIMEOUT: Verdict.TIMEOUT,
    Outcome.LOCAL_ERROR: Verdict.NOTHING,
}

OUTCOMES: tuple[Outcome, ...] = tuple(Outcome)
"""Every outcome in its fixed order."""


class Health(enum.IntEnum):
    """The state of one address over one path."""

    UNKNOWN = 0
    HEALTHY = 1
    SUSPECT = 2
    STALE = 3
    FAILING = 4

    @property
    def word(self) -> str:
        """The name as it stands in the status, the metrics and the events."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The RRset that made an answer bad, with the dates on its signature."""

    owner: str
    rdtype: str
    detail: str
    key_tag: int | None = None
    inception: int | None = None  # UNIX seconds
    expiration: int | None = None  # UNIX seconds

    def __str__(self) -> str:
        return f"{self.owner} {self.rdtype}: {self.detail}"


WITHOUT_AUTHORITY = "not authoritative"
"""The detail of an answer with the records asked for and without AA (RFC 1035 4.1.1). Caches answer
like that; nameservers do not."""


class Kind(enum.StrEnum):
    """What a probe question is for."""

    SOA = "soa"
    DNSKEY = "dnskey"
    DENIAL = "denial"  # a random name below the zone: NXDOMAIN with NSEC or NSEC3
    DELEGATION = "delegation"  # the DS of a known delegation
    WITNESS = "witness"  # a name that failed at breach, asked again


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to ask an upstream's nameserver, about one of its zones."""

    zone: str
    name: str
    rdtype: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """One answer, or its absence, classified."""

    outcome: Outcome
    judged: bool = True
    """False: no evidence about the upstream (the zone's key set was not available)."""
    nsid: str | None = None
    serial: int | None = None
    """Serial of the zone's SOA record, where the answer carried one."""
    expires: WallTime | None = None
    """The soonest expiration among the RRSIGs of the zone in this answer."""
    evidence: Evidence | None = None
    detail: str = ""
    """What happened, as text: the error of the socket or the parser."""

    @property
    def verdict(self) -> Verdict:
        """The class this answer is counted in; NOTHING where it was not judged."""
        return self.outcome.verdict if self.judged else Verdict.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(Classified):
    """One answer to a probe, or its absence, and how it came."""

    address: str
    path: str
    live: bool = False
    """The probe was sent without a mark, so it took the path of the host's traffic."""
    source: str = ""
    """Where it was sent from (`Source`); empty: from the address that the kernel chose."""
    tcp: bool = False
    """The last attempt was by TCP."""
    reached: bool = False
    """Something came back from the address itself: an answer, or its host's refusal of the port."""
    stalled: bool = False
    """A TCP connection was made, and the answer did not come over it in time."""
    large: int = 0
    """Octets of the answer if it is large (`LARGE`), else 0."""
    rtt: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One question put to one address over several paths in the same instant.

    Because the question and the time are the same, a round with the local path and a
    site's path in it is also a *pair* of the confirmation test (detector.md).
    """

    address: str
    question: Question
    at: Instant
    observations: tuple[Observation, ...]

    @property
    def name_is_bad(self) -> bool:
        """Whether a name asked again fails over the local path and another one.

        The fault is then the name's and not a path's. An attacker may have planted the name.
        """
        if self.question.kind is not Kind.WITNESS:
            return False
        failed = {o.path for o in self.observations if o.verdict is Verdict.BOGUS and not o.live}
        return LOCAL in failed and len(failed) > 1

    @property
    def is_evidence(self) -> bool:
        """Whether its answers are evidence for or against a path.

        For a name asked again they are if some path answers it well. If none does, the name may
        be planted, even if other paths do not fail but are silent or refuse.
        """
        return self.question.kind is not Kind.WITNESS or any(
            o.verdict is Verdict.GOOD for o in self.observations if not o.live
        )


SHOWN_BY_A = frozenset({"A", "CNAME", "DS", "SOA"})
"""Types that a question for the A record of the same owner returns, themselves or in a denial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One RRset in an answer to the resolvers whose signatures do not verify."""

    name: str
    """What is counted once an hour: the RRset's owner, or a substitute for a private name. Lower
    case, with a final dot, escaped as in zone files (RFC 4343 2.1)."""
    outcome: Outcome
    evidence: Evidence
    ask: str | None = None
    """The name whose A record a probe can ask for to see it again; None: none, or none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """Counts of what one address answered to the resolvers over one path in a short time.

    It comes from traffic that others caused, so it may raise suspicion and nothing more.
    """

    address: str
    path: str
    at: Instant
    """When that time began."""
    answers: int = 0
    """All responses."""
    counts: Mapping[Outcome, int] = field(default_factory=dict)
    """By outcome. SECURE is by the dates of the signatures alone."""
    failures: tuple[Failure, ...] = ()
    """Some of the RRsets that are bad by their dates: new ones first."""
    expires: WallTime | None = None
    """The soonest expiration among the signatures."""
    proved: int = 0
    """Answers of a sample whose signatures were verified, and are good."""
    disproved: tuple[Failure, ...] = ()
    """RRsets of the sample that are bad although their dates are good."""
    serials: Mapping[str, int] = field(default_factory=dict)
    """Zone -> SOA serial, from the sample, verified."""
    overdue: int = 0
    """Queries over a detour that have waited for longer than an answer takes. `counts` has the same
    ones as TIMEOUT some seconds later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Which paths of one address are to be probed fast.

    The paths named are probed at the fast interval; all others keep the slow one.
    """

    paths: frozenset[str]
    live: bool = False
    """Probe without a mark as well, to follow the path of the host's own traffic."""
    witnesses: tuple[str, ...] = ()
    """Names that failed lately, to ask again besides fresh ones."""
    every: Seconds = 0.0
    """The least time between two probes; never less than the fast interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One nameserver address of a policy: the unit of measuring and steering."""

    upstream: str
    nameserver: str
    address: str
    family: Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of the plan: the path of one address before and after."""

    address: str
    was: str | None  # site, None: local
    now: str | None
    rule: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that changed, for the log: was, now, because."""

    event: str
    because: str
    upstream: str | None = None
    address: str | None = None
    path: str | None = None
    was: str | None = None
    now: str | None = None
    rule: str | None = None
    more: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A change an actuator made, acknowledged by the kernel."""

    action: str  # add | replace | remove
    address: str
    site: str | None
    seconds: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A change an actuator could not make, and why."""

    action: str
    address: str
    site: str | None
    because: str
