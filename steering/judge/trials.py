"""Trials: every suspect address is compared with a path that is proven good."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from steering.judge import failed_names
from steering.judge.backoff import ease, weigh
from steering.judge.copy_on_write import own
from steering.judge.dismissed import dismiss
from steering.judge.edit import Draft
from steering.judge.health import Signal
from steering.judge.paired_test import CONFIRM_AT, Confirmation, Trial
from steering.judge.peer_paths import candidates
from steering.layout import CLASSES
from steering.model import Health, Observation, Round, Verdict


def pair(draft: Draft, a: int, item: Round, seen: Mapping[int, Observation]) -> None:
    """Count a round as a pair of its address's trial; comes before its answers are counted."""
    trial = draft.trials.get(a)
    if trial is None or trial.result is not Confirmation.OPEN or item.at < trial.since:
        return
    if failed_names.holds(draft.ignored.get(a, failed_names.NONE), item.question.name, draft.now):
        return
    here = bad(draft, a, 0, seen.get(0))
    there = bad(draft, a, trial.candidate, seen.get(trial.candidate))
    if here is None or there is None:
        return
    if here and not there:
        lost = seen[0].verdict is not Verdict.BOGUS
        draft.trials[a] = weigh(trial, draft.layout, item.at, draft.now, lost=lost)
    else:
        after = trial.pair(bad_here=here, bad_there=there)
        draft.trials[a] = after if here else ease(after, draft.layout, item.at)


def bad(draft: Draft, a: int, p: int, seen: Observation | None) -> bool | None:
    """Whether an answer is bad; None: it says nothing."""
    verdict = Verdict.NOTHING if seen is None else seen.verdict
    if verdict is Verdict.NOTHING:
        return None
    if verdict is Verdict.GOOD:
        return False
    # A failure that the policy does not count is no good answer either: a planted name refused
    # over the candidate's path would be bad here and good there.
    if not draft.layout.acts_on[CLASSES.index(verdict), a]:
        return None
    # A packet lost here and there is no fault: at a loss of 3 % over one path alone, 256
    # pairs would reach +12 in 8 % of all trials. The second in a row counts, so that it
    # takes a quarter of all answers: what fills these classes' buckets, too.
    if verdict is not Verdict.BOGUS and draft.book.run[a, p] > 0:
        return None
    return True


def try_suspects(draft: Draft) -> None:
    """Give every suspect address a candidate to be compared with, and judge the trials."""
    layout, was = draft.layout, draft.was.health[:, 0]
    signals = draft.signals[:, 0]
    suspect = (was == Health.SUSPECT) & (signals != Signal.UNSEEN)
    suspect |= (signals == Signal.FULL) & (was != Health.FAILING)
    for a in [a for a in draft.trials if not suspect[a]]:
        del draft.trials[a]
    rows = np.flatnonzero(suspect)
    if not rows.size:
        return
    fit = candidates(draft.book, layout, draft.now)
    for a in rows.tolist():
        trial = draft.trials.get(a)
        if trial is not None and trial.result is not Confirmation.OPEN:
            _conclude(draft, a, trial)
        elif trial is None or draft.was.health[a, trial.candidate] != Health.HEALTHY:
            # A bad answer or two there is what the pairs are for; a bad path is no candidate.
            draft.trials.pop(a, None)
            columns = np.flatnonzero(fit[a]).tolist()
            if columns:
                first = min(columns, key=lambda p: (layout.order[a, p], p))
                draft.trials[a] = Trial(candidate=first, since=draft.now)


def _conclude(draft: Draft, a: int, trial: Trial) -> None:
    del draft.trials[a]
    if trial.result is Confirmation.CONFIRMED:
        draft.signals[a, 0] = max(draft.signals[a, 0], Signal.CONFIRMED)
        there = draft.layout.paths[trial.candidate]
        draft.convicted[a] = (
            f"bad here and good over {there}: {trial.score:+d} after {trial.pairs} pairs"
        )
        # By names asked again alone, which are in no share, it may have failed so often.
        own(draft.book, "worst")[a] = np.fmax(draft.book.worst[a], CONFIRM_AT / trial.pairs)
        return
    dismiss(
        draft,
        a,
        f"after {trial.pairs} pairs local and {draft.layout.paths[trial.candidate]} answer alike "
        f"(score {trial.score:+d}): the fault is not of this path",
    )
