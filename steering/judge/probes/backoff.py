"""Backing off: failures that end when probing is slow were caused by fast probing.

A server may refuse or drop more than some queries a second. Probed fast, it then looks bad over
one path and not over another. So errors and losses of fast probes alone confirm nothing: they
give two thirds of a trial's score at most. From then on the address is probed once a second, and
the rest must come from those answers. A single good one of them takes back the score of the fast
probes. Bogus answers are not caused by fast probing, and count in full.

Fast probing must not keep itself going either. If several probes in a row are refused or lost, or
one of a steered address is refused, the address is probed slowly until that has ended for a
while. Only the first part of a trial is fast all the same. The verification of a steer probes
twice over the site's path, with its mark and as the host's traffic goes, so it does so at a third
of the pace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.ledger import Backoff, Ledger
from steering.judge.known.paired_test import CONFIRM_AT, Trial
from steering.model import LOCAL, Health, Instant, Outcome, Round, Seconds, Verdict

GENTLE: Seconds = 1.0
"""A probe so long after the one before is slow. A limit that one query a second exceeds would let
no resolver work."""
SLOWLY: Seconds = 1.2
"""The interval of slow probing: clear of a limit of one a second."""
HASTY = CONFIRM_AT * 2 // 3
"""Points of a trial that fast probes may bring."""
_LOSSES = frozenset(o for o in Outcome if o.verdict in (Verdict.TIMEOUT, Verdict.ERROR))
FULL = 24
LOST = 6
"""Points of a loss or an error; a round without one takes one back. Four in a row fill it,
as one in seven would in the long run; at the normal 3 % it takes minutes."""
EASE: Seconds = 30.0
"""So long after the last of them it is probed fast again."""
DOUBLED = 3
"""Fast intervals between two rounds of a verification, which probe twice over the same path: with
two, a second would see six probes now and then, one more than without verification."""


def pair_bad_here(trial: Trial, index: Index, at: Instant, now: Instant, *, lost: bool) -> Trial:
    """The trial after a bad answer here and a good one there.

    Args:
        trial: before this pair.
        index: for the fast interval.
        at: when the probes were sent.
        now: this instant.
        lost: it was a loss or an error, which fast probing may have caused.
    """
    if not lost or _is_slow(index, trial.eased, at):
        return trial.pair(bad_here=True, bad_there=False)
    if trial.eased is not None:  # under way when it was decided to ask slowly
        return replace(trial, pairs=trial.pairs + 1)
    after = replace(trial.pair(bad_here=True, bad_there=False), hasty=trial.hasty + 1)
    return replace(after, eased=now) if after.hasty >= HASTY else after


def pair_good_here(trial: Trial, index: Index, at: Instant) -> Trial:
    """The trial after a good answer here: a slow one takes back the score of fast probes."""
    if trial.hasty and _is_slow(index, trial.eased, at):
        return replace(trial, score=trial.score - trial.hasty, hasty=0)
    return trial


def _is_slow(index: Index, since: Instant | None, at: Instant) -> bool:
    if index.fast_interval >= GENTLE:
        return True
    return since is not None and at >= since + GENTLE


def back_off(draft: Draft, rounds: tuple[Round, ...], installed: Mapping[str, str]) -> None:
    """Note which addresses refuse or lose fast probes over the paths that are in use."""
    for item in rounds:
        address = item.address
        if address not in draft.index.settings:
            continue
        known = draft.address(address).backoff
        if known is None and not any(o.outcome in _LOSSES for o in item.observations):
            continue
        asked = {LOCAL, installed.get(address, LOCAL)}
        # A first refusal by an address in good health has to be examined fast. A suspect one on
        # the local path is also probed without a mark (`control`); that second probe may be one
        # too many for a limit, so its outcome does not count here.
        health = draft.was.path(address).health
        counts_live = address in installed or health <= Health.HEALTHY
        seen = {o.outcome for o in item.observations if (o.live and counts_live) or o.path in asked}
        live = counts_live and any(o.live for o in item.observations)
        away = live or health >= Health.STALE
        _note(draft, address, seen, at_once=away and Outcome.REFUSED in seen)
    for address in draft.open():
        known = draft.address(address).backoff
        if known is not None and not known.points and draft.now >= known.until:
            draft.edit_address(address).backoff = None


def _note(draft: Draft, address: str, seen: set[Outcome], *, at_once: bool) -> None:
    known = draft.address(address).backoff
    lost = not seen.isdisjoint(_LOSSES)
    if known is None and not lost:
        return
    known = known or Backoff(points=0, since=draft.now, until=draft.now)
    points = FULL if at_once else max(0, min(known.points + (LOST if lost else -1), FULL))
    if lost and points >= FULL:
        since = known.since if draft.now < known.until else draft.now
        known = replace(known, since=since, until=draft.now + EASE)
    draft.edit_address(address).backoff = replace(known, points=points)


def gap(index: Index, ledger: Ledger, address: str, now: Instant, *, proving: bool) -> Seconds:
    """The least time between two fast rounds of an address; 0: the fast interval."""
    of = ledger.address(address)
    trial, known = of.trial, of.backoff
    backed_off = known is not None and now < known.until
    if backed_off if trial is None else trial.eased is not None:
        return SLOWLY
    return min(DOUBLED * index.fast_interval, GENTLE) if proving else 0.0


def without_fast_refusals(item: Round, index: Index, ledger: Ledger) -> Round:
    """The round without refusals of live probes that were sent fast."""
    known = ledger.address(item.address).backoff
    if known is None or _is_slow(index, known.since, item.at):
        return item
    kept = (o for o in item.observations if not (o.live and o.outcome is Outcome.REFUSED))
    return replace(item, observations=tuple(kept))
