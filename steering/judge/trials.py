"""Trials: every suspect address is compared over a path that is known to be good."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from steering.judge import failed_names
from steering.judge.backoff import pair_bad_here, pair_good_here
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
        draft.trials[a] = pair_bad_here(trial, draft.layout, item.at, draft.now, lost=lost)
    else:
        after = trial.pair(bad_here=here, bad_there=there)
        draft.trials[a] = after if here else pair_good_here(after, draft.layout, item.at)


def bad(draft: Draft, a: int, p: int, seen: Observation | None) -> bool | None:
    """Whether an answer is bad; None: it is no evidence."""
    verdict = Verdict.NOTHING if seen is None else seen.verdict
    if verdict is Verdict.NOTHING:
        return None
    if verdict is Verdict.GOOD:
        return False
    # A failure that the policy does not count is no good answer either. Otherwise a planted name
    # that is refused over the candidate's path would count as bad here and good there.
    if not draft.layout.acts_on[CLASSES.index(verdict), a]:
        return None
    # Single lost packets are no fault: at a loss of 3 % over one path alone, 256 pairs would
    # reach +12 in 8 % of all trials. Only the second in a row counts. So it takes a loss of a
    # quarter of all answers, as it does to fill these classes' buckets.
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
            # Single bad answers there are what the pairs measure; a bad path is no candidate.
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
        draft.confirmed_by[a] = (
            f"bad here and good over {there}: {trial.score:+d} after {trial.pairs} pairs"
        )
        # Names asked again may have failed this often; no share counts them.
        own(draft.book, "worst")[a] = np.fmax(draft.book.worst[a], CONFIRM_AT / trial.pairs)
        return
    dismiss(
        draft,
        a,
        f"after {trial.pairs} pairs local and {draft.layout.paths[trial.candidate]} answer alike "
        f"(score {trial.score:+d}): the fault is not of the local path",
    )
