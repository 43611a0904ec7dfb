"""The ledger: what is known of every address, path, group and zone, by name.

What was never measured has no entry. A ledger is never changed: `turn.judge` returns the next one.
The records in it are edited by `edit.Draft` alone, which copies each before it is written to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from steering.index import Key, Settings
from steering.judge.known import failed_names
from steering.judge.known.buckets import EMPTY, Levels
from steering.judge.known.carriage import Carriage
from steering.judge.known.instance import Instance
from steering.judge.known.legs import Leg, Reach
from steering.judge.known.paired_test import Trial
from steering.judge.known.recovery import Bucket, Hold
from steering.judge.known.stream import PathTraffic, Stream
from steering.judge.known.zone_copies import NO_HISTORY, ZoneCopy, ZoneHistory, lag
from steering.model import LOCAL, NEVER, Health, Instant, Seconds

ASKED = 12
"""Probes of an address whose instants are remembered: those that are sent at the slow pace during
the longest timeout, 10 s."""
PAIRS = 3
"""Pairs within the last few seconds that a move needs."""
SILENCES = 3
"""Unanswered probes in a row that count against a path, if another path answers."""
BAD = 0.3
"""A failing share of the last 16 answers that makes a local path bad, whatever its health."""
RECENT_ANSWERS = 50
"""The failing share that is shown and compared fades over so many answers, besides with time: fast
probing changes it fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTrial:
    """The trial of a whole group, and the addresses that failed a pair in it (`group_trial`)."""

    trial: Trial
    failed: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """How an address on the local path answers probes with our mark and without it (`control`)."""

    score: int
    at: Instant
    """When the latest of these probes were sent."""
    lost: bool
    """The latest with the mark was lost or refused."""
    live_lost: bool
    """The latest without it was bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How an address answers fast probes over the paths in use (`backoff`)."""

    points: int
    """For losses and errors."""
    since: Instant
    """Since when it is probed slowly."""
    until: Instant
    """Until when."""


@dataclass(slots=True)
class PathRecord(Stream):
    """What probes showed of one address over one path, and its health."""

    health: Health = Health.UNKNOWN
    run: int = 0
    """Good answers in a row."""
    streak: int = 0
    """Unanswered probes in a row."""
    stuck: int = 0
    """Probes in a row that did not leave this host."""
    silent_since: Instant | None = None
    """When the third unanswered probe in a row was sent, which makes it a silence."""
    seen: Instant = NEVER
    """The last answer, or absence of one, that counts."""
    answered: Instant = NEVER
    """The latest probe that was answered in any way."""
    reached: Instant = NEVER
    """The latest probe to which anything came back from the address itself."""
    rtt: Seconds | None = None
    copies: Mapping[str, ZoneCopy] = field(default_factory=dict)
    """Zone -> the copy that it shows."""
    late: bool = False
    """Shows an outdated copy, by serial or by the life of its signatures."""
    behind: bool = False
    """Shows one by serial. A serial shows at once when the copy is replaced."""
    floors: Mapping[str, Seconds] = field(default_factory=dict)
    """Zone -> an answer whose signature ends within so many seconds is outdated."""
    late_count: int = 0
    late_since: Instant | None = None
    losses: int = 0
    """Points for losses over the local path that this path does not share (`losses`)."""
    loses: float = 0.0
    """The share of slow probes that the path loses, of about the last 500."""
    bucket: Bucket | None = None
    """The recovery bucket; None: it needs no recovery."""


@dataclass(slots=True)
class AddressRecord:
    """What is known of one address: of its local path by probes, where nothing else is said."""

    suspected_at: Instant | None = None
    """None while the local path is not suspect or worse."""
    confirmed_at: Instant | None = None
    """None while the local path is not failing."""
    first_bad: Instant | None = None
    """The first bad local answer of the present fault."""
    zone_since: Instant | None = None
    """Since when every path shows an outdated copy; None: not all do."""
    curious_until: Instant = NEVER
    """Until then the address is probed fast."""
    shown: tuple[Instant, ...] = ()
    """The latest `PAIRS` pairs that were bad here and good there, newest first
    (`recent_evidence`)."""
    shown_since: Instant | None = None
    """Since when they show the breach without a break; None: they do not."""
    quick: float = 0.0
    """Failing share of about the last 16 answers, whatever time they took."""
    usual: float | None = None
    """The level that this share last rose to, falling with it; None: it never answered well
    (`worsening`)."""
    worse_at: Instant = NEVER
    """When it last became clearly worse."""
    bad_at: Instant = NEVER
    """When it failed last, single lost packets left out."""
    worst: float = 0.0
    """Greatest failing share of the present breach; 0: there is none."""
    asked_at: tuple[Instant, ...] = ()
    """The latest `ASKED` probes, newest first (`losses`)."""
    ignored: failed_names.Names = field(default_factory=dict)
    """Names of a rejected trial, and when it was rejected."""
    trial: Trial | None = None
    control: Control | None = None
    backoff: Backoff | None = None
    hold: Hold | None = None
    raised: bool = False
    """The suspicion is from traffic alone: probes found nothing."""
    quiet_until: Instant = NEVER
    """Until then failing names in the traffic are counted and raise no suspicion."""
    deaf_until: Instant = NEVER
    """Until then losses and errors in the traffic are ignored: a trial has rejected them."""


@dataclass(slots=True)
class GroupRecord:
    """What is known of the local paths of one group together (`group_trial`)."""

    points: Levels = EMPTY
    """In the breach buckets of probes."""
    trial: GroupTrial | None = None
    heard: Levels = EMPTY
    """In those of traffic."""
    heard_names: failed_names.Names = field(default_factory=dict)
    """Failing names in the traffic: one that fails at every address is one name."""


@dataclass(slots=True)
class UpstreamRecord:
    """What the resolvers' traffic showed of one upstream."""

    queried_at: Instant = NEVER
    """The latest query to any of its addresses."""
    failed: failed_names.Names = field(default_factory=dict)
    """Names of its zones to ask again."""


UNMEASURED = PathRecord()
UNHEARD = PathTraffic()
UNKNOWN_ADDRESS = AddressRecord()
UNKNOWN_GROUP = GroupRecord()
UNKNOWN_UPSTREAM = UpstreamRecord()
"""What is so of all that has no entry. Never written to."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries of the resolvers to one address, answered or lost, over all paths (`demand`)."""

    queries: float = 0.0
    """They fade with `RECENT`."""
    at: Instant = NEVER
    """The latest, as of which these are."""


NOT_ASKED = Asked()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listened:
    """How long the resolvers' traffic was read, and the queries in it; both fade with `RECENT`."""

    queries: float = 0.0
    """To all addresses together."""
    seconds: Seconds = 0.0
    at: Instant = NEVER
    """The latest query to any address, as of which these are."""


class Book(Protocol):
    """What is known by name, to read: a `Ledger`, or a `Draft` with what this turn has changed."""

    def path(self, address: str, path: str = LOCAL, /) -> PathRecord:
        """What is known of one path of an address."""
        ...

    def heard(self, address: str, path: str = LOCAL, /) -> PathTraffic:
        """What the resolvers' traffic showed of one path of an address."""
        ...

    def address(self, address: str, /) -> AddressRecord:
        """What is known of one address."""
        ...

    def zone(self, upstream: str, zone: str, /) -> ZoneHistory:
        """The signed serials of one zone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Everything known; what has no entry was never measured."""

    paths: Mapping[Key, PathRecord] = field(default_factory=dict)
    traffic: Mapping[Key, PathTraffic] = field(default_factory=dict)
    """Evidence from the resolvers' traffic, counted apart."""
    addresses: Mapping[str, AddressRecord] = field(default_factory=dict)
    groups: Mapping[str, GroupRecord] = field(default_factory=dict)
    upstreams: Mapping[str, UpstreamRecord] = field(default_factory=dict)
    zones: Mapping[tuple[str, str], ZoneHistory] = field(default_factory=dict)
    """(upstream, zone) -> its signed serials."""
    instances: Mapping[Key, Instance] = field(default_factory=dict)
    """Which servers answer."""
    asked: Mapping[str, Asked] = field(default_factory=dict)
    """By address."""
    listened: Listened = Listened()
    legs: Mapping[Leg, Reach] = field(default_factory=dict)
    """Whether answers come back over the sites, to each source (`reach`)."""
    carried: Mapping[Leg, Carriage] = field(default_factory=dict)
    """Whether they do so to the sources that this host forwards for (`forwarded`)."""
    window: Instant
    """When the present window of `Soonest` began."""
    windows: int = 0
    """Its number."""
    reviewed_at: Instant
    """When the scales of the buckets were set last (`baseline`)."""
    open: frozenset[str] = frozenset()
    """The addresses that a turn has to look at without news: something about them is not as usual
    (`edit.is_open`)."""
    held: frozenset[str] = frozenset()
    """The addresses with a hold."""
    changed: frozenset[str] = frozenset()
    """The addresses whose local path has another health since the latest turn."""
    due: Mapping[int, frozenset[Key]] = field(default_factory=dict)
    """Second -> the paths whose last answer may be too old from then on (`edit`)."""

    @classmethod
    def blank(cls, now: Instant) -> Ledger:
        """A ledger in which nothing is known."""
        return cls(window=now, reviewed_at=now)

    def path(self, address: str, path: str = LOCAL, /) -> PathRecord:
        """What is known of one path of an address; only to read."""
        return self.paths.get((address, path), UNMEASURED)

    def heard(self, address: str, path: str = LOCAL, /) -> PathTraffic:
        """What the resolvers' traffic showed of one path of an address; only to read."""
        return self.traffic.get((address, path), UNHEARD)

    def address(self, address: str, /) -> AddressRecord:
        """What is known of one address; only to read."""
        return self.addresses.get(address, UNKNOWN_ADDRESS)

    def group(self, group: str) -> GroupRecord:
        """What is known of one group; only to read."""
        return self.groups.get(group, UNKNOWN_GROUP)

    def upstream(self, upstream: str, /) -> UpstreamRecord:
        """What traffic showed of one upstream; only to read."""
        return self.upstreams.get(upstream, UNKNOWN_UPSTREAM)

    def zone(self, upstream: str, zone: str, /) -> ZoneHistory:
        """The signed serials of one zone."""
        return self.zones.get((upstream, zone), NO_HISTORY)

    def witnesses(self, address: str) -> tuple[str, ...]:
        """Names that failed lately on the local path of an address."""
        return failed_names.latest(self.path(address).counted)


def zone_lag(book: Book, settings: Settings, path: str, zone: str, now: Instant) -> Seconds | None:
    """Serial lag of one zone over one path in seconds; None: unknown."""
    copy = book.path(settings.address, path).copies.get(zone)
    if copy is None:
        return None
    return lag(copy, book.zone(settings.upstream, zone), now, epoch=settings.epoch)


def worst_lag(book: Book, settings: Settings, path: str, now: Instant) -> Seconds | None:
    """The same of the worst of the address's zones."""
    each = (zone_lag(book, settings, path, zone, now) for zone in settings.policy.zones)
    return max((late for late in each if late is not None), default=None)


def breached(settings: Settings, health: Health) -> bool:
    """Whether the policy counts this health of the local path as a breach."""
    return health is Health.FAILING or (health is Health.STALE and settings.acts_on_stale)
