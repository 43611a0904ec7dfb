"""When a local path became clearly worse, and whether it still fails.

A path that was bad for an hour may become worse by a fault of this host. `common_cause` needs the
addresses that changed within the same minute, whatever their state was before.
"""

from __future__ import annotations

import numpy as np

from steering.judge.copy_on_write import write
from steering.judge.edit import Draft
from steering.judge.probe_columns import BOGUS, CLASS_OF, GOOD, Answers, Counts

ANSWERS = 16
"""The quick share is over about so many answers."""
LASTS = 600.0
"""A path becomes worse again only after so many seconds. Otherwise an intermittent fault would seem
to begin together with any other."""
MET = 3
"""Good answers in a row before there is a usual level: a path that was bad when the agent started
has not become worse."""
STEP = 0.35
"""A rise of the quick share by so much is not chance: four standard deviations or more."""


def count_worse(draft: Draft, wave: Answers, run: Counts) -> None:
    """Count one wave's local answers.

    Args:
        draft: the ledger being written.
        wave: answers that were judged.
        run: good answers in a row before each of them.
    """
    book, now = draft.book, draft.now
    bad = (wave.verdict != GOOD) & (wave.p == 0)
    fault = bad & draft.layout.acts_on[CLASS_OF[wave.verdict], wave.a]
    fault &= (wave.verdict == BOGUS) | (run == 0)
    if fault.any():
        rows = wave.a[fault]
        write(book, "bad_at", rows, np.full(len(rows), now))
    mine = (wave.p == 0) & ~wave.witness
    rows = wave.a[mine]
    before, usual, met = book.quick[rows], book.usual[rows], run[mine] >= MET
    unknown = np.isnan(usual)
    if not (before.any() or bad[mine].any() or (unknown & met).any()):
        return
    quick = before + (bad[mine] - before) / ANSWERS
    quick[quick < 1 / ANSWERS**2] = 0.0
    risen = quick >= usual + STEP
    falls = np.minimum(usual, usual + (quick - usual) / ANSWERS)
    usual = np.where(risen | (unknown & met), quick, falls)
    write(book, "quick", rows, quick)
    write(book, "usual", rows, usual)
    risen &= ~(now - book.worse_at[rows] < LASTS)
    if risen.any():
        write(book, "worse_at", rows[risen], np.full(int(risen.sum()), now))
