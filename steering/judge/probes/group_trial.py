"""The trial of a group: a fault that the group shows before any single address does.

Probes are few: at one answer in ten seconds an address needs half an hour to show a failing
share of 13 %. A group is often behind one and the same instance, so the bogus answers of all its
local paths are also counted in one set of breach buckets (`breach`). A full one makes no address
suspect, since one failing address of thirteen would fill it as well. Instead the group is probed
fast, and goes on trial as one. The same test as for a single address (`paired_test`), over the
pairs of all of them, confirms "bad here, good there" within a second. It confirms the addresses
that failed a pair themselves, and only if they are more than half of the group.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from steering.judge.edit import Draft
from steering.judge.known.health import Signal
from steering.judge.known.ledger import PAIRS, GroupTrial
from steering.judge.known.paired_test import CONFIRM_AT, REJECT_AFTER, Trial
from steering.judge.probes.peer_paths import candidates
from steering.judge.probes.recent_evidence import confirm
from steering.judge.traffic.dismissed import QUIET
from steering.model import (
    LOCAL,
    NEVER,
    Event,
    Health,
    Instant,
    Observation,
    Round,
    Seconds,
    Verdict,
)

SPREAD = 1 / 2
"""More than this share of a group must have failed a pair."""
PATIENCE = 4 * REJECT_AFTER
"""Pairs after which a group's trial ends: enough for each of 13 addresses to be probed often."""
LONGEST: Seconds = 60.0
"""After so long it ends in any case: while a path is cut off there are no pairs."""


def begin(draft: Draft, group: str) -> None:
    """Begin a trial against the path that is good for most of the group, if there is one."""
    index, addresses = draft.index, draft.index.groups[group]
    if draft.groups[group].trial is not None or len(addresses) < 2:
        return
    fit = Counter(p for a in addresses for p in candidates(draft, index, a, draft.now))
    paths = [path for path in index.paths if fit[path] > len(addresses) * SPREAD]
    if paths:
        # One policy has all of them, so a site's rank is the same for each that may take it.
        first = min(paths, key=lambda p: max(index.settings[a].order.get(p, -1) for a in addresses))
        trial = Trial(candidate=first, since=draft.now)
        draft.edit_group(group).trial = GroupTrial(trial=trial, failed=frozenset())
        draft.probe_group_fast(group)
        because = f"bogus answers from its {len(addresses)} addresses together: trial against "
        _report(draft, "suspected", group, because + first)


def pair_group(draft: Draft, address: str, item: Round, seen: Mapping[str, Observation]) -> None:
    """Count a round as a pair of its group's trial, if there is one."""
    group = draft.index.settings[address].group
    joint = draft.groups[group].trial
    if joint is None or item.at < joint.trial.since:
        return
    here, there = seen.get(LOCAL), seen.get(joint.trial.candidate)
    if here is None or there is None:
        return
    judged = (Verdict.GOOD, Verdict.BOGUS)  # a lost packet is no evidence about signatures
    if here.verdict not in judged or there.verdict not in judged:
        return
    bad_here, bad_there = here.verdict is Verdict.BOGUS, there.verdict is Verdict.BOGUS
    failed = joint.failed | {address} if bad_here and not bad_there else joint.failed
    trial = joint.trial.pair(bad_here=bad_here, bad_there=bad_there)
    draft.edit_group(group).trial = GroupTrial(trial=trial, failed=failed)


def try_groups(draft: Draft) -> None:
    """Judge the groups' trials, in the order in which they began; while one lasts its group is
    probed fast.
    """
    # The addresses of a group on trial are probed fast, so they are looked at.
    groups = dict.fromkeys(draft.index.settings[address].group for address in draft.open())
    trials = [(group, joint) for group in groups if (joint := draft.groups[group].trial)]
    for group, joint in sorted(trials, key=lambda each: each[1].trial.since):
        addresses = draft.index.groups[group]
        spread = len(joint.failed) > len(addresses) * SPREAD
        if joint.trial.score >= CONFIRM_AT and spread:
            _confirm_group(draft, joint, len(addresses))
        elif _goes_on(joint.trial, draft.now):
            draft.probe_fast(addresses)
            continue
        else:
            _report(
                draft,
                "rejected",
                group,
                f"score {joint.trial.score:+d} after {joint.trial.pairs} pairs, "
                f"{len(joint.failed)} of {len(addresses)} addresses failed one: the fault is not of"
                " the whole group",
            )
            _quieten(draft, [a for a in addresses if a not in joint.failed])
        draft.edit_group(group).trial = None


def _quieten(draft: Draft, addresses: list[str]) -> None:
    """For a while, traffic of addresses that failed no pair begins no new trial."""
    for address in addresses:
        if draft.heard(address).at != NEVER:
            draft.edit_address(address).quiet_until = draft.now + QUIET


def _goes_on(trial: Trial, now: Instant) -> bool:
    enough = PATIENCE if trial.score > 0 else REJECT_AFTER
    return trial.pairs < enough and now - trial.since < LONGEST


def _report(draft: Draft, event: str, group: str, because: str) -> None:
    upstream = draft.index.settings[draft.index.groups[group][0]].upstream
    draft.events.append(Event(event=event, because=because, upstream=upstream, path=LOCAL))


def _confirm_group(draft: Draft, joint: GroupTrial, number: int) -> None:
    because = (
        f"{len(joint.failed)} of the {number} addresses of its group were bad here and good over"
        f" {joint.trial.candidate}: {joint.trial.score:+d} after {joint.trial.pairs} pairs"
    )
    failed = max(len(joint.failed), CONFIRM_AT)
    took = (PAIRS - 1) * (draft.now - joint.trial.since) / failed
    for address in joint.failed:
        if draft.was.path(address).health <= Health.SUSPECT:
            draft.signal(address, LOCAL, Signal.CONFIRMED)
            draft.confirmed_by[address] = because
            confirm(draft, address, took, failed / joint.trial.pairs)
