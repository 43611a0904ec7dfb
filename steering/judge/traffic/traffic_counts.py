"""Counts the resolvers' traffic: what the dnstap facts of one turn add to the ledger."""

from __future__ import annotations

import math
from collections.abc import Mapping

from steering.index import Key, Settings
from steering.judge.edit import Draft
from steering.judge.known.baseline import BOGUS, ERROR, SAMPLE, TIMEOUT
from steering.judge.known.failed_names import holds, remember
from steering.judge.known.stream import OLD, Poured
from steering.judge.probes.shown_copies import learn
from steering.judge.traffic.demand import count_queries
from steering.model import LOCAL, NEVER, Failure, Health, Heard, Instant, Verdict

MOST = 10**9
"""Larger numbers in one item are cut to this."""
_COUNTED = (Verdict.GOOD, Verdict.TIMEOUT, Verdict.ERROR)


def count_traffic(draft: Draft, items: tuple[Heard, ...]) -> dict[Key, Poured]:
    """Count the traffic since the last turn. Returns the answers for the breach buckets."""
    poured: dict[Key, Poured] = {}
    queries: dict[str, int] = {}
    began: list[Instant] = []
    for item in items:
        key = item.address, item.path
        if not draft.index.knows(*key):
            continue
        if key not in poured:
            poured[key] = Poured()
            _begin(draft, key)
        asked = _count(draft, item, poured[key])
        queries[item.address] = queries.get(item.address, 0) + asked
        if item.answers or item.counts:  # items with verified samples alone have no queries
            began.append(item.at)
    if began and any(queries.values()):
        count_queries(draft, queries, min(began))
    return poured


def within(number: int) -> int:
    """A received number, within possible limits."""
    return min(max(number, 0), MOST)


def _begin(draft: Draft, key: Key) -> None:
    """Note that a path has traffic now; drops very old counts."""
    known = draft.traffic.to_write(key)
    if known.at != NEVER and draft.now - known.at > OLD:
        known.forget()
    known.at = draft.now


def _count(draft: Draft, item: Heard, poured: Poured) -> int:
    """Count one item. Returns how many queries it has, answered or lost."""
    known = draft.traffic.to_write((item.address, item.path))
    settings = draft.index.settings[item.address]
    counts, by_class = dict(known.counts), dict[Verdict, int]()
    for outcome, claimed in item.counts.items():
        number, verdict = within(claimed), outcome.verdict
        counts[outcome] = counts.get(outcome, 0) + number
        by_class[verdict] = by_class.get(verdict, 0) + number
    for failure in item.disproved:
        counts[failure.outcome] = counts.get(failure.outcome, 0) + 1
    known.counts = counts
    if item.expires is not None and math.isfinite(item.expires):
        known.soonest = known.soonest.see(draft.windows, item.expires)
    if item.serials:
        _note_serials(draft, settings, item.serials)
    new, disproved = _new(draft, item, item.failures), _new(draft, item, item.disproved)
    good, lost, wrong = (by_class.get(v, 0) for v in _COUNTED)
    answers = within(item.answers)
    bad = sum(by_class.values()) - good + len(item.disproved)
    known.recent = known.recent.count(draft.now, bad, max(bad, answers + lost))
    poured.add(BOGUS, bad=new, good=good)
    if draft.now >= draft.address(item.address).deaf_until:
        poured.add(TIMEOUT, bad=lost, good=answers)
        poured.add(ERROR, bad=wrong, good=max(0, answers - wrong))
    poured.add(SAMPLE, bad=disproved, good=within(item.proved))
    return answers + lost


def _note_serials(draft: Draft, settings: Settings, serials: Mapping[str, int]) -> None:
    """Note signed serials of zones, but not which path showed them.

    A program that can write dnstap could replay a signed old serial to make any path look
    outdated, or a new one to hide an outdated path.
    """
    for zone, serial in serials.items():
        if zone in settings.policy.zones:
            learn(draft, settings.upstream, zone, serial, epoch=settings.epoch)
            draft.dated.add(settings.address)


def _new(draft: Draft, item: Heard, failures: tuple[Failure, ...]) -> int:
    """How many of these names have not failed within the hour. New ones cause fast probing."""
    if not failures:
        return 0
    address, local, now, new = item.address, item.path == LOCAL, draft.now, 0
    known, settings = draft.traffic.to_write((address, item.path)), draft.index.settings[address]
    ignored = draft.address(address).ignored
    for failure in failures:
        if holds(ignored, failure.name, now):
            continue
        new += known.count_name(failure.name, now)
        known.evidence = failure.evidence
        if local and failure.ask is not None and not holds(ignored, failure.ask, now):
            of = draft.upstreams.to_write(settings.upstream)
            of.failed = remember(of.failed, failure.ask, now)
    if new and Verdict.BOGUS in settings.acts_on:
        if local and draft.address(address).first_bad is None:
            draft.edit_address(address).first_bad = item.at
        calm = draft.was.path(address, item.path).health not in (Health.SUSPECT, Health.FAILING)
        if calm and now >= draft.address(address).quiet_until:
            draft.probe_fast([address])
    return new
