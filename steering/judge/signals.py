"""From counts to one signal for each path: the detectors of one turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from steering.index import Key
from steering.judge.breach import count_against, empty_excused, fill_by_probes, fill_by_traffic
from steering.judge.edit import Draft
from steering.judge.known.health import Signal
from steering.judge.known.ledger import breached
from steering.judge.known.recovery import Hold
from steering.judge.probes.losses import raise_losses
from steering.judge.probes.peer_paths import answered_elsewhere, cut_off, is_silent
from steering.judge.probes.staleness import late
from steering.judge.traffic.dismissed import end_suspicion, keep_suspicions, unfounded
from steering.judge.traffic.traffic_counts import count_traffic
from steering.model import LOCAL, Heard, Seconds, Verdict

WELL = 3
"""Good answers in a row that make an unknown path healthy."""
LATE_COUNT = 3
LATE_ROUNDS = 60
"""Staleness is confirmed by three late answers over this many slow rounds (10 min at 10 s)."""


def raise_signals(draft: Draft, heard: tuple[Heard, ...] = ()) -> None:
    """Run all detectors but the trials, which need to know the suspect addresses."""
    looked_at = draft.open()
    own_fault = cut_off(draft, draft.index, looked_at)
    _silence(draft, looked_at, own_fault)
    empty_excused(draft, own_fault)
    fill_by_probes(draft, own_fault)
    keep_suspicions(draft)
    fill_by_traffic(draft, count_traffic(draft, heard), own_fault)
    raise_losses(draft, own_fault)
    _answers_well(draft)
    _staleness(draft)


def _silence(draft: Draft, looked_at: Sequence[str], own_fault: frozenset[str]) -> None:
    for address in looked_at:
        counts = Verdict.TIMEOUT in draft.index.settings[address].acts_on
        for path in draft.index.paths:
            if not is_silent(draft.path(address, path)):
                continue
            excused = path == LOCAL and address in own_fault
            if counts and not excused and answered_elsewhere(draft, draft.index, address, path):
                count_against(draft, (address, path))
            else:
                draft.signal(address, path, Signal.UNSEEN)
    for address, path in draft.aged():
        draft.signal(address, path, Signal.UNSEEN)


def _answers_well(draft: Draft) -> None:
    for address, path in draft.touched:
        if draft.path(address, path).run >= WELL:
            draft.signal(address, path, Signal.GOOD)


def _staleness(draft: Draft) -> None:
    """Judge the copies of addresses of which a serial or a date was seen."""
    for address in draft.index.in_order(draft.dated):
        settings = draft.index.settings[address]
        found = {zone: late(draft, settings, zone) for zone in settings.policy.zones}
        for path in draft.index.paths:
            _note_lateness(
                draft,
                (address, path),
                behind=any(path in each.behind for each in found.values()),
                short=any(path in each.short for each in found.values()),
                floors={z: each.floors[path] for z, each in found.items() if path in each.floors},
            )
        everywhere = any(each.everywhere for each in found.values())
        if everywhere != (draft.address(address).zone_since is not None):
            draft.edit_address(address).zone_since = draft.now if everywhere else None


def _note_lateness(
    draft: Draft, key: Key, *, behind: bool, short: bool, floors: Mapping[str, Seconds]
) -> None:
    """Note how late the copies are that one path shows; signal it when that has lasted."""
    record, late_now = draft.path(*key), behind or short
    if (late_now, behind, floors) != (record.late, record.behind, record.floors) or late_now:
        record = draft.edit(*key)
        began = record.late_since if record.late else draft.now
        record.late_since = began if late_now else None
        record.late_count = record.late_count + (key in draft.touched) if late_now else 0
        record.late, record.behind, record.floors = late_now, behind, floors
    since = record.late_since
    lasting = since is not None and draft.now - since >= LATE_ROUNDS * draft.index.interval
    if late_now and lasting and record.late_count >= LATE_COUNT:
        draft.signal(*key, Signal.LATE)


def raise_mended(draft: Draft) -> None:
    """Signal recovery where the bucket is empty and the hold is over; comes last.

    Of suspicions that end together the oldest is first: it takes the names of its upstream.
    """
    for address in sorted(draft.open(), key=lambda a: draft.address(a).suspected_at or 0.0):
        for path in draft.index.paths:
            bucket = draft.path(address, path).bucket
            if bucket is not None and bucket.empty:
                _mend(draft, address, path)


def _mend(draft: Draft, address: str, path: str) -> None:
    settings = draft.index.settings[address]
    if path == LOCAL and unfounded(draft, address):
        end_suspicion(draft, address)
        return
    if path == LOCAL and breached(settings, draft.was.path(address).health):
        if address not in draft.away:
            return  # `recent_evidence.mend` does that
        recover = settings.policy.recover
        hold = draft.address(address).hold or Hold()
        losing = any(draft.path(address, other).losses for other in draft.index.paths)
        if draft.path(address).behind or losing:
            return
        if draft.now < hold.until(recover.hold, recover.max_hold):
            return
    # A path with a full breach bucket in this turn has not recovered.
    if draft.signal_of(address, path) not in (Signal.FULL, Signal.CONFIRMED):
        draft.signals[address, path] = Signal.MENDED
