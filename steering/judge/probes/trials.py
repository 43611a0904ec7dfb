"""Trials: every suspect address is compared over a path that is known to be good."""

from __future__ import annotations

from collections.abc import Mapping

from steering.judge.edit import Draft
from steering.judge.known import failed_names
from steering.judge.known.health import Signal
from steering.judge.known.paired_test import CONFIRM_AT, Confirmation, Trial
from steering.judge.probes.backoff import pair_bad_here, pair_good_here
from steering.judge.probes.peer_paths import candidates
from steering.judge.traffic.dismissed import dismiss
from steering.model import LOCAL, Health, Observation, Round, Verdict


def pair(draft: Draft, address: str, item: Round, seen: Mapping[str, Observation]) -> None:
    """Count a round as a pair of its address's trial; comes before its answers are counted."""
    known = draft.address(address)
    trial = known.trial
    if trial is None or trial.result is not Confirmation.OPEN or item.at < trial.since:
        return
    if failed_names.holds(known.ignored, item.question.name, draft.now):
        return
    here = bad(draft, address, LOCAL, seen.get(LOCAL))
    there = bad(draft, address, trial.candidate, seen.get(trial.candidate))
    if here is None or there is None:
        return
    if here and not there:
        lost = seen[LOCAL].verdict is not Verdict.BOGUS
        after = pair_bad_here(trial, draft.index, item.at, draft.now, lost=lost)
    else:
        after = trial.pair(bad_here=here, bad_there=there)
        after = after if here else pair_good_here(after, draft.index, item.at)
    draft.edit_address(address).trial = after


def bad(draft: Draft, address: str, path: str, seen: Observation | None) -> bool | None:
    """Whether an answer is bad; None: it is no evidence."""
    verdict = Verdict.NOTHING if seen is None else seen.verdict
    if verdict is Verdict.NOTHING:
        return None
    if verdict is Verdict.GOOD:
        return False
    # A failure that the policy does not count is no good answer either. Otherwise a planted name
    # that is refused over the candidate's path would count as bad here and good there.
    if verdict not in draft.index.settings[address].acts_on:
        return None
    # Single lost packets are no fault: at a loss of 3 % over one path alone, 256 pairs would
    # reach +12 in 8 % of all trials. Only the second in a row counts. So it takes a loss of a
    # quarter of all answers, as it does to fill these classes' buckets.
    if verdict is not Verdict.BOGUS and draft.path(address, path).run > 0:
        return None
    return True


def try_suspects(draft: Draft) -> None:
    """Give every suspect address a candidate to be compared with, and judge the trials."""
    for address in draft.open():
        trial = draft.address(address).trial
        if not _is_suspect(draft, address):
            if trial is not None:
                draft.edit_address(address).trial = None
        elif trial is not None and trial.result is not Confirmation.OPEN:
            _conclude(draft, address, trial)
        elif trial is None or draft.was.path(address, trial.candidate).health != Health.HEALTHY:
            # Single bad answers there are what the pairs measure; a bad path is no candidate.
            fit = candidates(draft, draft.index, address, draft.now)
            if fit:
                first = min(fit, key=draft.index.settings[address].order.__getitem__)
                draft.edit_address(address).trial = Trial(candidate=first, since=draft.now)
            elif trial is not None:
                draft.edit_address(address).trial = None


def _is_suspect(draft: Draft, address: str) -> bool:
    was, signal = draft.was.path(address).health, draft.signal_of(address)
    if was is Health.SUSPECT:
        return signal is not Signal.UNSEEN
    return signal is Signal.FULL and was is not Health.FAILING


def _conclude(draft: Draft, address: str, trial: Trial) -> None:
    known = draft.edit_address(address)
    known.trial = None
    if trial.result is Confirmation.CONFIRMED:
        draft.signal(address, LOCAL, Signal.CONFIRMED)
        draft.confirmed_by[address] = (
            f"bad here and good over {trial.candidate}: {trial.score:+d} after {trial.pairs} pairs"
        )
        # Names asked again may have failed this often; no share counts them.
        known.worst = max(known.worst, CONFIRM_AT / trial.pairs)
        return
    dismiss(
        draft,
        address,
        f"after {trial.pairs} pairs local and {trial.candidate} answer alike "
        f"(score {trial.score:+d}): the fault is not of the local path",
    )
