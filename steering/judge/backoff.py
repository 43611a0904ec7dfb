"""Backing off: what vanishes at a slow pace is our own doing, and moves nobody.

A server may refuse or drop what exceeds some questions a second. Asked fast it then looks bad
by our own haste, over one path and not over another. So errors and losses of fast questions
are not all that convicts: they bring a trial two thirds of the way. From then on the address
is asked once a second, and the rest must come from those answers. A single good one of them
takes back what the fast questions had brought. Bogus answers are nobody's haste.

Nor does haste feed itself: where several questions in a row are refused or lost, or one of an
address that is away is refused, it is asked slowly until that has ended for a while. Only the
first part of a trial is asked fast all the same. The proof of a steer asks twice over the
site's path, by its mark and as the host's traffic goes, so it asks at a third of the pace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from steering.judge.edit import Draft
from steering.judge.ledger import Backoff, Ledger
from steering.judge.paired_test import CONFIRM_AT, Trial
from steering.layout import Layout
from steering.model import LOCAL, Health, Instant, Outcome, Round, Seconds, Verdict

GENTLE: Seconds = 1.0
"""What is asked so long after the question before it is asked at leisure: no limit that lets
resolvers work is met by one question a second."""
SLOWLY: Seconds = 1.2
"""The pace once an address is asked slowly: clear of a limit of one a second."""
HASTY = CONFIRM_AT * 2 // 3
"""Points of a trial that fast questions may bring."""
_LOSSES = frozenset(o for o in Outcome if o.verdict in (Verdict.TIMEOUT, Verdict.ERROR))
FULL = 24
LOST = 6
"""Points of a loss or an error; a round without one takes one back. Four in a row fill it,
as one in seven would in the long run; of the 3 % that are normal it takes minutes."""
EASE: Seconds = 30.0
"""So long after the last of them it is asked fast again."""
DOUBLED = 3
"""Fast intervals between two rounds of a proof, which ask twice over the same path: with two
the window of a second would see six questions now and then, one more than a round without."""


def weigh(trial: Trial, layout: Layout, at: Instant, now: Instant, *, lost: bool) -> Trial:
    """The trial after a bad answer here and a good one there.

    Args:
        trial: the one to go on from.
        layout: for the fast interval.
        at: when it was asked.
        now: this instant.
        lost: it was a loss or an error, which our haste may have caused.
    """
    if not lost or _leisurely(layout, trial.eased, at):
        return trial.pair(bad_here=True, bad_there=False)
    if trial.eased is not None:  # under way when it was decided to ask slowly
        return replace(trial, pairs=trial.pairs + 1)
    after = replace(trial.pair(bad_here=True, bad_there=False), hasty=trial.hasty + 1)
    return replace(after, eased=now) if after.hasty >= HASTY else after


def ease(trial: Trial, layout: Layout, at: Instant) -> Trial:
    """The trial after a good answer here: at leisure it takes back what haste has brought."""
    if trial.hasty and _leisurely(layout, trial.eased, at):
        return replace(trial, score=trial.score - trial.hasty, hasty=0)
    return trial


def _leisurely(layout: Layout, since: Instant | None, at: Instant) -> bool:
    if layout.fast_interval >= GENTLE:
        return True
    return since is not None and at >= since + GENTLE


def back_off(draft: Draft, rounds: tuple[Round, ...], installed: Mapping[str, str]) -> None:
    """Note who refuses, or loses, what is asked fast over the paths that are in use."""
    for item in rounds:
        a = draft.layout.row.get(item.address)
        if a is None:
            continue
        if a not in draft.backoffs and not any(o.outcome in _LOSSES for o in item.observations):
            continue
        asked = {LOCAL, installed.get(item.address, LOCAL)}
        # A first refusal of one that nothing is known of has to be looked into fast. What is
        # suspect at home is asked without a mark to see whether that is to blame (`control`):
        # where the second question of two is one too many, the address is not to blame.
        health = draft.was.health[a, 0]
        proving = item.address in installed or health <= Health.HEALTHY
        seen = {o.outcome for o in item.observations if (o.live and proving) or o.path in asked}
        live = proving and any(o.live for o in item.observations)
        away = live or health >= Health.STALE
        _note(draft, a, seen, at_once=away and Outcome.REFUSED in seen)
    for a in [a for a, b in draft.backoffs.items() if not b.points and draft.now >= b.until]:
        del draft.backoffs[a]


def _note(draft: Draft, a: int, seen: set[Outcome], *, at_once: bool) -> None:
    known = draft.backoffs.get(a)
    lost = not seen.isdisjoint(_LOSSES)
    if known is None and not lost:
        return
    known = known or Backoff(points=0, since=draft.now, until=draft.now)
    points = FULL if at_once else max(0, min(known.points + (LOST if lost else -1), FULL))
    if lost and points >= FULL:
        since = known.since if draft.now < known.until else draft.now
        known = replace(known, since=since, until=draft.now + EASE)
    draft.backoffs[a] = replace(known, points=points)


def gap(layout: Layout, ledger: Ledger, a: int, now: Instant, *, proving: bool) -> Seconds:
    """The least time between two fast rounds of an address; 0: the fast interval."""
    trial, known = ledger.trials.get(a), ledger.backoffs.get(a)
    backed_off = known is not None and now < known.until
    if backed_off if trial is None else trial.eased is not None:
        return SLOWLY
    return min(DOUBLED * layout.fast_interval, GENTLE) if proving else 0.0


def without_haste(item: Round, layout: Layout, ledger: Ledger) -> Round:
    """The round without refusals of live questions that were asked in haste."""
    known = ledger.backoffs.get(layout.row[item.address])
    if not any(o.live and o.outcome is Outcome.REFUSED for o in item.observations):
        return item
    if known is None or _leisurely(layout, known.since, item.at):
        return item
    kept = (o for o in item.observations if not (o.live and o.outcome is Outcome.REFUSED))
    return replace(item, observations=tuple(kept))
