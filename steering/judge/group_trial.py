"""The trial of a group: a fault that the group shows before any single address does.

Probes are few: at one answer in ten seconds an address needs half an hour to show a failing
share of 13 %. A group is often behind one and the same instance, so the bogus answers of all its
local paths are also counted in one set of breach buckets. A full bucket makes no address suspect,
since one failing address of thirteen would fill it as well. Instead the group is probed fast, and
goes on trial as one. The same test as for a single address (`paired_test`), over the pairs of all
of them, confirms "bad here, good there" within a second. It confirms the addresses that failed a
pair themselves, and only if they are more than half of the group.
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
"""Pairs after which a group's trial ends: enough for each of 13 addresses to be probed often."""
LONGEST: Seconds = 60.0
"""After so long it ends in any case: while a path is cut off there are no pairs."""


def count_group(
    draft: Draft, cells: NDArray[np.int64], bad: NDArray[np.int64], good: NDArray[np.int64]
) -> None:
    """Count this turn's local answers in the groups' buckets; a full one begins a trial.

    Args:
        draft: the turn's ledger.
        cells: (3, n) class, row and column of each count.
        bad: (n,) failing names.
        good: (n,) good answers.
    """
    c, a, p = cells
    # A suspect address has its own trial; here it would only hide the others of its group.
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
    """Begin a trial against the path that is good for most of the group, if there is one."""
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
        because = f"bogus answers from its {len(rows)} addresses together: trial against "
        _report(draft, "suspected", group, because + draft.layout.paths[first])


def pair_group(draft: Draft, a: int, item: Round, seen: Mapping[int, Observation]) -> None:
    """Count a round as a pair of its group's trial, if there is one."""
    joint = draft.group_trials.get(int(draft.layout.group_of[a]))
    if joint is None or item.at < joint.trial.since:
        return
    here, there = seen.get(0), seen.get(joint.trial.candidate)
    if here is None or there is None:
        return
    judged = (Verdict.GOOD, Verdict.BOGUS)  # a lost packet is no evidence about signatures
    if here.verdict not in judged or there.verdict not in judged:
        return
    bad_here, bad_there = here.verdict is Verdict.BOGUS, there.verdict is Verdict.BOGUS
    failed = joint.failed | {a} if bad_here and not bad_there else joint.failed
    trial = joint.trial.pair(bad_here=bad_here, bad_there=bad_there)
    draft.group_trials[int(draft.layout.group_of[a])] = GroupTrial(trial=trial, failed=failed)


def try_groups(draft: Draft) -> None:
    """Judge the groups' trials; while one lasts its group is probed fast."""
    for group, joint in list(draft.group_trials.items()):
        rows = draft.layout.group_of == group
        spread = len(joint.failed) > rows.sum() * SPREAD
        if joint.trial.score >= CONFIRM_AT and spread:
            _confirm_group(draft, joint, int(rows.sum()))
        elif _goes_on(joint.trial, draft.now):
            draft.probe_fast(rows)
            continue
        else:
            _report(
                draft,
                "rejected",
                group,
                f"score {joint.trial.score:+d} after {joint.trial.pairs} pairs, "
                f"{len(joint.failed)} of {rows.sum()} addresses failed one: the fault is not of "
                "the whole group",
            )
            _quieten(draft, np.setdiff1d(np.flatnonzero(rows), list(joint.failed)))
        del draft.group_trials[group]


def _quieten(draft: Draft, rows: NDArray[np.int64]) -> None:
    """For a while, traffic of addresses that failed no pair begins no new trial."""
    rows = rows[~np.isnan(draft.book.traffic.at[rows, 0])]
    if rows.size:
        own(draft.traffic(), "quiet_until")[rows] = draft.now + QUIET


def _goes_on(trial: Trial, now: Instant) -> bool:
    enough = PATIENCE if trial.score > 0 else REJECT_AFTER
    return trial.pairs < enough and now - trial.since < LONGEST


def _report(draft: Draft, event: str, group: int, because: str) -> None:
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
            draft.confirmed_by[a] = because
            confirm(draft, a, took, failed / joint.trial.pairs)
