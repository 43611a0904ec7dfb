"""The words of the project as values: what an answer, a round, a plan *is*.

Everything here is immutable and checked where it is made. The stages (observe, judge,
decide, act, report) hand these values to each other and nothing else. Addresses are
canonical text (``ipaddress`` form), zones and names are lower-case with a final dot.
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

WallTime = float
"""Seconds since the UNIX epoch. Only where a signature, a serial or a log line needs it."""

LOCAL = "local"
"""The name of the path that needs no detour."""

LARGE = 1000
"""Octets from which on an answer is large. What carries such a datagram carries about the most that
resolvers take in one (1,232); by TCP it fills most of a segment, or several.
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
    """What one outcome says about the upstream: the classes that are counted apart."""

    GOOD = "good"
    BOGUS = "bogus"
    TIMEOUT = "timeout"
    ERROR = "error"
    NOTHING = "nothing"  # ours: never counted for or against an upstream


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the resolvers of this host send from. Raises ValueError for what is no address."""

    address: str
    interface: str | None = None
    """The one their sockets are bound to, or the VRF."""

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
"""Every outcome in its fixed order: the column order of every table of counts."""


class Health(enum.IntEnum):
    """What is believed of one (address, path). The numbers are codes in arrays."""

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
"""The detail of an answer that has what was asked for and no AA (RFC 1035, 4.1.1), as caches answer
and nameservers do not."""


class Kind(enum.StrEnum):
    """What a probe question is for."""

    SOA = "soa"
    DNSKEY = "dnskey"
    DENIAL = "denial"  # a random name below the zone: NXDOMAIN with proof
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
class Observation:
    """One answer, or its absence, classified."""

    address: str
    path: str
    outcome: Outcome
    live: bool = False
    """Sent without a mark, so it went where the host's traffic to this address goes."""
    source: str = ""
    """Where it was sent from (`Source`); empty: from the address that the kernel chose."""
    tcp: bool = False
    """How it was asked in the end."""
    judged: bool = True
    """False: it says nothing of the upstream (the zone's key set could not be had)."""
    reached: bool = False
    """Something came back from the address itself: an answer, or its host's refusal of the port."""
    stalled: bool = False
    """A connection by TCP was made, and the answer did not come over it in time."""
    large: int = 0
    """Octets of the answer where it is a large one (`LARGE`)."""
    rtt: Seconds | None = None
    nsid: str | None = None
    serial: int | None = None
    """Serial of the zone's SOA record, where the answer carried one."""
    expires: WallTime | None = None
    """The soonest expiration among the RRSIGs of the zone in this answer."""
    evidence: Evidence | None = None
    detail: str = ""
    """What happened, for people: the socket's error, the parser's complaint."""

    @property
    def verdict(self) -> Verdict:
        """The class this answer is counted in; NOTHING where it was not judged."""
        return self.outcome.verdict if self.judged else Verdict.NOTHING


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
    def moot(self) -> bool:
        """A name asked again that fails over the local path and another: its fault, not theirs.

        Somebody may have planted it.
        """
        if self.question.kind is not Kind.WITNESS:
            return False
        failed = {o.path for o in self.observations if o.verdict is Verdict.BOGUS and not o.live}
        return LOCAL in failed and len(failed) > 1

    @property
    def telling(self) -> bool:
        """Whether its answers speak for or against a path.

        Those to a name asked again do where some path answers it well. Where none does, the
        name may be planted, whatever the others do instead of failing: be silent, or refuse.
        """
        return self.question.kind is not Kind.WITNESS or any(
            o.verdict is Verdict.GOOD for o in self.observations if not o.live
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One RRset that came to the resolvers with signatures that do not hold."""

    name: str
    """What counts once an hour: the RRset's owner, or what stands for a name not to be told."""
    outcome: Outcome
    evidence: Evidence
    ask: str | None = None
    """The name whose A record to ask for to see it again; None: there is none, or none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one address answered the resolvers over one path within a moment, counted.

    It comes from traffic that others caused: it may raise suspicion and nothing more.
    """

    address: str
    path: str
    at: Instant
    """When that moment began."""
    answers: int = 0
    """Responses, whatever is in them."""
    counts: Mapping[Outcome, int] = field(default_factory=dict)
    """By outcome. SECURE is by the dates of the signatures alone."""
    failures: tuple[Failure, ...] = ()
    """Some of those that are bad by their dates: new ones first."""
    expires: WallTime | None = None
    """The soonest expiration among the signatures."""
    proved: int = 0
    """Answers of a sample whose signatures were verified, and are good."""
    disproved: tuple[Failure, ...] = ()
    """Those of the sample that are bad although their dates are good."""
    serials: Mapping[str, int] = field(default_factory=dict)
    """Zone -> SOA serial, from the sample, verified."""
    overdue: int = 0
    """Questions over a detour that wait for their answer for longer than one takes. Sooner known
    than those that `counts` has as TIMEOUT, which are the same ones some seconds later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """What the judging stage wants to see more of, for one address.

    The paths named are asked at the fast interval; all others keep the slow one.
    """

    paths: frozenset[str]
    live: bool = False
    """Ask without a mark as well: where does the host's own traffic end up?"""
    witnesses: tuple[str, ...] = ()
    """Names that failed lately, to ask again besides fresh ones."""
    every: Seconds = 0.0
    """The least time between two questions; never less than the fast interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One nameserver address of a policy: the unit of measuring and steering."""

    upstream: str
    nameserver: str
    address: str
    family: Family


class Action(enum.StrEnum):
    """What an override says of the addresses it matches."""

    STEER = "steer"  # through a site, whatever was measured
    LOCAL = "local"  # no detour
    FREEZE = "freeze"  # whatever it is now stays
    AVOID = "avoid"  # anything but this site
    ACKNOWLEDGE = "acknowledge"  # an alarm was seen: nothing goes another way for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Whom an override is about: what is left out matches everything."""

    upstream: str | None = None
    nameserver: str | None = None
    address: str | None = None
    family: Family | None = None
    site: str | None = None
    """The site whose agent is to obey: one file may be given to all of them."""

    @property
    def narrow(self) -> bool:
        """Whether it is about some addresses, and not about whatever there is."""
        return any((self.upstream, self.nameserver, self.address, self.family))

    def covers(self, target: Target, *, here: str) -> bool:
        """Whether it is about this address, for the agent of the site `here`."""
        return all(
            wanted is None or wanted == there
            for wanted, there in (
                (self.upstream, target.upstream),
                (self.nameserver, target.nameserver),
                (self.address, target.address),
                (self.family, target.family),
                (self.site, here),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """An operator's word on some addresses, until it ends."""

    name: str
    match: Match
    action: Action
    to: str | None
    """The site, for STEER and AVOID."""
    until: WallTime | None
    """None: it never ends."""
    reason: str
    by: str
    alarm: str | None = None
    """The alarm that was seen, for ACKNOWLEDGE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Where an address stood when a freeze began."""

    path: str
    by: str
    """Name of the override that froze it: another one's freeze begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaches:
    """How often an address was breached without a day's calm between, and when last."""

    number: int
    since: Seconds
    """How long before the moment of the memory it is in the latest one began."""
    ended: Seconds
    """How long before it the latest one was over; while it lasts, began."""

    def __post_init__(self) -> None:
        if self.number < 1 or not (_is_length(self.since) and _is_length(self.ended)):
            raise ValueError(f"{self} is no row of breaches")


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """Through which site an address goes, and how long before the memory it is in that began."""

    site: str
    ago: Seconds

    def __post_init__(self) -> None:
        if not _is_length(self.ago):
            raise ValueError(f"{self} began at no time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What an agent knows that the one after it can't find out. Raises ValueError for rubbish."""

    at: WallTime
    frozen: Mapping[str, Frozen] = field(default_factory=dict)
    """By address."""
    worn: Mapping[str, float] = field(default_factory=dict)
    """Address -> moves that are not worn off."""
    breaches: Mapping[str, Breaches] = field(default_factory=dict)
    moves: tuple[tuple[Seconds, int], ...] = ()
    """How long before `at`, how many addresses changed their path, within a minute."""
    steered: Mapping[str, Steered] = field(default_factory=dict)
    """By address."""
    spent: frozenset[str] = frozenset()
    """Acknowledgements whose alarms were over, by what they say (`decide.acknowledge`)."""

    def __post_init__(self) -> None:
        for address in (*self.frozen, *self.worn, *self.breaches, *self.steered):
            if str(ipaddress.ip_address(address)) != address:
                raise ValueError(f"{address!r} is no address in canonical form")
        if not (
            math.isfinite(self.at)
            and all(map(_is_length, self.worn.values()))
            and all(_is_length(ago) and number >= 0 for ago, number in self.moves)
        ):
            raise ValueError("there are numbers in it that count nothing")


def _is_length(number: float) -> bool:
    return math.isfinite(number) and number >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """Somebody behind this host whose questions it forwards: a pod, a container, another host."""

    source: str
    """The address that it sends from, as it arrives here."""
    translated: str = ""
    """What this host makes of it on the local path; empty: it leaves as it came."""
    carried: bool = False
    """The configuration says that every site carries its packets as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What became of the questions that this host forwarded for one source, to one address."""

    address: str
    path: str
    """The path that they took."""
    source: str
    answered: int = 0
    lost: int = 0
    """Questions that nothing had come back to after `observe.forwarded.WAITS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the world told since the last turn."""

    wall: WallTime
    rounds: tuple[Round, ...] = ()
    heard: tuple[Heard, ...] = ()
    """What the resolvers' own traffic showed."""
    installed: Mapping[str, str] = field(default_factory=dict)
    """Address -> site, as the kernel has it now: read, never remembered."""
    sources: Mapping[Family, tuple[str, ...]] = field(default_factory=dict)
    """What the resolvers of this host send from, as far as it is known; a family that is left out
    goes by the address that the kernel chooses."""
    bypassed: frozenset[str] = frozenset()
    """Addresses to which this host's packets go past any steer, by a rule of somebody else."""
    forwarded: Mapping[Family, tuple[Forwarded, ...]] = field(default_factory=dict)
    """Who sends through this host, as far as it is seen."""
    passed: tuple[Passed, ...] = ()
    """What became of that."""
    off: bool = False
    overrides: tuple[Override, ...] = ()
    """In the order of the files; those that have ended or match nothing are among them."""
    memory: Memory | None = None
    """What an agent before this one knew: a fact of the first turn alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of the plan: the address goes from where it was to where it shall go."""

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
