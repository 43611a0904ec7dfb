"""Hearsay: what the resolvers' own traffic shows of every (address, path).

A stream of its own beside the own probes, with buckets, habits and counts of its own, so
that neither can drown the other. Hearsay raises suspicion and convicts nobody: who can make
a resolver ask for something decides what is heard here.

Answers are counted by the dates of their signatures; a sample of them is verified as well,
and what that finds has buckets of its own, or the good answers outside the sample would
drain them.
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
"""What each set of buckets counts; the last one what the sample showed."""
SAMPLE = len(CLASSES)

RECENT: Seconds = 60.0
"""The failing share that is shown fades with this time constant."""
FAINT = 0.05
OLD: Seconds = 3600.0
"""What is in a bucket that long after anything was heard is nothing of the present: no
instance's name comes with it that would tell whether it still applies."""
WINDOW: Seconds = 600.0
"""The soonest expiration that is shown is taken over one to two of these."""
QUIET: Seconds = 600.0
"""After a rejection nothing that is heard makes suspect for so long: whoever can have a new
name fail each second would otherwise keep the probes asking fast for ever."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrafficLedger:
    """Everything heard. Written to only through `Draft.listen`."""

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
    """(A, P) instant when something was heard last; NaN: never."""
    asked: Floats
    """(A,) queries of the resolvers, answered or lost, fading with `RECENT` (`demand`)."""
    asked_at: Floats
    """(A,) instant of the latest of them; NaN: never."""
    listened: Seconds
    """How long was listened meanwhile, fading alike; as of `listened_at`, as `asked` is."""
    listened_at: Instant
    """When a query was heard of last, whoever was asked; minus infinity: never."""
    soonest: Floats
    """(2, A, P) soonest expiration (UNIX seconds) in this window and the one before."""
    window: Instant
    habit_bad: Floats
    habit_all: Floats
    """(kinds, A, P) of the past week outside breaches, fading."""
    habit_at: Instant
    deaf_until: Floats
    """(A,) until then losses and errors say nothing: a trial has rejected them."""
    quiet_until: Floats
    """(A,) until then failing names are counted and raise no suspicion; NaN: never rejected."""
    raised: NDArray[np.bool_]
    """(A,) the suspicion of the local path came from here alone: own probes found nothing."""
    counted: Mapping[Key, failed_names.Names] = field(default_factory=dict)
    """Failing names of each key."""
    pooled: Mapping[int, failed_names.Names] = field(default_factory=dict)
    """Failing names of each group: one that fails at every letter is one name."""
    witnesses: Mapping[int, failed_names.Names] = field(default_factory=dict)
    """Upstream -> names to ask again."""
    evidence: Mapping[Key, Evidence] = field(default_factory=dict)

    @classmethod
    def blank(cls, layout: Layout, now: Instant) -> TrafficLedger:
        """Nothing heard."""
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
        """Another one to write to until the turn is over; its window is a new one if due."""
        made = fork(self)
        for name in ("counted", "pooled", "witnesses", "evidence"):
            put(made, name, dict(getattr(self, name)))
        if now - self.window >= WINDOW:
            put(made, "window", now)
            soonest = own(made, "soonest")
            soonest[1], soonest[0] = soonest[0], np.nan
        return made

    def share(self, now: Instant) -> Floats:
        """(A, P) the failing share of the last minute or so; NaN where nothing was heard."""
        share = np.full(self.recent_all.shape, np.nan)
        left = self.recent_all * np.exp((self.at - now) / RECENT) > FAINT  # NaN: never heard
        np.divide(self.recent_bad, self.recent_all, out=share, where=left)
        return share

    def share_of(self, key: Key, now: Instant) -> float:
        """The same of one key."""
        whole = float(self.recent_all[key])
        left = whole * math.exp((float(self.at[key]) - now) / RECENT)  # NaN: never heard
        return float(self.recent_bad[key]) / whole if left > FAINT else math.nan

    def life(self, wall: WallTime) -> Floats:
        """(A, P) shortest remaining signature lifetime lately, in seconds; NaN: none was seen.

        To look at, and for no comparison: the path with the traffic shows many more RRsets
        than the others do to a few probes, so its least is always less.
        """
        return np.asarray(np.fmin(self.soonest[0], self.soonest[1]) - wall)

    def to_ask(self, upstream: int) -> tuple[str, ...]:
        """Names of the upstream's zones that failed lately, newest first."""
        return failed_names.latest(self.witnesses.get(upstream, failed_names.NONE))


def forget(heard: TrafficLedger, a: int, p: int) -> None:
    """Drop what was counted of a key, in an editable hearsay: it no longer applies."""
    assert isinstance(heard.counted, dict)
    assert isinstance(heard.evidence, dict)
    own(heard, "levels")[:, a, p] = 0
    own(heard, "recent_bad")[a, p] = own(heard, "recent_all")[a, p] = 0.0
    own(heard, "soonest")[:, a, p] = np.nan
    heard.counted.pop((a, p), None)
    heard.evidence.pop((a, p), None)


def begin_anew(heard: TrafficLedger, a: int, group: int) -> None:
    """A breach is over, in an editable hearsay: what failed in it is news if it fails again."""
    assert isinstance(heard.counted, dict)
    assert isinstance(heard.pooled, dict)
    heard.counted.pop((a, 0), None)
    heard.pooled.pop(group, None)


def reject(heard: TrafficLedger, a: int, upstream: int, now: Instant) -> tuple[str, ...]:
    """A trial found nothing wrong with the local path: the names that said otherwise.

    In an editable hearsay. Losses and errors have no names: they are not heard for an hour.
    New names are counted at once, and may make suspect again after `QUIET`.
    """
    assert isinstance(heard.witnesses, dict)
    said = (*heard.counted.get((a, 0), ()), *heard.witnesses.pop(upstream, ()))
    forget(heard, a, 0)
    own(heard, "deaf_until")[a] = now + failed_names.HOUR
    own(heard, "quiet_until")[a] = now + QUIET
    return said
