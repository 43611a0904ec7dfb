"""The ledger: what is known of every (address, path), and the turn that brings it up to date.

`post` takes the rounds that came in since the last turn, counts them, runs the detectors
and gives every key one signal, which `health.advance` turns into its next health. Keys that
saw nothing cost nothing but their share of a few array operations.

Pure: a ledger is never changed, `post` returns the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steering.judge import detector, names
from steering.judge.confirm import Confirmation, Trial
from steering.judge.detector import scale_for
from steering.judge.health import Signal, advance
from steering.judge.instance import Instance
from steering.judge.recover import Bucket, Hold
from steering.judge.stale import Copies, Floats, late
from steering.layout import CLASSES, NORMAL, Layout
from steering.model import (
    OUTCOMES,
    Event,
    Evidence,
    Facts,
    Health,
    Instant,
    Kind,
    Observation,
    Outcome,
    Round,
    Seconds,
    Verdict,
)

Key = tuple[int, int]
"""(row, column): one address over one path."""

SILENCES = 3
"""Probes in a row without an answer that speak against a path, if another path answers."""
WELL = 3
"""Good answers in a row that make an unknown path healthy."""
LATE_COUNT = 3
LATE_ROUNDS = 60
"""Staleness is confirmed by three late answers over this many slow rounds (10 min at 10 s)."""
CURIOUS_ROUNDS = 8
"""After one bad answer so many rounds are asked fast: bad news should travel fast."""
RECENT: Seconds = 60.0
"""Time constant of the failing share that is shown and compared."""
WEEK: Seconds = 7 * 86_400.0
HABIT_SAMPLES = 1000.0
"""Answers before a key's own failing share of the past week is believed."""

_CLASS_OF: Mapping[Verdict, int] = {verdict: c for c, verdict in enumerate(CLASSES)}
_COLUMN_OF: Mapping[Outcome, int] = {outcome: i for i, outcome in enumerate(OUTCOMES)}
_DATED = (Outcome.EXPIRED, Outcome.NOT_YET_VALID)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ledger:
    """Everything known, one row an address, one column a path."""

    health: NDArray[np.int8]
    levels: NDArray[np.int64]
    """(3, A, P, 3) points in the breach buckets of each class; own probes."""
    scale: NDArray[np.int64]
    """(3, A, P) of the buckets, from policy, class and the key's own past week."""
    counts: NDArray[np.int64]
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
    run: NDArray[np.int64]
    """Good answers in a row."""
    streak: NDArray[np.int64]
    """Unanswered questions in a row."""
    silent_since: Floats
    """Instant of the first of them; NaN when the last question was answered."""
    seen: Floats
    """Instant of the last answer, or absence of one, that counts."""
    answered: Floats
    """Instant of the last answer of any kind."""
    reached: Floats
    """Instant at which anything last came back from the address itself."""
    rtt: Floats
    copies: Copies
    late: NDArray[np.bool_]
    late_count: NDArray[np.int64]
    late_since: Floats
    suspected_at: Floats
    """(A,) NaN while the local path is not suspect or worse."""
    confirmed_at: Floats
    """(A,) NaN while the local path is not failing."""
    first_bad: Floats
    """(A,) instant of the first bad local answer of the present trouble."""
    curious_until: Floats
    """(A,) until then the address is asked fast."""
    instances: Mapping[Key, Instance] = field(default_factory=dict)
    counted: Mapping[Key, names.Names] = field(default_factory=dict)
    ignored: Mapping[int, names.Names] = field(default_factory=dict)
    """Row -> names a rejected trial was about, and when it was rejected."""
    trials: Mapping[int, Trial] = field(default_factory=dict)
    buckets: Mapping[Key, Bucket] = field(default_factory=dict)
    holds: Mapping[int, Hold] = field(default_factory=dict)
    evidence: Mapping[Key, Evidence] = field(default_factory=dict)

    @classmethod
    def blank(cls, layout: Layout, now: Instant) -> Ledger:
        """Nothing known."""
        a, p = layout.shape

        def nan(*shape: int) -> Floats:
            return np.full(shape, np.nan)

        def zero(*shape: int) -> Floats:
            return np.zeros(shape)

        def none(*shape: int) -> NDArray[np.int64]:
            return np.zeros(shape, dtype=np.int64)

        return cls(
            health=np.zeros((a, p), dtype=np.int8),
            levels=none(len(CLASSES), a, p, 3),
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
            silent_since=nan(a, p),
            seen=nan(a, p),
            answered=nan(a, p),
            reached=nan(a, p),
            rtt=nan(a, p),
            copies=Copies.blank(layout, now),
            late=np.zeros((a, p), dtype=np.bool_),
            late_count=none(a, p),
            late_since=nan(a, p),
            suspected_at=nan(a),
            confirmed_at=nan(a),
            first_bad=nan(a),
            curious_until=nan(a),
        )

    def share(self, now: Instant) -> Floats:
        """(A, P) the failing share of the last minute or so; NaN where nothing was answered."""
        faded = self.recent_all * np.exp((self.recent_at - now) / RECENT)
        return np.where(
            faded > 0.05,
            self.recent_bad / np.where(self.recent_all > 0, self.recent_all, 1),
            np.nan,
        )

    def dated_share(self, now: Instant) -> Floats:
        """(A, P) like `share`, of answers whose dates alone made them bad."""
        faded = self.recent_all * np.exp((self.recent_at - now) / RECENT)
        return np.where(
            faded > 0.05,
            self.recent_dated / np.where(self.recent_all > 0, self.recent_all, 1),
            np.nan,
        )

    def witnesses(self, a: int) -> tuple[str, ...]:
        """Names that failed lately on the local path of the address in row `a`."""
        return names.latest(self.counted.get((a, 0), names.NONE))


class _Draft:
    """A ledger being written: private copies of what a turn changes, frozen at the end."""

    COPIED = (
        "levels", "scale", "counts", "recent_bad", "recent_dated", "recent_all", "recent_at",
        "habit_bad", "habit_all", "run", "streak", "silent_since", "seen", "answered", "reached",
        "rtt", "late", "late_count", "late_since", "suspected_at", "confirmed_at", "first_bad",
        "curious_until",
    )  # fmt: skip
    MAPS = (
        "instances", "counted", "ignored", "trials", "buckets", "holds", "evidence",
    )  # fmt: skip

    def __init__(self, ledger: Ledger, layout: Layout, facts: Facts, now: Instant) -> None:
        self.was, self.layout, self.facts, self.now = ledger, layout, facts, now
        copies = {name: getattr(ledger, name).copy() for name in self.COPIED}
        maps = {name: dict(getattr(ledger, name)) for name in self.MAPS}
        self.book = replace(ledger, copies=ledger.copies.editable(layout, now), **copies, **maps)
        self.bad: dict[tuple[int, int, int], int] = {}
        self.good: dict[tuple[int, int, int], int] = {}
        self.touched: set[Key] = set()
        self.events: list[Event] = []
        self.signals = np.zeros(layout.shape, dtype=np.int8)

    # What follows writes into the draft's own copies; `Any` is only the mutable view.
    def map(self, name: str) -> dict[Any, Any]:
        mapping: dict[Any, Any] = getattr(self.book, name)
        return mapping

    def raise_signal(self, where: NDArray[np.bool_], signal: Signal) -> None:
        """Give `signal` to the keys in `where` that have no weightier one."""
        self.signals[where] = np.maximum(self.signals[where], signal)

    def event(self, event: str, a: int, because: str, p: int = 0, **rest: Any) -> None:  # noqa: ANN401
        target = self.layout.targets[a]
        self.events.append(
            Event(
                event=event,
                because=because,
                upstream=target.upstream,
                address=target.address,
                path=self.layout.paths[p],
                **rest,
            )
        )


def post(
    ledger: Ledger, layout: Layout, facts: Facts, now: Instant
) -> tuple[Ledger, tuple[Event, ...]]:
    """Bring the ledger up to date with one turn's facts; the events say what became of whom."""
    draft = _Draft(ledger, layout, facts, now)
    for item in facts.rounds:
        _count_round(draft, item)
    _fill_buckets(draft)
    _silence(draft)
    _answers_well(draft)
    _staleness(draft)
    _trials(draft)
    _recovery(draft)
    return _settle(draft), tuple(draft.events)


def _count_round(draft: _Draft, item: Round) -> None:
    a = draft.layout.row.get(item.address)
    if a is None:
        return  # a policy was reloaded while the question was under way
    by_column: dict[int, Observation] = {}
    for observation in item.observations:
        p = draft.layout.column.get(observation.path)
        if p is None or observation.live:
            continue  # live answers are the proof's, see decide.proof
        by_column[p] = observation
        _count(draft, a, p, item, observation)
    _pair(draft, a, item, by_column)


def _count(draft: _Draft, a: int, p: int, item: Round, seen: Observation) -> None:
    book, now = draft.book, draft.now
    key = (a, p)
    book.counts[_COLUMN_OF[seen.outcome], a, p] += 1
    if seen.reached:
        book.reached[key] = item.at if seen.rtt is None else item.at + seen.rtt
    verdict = seen.verdict
    if verdict is Verdict.NOTHING:
        return
    draft.touched.add(key)
    book.seen[key] = now
    if seen.nsid is not None:
        _instance(draft, key, seen.nsid)
    bad = verdict is not Verdict.GOOD
    fade = float(np.exp((book.recent_at[key] - now) / RECENT))
    book.recent_bad[key] = book.recent_bad[key] * fade + bad
    book.recent_dated[key] = book.recent_dated[key] * fade + (seen.outcome in _DATED)
    book.recent_all[key] = book.recent_all[key] * fade + 1
    book.recent_at[key] = now
    if seen.rtt is not None:
        old = book.rtt[key]
        book.rtt[key] = seen.rtt if np.isnan(old) else old + (seen.rtt - old) / 8  # RFC 6298 2.3
    if seen.expires is not None:
        book.copies.see_expiry(a, p, seen.expires)
    if seen.serial is not None:
        zones = draft.layout.policy(a).zones
        if item.question.zone in zones:
            book.copies.see_serial(
                draft.layout,
                (zones.index(item.question.zone), a, p),
                seen.serial,
                proven=not bad and seen.serial < draft.facts.wall + 86_400
                if str(draft.layout.policy(a).serial) == "epoch"
                else not bad,
                now=now,
            )
    if verdict is Verdict.TIMEOUT:
        if not book.streak[key]:
            book.silent_since[key] = item.at
        book.streak[key] += 1
    else:
        book.streak[key] = 0
        book.silent_since[key] = np.nan
        book.answered[key] = now
    _tally(draft, key, item, verdict)
    if bad:
        book.run[key] = 0
        if seen.evidence is not None:
            draft.map("evidence")[key] = seen.evidence
        if p == 0:
            book.curious_until[a] = now + CURIOUS_ROUNDS * draft.layout.fast_interval
            if np.isnan(book.first_bad[a]):
                book.first_bad[a] = item.at
    else:
        book.run[key] += 1
    bucket = book.buckets.get(key)
    if bucket is not None:
        clean = not bad and not draft.was.late[key]
        lost = verdict in (Verdict.TIMEOUT, Verdict.ERROR)
        draft.map("buckets")[key] = bucket.count(
            clean=int(clean), lost=int(lost), bad=int(not clean and not lost)
        )


def _tally(draft: _Draft, key: Key, item: Round, verdict: Verdict) -> None:
    """One answer for the breach buckets: each class apart, a name once an hour."""
    a, p = key
    if item.question.kind is Kind.WITNESS:
        return  # asked because it failed: it would count the same name twice, or drown others
    for c, name in enumerate(CLASSES):
        if verdict is name:
            if name is Verdict.BOGUS:
                if item.question.name in draft.book.ignored.get(a, names.NONE):
                    continue
                slots, counts = names.count_once(
                    draft.book.counted.get(key, names.NONE), item.question.name, draft.now
                )
                draft.map("counted")[key] = slots
                if not counts:
                    continue
            draft.bad[c, a, p] = draft.bad.get((c, a, p), 0) + 1
        # Silence says nothing good of the signatures; a bogus answer is an answer.
        elif verdict is Verdict.GOOD or (name is Verdict.TIMEOUT):
            draft.good[c, a, p] = draft.good.get((c, a, p), 0) + 1


def _instance(draft: _Draft, key: Key, nsid: str) -> None:
    was = draft.book.instances.get(key, Instance())
    instance, changed = was.see(nsid)
    if instance is was:
        return
    draft.map("instances")[key] = instance
    if not changed:
        return
    a, p = key
    book = draft.book
    book.levels[:, a, p] = 0
    book.streak[key] = book.run[key] = book.late_count[key] = 0
    for values in (book.recent_bad, book.recent_dated, book.recent_all):
        values[key] = 0.0
    for values in (book.silent_since, book.late_since):
        values[key] = np.nan
    book.copies.forget(a, p)
    for name in ("counted", "evidence"):
        draft.map(name).pop(key, None)
    if p == 0:
        draft.map("trials").pop(a, None)
    draft.event(
        "instance_changed",
        a,
        "three answers in a row carried another NSID: what was counted before does not apply",
        p,
        was=was.name,
        now=instance.name,
    )


def _fill_buckets(draft: _Draft) -> None:
    cells = sorted(draft.bad.keys() | draft.good.keys())
    if not cells:
        return
    book = draft.book
    c, a, p = (np.array(axis) for axis in zip(*cells, strict=True))
    bad = np.array([draft.bad.get(cell, 0) for cell in cells])
    good = np.array([draft.good.get(cell, 0) for cell in cells])
    levels, full = detector.fill(book.levels[c, a, p], bad, good, book.scale[c, a, p])
    book.levels[c, a, p] = levels
    acting = full & draft.layout.acts_on[c, a]
    where = np.zeros(draft.layout.shape, dtype=np.bool_)
    where[a[acting], p[acting]] = True
    # A path that is not ours to leave needs no comparison: it is just not proven.
    draft.raise_signal(where & _is_local(where), Signal.FULL)
    draft.raise_signal(where & ~_is_local(where), Signal.CONFIRMED)
    _learn(draft, cells)


def _learn(draft: _Draft, cells: Iterable[tuple[int, int, int]]) -> None:
    """The key's own failing share of the past week: what it always has is not a breach."""
    book = draft.book
    calm = book.health <= Health.HEALTHY
    for cell in cells:
        c, a, p = cell
        if calm[a, p]:
            book.habit_bad[cell] += draft.bad.get(cell, 0)
            if c == 0:
                book.habit_all[a, p] += draft.bad.get(cell, 0) + draft.good.get(cell, 0)
    if draft.now - book.habit_at < 3600:
        return
    fade = np.exp((book.habit_at - draft.now) / WEEK)
    habit_bad, habit_all = book.habit_bad * fade, book.habit_all * fade
    scale = np.repeat(draft.layout.base_scale[:, :, None], book.health.shape[1], axis=2)
    own = np.where(habit_all > HABIT_SAMPLES, 2 * habit_bad / np.maximum(habit_all, 1), 0.0)
    for cell in np.argwhere(own > np.array(NORMAL)[:, None, None]):
        at = tuple(int(i) for i in cell)
        policy = draft.layout.policy(at[1])
        scale[at] = max(scale[at], scale_for(float(own[at]), policy.breach.failure_rate))
    draft.book = replace(
        book, habit_bad=habit_bad, habit_all=habit_all, habit_at=draft.now, scale=scale
    )


def _is_local(like: NDArray[np.bool_]) -> NDArray[np.bool_]:
    local = np.zeros_like(like)
    local[:, 0] = True
    return local


def _silence(draft: _Draft) -> None:
    book, now, layout = draft.book, draft.now, draft.layout
    silent = book.streak >= SILENCES
    if silent.any():
        answers = (now - book.answered) < layout.fresh
        elsewhere = (answers.sum(axis=1, keepdims=True) - answers) > 0
        against = silent & elsewhere & layout.acts_on[CLASSES.index(Verdict.TIMEOUT)][:, None]
        draft.raise_signal(against & _is_local(against), Signal.FULL)
        draft.raise_signal(against & ~_is_local(against), Signal.CONFIRMED)
        draft.raise_signal(silent & ~elsewhere, Signal.UNSEEN)
    draft.raise_signal(~((now - book.seen) <= layout.fresh), Signal.UNSEEN)


def _answers_well(draft: _Draft) -> None:
    where = np.zeros(draft.layout.shape, dtype=np.bool_)
    for key in draft.touched:
        where[key] = draft.book.run[key] >= WELL
    draft.raise_signal(where, Signal.GOOD)


def _staleness(draft: _Draft) -> None:
    book, now, layout = draft.book, draft.now, draft.layout
    if not draft.touched:
        return
    late_now = late(book.copies, layout, now, draft.facts.wall)
    asked = np.zeros(layout.shape, dtype=np.bool_)
    for key in draft.touched:
        asked[key] = True
    book.late_since[late_now & ~book.late] = now
    book.late_count[late_now & asked] += 1
    book.late_count[~late_now] = 0
    book.late[...] = late_now
    lasting = now - book.late_since >= LATE_ROUNDS * layout.interval
    draft.raise_signal(late_now & (book.late_count >= LATE_COUNT) & lasting, Signal.LATE)
    # While a stale copy is steered around, only the recovery bucket ends it.
    mending = np.zeros(layout.shape, dtype=np.bool_)
    for key in book.buckets:
        mending[key] = True
    stale = draft.was.health == Health.STALE
    draft.raise_signal(stale & ~late_now & asked & ~mending, Signal.FRESH)


def candidates(ledger: Ledger, layout: Layout, now: Instant) -> NDArray[np.bool_]:
    """(A, P) remote paths proven good right now: healthy by recent answers, the last one good."""
    proven = (
        (ledger.health == Health.HEALTHY)
        & (ledger.run > 0)
        & ~ledger.late
        & ((now - ledger.answered) < layout.fresh)
        & (layout.order >= 0)
    )
    proven[:, 0] = False
    return proven


def _trials(draft: _Draft) -> None:
    """Give every suspect address a candidate to be compared with, and judge the trials."""
    book, layout, now = draft.book, draft.layout, draft.now
    suspect = (draft.was.health[:, 0] == Health.SUSPECT) | (draft.signals[:, 0] == Signal.FULL)
    suspect &= draft.was.health[:, 0] != Health.FAILING
    trials = draft.map("trials")
    for a in [a for a in trials if not suspect[a]]:
        del trials[a]
    rows = np.flatnonzero(suspect)
    if not rows.size:
        return
    proven = candidates(book, layout, now)
    for a in (int(row) for row in rows):
        trial: Trial | None = trials.get(a)
        if trial is not None and trial.result is not Confirmation.OPEN:
            _conclude(draft, a, trial)
            del trials[a]
        elif trial is None or not _still_fit(book, a, trial.candidate):
            fit = [int(p) for p in np.flatnonzero(proven[a])]
            if fit:
                trials[a] = Trial(candidate=min(fit, key=lambda p: (layout.order[a, p], p)))
            elif trial is not None:
                del trials[a]


def _still_fit(book: Ledger, a: int, candidate: int) -> bool:
    # A bad answer or two there is what the pairs are for; a bad path is no candidate.
    return bool(book.health[a, candidate] == Health.HEALTHY)


def _pair(draft: _Draft, a: int, item: Round, by_column: Mapping[int, Observation]) -> None:
    trial = draft.book.trials.get(a)
    if trial is None or trial.result is not Confirmation.OPEN:
        return
    here, there = by_column.get(0), by_column.get(trial.candidate)
    if here is None or there is None or Verdict.NOTHING in (here.verdict, there.verdict):
        return
    if item.question.name in draft.book.ignored.get(a, names.NONE):
        return
    draft.map("trials")[a] = trial.pair(
        bad_here=_counts_as_bad(draft, a, here), bad_there=_counts_as_bad(draft, a, there)
    )


def _counts_as_bad(draft: _Draft, a: int, seen: Observation) -> bool:
    c = _CLASS_OF.get(seen.verdict)
    return c is not None and bool(draft.layout.acts_on[c, a])


def _conclude(draft: _Draft, a: int, trial: Trial) -> None:
    book = draft.book
    local = (a, 0)
    if trial.result is Confirmation.CONFIRMED:
        draft.signals[local] = max(draft.signals[local], Signal.CONFIRMED)
        return
    draft.signals[local] = Signal.REJECTED
    ignored = {
        name: at
        for name, at in book.ignored.get(a, names.NONE).items()
        if draft.now - at < names.HOUR
    }
    ignored.update(dict.fromkeys(book.counted.get(local, names.NONE), draft.now))
    draft.map("ignored")[a] = ignored
    draft.map("counted").pop(local, None)
    book.levels[:, a, 0] = 0
    draft.event(
        "rejected",
        a,
        f"{trial.pairs} pairs over local and {draft.layout.paths[trial.candidate]} differ by "
        f"{trial.score}: the fault is not of this path",
    )


def _recovery(draft: _Draft) -> None:
    book, layout, now = draft.book, draft.layout, draft.now
    for (a, p), bucket in list(book.buckets.items()):
        if not bucket.empty:
            continue
        if p == 0 and draft.was.health[a, 0] in (Health.FAILING, Health.STALE):
            if book.late[a, 0]:
                continue
            recover = layout.policy(a).recover
            if now < book.holds.get(a, Hold()).until(recover.hold, recover.max_hold):
                continue
        # A path over which a bucket is full this very turn has not recovered.
        if draft.signals[a, p] not in (Signal.FULL, Signal.CONFIRMED, Signal.LATE):
            draft.signals[a, p] = Signal.MENDED


def _settle(draft: _Draft) -> Ledger:
    """Turn the signals into health, and start or end what hangs on it."""
    layout, now = draft.layout, draft.now
    was = draft.was.health
    health = advance(was, draft.signals)
    book = replace(draft.book, health=health)
    draft.book = book
    for a, p in ((int(a), int(p)) for a, p in np.argwhere(health != was)):
        before, after = Health(int(was[a, p])), Health(int(health[a, p]))
        _bookkeep(draft, a, p, after)
        draft.event(
            "health_changed",
            a,
            reason(book, layout, a, p, now),
            p,
            was=before.word,
            now=after.word,
        )
        if p == 0:
            if after is Health.SUSPECT:
                draft.event("suspected", a, reason(book, layout, a, 0, now))
            elif after is Health.FAILING:
                draft.event("confirmed", a, reason(book, layout, a, 0, now))
            elif after is Health.HEALTHY and before in (Health.FAILING, Health.STALE):
                draft.event("recovered", a, "enough clean answers, and the hold is over")
    quiet = (health[:, 0] <= Health.HEALTHY) & (book.run[:, 0] >= WELL)
    book.first_bad[quiet & ~(book.curious_until > now)] = np.nan
    return book


def _bookkeep(draft: _Draft, a: int, p: int, after: Health) -> None:
    book, now, layout = draft.book, draft.now, draft.layout
    key = (a, p)
    buckets = draft.map("buckets")
    clean = layout.policy(a).recover.clean
    if after in (Health.FAILING, Health.STALE) and p == 0:
        buckets[key] = Bucket.start(clean)
        draft.map("holds")[a] = book.holds.get(a, Hold()).breach(now)
        if after is Health.FAILING:
            book.confirmed_at[a] = now
    elif after in (Health.FAILING, Health.STALE, Health.SUSPECT):
        buckets[key] = Bucket.brief(clean)
    else:
        buckets.pop(key, None)
        book.levels[:, a, p] = 0
    if p == 0:
        if after is Health.SUSPECT:
            book.suspected_at[a] = now
            book.curious_until[layout.group_of == layout.group_of[a]] = (
                now + CURIOUS_ROUNDS * layout.fast_interval
            )
        elif after is not Health.FAILING:
            book.suspected_at[a] = np.nan
        if after is not Health.FAILING:
            book.confirmed_at[a] = np.nan


def adopt(ledger: Ledger, layout: Layout, rows: Iterable[int], now: Instant) -> Ledger:
    """The ledger of an agent that finds its predecessor's steers in place.

    Those local paths count as failing from now on: only a full recovery, hold included,
    brings them back. Anything less would release traffic on the first good answers.
    """
    draft = _Draft(ledger, layout, Facts(wall=0.0), now)
    health = ledger.health.copy()
    draft.book = replace(draft.book, health=health)
    for a in rows:
        health[a, 0] = Health.FAILING
        _bookkeep(draft, a, 0, Health.FAILING)
    return draft.book


def reason(book: Ledger, layout: Layout, a: int, p: int, now: Instant) -> str:
    """Why this key's health is what it is, in numbers."""
    key = (a, p)
    health = Health(int(book.health[key]))
    share = book.share(now)[key]
    percent = "nothing answered lately" if np.isnan(share) else f"{share:.1%} failing lately"
    evidence = book.evidence.get(key)
    proof = f"; last: {evidence}" if evidence is not None else ""
    if health is Health.UNKNOWN:
        if np.isnan(book.seen[key]):
            return "not measured yet"
        streak = int(book.streak[key])
        return f"{streak} questions unanswered, and no other path answers" if streak else percent
    if health is Health.HEALTHY:
        return f"{int(book.run[key])} good answers in a row, {percent}"
    if health is Health.STALE:
        lag = book.copies.lag(layout, now)[key]
        return f"outdated against the other paths: serial lag {lag:.0f} s"
    if book.streak[key] >= SILENCES:
        return f"{int(book.streak[key])} questions in a row unanswered while another path answers"
    trial = book.trials.get(a) if p == 0 else None
    compared = (
        f"; compared with {layout.paths[trial.candidate]}: {trial.score:+d} after {trial.pairs} pairs"
        if trial is not None
        else ""
    )
    return f"{percent}{proof}{compared}"
