"""Counts the resolvers' traffic: failures in it cause fast probing and suspicion.

A full bucket of the local path makes its address suspect, and the trial by probes begins. On a
detour in use, failures only cause fast probing: a detour that probes find good is not left because
of queries that others chose.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from operator import add

from steering.index import CLASSES, Key, Settings
from steering.judge.edit import Draft
from steering.judge.known import buckets
from steering.judge.known.baseline import REVIEW, Baseline
from steering.judge.known.buckets import EMPTY
from steering.judge.known.failed_names import count_once, holds, remember
from steering.judge.known.health import Signal
from steering.judge.known.traffic_ledger import KINDS, NO_LEVELS, OLD, SAMPLE, PathTraffic
from steering.judge.probes.group_trial import begin
from steering.judge.probes.shown_copies import learn
from steering.judge.traffic.demand import count_queries
from steering.judge.traffic.dismissed import note_suspicions
from steering.model import LOCAL, NEVER, Failure, Health, Heard, Instant, Verdict

_BOGUS, _TIMEOUT, _ERROR = map(CLASSES.index, (Verdict.BOGUS, Verdict.TIMEOUT, Verdict.ERROR))

MOST = 10**9
"""Larger numbers in one item are cut to this."""


@dataclass(slots=True)
class _Path:
    """One path with traffic in this turn, and the sums of its items."""

    known: PathTraffic
    """To write to."""
    settings: Settings
    local: bool
    health: Health
    """As the turn begins."""
    failing: int = 0
    every: int = 0
    """The whole of which `failing` is a share."""
    asked: int = 0
    """Answered or lost."""
    bad: tuple[int, ...] = (0,) * len(KINDS)
    good: tuple[int, ...] = (0,) * len(KINDS)
    """For the buckets, by `KINDS`."""

    def baseline(self, reviewed_at: Instant) -> Baseline:
        """What was counted of it, as of the latest review."""
        known = self.known.baseline
        if known is None:
            return Baseline.blank(len(KINDS), reviewed_at)
        return known.at(reviewed_at, self.settings, KINDS)


def count_traffic(draft: Draft, items: tuple[Heard, ...], own_fault: frozenset[str]) -> None:
    """Count the traffic since the last turn.

    Args:
        draft: the ledger being written.
        items: the counts of the resolvers' traffic.
        own_fault: addresses whose silence on the local path this host may have caused.
    """
    found: dict[Key, _Path] = {}
    began: list[Instant] = []
    for item in items:
        key = item.address, item.path
        path = found.get(key)
        if path is None:
            if not draft.index.knows(*key):
                continue
            path = found[key] = _seen(draft, key)
        _count(draft, path, item)
        if item.answers or item.counts:  # items with verified samples alone have no queries
            began.append(item.at)
    if not found:
        return
    paths = list(found.values())
    for path in paths:
        path.known.recent = path.known.recent.count(draft.now, path.failing, path.every)
    queries: dict[str, int] = {}
    for path in paths:
        if path.asked:
            address = path.settings.address
            queries[address] = queries.get(address, 0) + path.asked
    if began and queries:
        count_queries(draft.traffic, draft.index, queries, min(began))
    _fill(draft, paths, own_fault)
    if draft.now - draft.traffic.reviewed_at >= REVIEW:
        draft.traffic.reviewed_at = draft.now


def within(number: int) -> int:
    """A received number, within possible limits."""
    return min(max(number, 0), MOST)


def _seen(draft: Draft, key: Key) -> _Path:
    """A path that has traffic now; drops very old counts."""
    draft.traffic.begin_window()
    known = draft.traffic.edit(*key)
    if known.at != NEVER and draft.now - known.at > OLD:
        draft.traffic.forget(*key)
    known.at = draft.now
    address, path = key
    return _Path(
        known=known,
        settings=draft.index.settings[address],
        local=path == LOCAL,
        health=draft.was.path(address, path).health,
    )


def _count(draft: Draft, path: _Path, item: Heard) -> None:
    """Count one item."""
    known = path.known
    counts = dict(known.counts)
    good, bad, lost, wrong = 0, len(item.disproved), 0, 0
    for outcome, claimed in item.counts.items():
        number = within(claimed)
        counts[outcome] = counts.get(outcome, 0) + number
        verdict = outcome.verdict
        if verdict is Verdict.GOOD:
            good += number
            continue
        bad += number
        lost += number if verdict is Verdict.TIMEOUT else 0
        wrong += number if verdict is Verdict.ERROR else 0
    for failure in item.disproved:
        counts[failure.outcome] = counts.get(failure.outcome, 0) + 1
    known.counts = counts
    if item.expires is not None and math.isfinite(item.expires):
        known.soonest = known.soonest.see(draft.traffic.windows, item.expires)
    if item.serials:
        _note_serials(draft, path.settings, item.serials)
    new = _new(draft, path, item.at, item.failures) if item.failures else 0
    disproved = _new(draft, path, item.at, item.disproved) if item.disproved else 0
    answers = within(item.answers)
    asked = answers + lost
    path.failing += bad
    path.every += max(bad, asked)
    path.asked += asked
    left, proved = max(0, answers - wrong), within(item.proved)
    path.bad = tuple(map(add, path.bad, (new, lost, wrong, disproved)))
    path.good = tuple(map(add, path.good, (good, answers, left, proved)))


def _note_serials(draft: Draft, settings: Settings, serials: Mapping[str, int]) -> None:
    """Note signed serials of zones, but not which path showed them.

    A program that can write dnstap could replay a signed old serial to make any path look
    outdated, or a new one to hide an outdated path.
    """
    for zone, serial in serials.items():
        if zone in settings.policy.zones:
            learn(draft, settings.upstream, zone, serial, epoch=settings.epoch)
            draft.dated.add(settings.address)


def _new(draft: Draft, path: _Path, at: Instant, failures: tuple[Failure, ...]) -> int:
    """How many of these names have not failed within the hour. New ones cause fast probing."""
    known, settings, now = path.known, path.settings, draft.now
    address, new = settings.address, 0
    ignored = draft.address(address).ignored
    for failure in failures:
        if holds(ignored, failure.name, now):
            continue
        known.counted, counts = count_once(known.counted, failure.name, now)
        new += counts
        known.evidence = failure.evidence
        if path.local and failure.ask is not None and not holds(ignored, failure.ask, now):
            of = draft.traffic.upstreams.to_write(settings.upstream)
            of.witnesses = remember(of.witnesses, failure.ask, now)
    if new and Verdict.BOGUS in settings.acts_on:
        if path.local and draft.address(address).first_bad is None:
            draft.edit_address(address).first_bad = at
        calm = path.health not in (Health.SUSPECT, Health.FAILING)
        if calm and not now < draft.traffic.address(address).quiet_until:
            draft.probe_fast([address])
    return new


def _fill(draft: Draft, paths: list[_Path], own_fault: frozenset[str]) -> None:
    """Count one turn's numbers in the buckets."""
    for path in paths:
        if draft.now < draft.traffic.address(path.settings.address).deaf_until:
            path.bad, path.good = _deaf(path.bad), _deaf(path.good)
    suspected = [path.settings.address for path in paths if _suspect(draft, path, own_fault)]
    if suspected:
        note_suspicions(draft, draft.index.in_order(suspected))
        for address in suspected:
            draft.signal(address, LOCAL, Signal.FULL)
    _pool(draft, paths)
    for path in paths:
        if path.health <= Health.HEALTHY:
            every = tuple(map(add, path.bad, path.good))
            baseline = path.baseline(draft.traffic.reviewed_at)
            path.known.baseline = baseline.count(path.bad, every)


def _deaf(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Without losses and errors."""
    return tuple(0 if n in (_TIMEOUT, _ERROR) else each for n, each in enumerate(numbers))


def _suspect(draft: Draft, path: _Path, own_fault: frozenset[str]) -> bool:
    """Fill the buckets of a path; whether a full one makes its address suspect."""
    known, settings = path.known, path.settings
    if known.levels == NO_LEVELS and not any(path.bad):
        return False  # good answers drain nothing from empty buckets
    baseline = path.baseline(draft.traffic.reviewed_at)
    levels, acting = list(known.levels), False
    for number, (kind, bad, good) in enumerate(zip(KINDS, path.bad, path.good, strict=True)):
        if not bad and not good:
            continue
        scale = baseline.scale(number, settings, KINDS)
        levels[number], full = buckets.fill(levels[number], bad, good, scale)
        if number == _TIMEOUT and path.local and settings.address in own_fault:
            levels[number] = EMPTY  # a silence that this host may have caused
        elif full and path.local and kind in settings.acts_on:
            acting = True
    known.levels = tuple(levels)
    return acting and not (
        (path.health is Health.STALE and settings.acts_on_stale)
        # A failing path recovers by probes: the traffic alone could keep it failing for ever.
        or path.health is Health.FAILING
        or draft.now < draft.traffic.address(settings.address).quiet_until
    )


def _pool(draft: Draft, paths: list[_Path]) -> None:
    """Count a group's local paths together; a full bucket begins a trial of the group."""
    last: dict[str, _Path] = {}
    """Group -> the path of it that was heard last, whose scale is taken."""
    drained: dict[str, int] = {}
    for path in paths:
        settings = path.settings
        if (
            path.local
            and (path.bad[_BOGUS] or path.good[_BOGUS])
            and Verdict.BOGUS in settings.acts_on
            and path.health <= Health.HEALTHY
            and not draft.now < draft.traffic.address(settings.address).quiet_until
        ):
            last[settings.group] = path
            drained[settings.group] = drained.get(settings.group, 0) + path.good[_BOGUS]
    fresh = _fresh(draft, paths)
    full = [
        group
        for group, path in last.items()
        if _fills(draft, path, fresh.get(group, frozenset()), drained[group])
    ]
    for group in sorted(full, key=lambda group: _place(draft, group)):
        begin(draft, group)


def _place(draft: Draft, group: str) -> int:
    return draft.index.settings[draft.index.groups[group][0]].number


def _fresh(draft: Draft, paths: list[_Path]) -> dict[str, set[str]]:
    """Group -> the names that were counted this turn for any of its local paths."""
    fresh: dict[str, set[str]] = {}
    for path in paths:
        if path.local and (path.bad[_BOGUS] or path.bad[SAMPLE]):
            names = fresh.setdefault(path.settings.group, set())
            names.update(name for name, at in path.known.counted.items() if at == draft.now)
    return fresh


def _fills(draft: Draft, path: _Path, fresh: Collection[str], drained: int) -> bool:
    """Whether the buckets of a path's group are full; each name counts once an hour for all its
    addresses.
    """
    group = path.settings.group
    if not fresh and draft.traffic.groups[group].points == EMPTY:
        return False
    known, new = draft.traffic.groups.to_write(group), 0
    for name in sorted(fresh):
        known.pooled, counts = count_once(known.pooled, name, draft.now)
        new += counts
    scale = path.baseline(draft.traffic.reviewed_at).scale(_BOGUS, path.settings, KINDS)
    points, full = buckets.fill(known.points, new, drained, scale)
    known.points = EMPTY if full else points
    return full
