"""From counts to one signal for each key: the detectors of one turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge import buckets
from steering.judge.baseline import learn, review
from steering.judge.copy_on_write import own, write
from steering.judge.dismissed import end_suspicion, keep_suspicions, unfounded
from steering.judge.edit import Draft
from steering.judge.group_trial import count_group
from steering.judge.health import Signal
from steering.judge.ledger import breached
from steering.judge.losses import raise_losses
from steering.judge.peer_paths import answered_elsewhere, cut_off, silent
from steering.judge.recovery import Hold
from steering.judge.staleness import late
from steering.judge.traffic_counts import count_traffic
from steering.layout import CLASSES
from steering.model import Health, Heard, Verdict

WELL = 3
"""Good answers in a row that make an unknown path healthy."""
LATE_COUNT = 3
LATE_ROUNDS = 60
"""Staleness is confirmed by three late answers over this many slow rounds (10 min at 10 s)."""

_TIMEOUT = CLASSES.index(Verdict.TIMEOUT)

Mask = NDArray[np.bool_]


def raise_signals(draft: Draft, heard: tuple[Heard, ...] = ()) -> None:
    """Run all detectors but the trials, which need to know the suspect addresses."""
    own_fault = cut_off(draft.book, draft.layout)
    _silence(draft, own_fault)
    _buckets(draft, own_fault)
    keep_suspicions(draft)
    count_traffic(draft, heard, own_fault)
    raise_losses(draft, own_fault)
    _answers_well(draft)
    _staleness(draft)


def _against(draft: Draft, where: Mask) -> None:
    """Count evidence against these keys.

    A local path becomes suspect, and a trial has to compare it. A remote path needs no trial: it
    is only not usable. Nor does a local path that was left already because it is outdated.
    """
    stale = (draft.was.health[:, 0] == Health.STALE) & draft.layout.acts_on_stale
    compared = where.copy()
    compared[:, 1:] = False
    compared[stale, 0] = False
    draft.signal(compared, Signal.FULL)
    draft.signal(where & ~compared, Signal.CONFIRMED)


def _silence(draft: Draft, own_fault: Mask) -> None:
    mute = silent(draft.book)
    if mute.any():
        against = mute & answered_elsewhere(draft.book) & draft.layout.acts_on[_TIMEOUT][:, None]
        against[own_fault, 0] = False
        _against(draft, against)
        draft.signal(mute & ~against, Signal.UNSEEN)
    fresh = (draft.now - draft.book.seen) <= draft.layout.fresh
    draft.signal(~fresh, Signal.UNSEEN)


def _buckets(draft: Draft, own_fault: Mask) -> None:
    book = draft.book
    if own_fault.any():  # a silence that this host may have caused does not count
        own(book, "levels")[_TIMEOUT, own_fault, 0] = 0
    columns, bad, good = draft.poured()
    if not bad.size:
        return
    c, a, p = columns
    if bad.any() or book.levels[c, a, p].any():  # good answers drain nothing from empty ones
        levels, full = buckets.fill(book.levels[c, a, p], bad, good, book.scale[c, a, p])
        full &= ~((c == _TIMEOUT) & (p == 0) & own_fault[a])
        write(book, "levels", (c, a, p), levels)
        acting = full & draft.layout.acts_on[c, a]
        if acting.any():
            where = np.zeros(draft.layout.shape, dtype=np.bool_)
            where[a[acting], p[acting]] = True
            _against(draft, where)
    count_group(draft, columns, bad, good)
    learn(draft, columns, bad, good)
    review(draft)


def _answers_well(draft: Draft) -> None:
    well = draft.touched.copy()
    well[well] = draft.book.run[well] >= WELL
    draft.signal(well, Signal.GOOD)


def _staleness(draft: Draft) -> None:
    """Judge the copies of addresses of which a serial or a date was seen."""
    if not draft.dated.any():
        return
    book, now = draft.book, draft.now
    rows = np.flatnonzero(draft.dated)
    found = late(book.copies, draft.layout, rows, now, draft.wall)
    late_now = found.behind | found.short
    asked = draft.touched[rows]
    if (late_now | book.late[rows]).any():
        own(book, "late_since")[rows] = np.where(
            late_now, np.where(book.late[rows], book.late_since[rows], now), np.nan
        )
        own(book, "late_count")[rows] = np.where(late_now, book.late_count[rows] + asked, 0)
        own(book, "late")[rows] = late_now
    write(book, "behind", rows, found.behind)
    write(book, "floor", (slice(None), rows), found.floor)
    since = np.where(np.isnan(book.zone_since[rows]), now, book.zone_since[rows])
    if found.zone.any() or not np.isnan(book.zone_since[rows]).all():
        own(book, "zone_since")[rows] = np.where(found.zone, since, np.nan)
    lasting = now - book.late_since[rows] >= LATE_ROUNDS * draft.layout.interval
    where = np.zeros(draft.layout.shape, dtype=np.bool_)
    where[rows] = late_now & (book.late_count[rows] >= LATE_COUNT) & lasting
    draft.signal(where, Signal.LATE)


def raise_mended(draft: Draft) -> None:
    """Signal recovery where the bucket is empty and the hold is over; comes last."""
    for (a, p), bucket in draft.buckets.items():
        if not bucket.empty:
            continue
        if p == 0 and unfounded(draft, a):
            end_suspicion(draft, a)
            continue
        if p == 0 and breached(draft.layout, a, Health(int(draft.was.health[a, 0]))):
            if not draft.away[a]:
                continue  # `recent_evidence.mend` does that
            recover = draft.layout.policy(a).recover
            held = draft.holds.get(a, Hold()).until(recover.hold, recover.max_hold)
            behind = draft.book.behind[a, 0] or draft.book.losses[a].any()
            if behind or draft.now < held:
                continue
        # A path with a full breach bucket in this turn has not recovered.
        if draft.signals[a, p] not in (Signal.FULL, Signal.CONFIRMED):
            draft.signals[a, p] = Signal.MENDED
