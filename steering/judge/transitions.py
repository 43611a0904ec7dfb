"""What follows from a change of health: recovery buckets, holds, and events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from steering.judge.copy_on_write import own, write
from steering.judge.edit import Draft
from steering.judge.health import advance
from steering.judge.ledger import Ledger, breached, reason
from steering.judge.recovery import Bucket, Hold
from steering.judge.signals import WELL
from steering.judge.traffic_ledger import begin_anew
from steering.layout import Layout
from steering.model import Health, Instant

KEPT = 2.0
"""Bad answers from before its recovery that still count for a site's failing share."""


def settle(draft: Draft) -> Ledger:
    """Turn the signals into health, and start or end what follows from it."""
    was, book = draft.was.health, draft.book
    signalled = np.nonzero(draft.signals)  # without a signal the health stays
    write(book, "health", signalled, advance(was[signalled], draft.signals[signalled]))
    for a, p in np.argwhere(book.health != was).tolist() if book.health is not was else ():
        before, after = Health(int(was[a, p])), Health(int(book.health[a, p]))
        keep_books(draft, a, p, before, after)
        _report(draft, a, p, before, after)
    calm = (book.health[:, 0] <= Health.HEALTHY) & (book.run[:, 0] >= WELL)
    calm &= ~(book.curious_until > draft.now) & ~np.isnan(book.first_bad)
    if calm.any():
        own(book, "first_bad")[calm] = np.nan
    return draft.book


def keep_books(draft: Draft, a: int, p: int, before: Health, after: Health) -> None:
    """Start or end the recovery bucket, hold and counts of one key whose health changes."""
    key = (a, p)
    left = p == 0 and breached(draft.layout, a, before)
    leaves = p == 0 and breached(draft.layout, a, after)
    if after >= Health.SUSPECT:
        if leaves and not left:
            draft.buckets[key] = Bucket.start(draft.layout.policy(a).recover.clean)
            draft.holds[a] = draft.holds.get(a, Hold()).breach(draft.now)
        elif not leaves:
            draft.buckets[key] = Bucket.brief()
    else:
        draft.buckets.pop(key, None)
        # The end of a staleness that moved no traffic clears no bogus answers counted meanwhile.
        if left or after is Health.UNKNOWN or before in (Health.SUSPECT, Health.FAILING):
            own(draft.book, "levels")[:, a, p] = 0
            if left and draft.book.losses[a].any():
                own(draft.book, "losses")[a] = 0
            if not np.isnan(draft.book.traffic.at[key]):
                own(draft.traffic(), "levels")[:, a, p] = 0
        if p and before in (Health.SUSPECT, Health.FAILING):
            _forget_failures(draft, a, p)
        if left:
            hold = draft.holds.pop(a, Hold()).end(draft.now)
            if not draft.away[a]:
                hold = hold.unused()
            if hold.breaches:
                draft.holds[a] = hold
            begin_anew(draft.traffic(), a, int(draft.layout.group_of[a]))
        if before >= Health.STALE:
            _forget_lateness(draft, a, p)
    if p == 0:
        _date(draft, a, after)


def _forget_failures(draft: Draft, a: int, p: int) -> None:
    """Let a recovered site be compared by its good answers since. Some of the earlier failures are
    kept: a site that fails often would otherwise look the best after a lucky period.
    """
    book, key = draft.book, (a, p)
    for value in ("recent_bad", "recent_dated"):
        own(book, value)[key] = min(float(getattr(book, value)[key]), KEPT)
    own(book, "recent_all")[key] = book.recent_bad[key] + book.run[key]


def _forget_lateness(draft: Draft, a: int, p: int) -> None:
    """Drop what was seen before the recovery, so that it does not count against the path again."""
    book = draft.book
    draft.copies().forget_life(a, p)
    own(book, "late")[a, p] = False
    own(book, "late_count")[a, p] = 0
    own(book, "late_since")[a, p] = np.nan


def _date(draft: Draft, a: int, after: Health) -> None:
    book, now = draft.book, draft.now
    if after is Health.SUSPECT:
        own(book, "suspected_at")[a] = now
        draft.probe_group_fast(draft.layout.group_of[a])
    elif after is not Health.FAILING:
        own(book, "suspected_at")[a] = np.nan
    own(book, "confirmed_at")[a] = now if after is Health.FAILING else np.nan
    if after is not Health.FAILING:
        own(book, "worst")[a] = np.nan


def _report(draft: Draft, a: int, p: int, before: Health, after: Health) -> None:
    why = reason(draft.book, draft.layout, a, p, draft.now)
    if p == 0 and after is Health.FAILING and a in draft.confirmed_by:
        why = f"{draft.confirmed_by[a]}; {why}" if why else draft.confirmed_by[a]
    draft.add_event("health_changed", a, why, p, was=before.word, now=after.word)
    if p:
        return
    if after is Health.SUSPECT:
        draft.add_event("suspected", a, why)
    elif after is Health.FAILING:
        draft.add_event("confirmed", a, why)
    elif after is Health.HEALTHY and breached(draft.layout, a, before):
        draft.add_event("recovered", a, "enough clean answers, and the hold is over")


def adopt(ledger: Ledger, layout: Layout, rows: Sequence[int], now: Instant) -> Ledger:
    """The ledger of an agent that adopts an earlier agent's steers.

    Those local paths count as failing from now on: only a full recovery, hold included, brings
    them back. Anything less would release traffic on the first good answers. `confirmed_at` stays
    unknown, as they did not fail at the same time just because they were adopted at the same time.
    """
    draft = Draft(ledger, layout, 0.0, now)
    for a in rows:
        before = Health(int(ledger.health[a, 0]))
        own(draft.book, "health")[a, 0] = Health.FAILING
        keep_books(draft, a, 0, before, Health.FAILING)
        own(draft.book, "confirmed_at")[a] = np.nan
    return draft.book


def relapse(ledger: Ledger, layout: Layout, rows: Sequence[int], now: Instant) -> Ledger:
    """The ledger after a recovery that live answers have disproved.

    It counts as a further breach, with its longer hold. The fault is as old as before, so no
    other operators need to be probed before a move. The live answers have shown it just now.
    """
    began = min((ledger.holds[a].since for a in rows if a in ledger.holds), default=now)
    after = adopt(ledger, layout, rows, now)
    confirmed, shown, since = (
        array.copy() for array in (after.confirmed_at, after.shown, after.shown_since)
    )
    confirmed[list(rows)] = since[list(rows)] = began
    shown[list(rows)] = now
    return replace(after, confirmed_at=confirmed, shown=shown, shown_since=since)
