"""Habit: the failing share that a key always has is not a breach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from steering.judge.detector import scale_for
from steering.judge.draft import Draft
from steering.judge.ledger import Counts
from steering.layout import CLASSES, NORMAL
from steering.model import Health, Seconds, Verdict

WEEK: Seconds = 7 * 86_400.0
SAMPLES = 1000.0
"""Answers before a key's own failing share of the past week is believed."""
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
    book.habit_bad[c, a, p] += bad * calm
    signed = c == _SIGNED
    book.habit_all[a[signed], p[signed]] += ((bad + good) * calm)[signed]


def review(draft: Draft) -> None:
    """Once an hour, set the scales of the buckets by what each key always has."""
    book = draft.book
    if draft.now - book.habit_at < REVIEW:
        return
    fade = np.exp((book.habit_at - draft.now) / WEEK)
    failed, answers = book.habit_bad * fade, book.habit_all * fade
    own = np.where(answers > SAMPLES, 2 * failed / np.maximum(answers, 1), 0.0)
    scale = np.repeat(draft.layout.base_scale[:, :, None], own.shape[2], axis=2)
    for c, a, p in np.argwhere(own > np.array(NORMAL)[:, None, None]).tolist():
        rate = draft.layout.policy(a).breach.failure_rate
        scale[c, a, p] = max(scale[c, a, p], scale_for(float(own[c, a, p]), rate))
    draft.book = replace(book, habit_bad=failed, habit_all=answers, habit_at=draft.now, scale=scale)
