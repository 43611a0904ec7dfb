"""Suspicions that end without a finding, and those that what was heard alone has raised.

The resolvers' traffic may say for hours what own probes never see. A suspicion that came from
there alone would end after a few clean answers and begin again with the next thing heard. So
it ends as a finding: the trial goes on to its end, and clean answers instead of one are a
rejection, too. What said otherwise is not listened to for a while.
"""

from __future__ import annotations

from steering.judge import failed_names
from steering.judge.copy_on_write import own
from steering.judge.edit import Draft
from steering.judge.health import Signal
from steering.judge.ledger import Mask
from steering.judge.paired_test import Confirmation
from steering.judge.traffic_ledger import reject
from steering.model import Health, Seconds

LONGEST: Seconds = 120.0
"""After so long clean answers reject, whatever the trial: 256 pairs take 51 s at 0.2 s each.
One whose candidate comes and goes begins anew each time."""


def keep_suspicions(draft: Draft) -> None:
    """What own probes find of a suspicion makes it theirs; comes before what was heard."""
    raised = draft.book.traffic.raised
    if not raised.any():
        return
    found = draft.signals[:, 0] >= Signal.FULL
    over = draft.was.health[:, 0] != Health.SUSPECT
    left = raised & ~found & ~over
    if (left != raised).any():
        own(draft.listen(), "raised")[:] = left


def note_suspicions(draft: Draft, rows: Mask) -> None:
    """These rows are about to become suspect by what was heard; own probes have had their say."""
    new = rows & (draft.was.health[:, 0] != Health.SUSPECT) & (draft.signals[:, 0] < Signal.FULL)
    if new.any():
        own(draft.listen(), "raised")[new] = True


def unfounded(draft: Draft, a: int) -> bool:
    """Whether the suspicion of a local path is one that own probes have found nothing for."""
    suspect = draft.was.health[a, 0] == Health.SUSPECT
    return bool(suspect and draft.book.traffic.raised[a])


def end_suspicion(draft: Draft, a: int) -> None:
    """Enough clean answers to such a suspicion: it is rejected, once its trial is over."""
    if draft.signals[a, 0] >= Signal.REJECTED:
        return
    trial = draft.trials.get(a)
    asked = draft.now - draft.book.suspected_at[a]
    if trial is not None and trial.result is Confirmation.OPEN and asked < LONGEST:
        return
    draft.trials.pop(a, None)
    dismiss(draft, a, "own probes got good answers, only the resolvers' traffic showed failures")


def dismiss(draft: Draft, a: int, because: str) -> None:
    """The fault is everywhere, or planted: these names say nothing for the next hour."""
    failed = draft.counted.pop((a, 0), failed_names.NONE)
    heard = reject(draft.listen(), a, int(draft.layout.upstream_of[a]), draft.now)
    draft.ignored[a] = failed_names.ignore(
        draft.ignored.get(a, failed_names.NONE), (*failed, *heard), draft.now
    )
    own(draft.book, "levels")[:, a, 0] = 0
    draft.signals[a, 0] = Signal.REJECTED
    draft.tell("rejected", a, because)
