"""The ledger: what is known of every (address, path), as arrays, and what is read from it.

Pure: a ledger is never changed. `turn.judge` returns the next one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from steering.format import duration, percent
from steering.judge import failed_names
from steering.judge.forwarded import Carriage
from steering.judge.instance import Instance
from steering.judge.paired_test import CONFIRM_AT, Trial
from steering.judge.reach import Leg, Reach
from steering.judge.recovery import Bucket, Hold
from steering.judge.traffic_ledger import TrafficLedger
from steering.judge.zone_copies import ALL, Copies, Floats, Rows
from steering.layout import CLASSES, Layout
from steering.model import OUTCOMES, Evidence, Health, Instant, Seconds

Key = tuple[int, int]
"""(row, column): one address over one path."""
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]

ASKED = 12
"""Probes of an address whose instants are remembered: those that are sent at the slow pace during
the longest timeout, 10 s."""
PAIRS = 3
"""Pairs within the last few seconds that a move needs."""
SILENCES = 3
"""Unanswered probes in a row that count against a path, if another path answers."""
RECENT: Seconds = 60.0
RECENT_ANSWERS = 50
"""The failing share that is shown and compared fades with this time constant, and over so
many answers: fast probing changes it fast."""
FAINT = 0.05
"""Less than this is left of one answer after three time constants: there is nothing recent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTrial:
    """The trial of a whole group, and the rows that failed a pair in it (`group_trial`)."""

    trial: Trial
    failed: frozenset[int]


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ledger:
    """Everything known: one row for an address, one column for a path."""

    health: NDArray[np.int8]
    levels: Counts
    """(3, A, P, 3) points in the breach buckets of each class; own probes."""
    group_points: Counts
    """(groups, 3) points in the buckets of each group's local paths together (`group_trial`)."""
    scale: Counts
    """(3, A, P) of the buckets, from policy, class and the key's own past week."""
    counts: Counts
    """(outcomes, A, P) observations since the start."""
    recent_bad: Floats
    recent_dated: Floats
    """Bad answers, and those that were bad by their dates alone, fading with `RECENT`."""
    recent_all: Floats
    recent_at: Floats
    habit_bad: Floats
    """(3, A, P) failing answers of each class in the past week outside breaches, fading."""
    habit_all: Floats
    habit_at: Instant
    run: Counts
    """Good answers in a row."""
    streak: Counts
    """Unanswered probes in a row."""
    stuck: Counts
    """Probes in a row that did not leave this host."""
    silent_since: Floats
    """Instant of the third unanswered probe in a row, which makes it a silence; else NaN."""
    seen: Floats
    """Instant of the last answer, or absence of one, that counts."""
    answered: Floats
    """Instant of the latest probe that was answered in any way."""
    reached: Floats
    """Instant of the latest probe to which anything came back from the address itself."""
    rtt: Floats
    copies: Copies
    traffic: TrafficLedger
    """Evidence from the resolvers' traffic, counted apart."""
    late: Mask
    """Shows an outdated copy, by serial or by the life of its signatures."""
    behind: Mask
    """Shows one by serial. A serial shows at once when the copy is replaced."""
    floor: Floats
    """(Z, A, P) an answer whose signature ends within so many seconds is outdated."""
    late_count: Counts
    late_since: Floats
    zone_since: Floats
    """(A,) since when every path shows an outdated copy; NaN: not all do."""
    suspected_at: Floats
    """(A,) NaN while the local path is not suspect or worse."""
    confirmed_at: Floats
    """(A,) NaN while the local path is not failing."""
    first_bad: Floats
    """(A,) instant of the first bad local answer of the present fault."""
    curious_until: Floats
    """(A,) until then the address is probed fast."""
    shown: Floats
    """(A, 3) instants of the latest pairs that were bad here and good there, newest first
    (`recent_evidence`); NaN: there are none."""
    shown_since: Floats
    """(A,) since when they show the breach without a break; NaN: they do not."""
    quick: Floats
    """(A,) failing share of about the last 16 local answers, whatever time they took."""
    usual: Floats
    """(A,) the level that this share last rose to, falling with it; NaN: it never answered well
    (`worsening`)."""
    worse_at: Floats
    """(A,) when the local path last became clearly worse; NaN: never."""
    bad_at: Floats
    """(A,) when the local path failed last, single lost packets left out; NaN: never."""
    worst: Floats
    """(A,) greatest failing share of the present breach; NaN: there is none."""
    losses: Counts
    """(A, P) points for losses over the local path that this path does not share (`losses`)."""
    loses: Floats
    """(A, P) the share of slow probes that a path loses, of about the last 500."""
    asked_at: Floats
    """(A, ASKED) instants of the latest probes, newest first; NaN: there are none (`losses`)."""
    instances: Mapping[Key, Instance] = field(default_factory=dict)
    counted: Mapping[Key, failed_names.Names] = field(default_factory=dict)
    ignored: Mapping[int, failed_names.Names] = field(default_factory=dict)
    """Row -> names of a rejected trial, and when it was rejected."""
    trials: Mapping[int, Trial] = field(default_factory=dict)
    group_trials: Mapping[int, GroupTrial] = field(default_factory=dict)
    """Group -> its trial."""
    controls: Mapping[int, Control] = field(default_factory=dict)
    backoffs: Mapping[int, Backoff] = field(default_factory=dict)
    buckets: Mapping[Key, Bucket] = field(default_factory=dict)
    holds: Mapping[int, Hold] = field(default_factory=dict)
    evidence: Mapping[Key, Evidence] = field(default_factory=dict)
    legs: Mapping[Leg, Reach] = field(default_factory=dict)
    """Whether answers come back over the sites, to each source (`reach`)."""
    carried: Mapping[Leg, Carriage] = field(default_factory=dict)
    """Whether they do so to the sources that this host forwards for (`forwarded`)."""

    @classmethod
    def blank(cls, layout: Layout, now: Instant) -> Ledger:
        """A ledger in which nothing is known."""
        a, p = layout.shape
        copies = Copies.blank(layout, now)

        def nan(*shape: int) -> Floats:
            return np.full(shape, np.nan)

        def zero(*shape: int) -> Floats:
            return np.zeros(shape)

        def none(*shape: int) -> Counts:
            return np.zeros(shape, dtype=np.int64)

        def no(*shape: int) -> Mask:
            return np.zeros(shape, dtype=np.bool_)

        return cls(
            health=np.zeros((a, p), dtype=np.int8),
            levels=none(len(CLASSES), a, p, 3),
            group_points=none(int(layout.group_of.max(initial=-1)) + 1, 3),
            scale=np.repeat(layout.base_scale[:, :, None], p, axis=2),
            counts=none(len(OUTCOMES), a, p),
            recent_bad=zero(a, p),
            recent_dated=zero(a, p),
            recent_all=zero(a, p),
            recent_at=np.full((a, p), now),
            habit_bad=zero(len(CLASSES), a, p),
            habit_all=zero(a, p),
            habit_at=now,
            run=none(a, p),
            streak=none(a, p),
            stuck=none(a, p),
            silent_since=nan(a, p),
            seen=nan(a, p),
            answered=nan(a, p),
            reached=nan(a, p),
            rtt=nan(a, p),
            copies=copies,
            traffic=TrafficLedger.blank(layout, now),
            late=no(a, p),
            behind=no(a, p),
            floor=nan(*copies.serial.shape),
            late_count=none(a, p),
            late_since=nan(a, p),
            zone_since=nan(a),
            suspected_at=nan(a),
            confirmed_at=nan(a),
            first_bad=nan(a),
            curious_until=nan(a),
            shown=nan(a, PAIRS),
            shown_since=nan(a),
            quick=zero(a),
            usual=nan(a),
            worse_at=nan(a),
            bad_at=nan(a),
            worst=nan(a),
            losses=none(a, p),
            loses=zero(a, p),
            asked_at=nan(a, ASKED),
        )

    def share(self, now: Instant, rows: Rows = ALL) -> Floats:
        """(rows, P) the failing share of about the last minute; NaN where nothing was answered."""
        return self._recent(self.recent_bad, now, rows)

    def share_of(self, key: Key, now: Instant) -> float:
        """The same of one key."""
        whole = float(self.recent_all[key])
        left = whole * math.exp((float(self.recent_at[key]) - now) / RECENT)
        return float(self.recent_bad[key]) / whole if left > FAINT else math.nan

    def dated_share(self, now: Instant) -> Floats:
        """(A, P) like `share`, of answers whose dates alone made them bad."""
        return self._recent(self.recent_dated, now, ALL)

    def _recent(self, part: Floats, now: Instant, rows: Rows) -> Floats:
        # Part and whole fade alike, so their quotient needs no fading.
        whole = self.recent_all[rows]
        left = whole * np.exp((self.recent_at[rows] - now) / RECENT) > FAINT
        share = np.full(whole.shape, np.nan)
        np.divide(part[rows], whole, out=share, where=left)
        return share

    def witnesses(self, a: int) -> tuple[str, ...]:
        """Names that failed lately on the local path of the address in row `a`."""
        return failed_names.latest(self.counted.get((a, 0), failed_names.NONE))


SHOWN = 0.0005
"""A smaller share would be shown as 0.0%, and is left out."""


def breached(layout: Layout, a: int, health: Health) -> bool:
    """Whether the policy counts this health of the local path as a breach."""
    return health is Health.FAILING or (health is Health.STALE and bool(layout.acts_on_stale[a]))


def reason(ledger: Ledger, layout: Layout, a: int, p: int, now: Instant) -> str:
    """Why this key's health is what it is, in numbers."""
    key = (a, p)
    health = Health(int(ledger.health[key]))
    share = ledger.share_of(key, now)
    failing = "nothing answered lately" if np.isnan(share) else f"{percent(share)} failing lately"
    evidence = ledger.evidence.get(key)
    last = f"; last: {evidence}" if evidence is not None else ""
    streak = int(ledger.streak[key])
    if health is Health.UNKNOWN:
        if stuck := int(ledger.stuck[key]):
            return f"{stuck} probes in a row did not leave this host over this path"
        if np.isnan(ledger.seen[key]):
            return "not measured yet"
        return f"{streak} probes unanswered (silence alone is no fault)" if streak else failing
    if health is Health.HEALTHY:
        return f"{int(ledger.run[key])} good answers in a row, {failing}"
    if health is Health.STALE:
        lag = ledger.copies.lag(layout, now, np.array([a]))[0, p]
        return f"older copy than over other paths: serial lag {duration(lag)}, {failing}"
    if streak >= SILENCES:
        return f"{streak} probes in a row unanswered while another path answers{last}"
    trial = ledger.trials.get(a) if p == 0 else None
    compared = _compared(trial, layout) if trial is not None else ""
    # The share may be 0 where the fault is known by names asked again (which no share counts), by
    # the group, or by the resolvers' traffic.
    own = failing if share >= SHOWN else ""
    parts = (own, last.removeprefix("; "), compared, _of_traffic(ledger, key, now))
    return "; ".join(part for part in parts if part) or failing


def _compared(trial: Trial, layout: Layout) -> str:
    so_far = (
        f"score {trial.score:+d} of +{CONFIRM_AT} after {trial.pairs} pairs"
        if trial.pairs
        else "not compared yet"
    )
    return f"trial against {layout.paths[trial.candidate]}: {so_far}"


def _of_traffic(ledger: Ledger, key: Key, now: Instant) -> str:
    share = ledger.traffic.share_of(key, now)
    if not share >= SHOWN:
        return ""
    evidence = ledger.traffic.evidence.get(key)
    last = f"; last: {evidence}" if evidence is not None else ""
    return f"{percent(share)} of the answers to the resolvers failed{last}"
