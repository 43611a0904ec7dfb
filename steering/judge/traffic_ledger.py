"""The ledger of the resolvers' traffic: its counts for every (address, path).

It has its own buckets, baselines and counts beside those of probes, so that neither hides the
other. Traffic raises suspicion and confirms nothing: any client that can make a resolver ask for a
name decides what is counted here.

Answers are counted by the dates of their signatures. A sample is verified as well. Its results
have their own buckets; otherwise good answers outside the sample would drain them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from steering.judge import failed_names
from steering.judge.copy_on_write import fork, own, put
from steering.layout import CLASSES, Layout
from steering.model import OUTCOMES, Evidence, Instant, Seconds, Verdict, WallTime

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Key = tuple[int, int]

KINDS: tuple[Verdict, ...] = (*CLASSES, Verdict.BOGUS)
"""The class of each set of buckets; the last one is for the verified sample."""
SAMPLE = len(CLASSES)

RECENT: Seconds = 60.0
"""The failing share that is shown fades with this time constant."""
FAINT = 0.05
OLD: Seconds = 3600.0
"""After so long without traffic the buckets are emptied: traffic has no NSID that would show
whether the same instance still answers."""
WINDOW: Seconds = 600.0
"""The soonest expiration that is shown is taken over one to two of these."""
QUIET: Seconds = 600.0
"""After a rejection, traffic raises no suspicion for so long: otherwise a client that makes a new
name fail each second could cause fast probing for ever."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrafficLedger:
    """Everything counted from traffic. Written to only through `Draft.traffic`."""

    levels: Counts
    """(kinds, A, P, 3) points in the buckets."""
    scale: Counts
    """(kinds, A, P) of the buckets, from policy, class and the key's own past week."""
    group_points: Counts
    """(groups, 3) points in the buckets of each group's local paths together."""
    counts: Counts
    """(outcomes, A, P) answers since the start."""
    recent_bad: Floats
    recent_all: Floats
    """(A, P) answers fading with `RECENT`."""
    at: Floats
    """(A, P) instant of the latest traffic; NaN: never."""
    asked: Floats
    """(A,) queries of the resolvers, answered or lost, fading with `RECENT` (`demand`)."""
    asked_at: Floats
    """(A,) instant of the latest of them; NaN: never."""
    listened: Seconds
    """The time over which `asked` was counted, fading alike; both as of `listened_at`."""
    listened_at: Instant
    """Instant of the latest query to any address; minus infinity: never."""
    soonest: Floats
    """(2, A, P) soonest expiration (UNIX seconds) in this window and the one before."""
    window: Instant
    habit_bad: Floats
    habit_all: Floats
    """(kinds, A, P) of the past week outside breaches, fading."""
    habit_at: Instant
    deaf_until: Floats
    """(A,) until then losses and errors are ignored: a trial has rejected them."""
    quiet_until: Floats
    """(A,) until then failing names are counted and raise no suspicion; NaN: never rejected."""
    raised: NDArray[np.bool_]
    """(A,) the suspicion of the local path is from traffic alone: probes found nothing."""
    counted: Mapping[Key, failed_names.Names] = field(default_factory=dict)
    """Failing names of each key."""
    pooled: Mapping[int, failed_names.Names] = field(default_factory=dict)
    """Failing names of each group: a name that fails at every address is one name."""
    witnesses: Mapping[int, failed_names.Names] = field(default_factory=dict)
    """Upstream -> names to ask again."""
    evidence: Mapping[Key, Evidence] = field(default_factory=dict)

    @classmethod
    def blank(cls, layout: Layout, now: Instant) -> TrafficLedger:
        """A ledger without any traffic."""
        a, p = layout.shape
        kinds = len(KINDS)
        rows = [CLASSES.index(verdict) for verdict in KINDS]
        return cls(
            levels=np.zeros((kinds, a, p, 3), dtype=np.int64),
            scale=np.repeat(layout.base_scale[rows, :, None], p, axis=2),
            group_points=np.zeros((int(layout.group_of.max(initial=-1)) + 1, 3), dtype=np.int64),
            counts=np.zeros((len(OUTCOMES), a, p), dtype=np.int64),
            recent_bad=np.zeros((a, p)),
            recent_all=np.zeros((a, p)),
            at=np.full((a, p), np.nan),
            asked=np.zeros(a),
            asked_at=np.full(a, np.nan),
            listened=0.0,
            listened_at=-math.inf,
            soonest=np.full((2, a, p), np.nan),
            window=now,
            habit_bad=np.zeros((kinds, a, p)),
            habit_all=np.zeros((kinds, a, p)),
            habit_at=now,
            deaf_until=np.full(a, -np.inf),
            quiet_until=np.full(a, np.nan),
            raised=np.zeros(a, dtype=np.bool_),
        )

    def editable(self, now: Instant) -> TrafficLedger:
        """A copy to write to in this turn; a new window begins if it is due."""
        made = fork(self)
        for name in ("counted", "pooled", "witnesses", "evidence"):
            put(made, name, dict(getattr(self, name)))
        if now - self.window >= WINDOW:
            put(made, "window", now)
            soonest = own(made, "soonest")
            soonest[1], soonest[0] = soonest[0], np.nan
        return made

    def share(self, now: Instant) -> Floats:
        """(A, P) the failing share of about the last minute; NaN without traffic."""
        share = np.full(self.recent_all.shape, np.nan)
        left = self.recent_all * np.exp((self.at - now) / RECENT) > FAINT  # NaN: no traffic
        np.divide(self.recent_bad, self.recent_all, out=share, where=left)
        return share

    def share_of(self, key: Key, now: Instant) -> float:
        """The same of one key."""
        whole = float(self.recent_all[key])
        left = whole * math.exp((float(self.at[key]) - now) / RECENT)  # NaN: no traffic
        return float(self.recent_bad[key]) / whole if left > FAINT else math.nan

    def life(self, wall: WallTime) -> Floats:
        """(A, P) shortest remaining signature lifetime lately, in seconds; NaN: none was seen.

        Only for display: the path with the traffic shows many more RRsets than probes show over
        the others, so its least is always smaller.
        """
        return np.asarray(np.fmin(self.soonest[0], self.soonest[1]) - wall)

    def to_ask(self, upstream: int) -> tuple[str, ...]:
        """Names of the upstream's zones that failed lately, newest first."""
        return failed_names.latest(self.witnesses.get(upstream, failed_names.NONE))


def forget(traffic: TrafficLedger, a: int, p: int) -> None:
    """Drop what was counted of a key, in an editable ledger."""
    assert isinstance(traffic.counted, dict)
    assert isinstance(traffic.evidence, dict)
    own(traffic, "levels")[:, a, p] = 0
    own(traffic, "recent_bad")[a, p] = own(traffic, "recent_all")[a, p] = 0.0
    own(traffic, "soonest")[:, a, p] = np.nan
    traffic.counted.pop((a, p), None)
    traffic.evidence.pop((a, p), None)


def begin_anew(traffic: TrafficLedger, a: int, group: int) -> None:
    """Forget the failed names of a breach that is over, so that they count if they fail again."""
    assert isinstance(traffic.counted, dict)
    assert isinstance(traffic.pooled, dict)
    traffic.counted.pop((a, 0), None)
    traffic.pooled.pop(group, None)


def reject(traffic: TrafficLedger, a: int, upstream: int, now: Instant) -> tuple[str, ...]:
    """Drop what traffic showed of a local path after a trial found no fault. Returns the names.

    In an editable ledger. Losses and errors have no names: they are ignored for an hour. New names
    are counted at once, and may raise a suspicion again after `QUIET`.
    """
    assert isinstance(traffic.witnesses, dict)
    names = (*traffic.counted.get((a, 0), ()), *traffic.witnesses.pop(upstream, ()))
    forget(traffic, a, 0)
    own(traffic, "deaf_until")[a] = now + failed_names.HOUR
    own(traffic, "quiet_until")[a] = now + QUIET
    return names
