"""Copies of zones in the status: each copy, and of each zone who is behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from steering.copies import Look, Real
from steering.decide.copy_course import Course, Remedy
from steering.decide.state import State
from steering.judge.copies import Copy
from steering.judge.known.zone_copies import newer
from steering.model import Instant, WallTime

Json = dict[str, object]

MOST_BEHIND = 16
"""Addresses that are listed as behind, of one zone over one path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyStatus:
    """One resolver's copy of one zone."""

    zone_copy: str
    zone: str
    resolver: str
    kind: str
    """Which resolver it is."""
    copy: Copy
    course: Course
    look: Look
    real: Real
    """What the zone's own servers showed at that look."""
    remedies: tuple[Remedy, ...] = ()

    @property
    def name(self) -> str:
        """As in alarms, and for `steering explain`."""
        return f"{self.zone_copy}/{self.resolver}"


def copies(each: Sequence[CopyStatus], state: State) -> list[Json]:
    """All copies, for the status."""
    return [_copy(one, state.now, state.wall) for one in each]


def _copy(one: CopyStatus, now: Instant, wall: WallTime) -> Json:
    copy, course, shown = one.copy, one.course, one.copy.shown
    return {
        "copy": one.zone_copy,
        "zone": one.zone,
        "resolver": one.resolver,
        "kind": one.kind,
        "health": copy.health.word,
        "because": copy.because,
        "phase": str(course.phase),
        "serial": shown.serial if shown is not None else None,
        "proven_new_s": _seconds(None if copy.proven is None else now - copy.proven),
        "behind_s": _seconds(None if copy.behind is None else now - copy.behind),
        "signature_remaining_s": _life(shown.expires if shown is not None else None, wall),
        "expire_s": copy.expire,
        "left_s": _seconds(copy.left),
        "out_because": copy.out,
        "held": course.held,
        "trouble": course.trouble,
        "remedies": [str(remedy) for remedy in one.remedies],
        "used": [str(remedy) for remedy in course.used],
        "file": _file(copy),
        "asked": [
            {"resolver": a.resolver, "name": a.name, "rdtype": a.rdtype, "ended": str(a.way)}
            for a in one.look.asked
        ],
        "servers": {
            "serial": one.real.serial,
            "signature_remaining_s": _life(one.real.expires, wall),
            "answer": one.real.answers,
            "doubt": one.real.doubt,
        },
    }


def _file(copy: Copy) -> Json | None:
    file = copy.file
    if file is None:
        return None
    serial = file.shown.serial if file.shown is not None else None
    return {"serial": serial, "refused": file.refused, "foreign_types": list(file.foreign)}


def zones(state: State, each: Sequence[CopyStatus]) -> Json:
    """Zone -> over each path the newest serial, its age, the least life of its signatures and who
    is behind; and the same of each copy of it.
    """
    shown, upstreams = _shown(state)
    found: dict[str, Json] = {}
    for zone in (*shown, *(one.zone for one in each if one.zone not in shown)):
        over = shown.get(zone, {})
        newest = _newest(serial for serials in over.values() for serial in serials.values())
        first = _first_seen(state, zone, upstreams.get(zone, frozenset()))
        found[zone] = {
            "newest": newest,
            "paths": {
                path: _path(state, zone, path, _Serials(serials, newest, first))
                for path, serials in over.items()
            },
            "copies": {
                one.name: _beside(one, state, newest, first) for one in each if one.zone == zone
            },
        }
    return dict(found)


@dataclass(frozen=True, slots=True)
class _Serials:
    """What one path shows of a zone."""

    shown: Mapping[str, int]
    """Address -> serial."""
    newest: int | None
    """Over all paths."""
    first: Mapping[int, Instant]
    """Serial -> when it was first seen, over any path."""


def _shown(
    state: State,
) -> tuple[Mapping[str, Mapping[str, Mapping[str, int]]], Mapping[str, frozenset[str]]]:
    """Zone -> path -> address -> the serial that it shows; and zone -> the upstreams that have it.

    In one pass over all addresses: there may be ten thousand, of a thousand zones.
    """
    shown: dict[str, dict[str, dict[str, int]]] = {}
    upstreams: dict[str, frozenset[str]] = {}
    for settings in state.index.settings.values():
        for zone in settings.policy.zones:
            shown.setdefault(zone, {})
            upstreams[zone] = upstreams.get(zone, frozenset()) | {settings.upstream}
        for path in state.index.paths:
            for zone, copy in state.ledger.path(settings.address, path).copies.items():
                if copy.serial is not None and zone in shown:
                    shown[zone].setdefault(path, {})[settings.address] = copy.serial
    return shown, upstreams


def _first_seen(state: State, zone: str, upstreams: frozenset[str]) -> Mapping[int, Instant]:
    found: dict[int, Instant] = {}
    for upstream in upstreams:
        for serial, at in state.ledger.zone(upstream, zone).serials:
            found[serial] = min(at, found.get(serial, at))
    return found


def _age(state: State, serials: Mapping[int, Instant], serial: int | None) -> float | None:
    """Since when a serial is known of, over any path."""
    at = None if serial is None else serials.get(serial)
    return None if at is None else state.now - at


def _path(state: State, zone: str, path: str, serials: _Serials) -> Json:
    mine, newest = _newest(iter(serials.shown.values())), serials.newest
    behind = [a for a, one in serials.shown.items() if newest is not None and newer(newest, one)]
    lives = [
        life
        for address in serials.shown
        if (copy := state.ledger.path(address, path).copies.get(zone)) is not None
        and (life := copy.soonest.life(state.ledger.windows, state.wall)) is not None
    ]
    return {
        "serial": mine,
        "age_s": _seconds(_age(state, serials.first, mine)),
        "signature_remaining_s": _seconds(min(lives, default=None)),
        "behind": len(behind),
        "behind_addresses": behind[:MOST_BEHIND],
    }


def _beside(
    one: CopyStatus, state: State, newest: int | None, first: Mapping[int, Instant]
) -> Json:
    shown, proven = one.copy.shown, one.copy.proven
    serial = shown.serial if shown is not None else None
    known = newest if newest is not None else one.real.serial
    return {
        "serial": serial,
        "age_s": _seconds(_age(state, first, serial)),
        "proven_new_s": _seconds(None if proven is None else state.now - proven),
        "signature_remaining_s": _life(shown.expires if shown is not None else None, state.wall),
        "behind": serial is not None and known is not None and newer(known, serial),
        "phase": str(one.course.phase),
        "health": one.copy.health.word,
    }


def _newest(serials: Iterator[int]) -> int | None:
    newest: int | None = None
    for serial in serials:
        newest = serial if newest is None or newer(serial, newest) else newest
    return newest


def _life(expires: WallTime | None, wall: WallTime) -> float | None:
    return None if expires is None else round(expires - wall, 0)


def _seconds(length: float | None) -> float | None:
    return None if length is None else round(length, 1)
