"""Baseline: the failing share that a key always has is not a breach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from steering.judge.buckets import scale_for
from steering.judge.copy_on_write import own, put
from steering.judge.edit import Draft
from steering.judge.ledger import Counts
from steering.judge.zone_copies import Floats
from steering.layout import CLASSES, NORMAL, Layout
from steering.model import Health, Seconds, Verdict

WEEK: Seconds = 7 * 86_400.0
SAMPLES = 1000.0
"""Answers before a key's own failing share of the past week is used."""
REVIEW: Seconds = 3600.0

_SIGNED = CLASSES.index(Verdict.BOGUS)


def learn(draft: Draft, cells: Counts, bad: Counts, good: Counts) -> None:
    """Count this turn's answers of calm keys.

    Args:
        draft: the ledger being written.
        cells: distinct (class, row, column), shape (3, n).
        bad: failing names of each cell, shape (n,).
        good: good answers of each cell, shape (n,).
    """
    c, a, p = cells
    book = draft.book
    calm = draft.was.health[a, p] <= int(Health.HEALTHY)
    failed = (bad > 0) & calm
    if failed.any():
        own(book, "habit_bad")[c[failed], a[failed], p[failed]] += bad[failed]
    signed = c == _SIGNED
    own(book, "habit_all")[a[signed], p[signed]] += ((bad + good) * calm)[signed]


def review(draft: Draft) -> None:
    """Once an hour, set the scales of the buckets by each key's usual failing share."""
    book = draft.book
    if draft.now - book.habit_at < REVIEW:
        return
    fade = np.exp((book.habit_at - draft.now) / WEEK)
    failed, answers = book.habit_bad * fade, book.habit_all * fade
    put(book, "habit_bad", failed)
    put(book, "habit_all", answers)
    put(book, "habit_at", draft.now)
    put(book, "scale", own_scale(draft.layout, CLASSES, failed, answers))


def base_scale(layout: Layout, classes: Sequence[Verdict]) -> Counts:
    """(classes, A, P) the buckets' scales by policy and class alone."""
    rows = [CLASSES.index(verdict) for verdict in classes]
    return np.repeat(layout.base_scale[rows, :, None], layout.shape[1], axis=2)


def own_scale(
    layout: Layout, classes: Sequence[Verdict], failed: Floats, answers: Floats
) -> Counts:
    """(classes, A, P) the scales where each key's own failing share counts as well.

    Args:
        layout: of the keys.
        classes: the class of each row of the other arguments.
        failed: failing answers, (classes, A, P).
        answers: all of them, (classes, A, P) or (A, P).
    """
    own = np.where(answers > SAMPLES, 2 * failed / np.maximum(answers, 1), 0.0)
    normal = np.array([NORMAL[CLASSES.index(verdict)] for verdict in classes])
    scale = base_scale(layout, classes)
    for c, a, p in np.argwhere(own > normal[:, None, None]).tolist():
        rate = layout.policy(a).breach.failure_rate
        scale[c, a, p] = max(scale[c, a, p], scale_for(float(own[c, a, p]), rate))
    return scale
