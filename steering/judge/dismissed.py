"""Suspicions that are rejected, and suspicions that only the resolvers' traffic raised.

The resolvers' traffic may show failures for hours that probes never see. A suspicion from traffic
alone would end after a few clean answers, and begin again with the next failure in the traffic.
So it ends with a result: either its trial goes on to the end, or, without a trial, clean answers
reject it. The failures in the traffic that raised it are then not counted for a while.
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
A trial whose candidate comes and goes begins anew each time."""


def keep_suspicions(draft: Draft) -> None:
    """A suspicion that probes confirm is no longer from traffic alone; comes before traffic."""
    raised = draft.book.traffic.raised
    if not raised.any():
        return
    found = draft.signals[:, 0] >= Signal.FULL
    over = draft.was.health[:, 0] != Health.SUSPECT
    left = raised & ~found & ~over
    if (left != raised).any():
        own(draft.traffic(), "raised")[:] = left


def note_suspicions(draft: Draft, rows: Mask) -> None:
    """Note that traffic makes these rows suspect; comes after the probes of this turn."""
    new = rows & (draft.was.health[:, 0] != Health.SUSPECT) & (draft.signals[:, 0] < Signal.FULL)
    if new.any():
        own(draft.traffic(), "raised")[new] = True


def unfounded(draft: Draft, a: int) -> bool:
    """Whether a local path is suspect by traffic alone, and probes have found nothing."""
    suspect = draft.was.health[a, 0] == Health.SUSPECT
    return bool(suspect and draft.book.traffic.raised[a])


def end_suspicion(draft: Draft, a: int) -> None:
    """Reject such a suspicion after enough clean answers, once its trial is over."""
    if draft.signals[a, 0] >= Signal.REJECTED:
        return
    trial = draft.trials.get(a)
    asked = draft.now - draft.book.suspected_at[a]
    if trial is not None and trial.result is Confirmation.OPEN and asked < LONGEST:
        return
    draft.trials.pop(a, None)
    dismiss(draft, a, "own probes got good answers, only the resolvers' traffic showed failures")


def dismiss(draft: Draft, a: int, because: str) -> None:
    """Reject a suspicion: the fault is everywhere, or planted. Its names are ignored for 1 h."""
    failed = draft.counted.pop((a, 0), failed_names.NONE)
    in_traffic = reject(draft.traffic(), a, int(draft.layout.upstream_of[a]), draft.now)
    draft.ignored[a] = failed_names.ignore(
        draft.ignored.get(a, failed_names.NONE), (*failed, *in_traffic), draft.now
    )
    own(draft.book, "levels")[:, a, 0] = 0
    draft.signals[a, 0] = Signal.REJECTED
    draft.add_event("rejected", a, because)
