"""Notes which copy of a zone each path shows, and the newest one that anything showed."""

from __future__ import annotations

from dataclasses import replace

from steering.index import Settings
from steering.judge.edit import Draft
from steering.judge.known.zone_copies import TRUST_AHEAD, UNSEEN, ZoneCopy
from steering.model import Observation, Outcome, WallTime

_DATED = (Outcome.SECURE, Outcome.EXPIRED)


def note_copy(draft: Draft, settings: Settings, path: str, zone: str, seen: Observation) -> None:
    """Note the serial and the signature's end of one judged answer about a zone."""
    if seen.expires is not None and seen.outcome in _DATED:
        note_expiry(draft, settings, path, zone, seen.expires)
    if seen.serial is not None:
        proven = seen.outcome is Outcome.SECURE
        note_serial(draft, settings, path, zone, seen.serial, proven=proven)


def note_expiry(draft: Draft, settings: Settings, path: str, zone: str, expires: WallTime) -> None:
    """Note when the first signature of an answer expires."""
    copy = draft.path(settings.address, path).copies.get(zone, UNSEEN)
    soonest = copy.soonest.see(draft.windows, expires)
    after = ZoneCopy(serial=copy.serial, overtaken=copy.overtaken, soonest=soonest)
    _set(draft, settings.address, path, zone, after)
    draft.dated.add(settings.address)


def note_serial(
    draft: Draft, settings: Settings, path: str, zone: str, serial: int, *, proven: bool
) -> None:
    """Note the serial that a path shows; `proven`: its signature is good."""
    if proven:
        learn(draft, settings.upstream, zone, serial, epoch=settings.epoch)
    draft.dated.add(settings.address)
    copy = draft.path(settings.address, path).copies.get(zone, UNSEEN)
    if serial != copy.serial:  # else it is as late as it was
        overtaken = draft.zone(settings.upstream, zone).overtook(serial)
        shown = replace(copy, serial=serial, overtaken=overtaken)
        _set(draft, settings.address, path, zone, shown)


def learn(draft: Draft, upstream: str, zone: str, serial: int, *, epoch: bool) -> None:
    """Note a signed serial of a zone, whichever path showed it."""
    if epoch and serial > draft.wall + TRUST_AHEAD:
        return
    history = draft.zone(upstream, zone)
    after = history.learn(serial, draft.now)
    if after is history:
        return
    draft.zones[upstream, zone] = after
    for address in draft.index.upstreams.get(upstream, ()):
        for path in draft.index.paths:
            copy = draft.path(address, path).copies.get(zone, UNSEEN)
            if copy.serial not in (None, serial) and copy.overtaken is None:
                _set(draft, address, path, zone, replace(copy, overtaken=draft.now))


def _set(draft: Draft, address: str, path: str, zone: str, copy: ZoneCopy) -> None:
    record = draft.edit(address, path)
    record.copies = {**record.copies, zone: copy}
