"""Fresh evidence: no move is based on old evidence.

A confirmed breach was true when it was confirmed. If the move had to wait, for a rule, an override
or the budget, the fault may be over when the obstacle ends. So each address remembers its latest
pairs that were bad here and good over a good path, and moves only while the last few seconds have
three of them. Otherwise it is probed fast until there are three again.

A local path that was not left needs no hold: it is healthy again after enough good answers for the
share that failed, whatever the policy requires before traffic returns.
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
"""How long a pair is fresh, plus the time that an answer may take. Slow probing (`backoff`) gives
three pairs in this time as well."""
PAUSE: Seconds = 2.0
"""The longest time that a move waits for probes of other operators."""
LEAST = 5
"""A pair is fresh for at least so many fast rounds."""
LATEST: Seconds = 10.0
"""Other operators that were probed fast so recently are not probed fast again."""
CLEAN = 5
"""A fault is over after CLEAN, divided by the share that failed, good answers in a row. One of the
same share would show among so many but for a probability of exp(-5). Failed names are asked too."""
CALM: Seconds = 30.0
"""The least time from the last failure until a fault is over, so that an intermittent fault counts
as one. A breach older than this is no fault of a second."""
AGAIN = 2
"""Failures of a steady share pause for so many times their spacing once in nine times:
(1 + AGAIN)^-2."""

Mask = NDArray[np.bool_]


def window(layout: Layout) -> Seconds:
    """How long a pair is fresh."""
    return max(LATELY, LEAST * layout.fast_interval) + layout.timeout


def shown(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A,) whether the last few seconds showed the local path bad beside a good one."""
    return np.asarray(now - ledger.shown[:, -1] <= window(layout))


def over(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A,) whether the fault of the last few seconds seems to be over.

    That is after good answers in a row for twice as long as the latest pairs took. So a fault of
    a second causes no move two seconds later, when the other operators have been probed. If the
    fault goes on, its next failure shows it.
    """
    newest, oldest = ledger.shown[:, 0], ledger.shown[:, -1]
    took = np.fmax(newest - oldest, (PAIRS - 1) * layout.fast_interval)
    took = np.where(now - ledger.confirmed_at > CALM, np.fmax(took, PAUSE), took)
    return np.asarray((ledger.run[:, 0] >= PAIRS) & (now - newest > AGAIN * took))


def look(draft: Draft, a: int, item: Round, seen: Mapping[int, Observation]) -> None:
    """Note a round that is bad here and good there; comes before its answers are counted."""
    if not bad(draft, a, 0, seen.get(0)) or not item.is_evidence:
        return
    good, proven = Verdict.GOOD, draft.proven[a]
    if any(p and proven[p] and o.verdict is good for p, o in seen.items()):
        note(draft, a)


def note(draft: Draft, a: int) -> None:
    """Note a pair that was bad here and good there, with the time of now."""
    rows = own(draft.book, "shown")
    rows[a, 1:] = rows[a, :-1].copy()
    rows[a, 0] = draft.now


def confirm(draft: Draft, a: int, took: Seconds, share: float) -> None:
    """Note as many pairs as a move needs, which its group showed within `took`.

    `took` is limited, so that the pairs are still fresh when the other operators have been probed.
    `share`, what failed of the group's answers, is the least `worst` of the breach: of the address
    itself perhaps only names asked again failed, which no share counts.
    """
    own(draft.book, "worst")[a] = np.fmax(draft.book.worst[a], share)
    rows = own(draft.book, "shown")
    rows[a] = draft.now - np.linspace(0, min(took, window(draft.layout) / 4), rows.shape[1])


def date(draft: Draft) -> None:
    """Update since when each fault shows. If a failing address on the local path shows it again,
    its group and the operators are probed fast.
    """
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
    """Signal recovery of local paths that were never left; comes before `raise_mended`."""
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
    # Only if the policy counts it: otherwise an outdated copy is no reason to stay failing.
    well &= ~((book.late[rows, 0] | book.behind[rows, 0]) & layout.acts_on_stale[rows])
    well &= ~np.isin(draft.signals[rows, 0], (Signal.FULL, Signal.CONFIRMED))
    draft.signals[rows[well], 0] = Signal.MENDED


def clean(share: Floats, most: Counts) -> Floats:
    """Clean answers in a row after which a fault of this share is over."""
    with np.errstate(divide="ignore"):
        needed = np.ceil(CLEAN / share)
    return np.asarray(np.minimum(most, np.maximum(BRIEF, needed)))
