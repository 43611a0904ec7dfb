"""Counts the resolvers' traffic: failures in it cause fast probing and suspicion.

A full bucket of the local path makes its address suspect, and the trial by probes begins. On a
detour in use, failures only cause fast probing: a detour that probes find good is not left because
of queries that others chose.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import chain
from operator import add
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steering.judge import buckets, failed_names
from steering.judge.baseline import REVIEW, WEEK, own_scale
from steering.judge.copy_on_write import own, put, write
from steering.judge.demand import count_queries
from steering.judge.dismissed import note_suspicions
from steering.judge.edit import Draft
from steering.judge.group_trial import begin
from steering.judge.health import Signal
from steering.judge.traffic_ledger import KINDS, OLD, RECENT, Key, TrafficLedger, forget
from steering.judge.zone_copies import Floats
from steering.layout import CLASSES
from steering.model import OUTCOMES, Failure, Health, Heard, Instant, Verdict

_GOOD, _LOST, _WRONG = Verdict.GOOD, Verdict.TIMEOUT, Verdict.ERROR
_PLACES = {outcome: (i, outcome.verdict) for i, outcome in enumerate(OUTCOMES)}
_BOGUS, _TIMEOUT, _ERROR = (
    CLASSES.index(v) for v in (Verdict.BOGUS, Verdict.TIMEOUT, Verdict.ERROR)
)
_CLASS_OF_KIND = [CLASSES.index(verdict) for verdict in KINDS]

MOST = 10**9
"""Larger numbers in one item are cut to this; a sum of such numbers fits 64 bits."""

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
Cells = tuple[Counts, Counts, Counts]
"""Kind, row and column; one entry for each set of buckets."""


def count_traffic(draft: Draft, items: tuple[Heard, ...], own_fault: Mask) -> None:
    """Count the traffic since the last turn.

    Args:
        draft: the ledger being written.
        items: the counts of the resolvers' traffic.
        own_fault: (A,) addresses whose silence on the local path this host may have caused.
    """
    known = [
        ((a, p), item)
        for item in items
        if (a := draft.layout.row.get(item.address)) is not None
        and (p := draft.layout.column.get(item.path)) is not None
    ]
    if not known:
        return
    book = draft.traffic()
    sums: dict[Key, tuple[int, ...]] = dict.fromkeys([key for key, _ in known], ())
    keys = _columns(sums)
    was = _note_seen(draft, book, keys)
    counts = own(book, "counts")
    for key, item in known:
        some = _count(draft, book, counts, key, item)
        sums[key] = tuple(map(add, sums[key], some)) if sums[key] else some
    poured = _Poured.of(_columns(sums.values()))
    fade = np.exp((np.where(np.isnan(was), -np.inf, was) - draft.now) / RECENT)
    at = keys[0], keys[1]
    write(book, "recent_bad", at, book.recent_bad[at] * fade + poured.failing)
    own(book, "recent_all")[at] = book.recent_all[at] * fade + poured.every
    _ask(draft, book, keys[0], poured, known)
    _fill(draft, book, keys, poured, own_fault)
    _review(draft, book)


def _ask(
    draft: Draft, book: TrafficLedger, rows: Counts, poured: _Poured, known: list[tuple[Key, Heard]]
) -> None:
    """Count the resolvers' queries. Items with verified samples alone have none."""
    every = len(draft.layout.targets)
    queries = np.bincount(rows, weights=poured.asked, minlength=every).astype(np.float64)
    began = min((item.at for _, item in known if item.answers or item.counts), default=None)
    if began is not None and queries.any():
        count_queries(book, queries, began, draft.now)


def _columns(rows: Collection[tuple[int, ...]]) -> Counts:
    """The rows as columns of an array; twice as fast as `np.array` of tuples."""
    return np.fromiter(chain.from_iterable(rows), np.int64).reshape(len(rows), -1).T


def _note_seen(draft: Draft, book: TrafficLedger, keys: Counts) -> Floats:
    """Note traffic of these keys. Returns when each had some before; drops very old counts."""
    at = keys[0], keys[1]
    was: Floats = book.at[at]
    for a, p in keys.T[draft.now - was > OLD].tolist():
        forget(book, a, p)
    own(book, "at")[at] = draft.now
    return was


class _Poured(NamedTuple):
    """The sums of each key's items."""

    failing: Counts
    every: Counts
    """(n,) the whole of which `failing` is a share."""
    asked: Counts
    """(n,) answered or lost."""
    bad: Counts
    good: Counts
    """(kinds, n) for the buckets, in the order of `KINDS`."""

    @classmethod
    def of(cls, counted: Counts) -> _Poured:
        """From the results of `_count`, one column for each key."""
        kinds = counted[3:]
        half = len(KINDS)
        return cls(counted[0], counted[1], counted[2], kinds[:half], kinds[half:])


def _count(
    draft: Draft, book: TrafficLedger, counts: Counts, key: Key, item: Heard
) -> tuple[int, ...]:
    """Count one item. Returns failing, all, asked, then the bad and the good of each kind."""
    a, p = key
    good, bad, lost, wrong = 0, len(item.disproved), 0, 0
    for outcome, claimed in item.counts.items():
        number = within(claimed)
        column, verdict = _PLACES[outcome]
        counts[column, a, p] += number
        if verdict is _GOOD:
            good += number
            continue
        bad += number
        lost += number if verdict is _LOST else 0
        wrong += number if verdict is _WRONG else 0
    for failure in item.disproved:
        counts[_PLACES[failure.outcome][0], a, p] += 1
    expires = item.expires
    if expires is not None and math.isfinite(expires) and not book.soonest[0, a, p] <= expires:
        own(book, "soonest")[0, a, p] = expires
    if item.serials:
        _note_serials(draft, a, item)
    new = _new(draft, key, item.at, item.failures) if item.failures else 0
    disproved = _new(draft, key, item.at, item.disproved) if item.disproved else 0
    answers = within(item.answers)
    asked = answers + lost
    left, proved = max(0, answers - wrong), within(item.proved)
    of_kinds = (new, lost, wrong, disproved, good, answers, left, proved)
    return bad, max(bad, asked), asked, *of_kinds


def within(number: int) -> int:
    """A received number, within possible limits."""
    return min(max(number, 0), MOST)


def _note_serials(draft: Draft, a: int, item: Heard) -> None:
    """Note signed serials of zones, but not which path showed them.

    A program that can write dnstap could replay a signed old serial to make any path look
    outdated, or a new one to hide an outdated path.
    """
    for zone, serial in item.serials.items():
        z = draft.layout.zone(a, zone)
        if z is not None:
            draft.copies().learn(draft.layout, (z, a), serial, wall=draft.wall, now=draft.now)
            draft.dated[a] = True


def _new(draft: Draft, key: Key, at: Instant, failures: tuple[Failure, ...]) -> int:
    """How many of these names have not failed within the hour. New ones cause fast probing."""
    book, (a, p), now = draft.traffic(), key, draft.now
    assert isinstance(book.counted, dict)
    assert isinstance(book.witnesses, dict)
    assert isinstance(book.evidence, dict)
    u = int(draft.layout.upstream_of[a])
    ignored = draft.ignored.get(a, failed_names.NONE)
    known, new = book.counted.get((a, p), failed_names.NONE), 0
    for failure in failures:
        if failed_names.holds(ignored, failure.name, now):
            continue
        known, counts = failed_names.count_once(known, failure.name, now)
        new += counts
        book.evidence[a, p] = failure.evidence
        if p == 0 and failure.ask is not None and not failed_names.holds(ignored, failure.ask, now):
            book.witnesses[u] = failed_names.remember(
                book.witnesses.get(u, failed_names.NONE), failure.ask, now
            )
    book.counted[a, p] = known
    if new and draft.layout.acts_on[_BOGUS, a]:
        if p == 0 and np.isnan(draft.book.first_bad[a]):
            own(draft.book, "first_bad")[a] = at
        calm = draft.was.health[a, p] not in (Health.SUSPECT, Health.FAILING)
        if calm and not now < book.quiet_until[a]:  # NaN: never rejected
            draft.probe_fast(a)
    return new


def _fill(
    draft: Draft, book: TrafficLedger, keys: Counts, poured: _Poured, own_fault: Mask
) -> None:
    """Count one turn's numbers in the buckets."""
    bad, good = poured.bad, poured.good
    ignoring = draft.now < book.deaf_until[keys[0]]
    if ignoring.any():
        bad[_TIMEOUT : _ERROR + 1, ignoring] = good[_TIMEOUT : _ERROR + 1, ignoring] = 0
    each = (slice(None), keys[0], keys[1])
    fails = bool(bad.any())
    drains = bool(book.levels[each].any())  # good answers drain nothing from empty buckets
    group_points = bool(book.group_points.any())
    if fails or drains or group_points:
        k, key = some = np.nonzero(bad | good)
        cells = k, keys[0, key], keys[1, key]
        if fails or drains:
            _suspect(draft, cells, bad[some], good[some], own_fault)
        if fails or group_points:
            _pool(draft, cells, good[some])
    calm = draft.was.health[each[1:]] <= Health.HEALTHY
    if fails:
        write(book, "habit_bad", each, book.habit_bad[each] + bad * calm)
    own(book, "habit_all")[each] = book.habit_all[each] + (bad + good) * calm


def _suspect(draft: Draft, cells: Cells, bad: Counts, good: Counts, own_fault: Mask) -> None:
    """Fill the buckets; a full one of the local path is a signal."""
    book, (k, a, p) = draft.traffic(), cells
    levels, full = buckets.fill(book.levels[cells], bad, good, book.scale[cells])
    mine = (k == _TIMEOUT) & (p == 0) & own_fault[a]
    levels[mine], full = 0, full & ~mine  # a silence that this host may have caused
    write(book, "levels", cells, levels)
    left = (draft.was.health[:, 0] == Health.STALE) & draft.layout.acts_on_stale
    # A failing path recovers by probes: the traffic alone could keep it failing for ever.
    left |= draft.was.health[:, 0] == Health.FAILING
    left |= draft.now < book.quiet_until  # NaN: never rejected
    acting = full & (p == 0) & draft.layout.acts_on[np.take(_CLASS_OF_KIND, k), a] & ~left[a]
    if acting.any():
        where = np.zeros(draft.layout.shape, dtype=np.bool_)
        where[a[acting], 0] = True
        note_suspicions(draft, where[:, 0])
        draft.signal(where, Signal.FULL)


def _pool(draft: Draft, cells: Cells, good: Counts) -> None:
    """Count a group's local paths together; a full bucket begins a trial of the group."""
    book, (k, a, p) = draft.traffic(), cells
    mine = (k == _BOGUS) & (p == 0) & draft.layout.acts_on[_BOGUS, a]
    mine &= (draft.was.health[a, 0] <= Health.HEALTHY) & ~(draft.now < book.quiet_until[a])
    if not mine.any():
        return
    of = draft.layout.group_of[a[mine]]
    groups = np.flatnonzero(np.bincount(of))
    drained = np.bincount(of, weights=good[mine])[groups].astype(np.int64)
    poured = np.array([_newly_pooled(draft, book, group) for group in groups.tolist()])
    scale = np.ones(len(book.group_points), dtype=np.int64)
    scale[of] = book.scale[_BOGUS, a[mine], 0]
    levels, full = buckets.fill(book.group_points[groups], poured, drained, scale[groups])
    write(book, "group_points", groups, np.where(full[:, None], 0, levels))
    for group in groups[full].tolist():
        begin(draft, group)


def _newly_pooled(draft: Draft, book: TrafficLedger, group: int) -> int:
    """How many new names failed this turn in the group; each counts once an hour for all."""
    assert isinstance(book.pooled, dict)
    rows = np.flatnonzero(draft.layout.group_of == group).tolist()
    fresh = {
        name
        for row in rows
        for name, at in book.counted.get((row, 0), failed_names.NONE).items()
        if at == draft.now
    }
    known, new = book.pooled.get(group, failed_names.NONE), 0
    for name in sorted(fresh):
        known, counts = failed_names.count_once(known, name, draft.now)
        new += counts
    book.pooled[group] = known
    return new


def _review(draft: Draft, book: TrafficLedger) -> None:
    """Once an hour, set the scales by each key's usual failing share."""
    if draft.now - book.habit_at < REVIEW:
        return
    fade = math.exp((book.habit_at - draft.now) / WEEK)
    failed, answers = book.habit_bad * fade, book.habit_all * fade
    put(book, "habit_bad", failed)
    put(book, "habit_all", answers)
    put(book, "habit_at", draft.now)
    put(book, "scale", own_scale(draft.layout, KINDS, failed, answers))
