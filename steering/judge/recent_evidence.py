"""What is so right now: no move rests on old evidence.

A confirmed breach says what was so when it was confirmed. Where the move had to wait, for a rule,
an override or the budget, the fault may be over by the time the obstacle goes. So each address
remembers its latest pairs that were bad here and good over a proven path, and moves only while the
last few seconds have seen three of them; else it is asked fast until they are seen again.

A local path that was not left has no detour to protect: it is healthy again when it has answered
well often enough for the share that failed, whatever the policy wants before traffic returns.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from steering.judge.copy_on_write import own, write
from steering.judge.edit import Draft
from steering.judge.health import Signal
from steering.judge.ledger import PAIRS, Ledger
from steering.judge.recovery import BRIEF
from steering.judge.trials import bad
from steering.judge.zone_copies import Counts, Floats
from steering.layout import Layout
from steering.model import Health, Instant, Observation, Round, Seconds, Verdict

LATELY: Seconds = 5.0
"""A pair is of the present for so long, and the time that an answer may take: what is asked slowly
(`backoff`) shows three in that time as well."""
PAUSE: Seconds = 2.0
"""As long as a move waits at the most for others to be heard."""
LEAST = 5
"""Fast rounds that it is at least."""
LATEST: Seconds = 10.0
"""Others that were asked fast so short a time ago are not asked again for it."""
CLEAN = 5
"""Clean answers in a row, over the share that failed: a fault as large shows in as many but for
exp(-5) of the time, and the names that failed are among them."""
CALM: Seconds = 30.0
"""Nor is it over sooner than so long after its last failure: one that comes and goes is one. A
breach that is older is no fault of a second."""
AGAIN = 2
"""Chance failures of a steady share stay away for so long once in nine times: (1 + AGAIN)^-2."""

Mask = NDArray[np.bool_]


def window(layout: Layout) -> Seconds:
    """How long a pair speaks of the present."""
    return max(LATELY, LEAST * layout.fast_interval) + layout.timeout


def shown(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A,) whether the last few seconds showed the local path bad beside a good one."""
    return np.asarray(now - ledger.shown[:, -1] <= window(layout))


def over(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A,) whether what the last few seconds showed seems to be over again.

    Good answers in a row, for twice as long as the latest pairs took to come: so a fault of a
    second moves nobody two seconds later, when the others have been heard. One that goes on is
    shown again by its next failure.
    """
    newest, oldest = ledger.shown[:, 0], ledger.shown[:, -1]
    took = np.fmax(newest - oldest, (PAIRS - 1) * layout.fast_interval)
    took = np.where(now - ledger.confirmed_at > CALM, np.fmax(took, PAUSE), took)
    return np.asarray((ledger.run[:, 0] >= PAIRS) & (now - newest > AGAIN * took))


def look(draft: Draft, a: int, item: Round, seen: Mapping[int, Observation]) -> None:
    """Note a round that is bad here and good there; comes before its answers are counted."""
    if not bad(draft, a, 0, seen.get(0)) or not item.telling:
        return
    good, proven = Verdict.GOOD, draft.proven[a]
    if any(p and proven[p] and o.verdict is good for p, o in seen.items()):
        note(draft, a)


def note(draft: Draft, a: int) -> None:
    """A pair that was bad here and good there."""
    rows = own(draft.book, "shown")
    rows[a, 1:] = rows[a, :-1].copy()
    rows[a, 0] = draft.now


def confirm(draft: Draft, a: int, took: Seconds, share: float) -> None:
    """As many pairs as a move wants, which its group took so long to show.

    No longer than leaves time for the other operators to be heard before that is over or old.
    What failed of the group's answers is the least `worst` of the breach: of the address itself
    it may have been names asked again alone, which are in no share.
    """
    own(draft.book, "worst")[a] = np.fmax(draft.book.worst[a], share)
    rows = own(draft.book, "shown")
    rows[a] = draft.now - np.linspace(0, min(took, window(draft.layout) / 4), rows.shape[1])


def date(draft: Draft) -> None:
    """Since when each is shown; who is so anew, and has not left, is news to everybody."""
    book, now = draft.book, draft.now
    is_shown = shown(book, draft.layout, now)
    was = ~np.isnan(book.shown_since)
    if (is_shown != was).any():
        own(book, "shown_since")[:] = np.where(
            is_shown, np.where(was, book.shown_since, now), np.nan
        )
        fresh = is_shown & ~was & (draft.was.health[:, 0] == Health.FAILING) & ~draft.away
        fresh &= ~(now - book.curious_until < LATEST)
        for group in np.unique(draft.layout.group_of[fresh]).tolist():
            draft.probe_group_fast(group)


def mend(draft: Draft) -> None:
    """Which local paths, never left, are well again; comes before `raise_mended`."""
    book, layout, local = draft.book, draft.layout, draft.was.health[:, 0]
    rows = np.flatnonzero(
        ((local == Health.FAILING) | ((local == Health.STALE) & layout.acts_on_stale)) & ~draft.away
    )
    if not rows.size:
        return
    share = np.nan_to_num(book.share(draft.now, rows)[:, 0])
    worst = np.fmax(book.worst[rows], share)
    write(book, "worst", rows, worst)
    needs = np.where(local[rows] == Health.STALE, BRIEF, clean(worst, layout.clean[rows]))
    well = (book.run[rows, 0] >= needs) & ~(draft.now - book.bad_at[rows] < CALM)
    # Where the policy acts on it: else an outdated copy is no reason to be called failing.
    well &= ~((book.late[rows, 0] | book.behind[rows, 0]) & layout.acts_on_stale[rows])
    well &= ~np.isin(draft.signals[rows, 0], (Signal.FULL, Signal.CONFIRMED))
    draft.signals[rows[well], 0] = Signal.MENDED


def clean(share: Floats, most: Counts) -> Floats:
    """Clean answers in a row after which a fault of this share is over."""
    with np.errstate(divide="ignore"):
        needed = np.ceil(CLEAN / share)
    return np.asarray(np.minimum(most, np.maximum(BRIEF, needed)))
