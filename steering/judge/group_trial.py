"""The herd: what a whole group shows that no single address shows yet.

Own probes are few: at one answer in ten seconds an address needs half an hour to show a
failing share of 13 %. Its group is often behind one and the same instance, so the bogus
answers of all its local paths also fall into one set of breach buckets. When that is full
nobody is suspect, since one ill letter among thirteen would fill it as well: the group is
asked fast, and put on trial as one. The same test as for a single address (`paired_test`), over
the pairs of all of them, says "bad here, good there" within a second; it convicts those that
failed a pair themselves, and only if they are more than half of the group.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from steering.judge import buckets
from steering.judge.copy_on_write import own, write
from steering.judge.edit import Draft
from steering.judge.health import Signal
from steering.judge.ledger import PAIRS, GroupTrial
from steering.judge.paired_test import CONFIRM_AT, REJECT_AFTER, Trial
from steering.judge.peer_paths import candidates
from steering.judge.recent_evidence import confirm
from steering.judge.traffic_ledger import QUIET
from steering.layout import CLASSES
from steering.model import (
    LOCAL,
    Event,
    Health,
    Instant,
    Observation,
    Round,
    Seconds,
    Verdict,
)

_BOGUS = CLASSES.index(Verdict.BOGUS)

SPREAD = 1 / 2
"""More than this share of a group must have failed a pair."""
PATIENCE = 4 * REJECT_AFTER
"""Pairs after which a herd's trial ends: enough for each of 13 letters to be asked often."""
LONGEST: Seconds = 60.0
"""After so long it ends all the same: while a path is cut off no pairs come in."""


def count_group(
    draft: Draft, cells: NDArray[np.int64], bad: NDArray[np.int64], good: NDArray[np.int64]
) -> None:
    """Pour this turn's local answers into the groups' buckets; a full one begins a trial.

    Args:
        draft: the turn's ledger.
        cells: (3, n) class, row and column of each count.
        bad: (n,) failing names.
        good: (n,) good answers.
    """
    c, a, p = cells
    # Who is suspect already is dealt with, and would only keep its mates from being heard.
    mine = (c == _BOGUS) & (p == 0) & draft.layout.acts_on[_BOGUS, a]
    mine &= draft.was.health[a, 0] <= Health.HEALTHY
    if not mine.any():
        return
    group_of, group_points = draft.layout.group_of, draft.book.group_points
    of = group_of[a[mine]]
    if not (bad[mine].any() or group_points[of].any()):
        return  # good answers drain nothing from empty buckets
    groups = np.flatnonzero(np.bincount(of))
    poured, drained = (
        np.bincount(of, weights=count[mine], minlength=len(group_points))[groups].astype(np.int64)
        for count in (bad, good)
    )
    scale = np.ones(len(group_points), dtype=np.int64)
    scale[of] = draft.layout.base_scale[_BOGUS, a[mine]]
    levels, full = buckets.fill(group_points[groups], poured, drained, scale[groups])
    write(draft.book, "group_points", groups, np.where(full[:, None], 0, levels))
    for group in groups[full].tolist():
        begin(draft, group)


def begin(draft: Draft, group: int) -> None:
    """Compare the group with the path that is proven good for most of it, if there is one."""
    rows = np.flatnonzero(draft.layout.group_of == group)
    if group in draft.group_trials or len(rows) < 2:
        return
    fit = candidates(draft.book, draft.layout, draft.now)[rows].sum(axis=0)
    columns = np.flatnonzero(fit > len(rows) * SPREAD).tolist()
    if columns:
        first = min(columns, key=lambda p: (draft.layout.order[rows, p].max(), p))
        trial = Trial(candidate=first, since=draft.now)
        draft.group_trials[group] = GroupTrial(trial=trial, failed=frozenset())
        draft.probe_group_fast(group)
        because = f"bogus answers across its {len(rows)} addresses: compared with "
        _tell(draft, "suspected", group, because + draft.layout.paths[first])


def pair_group(draft: Draft, a: int, item: Round, seen: Mapping[int, Observation]) -> None:
    """Count a round as a pair of its group's trial, if there is one."""
    joint = draft.group_trials.get(int(draft.layout.group_of[a]))
    if joint is None or item.at < joint.trial.since:
        return
    here, there = seen.get(0), seen.get(joint.trial.candidate)
    if here is None or there is None:
        return
    judged = (Verdict.GOOD, Verdict.BOGUS)  # a lost packet says nothing of signatures
    if here.verdict not in judged or there.verdict not in judged:
        return
    bad_here, bad_there = here.verdict is Verdict.BOGUS, there.verdict is Verdict.BOGUS
    failed = joint.failed | {a} if bad_here and not bad_there else joint.failed
    trial = joint.trial.pair(bad_here=bad_here, bad_there=bad_there)
    draft.group_trials[int(draft.layout.group_of[a])] = GroupTrial(trial=trial, failed=failed)


def try_groups(draft: Draft) -> None:
    """Judge the groups' trials; while one lasts its group is asked fast."""
    for group, joint in list(draft.group_trials.items()):
        rows = draft.layout.group_of == group
        spread = len(joint.failed) > rows.sum() * SPREAD
        if joint.trial.score >= CONFIRM_AT and spread:
            _confirm_group(draft, joint, int(rows.sum()))
        elif _goes_on(joint.trial, draft.now):
            draft.probe_fast(rows)
            continue
        else:
            _tell(
                draft,
                "rejected",
                group,
                f"after {joint.trial.pairs} pairs both paths answer alike (score "
                f"{joint.trial.score:+d}), {len(joint.failed)} of {rows.sum()} addresses failed "
                "one: the fault is not of the group",
            )
            _quieten(draft, np.setdiff1d(np.flatnonzero(rows), list(joint.failed)))
        del draft.group_trials[group]


def _quieten(draft: Draft, rows: NDArray[np.int64]) -> None:
    """Those that failed no pair: what is heard of them begins no trial again for a while."""
    rows = rows[~np.isnan(draft.book.traffic.at[rows, 0])]
    if rows.size:
        own(draft.listen(), "quiet_until")[rows] = draft.now + QUIET


def _goes_on(trial: Trial, now: Instant) -> bool:
    enough = PATIENCE if trial.score > 0 else REJECT_AFTER
    return trial.pairs < enough and now - trial.since < LONGEST


def _tell(draft: Draft, event: str, group: int, because: str) -> None:
    first = draft.layout.targets[int(np.argmax(draft.layout.group_of == group))]
    draft.events.append(Event(event=event, because=because, upstream=first.upstream, path=LOCAL))


def _confirm_group(draft: Draft, joint: GroupTrial, number: int) -> None:
    there = draft.layout.paths[joint.trial.candidate]
    because = (
        f"{len(joint.failed)} of the {number} addresses of its group were bad here and good over"
        f" {there}: {joint.trial.score:+d} after {joint.trial.pairs} pairs"
    )
    failed = max(len(joint.failed), CONFIRM_AT)
    took = (PAIRS - 1) * (draft.now - joint.trial.since) / failed
    for a in joint.failed:
        if draft.was.health[a, 0] <= Health.SUSPECT:
            draft.signals[a, 0] = max(draft.signals[a, 0], Signal.CONFIRMED)
            draft.convicted[a] = because
            confirm(draft, a, took, failed / joint.trial.pairs)
