"""What follows from a change of health: recovery buckets, holds, and events."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.health import advance
from steering.judge.known.ledger import PAIRS, Ledger, breached
from steering.judge.known.reason import reason
from steering.judge.known.recovery import Bucket, Hold
from steering.judge.known.stream import NO_LEVELS
from steering.judge.known.zone_copies import NOT_SEEN
from steering.judge.signals import WELL
from steering.model import LOCAL, NEVER, Health, Instant

KEPT = 2.0
"""Bad answers from before its recovery that still count for a site's failing share."""


def settle(draft: Draft) -> Ledger:
    """Turn the signals into health, and start or end what follows from it."""
    index = draft.index
    changed: list[tuple[str, str, Health, Health]] = []
    for (address, path), signal in draft.signals.items():
        before = draft.path(address, path).health
        after = advance(before, signal)
        if after is not before:
            draft.edit(address, path).health = after
            changed.append((address, path, before, after))
    changed.sort(key=lambda each: (index.settings[each[0]].number, index.path_number[each[1]]))
    for address, path, before, after in changed:
        keep_books(draft, address, path, before, after)
        _report(draft, address, path, before, after)
    for address in draft.open():
        known, local = draft.address(address), draft.path(address)
        calm = local.health <= Health.HEALTHY and local.run >= WELL
        if calm and known.first_bad is not None and not known.curious_until > draft.now:
            draft.edit_address(address).first_bad = None
    return draft.done()


def keep_books(draft: Draft, address: str, path: str, before: Health, after: Health) -> None:
    """Start or end the recovery bucket, hold and counts of one path whose health changes."""
    settings, local = draft.index.settings[address], path == LOCAL
    left = local and breached(settings, before)
    leaves = local and breached(settings, after)
    record = draft.edit(address, path)
    if after in (Health.HEALTHY, Health.SUSPECT):
        draft.watch_age(address, path)
    if after >= Health.SUSPECT:
        if leaves and not left:
            record.bucket = Bucket.start(settings.policy.recover.clean)
            known = draft.edit_address(address)
            known.hold = (known.hold or Hold()).breach(draft.now)
        elif not leaves:
            record.bucket = Bucket.brief()
    else:
        record.bucket = None
        # The end of a staleness that moved no traffic clears no bogus answers counted meanwhile.
        if left or after is Health.UNKNOWN or before in (Health.SUSPECT, Health.FAILING):
            record.levels = NO_LEVELS
            if left:
                _forget_losses(draft, address)
            if draft.heard(address, path).at != NEVER:
                draft.traffic.to_write((address, path)).levels = NO_LEVELS
        if not local and before in (Health.SUSPECT, Health.FAILING):
            _forget_failures(draft, address, path)
        if left:
            _end_breach(draft, address)
        if before >= Health.STALE:
            _forget_lateness(draft, address, path)
    if local:
        _date(draft, address, after)


def _end_breach(draft: Draft, address: str) -> None:
    known = draft.edit_address(address)
    hold = (known.hold or Hold()).end(draft.now)
    if address not in draft.away:
        hold = hold.unused()
    known.hold = hold if hold.breaches else None
    # Names that fail again count again.
    if draft.heard(address).counted:
        draft.traffic.to_write((address, LOCAL)).counted = {}
    group = draft.index.settings[address].group
    if draft.groups[group].heard_names:
        draft.edit_group(group).heard_names = {}


def _forget_losses(draft: Draft, address: str) -> None:
    for path in draft.index.paths:
        if draft.path(address, path).losses:
            draft.edit(address, path).losses = 0


def _forget_failures(draft: Draft, address: str, path: str) -> None:
    """Let a recovered site be compared by its good answers since. Some of the earlier failures are
    kept: a site that fails often would otherwise look the best after a lucky period.
    """
    record = draft.edit(address, path)
    recent = record.recent
    bad = min(recent.bad, KEPT)
    record.recent = replace(recent, bad=bad, dated=min(recent.dated, KEPT), all=bad + record.run)


def _forget_lateness(draft: Draft, address: str, path: str) -> None:
    """Drop what was seen before the recovery, so that it does not count against the path again."""
    record = draft.edit(address, path)
    record.copies = {zone: replace(copy, soonest=NOT_SEEN) for zone, copy in record.copies.items()}
    record.late, record.late_count, record.late_since = False, 0, None


def _date(draft: Draft, address: str, after: Health) -> None:
    known, now = draft.edit_address(address), draft.now
    if after is Health.SUSPECT:
        known.suspected_at = now
        draft.probe_group_fast(draft.index.settings[address].group)
    elif after is not Health.FAILING:
        known.suspected_at = None
    known.confirmed_at = now if after is Health.FAILING else None
    if after is not Health.FAILING:
        known.worst = 0.0


def _report(draft: Draft, address: str, path: str, before: Health, after: Health) -> None:
    why = reason(draft, draft.index, address, path, draft.now)
    if path == LOCAL and after is Health.FAILING and address in draft.confirmed_by:
        why = f"{draft.confirmed_by[address]}; {why}"
    draft.add_event("health_changed", address, why, path, was=before.word, now=after.word)
    if path != LOCAL:
        return
    if after is Health.SUSPECT:
        draft.add_event("suspected", address, why)
    elif after is Health.FAILING:
        draft.add_event("confirmed", address, why)
    elif after is Health.HEALTHY and breached(draft.index.settings[address], before):
        draft.add_event("recovered", address, "enough clean answers, and the hold is over")


def adopt(ledger: Ledger, index: Index, addresses: Collection[str], now: Instant) -> Ledger:
    """The ledger of an agent that adopts an earlier agent's steers.

    Those local paths count as failing from now on: only a full recovery, hold included, brings
    them back. Anything less would release traffic on the first good answers. `confirmed_at` stays
    unknown, as they did not fail at the same time just because they were adopted at the same time.
    """
    draft = Draft(ledger, index, 0.0, now)
    for address in addresses:
        before = ledger.path(address).health
        draft.edit(address).health = Health.FAILING
        keep_books(draft, address, LOCAL, before, Health.FAILING)
        draft.edit_address(address).confirmed_at = None
    return draft.done()


def relapse(ledger: Ledger, index: Index, addresses: Collection[str], now: Instant) -> Ledger:
    """The ledger after a recovery that live answers have disproved.

    It counts as a further breach, with its longer hold. The fault is as old as before, so no
    other operators need to be probed before a move. The live answers have shown it just now.
    """
    holds = (ledger.address(address).hold for address in addresses)
    began = min((hold.since for hold in holds if hold is not None), default=now)
    draft = Draft(adopt(ledger, index, addresses, now), index, 0.0, now)
    for address in addresses:
        known = draft.edit_address(address)
        known.confirmed_at = known.shown_since = began
        known.shown = (now,) * PAIRS
    return draft.done()
