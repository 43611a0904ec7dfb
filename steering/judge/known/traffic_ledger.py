"""The ledger of the resolvers' traffic: its counts for every (address, path).

It has its own buckets, baselines and counts beside those of probes, so that neither hides the
other. Traffic raises suspicion and confirms nothing: any client that can make a resolver ask for a
name decides what is counted here.

Answers are counted by the dates of their signatures. A sample is verified as well. Its results
have their own buckets; otherwise good answers outside the sample would drain them.

The records are edited by `edit.Draft` alone, which copies each before it is written to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from steering.index import CLASSES, Key
from steering.judge.known import failed_names
from steering.judge.known.baseline import Baseline
from steering.judge.known.buckets import EMPTY, Levels
from steering.judge.known.recent import NO_ANSWERS, Recent
from steering.judge.known.zone_copies import NOT_SEEN, Soonest
from steering.model import LOCAL, NEVER, Evidence, Instant, Outcome, Seconds, Verdict

KINDS: tuple[Verdict, ...] = (*CLASSES, Verdict.BOGUS)
"""The class of each set of buckets; the last one is for the verified sample."""
SAMPLE = len(CLASSES)

OLD: Seconds = 3600.0
"""After so long without traffic the buckets are emptied: traffic has no NSID that would show
whether the same instance still answers."""
WINDOW: Seconds = 600.0
"""The soonest expiration that is shown is taken over one to two of these."""
QUIET: Seconds = 600.0
"""After a rejection, traffic raises no suspicion for so long: otherwise a client that makes a new
name fail each second could cause fast probing for ever."""

NO_LEVELS: tuple[Levels, ...] = (EMPTY,) * len(KINDS)


@dataclass(slots=True)
class PathTraffic:
    """What the resolvers' traffic showed of one address over one path."""

    levels: tuple[Levels, ...] = NO_LEVELS
    """By `KINDS`: points in the buckets."""
    baseline: Baseline | None = None
    """By `KINDS`; None: nothing was counted."""
    counts: Mapping[Outcome, int] = field(default_factory=dict)
    """Answers since the start."""
    recent: Recent = NO_ANSWERS
    at: Instant = NEVER
    """The latest traffic."""
    soonest: Soonest = NOT_SEEN
    """Only for display: the path with the traffic shows many more RRsets than probes show over the
    others, so its least is always smaller."""
    counted: failed_names.Names = field(default_factory=dict)
    """Failing names."""
    evidence: Evidence | None = None


@dataclass(slots=True)
class AddressTraffic:
    """What the resolvers' traffic showed of one address, over all paths."""

    asked: float = 0.0
    """Queries of the resolvers, answered or lost, fading with `RECENT` (`demand`), as of the
    instant in `asked_at`."""
    asked_at: Instant = NEVER
    """The latest of them."""
    deaf_until: Instant = NEVER
    """Until then losses and errors are ignored: a trial has rejected them."""
    quiet_until: Instant = NEVER
    """Until then failing names are counted and raise no suspicion."""
    raised: bool = False
    """The suspicion of the local path is from traffic alone: probes found nothing."""


@dataclass(slots=True)
class GroupTraffic:
    """What the resolvers' traffic showed of the local paths of one group together."""

    points: Levels = EMPTY
    pooled: failed_names.Names = field(default_factory=dict)
    """Failing names: one that fails at every address is one name."""


@dataclass(slots=True)
class UpstreamTraffic:
    """What the resolvers' traffic showed of one upstream."""

    asked_at: Instant = NEVER
    """The latest query to any of its addresses."""
    witnesses: failed_names.Names = field(default_factory=dict)
    """Names of its zones to ask again."""


NO_PATH_TRAFFIC = PathTraffic()
NO_ADDRESS_TRAFFIC = AddressTraffic()
NO_GROUP_TRAFFIC = GroupTraffic()
NO_UPSTREAM_TRAFFIC = UpstreamTraffic()
"""What is so of all that is in no mapping of the ledger. Never written to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficLedger:
    """Everything counted from traffic; what has no entry had none."""

    paths: Mapping[Key, PathTraffic] = field(default_factory=dict)
    addresses: Mapping[str, AddressTraffic] = field(default_factory=dict)
    groups: Mapping[str, GroupTraffic] = field(default_factory=dict)
    upstreams: Mapping[str, UpstreamTraffic] = field(default_factory=dict)
    asked: float = 0.0
    """Queries to all addresses together, fading with `RECENT`, as of `listened_at`."""
    listened: Seconds = 0.0
    """The time over which queries were counted, fading alike."""
    listened_at: Instant = -math.inf
    """The latest query to any address; minus infinity: never."""
    windows: int = 0
    """Number of the present window of `PathTraffic.soonest`."""
    window: Instant = NEVER
    """When it began."""
    reviewed_at: Instant = NEVER
    """When the scales were set last."""

    def path(self, address: str, path: str = LOCAL, /) -> PathTraffic:
        """What is known of one path; only to read."""
        return self.paths.get((address, path), NO_PATH_TRAFFIC)

    def address(self, address: str) -> AddressTraffic:
        """What is known of one address; only to read."""
        return self.addresses.get(address, NO_ADDRESS_TRAFFIC)

    def group(self, group: str) -> GroupTraffic:
        """What is known of one group; only to read."""
        return self.groups.get(group, NO_GROUP_TRAFFIC)

    def upstream(self, upstream: str) -> UpstreamTraffic:
        """What is known of one upstream; only to read."""
        return self.upstreams.get(upstream, NO_UPSTREAM_TRAFFIC)

    def share_of(self, address: str, path: str, now: Instant) -> float | None:
        """The failing share of about the last minute; None without traffic."""
        return self.path(address, path).recent.share(now)

    def to_ask(self, upstream: str) -> tuple[str, ...]:
        """Names of the upstream's zones that failed lately, newest first."""
        return failed_names.latest(self.upstream(upstream).witnesses)
