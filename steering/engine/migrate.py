"""Moves the state to another layout after the files changed.

Rows move by address, columns by path, groups by their members, zones and upstreams by name. New
ones begin blank, and what is gone is dropped. Each field of the state is listed here with its
axes. A field that is not listed would begin blank without notice; a test finds it.

Pure. Steers of addresses that no policy names any more are left out of the plan, and so removed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from steering.config import Together
from steering.decide.override_state import NONE, carried
from steering.decide.state import State
from steering.decide.verification import Verification
from steering.judge.baseline import own_scale
from steering.judge.ledger import GroupTrial, Ledger
from steering.judge.paired_test import Trial
from steering.judge.recovery import Bucket, Hold
from steering.judge.traffic_ledger import KINDS, TrafficLedger
from steering.judge.transitions import adopt
from steering.judge.zone_copies import Copies
from steering.layout import CLASSES, Layout
from steering.model import LOCAL, Event, Health, Instant, WallTime

T = TypeVar("T", Ledger, Copies, TrafficLedger)
Numbers = Mapping[int, int]
"""Old number -> new number, of what stays."""

AXES: Mapping[type, Mapping[str, str]] = {
    State: {
        "rule": "A",
        "since": "A",
        "left_at": "A",
        "breached": "A",
        "open_groups": "G",
        "avoid_until": "AP",
        "turned": "AP",
        "unserved": "AP",
        "verifications": "A",
        "sources": "",
        "forwarded": "",
        "moves": "",
        "worn": "A",
        "worn_at": "A",
        "alarms": "",
        "off": "",
        "started": "",
        "begun": "",
        "now": "",
        "wall": "",
    },
    Ledger: {
        "health": "AP",
        "levels": ".AP.",
        "group_points": "G.",
        "scale": ".AP",
        "counts": ".AP",
        "recent_bad": "AP",
        "recent_dated": "AP",
        "recent_all": "AP",
        "recent_at": "AP",
        "habit_bad": ".AP",
        "habit_all": "AP",
        "habit_at": "",
        "run": "AP",
        "streak": "AP",
        "stuck": "AP",
        "silent_since": "AP",
        "seen": "AP",
        "answered": "AP",
        "reached": "AP",
        "rtt": "AP",
        "late": "AP",
        "behind": "AP",
        "floor": "ZAP",
        "late_count": "AP",
        "late_since": "AP",
        "zone_since": "A",
        "suspected_at": "A",
        "confirmed_at": "A",
        "first_bad": "A",
        "curious_until": "A",
        "shown": "A.",
        "shown_since": "A",
        "quick": "A",
        "usual": "A",
        "worse_at": "A",
        "bad_at": "A",
        "worst": "A",
        "losses": "AP",
        "loses": "AP",
        "asked_at": "A.",
        "instances": "AP",
        "counted": "AP",
        "ignored": "A",
        "trials": "A",
        "group_trials": "G",
        "controls": "A",
        "backoffs": "A",
        "buckets": "AP",
        "holds": "A",
        "evidence": "AP",
    },
    Copies: {
        "serial": "ZAP",
        "newest": "ZU",
        "overtaken": "ZAP",
        "soonest": ".ZAP",
        "samples": ".ZAP",
        "window": "",
        "news": "ZU",
    },
    TrafficLedger: {
        "levels": ".AP.",
        "scale": ".AP",
        "group_points": "G.",
        "counts": ".AP",
        "recent_bad": "AP",
        "recent_all": "AP",
        "at": "AP",
        "asked": "A",
        "asked_at": "A",
        "listened": "",
        "listened_at": "",
        "soonest": ".AP",
        "window": "",
        "habit_bad": ".AP",
        "habit_all": ".AP",
        "habit_at": "",
        "deaf_until": "A",
        "quiet_until": "A",
        "raised": "A",
        "counted": "AP",
        "pooled": "G",
        "witnesses": "U",
        "evidence": "AP",
    },
}
"""Field -> the axes of its array, or the keys of its mapping: A rows, P columns, G groups, U
upstreams, Z zones of an upstream, a dot for an axis of its own. Empty: kept as it is."""

APART: Mapping[type, frozenset[str]] = {
    State: frozenset(
        {"layout", "ledger", "plan", "override_state", "frozen", "situation", "bypassed"}
    ),
    Ledger: frozenset({"copies", "traffic", "legs", "carried"}),
}
"""Fields that are moved one by one below."""

OF_LOCAL: frozenset[str] = frozenset(
    {
        "group_points",
        "group_trials",
        "trials",
        "controls",
        "ignored",
        "suspected_at",
        "confirmed_at",
        "first_bad",
        "shown",
        "shown_since",
        "quick",
        "usual",
        "worse_at",
        "bad_at",
        "worst",
        "losses",
    }
)
"""Fields of a ledger that concern the local path and have no axis of columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbering:
    """The new number of everything that stays."""

    old: Layout
    new: Layout
    axes: Mapping[str, Numbers]
    """By the letters of `AXES`, but for Z."""
    zones: Mapping[tuple[int, int], tuple[int, int]]
    """(index of a zone, upstream), old -> new."""
    zone_rows: Mapping[tuple[int, int], tuple[int, int]]
    """(index of a zone, row), old -> new."""
    same: frozenset[str]
    """The letters of `AXES` whose numbers all stay. Fields with only these are kept as they are."""


def migrate(
    state: State,
    layout: Layout,
    now: Instant,
    wall: WallTime,
    *,
    rerouted: Collection[str] = (),
) -> tuple[State, tuple[Event, ...]]:
    """The state on the new layout, and the events of steers that end by it.

    `rerouted` are paths that lead elsewhere now. They are not measured yet, so their state is
    unknown. Addresses steered through such a site stay there, and are verified anew. The local
    path changes for probes only, which have another pin. So the evidence from resolvers' traffic
    is kept, and steered addresses return by a full recovery, as after a restart.

    If the agent acts from now on, or no longer acts, or no longer compares, everything begins on
    the local path: a move that was only rehearsed is decided and verified anew first.
    """
    numbering = _numbering(state.layout, layout, rerouted)
    traffic = _numbering(state.layout, layout, [path for path in rerouted if path != LOCAL])
    blank = State.blank(layout, now, wall)
    plan, ended = _plan(state, layout)
    made = replace(
        blank,
        ledger=_ledger(state.ledger, blank.ledger, numbering, traffic),
        plan=plan,
        override_state=carried(state.override_state, layout, numbering.axes["A"]),
        frozen={
            address: frozen
            for address, frozen in state.frozen.items()
            if address in layout.row and frozen.path in layout.column
        },
        bypassed=state.bypassed.intersection(layout.row),
        **_moved(state, blank, numbering),
    )
    if _role(layout) != _role(state.layout):
        made = replace(made, verifications={}, left_at=blank.left_at, frozen={})
    verifications = {a: one for a, one in made.verifications.items() if one.column == plan[a]}
    for a in np.flatnonzero(plan).tolist():
        if layout.paths[plan[a]] in rerouted:
            verifications[a] = Verification(column=int(plan[a]))
    if LOCAL in rerouted:
        made = replace(made, ledger=_away(made, _sent(state, numbering.axes["A"]), now))
    ledger = _left_from_now_on(made.ledger, state.layout, layout, numbering.axes["A"], now)
    return replace(made, verifications=verifications, ledger=ledger), ended


def _sent(state: State, rows: Numbers) -> frozenset[int]:
    """The new rows of addresses that an override has sent to their path."""
    sent = (state.override_state.decides != NONE) & ~state.override_state.frozen
    return frozenset(b for a, b in rows.items() if sent[a])


def _away(state: State, sent: Collection[int], now: Instant) -> Ledger:
    """The local path of steered addresses that no override sent counts as bad until it recovers.

    A changed pin is no further breach: the hold stays as it was.
    """
    rows = [b for b in np.flatnonzero(state.plan).tolist() if b not in sent]
    after = adopt(state.ledger, state.layout, rows, now)
    return replace(after, holds={**after.holds, **state.ledger.holds})


def _left_from_now_on(
    ledger: Ledger, old: Layout, new: Layout, rows: Numbers, now: Instant
) -> Ledger:
    """If the policy counts a stale local path from now on, its breach begins now."""
    acts = new.acts_on_stale & (ledger.health[:, 0] == Health.STALE)
    fresh = [b for a, b in rows.items() if acts[b] and not old.acts_on_stale[a]]
    if not fresh:
        return ledger
    buckets = {(b, 0): Bucket.start(new.policy(b).recover.clean) for b in fresh}
    holds = {b: ledger.holds.get(b, Hold()).breach(now) for b in fresh}
    return replace(ledger, buckets={**ledger.buckets, **buckets}, holds={**ledger.holds, **holds})


def _numbering(old: Layout, new: Layout, rerouted: Collection[str]) -> _Numbering:
    rows = {a: new.row[address] for address, a in old.row.items() if address in new.row}
    upstreams = _by_name([p.upstream for p in old.policies], [p.upstream for p in new.policies])
    zones = {
        (z, u): (new.policies[v].zones.index(zone), v)
        for u, v in upstreams.items()
        for z, zone in enumerate(old.policies[u].zones)
        if zone in new.policies[v].zones
    }
    zone_rows = {
        (z, a): (y, b)
        for a, b in rows.items()
        for z, zone in enumerate(old.policy(a).zones)
        if (y := new.zone(b, zone)) is not None
    }
    columns = {
        p: new.column[path]
        for path, p in old.column.items()
        if path in new.column and path not in rerouted
    }
    before, after = _groups(old), _groups(new)
    axes = {"A": rows, "P": columns, "G": _by_name(before, after), "U": upstreams}
    pairs = (*zip(old.shape, new.shape, strict=True), (len(before), len(after)))
    sizes = dict(zip("APGU", (*pairs, (len(old.policies), len(new.policies))), strict=True))
    same = {
        axis
        for axis, numbers in axes.items()
        if sizes[axis] == (len(numbers), len(numbers)) and all(i == j for i, j in numbers.items())
    }
    if [p.zones for p in old.policies] == [p.zones for p in new.policies]:
        same.add("Z")
    return _Numbering(
        old=old, new=new, axes=axes, zones=zones, zone_rows=zone_rows, same=frozenset(same)
    )


def _by_name(old: Sequence[object], new: Sequence[object]) -> Numbers:
    places = {name: i for i, name in enumerate(new)}
    return {i: places[name] for i, name in enumerate(old) if name in places}


def _groups(layout: Layout) -> list[tuple[str, ...]]:
    """The name of each group, by which it is found in another layout."""
    named: dict[int, tuple[str, ...]] = {}
    for a, target in enumerate(layout.targets):
        named[int(layout.group_of[a])] = {
            Together.ADDRESS: (target.upstream, target.nameserver, target.address),
            Together.NAMESERVER: (target.upstream, target.nameserver),
            Together.UPSTREAM: (target.upstream,),
        }[layout.policy(a).steer.together]
    return [named[g] for g in sorted(named)]


def _role(layout: Layout) -> tuple[bool, bool]:
    """Whether the agent acts and compares. If that changes, earlier decisions do not hold."""
    return layout.acts, layout.compares


_ANEW = "decisions are carried out from now on: decided anew"
_NO_MORE = "decisions are reported and not carried out from now on: nothing is steered"
_ALONE = "from now on only the local path is probed, or other paths too: decided anew"


def _plan(state: State, layout: Layout) -> tuple[NDArray[np.int64], tuple[Event, ...]]:
    """The steers that are still allowed, and the events of the others."""
    old, plan, ended = state.layout, np.zeros(len(layout.targets), dtype=np.int64), []
    for a in np.flatnonzero(state.plan).tolist():
        site, why = old.paths[state.plan[a]], ""
        b, p = layout.row.get(old.targets[a].address), layout.column.get(site)
        if _role(layout) != _role(old):
            why = _ANEW if layout.acts else _NO_MORE if old.acts else _ALONE
        elif b is None:
            why = "no policy names this address any more"
        elif p is None or not layout.hop[b, p]:
            why = f"site {site} is gone, or has no next hop for it"
        elif layout.order[b, p] < 0 <= old.order[a, state.plan[a]]:
            why = f"the policy does not use site {site} any more"
        else:
            plan[b] = p
            continue
        ended.append(state.event("released", a, why, path=LOCAL, was=site, now=LOCAL))
    return plan, tuple(ended)


def _ledger(was: Ledger, blank: Ledger, numbering: _Numbering, traffic: _Numbering) -> Ledger:
    upstreams = {"", *(policy.upstream for policy in numbering.new.policies)}
    made = replace(
        blank,
        copies=replace(blank.copies, **_moved(was.copies, blank.copies, numbering)),
        traffic=replace(blank.traffic, **_moved(was.traffic, blank.traffic, traffic)),
        legs={
            leg: reach
            for leg, reach in was.legs.items()
            if numbering.old.column.get(leg.site) in numbering.axes["P"] and leg.large in upstreams
        },
        carried={
            leg: said
            for leg, said in was.carried.items()
            if numbering.old.column.get(leg.site) in numbering.axes["P"]
        },
        **_moved(was, blank, numbering),
    )
    if 0 not in numbering.axes["P"]:
        made = replace(made, **{name: getattr(blank, name) for name in OF_LOCAL})
    old, new = numbering.old, numbering.new
    before, after = (
        list(numbering.axes["A"]),
        np.array(list(numbering.axes["A"].values()), dtype=np.int64),
    )
    differ = after[(old.base_scale[:, before] != new.base_scale[:, after]).any(axis=0)]
    if not differ.size:
        return made
    # The policy tolerates another share now. The usual share of failures stays as measured.
    scale, of_traffic = made.scale.copy(), made.traffic.scale.copy()
    scale[:, differ] = own_scale(new, CLASSES, made.habit_bad, made.habit_all)[:, differ]
    own = own_scale(new, KINDS, made.traffic.habit_bad, made.traffic.habit_all)
    of_traffic[:, differ] = own[:, differ]
    return replace(made, scale=scale, traffic=replace(made.traffic, scale=of_traffic))


def _moved(was: object, blank: object, numbering: _Numbering) -> dict[str, Any]:
    """Each field of `AXES`, moved to the new layout."""
    return {
        name: _field(getattr(was, name), getattr(blank, name), axes, numbering)
        for name, axes in AXES[type(was)].items()
    }


def _field(was: object, blank: object, axes: str, numbering: _Numbering) -> object:
    named = "AP" if isinstance(was, Mapping) and axes else ""  # see `_value`
    if numbering.same.issuperset(axes.replace(".", "") + named):
        return was
    if isinstance(was, np.ndarray) and isinstance(blank, np.ndarray):
        return _array(was, blank, axes, numbering)
    assert isinstance(was, Mapping)
    moved = ((_key(key, axes, numbering), _value(value, numbering)) for key, value in was.items())
    return {key: value for key, value in moved if key is not None and value is not None}


def _key(key: Any, axes: str, numbering: _Numbering) -> object | None:  # noqa: ANN401 - int, or two
    """The new key of an entry; None: its address, path or group is gone."""
    if axes == "ZU":
        return numbering.zones.get(key)
    if len(axes) == 1:
        return numbering.axes[axes].get(key)
    new = tuple(numbering.axes[axis].get(number) for axis, number in zip(axes, key, strict=True))
    return None if None in new else new


def _value(value: object, numbering: _Numbering) -> object | None:
    """The entry with new rows and columns, if it has any; None: those are gone."""
    rows, columns = numbering.axes["A"], numbering.axes["P"]
    match value:
        case Trial(candidate=p):
            return replace(value, candidate=columns[p]) if p in columns else None
        case Verification(column=p):
            return replace(value, column=columns[p]) if p in columns else None
        case GroupTrial(trial=trial, failed=failed):
            moved = _value(trial, numbering)
            left = frozenset(rows[a] for a in failed if a in rows)
            return replace(value, trial=moved, failed=left) if isinstance(moved, Trial) else None
    return value


def _array(
    was: NDArray[Any], blank: NDArray[Any], axes: str, numbering: _Numbering
) -> NDArray[Any]:
    made = blank.copy()
    if "Z" in axes:
        pairs = numbering.zones if axes.endswith("U") else numbering.zone_rows
        return _zones(was, made, axes, pairs, numbering.axes["P"])
    old, new = [], []
    for axis, size in zip(axes, was.shape, strict=True):
        numbers = numbering.axes.get(axis, {i: i for i in range(size)})
        old.append(list(numbers))
        new.append(list(numbers.values()))
    made[np.ix_(*new)] = was[np.ix_(*old)]
    return made


def _zones(
    was: NDArray[Any],
    made: NDArray[Any],
    axes: str,
    pairs: Mapping[tuple[int, int], tuple[int, int]],
    columns: Numbers,
) -> NDArray[Any]:
    """Zones are numbered within each upstream, so they move together with the row."""
    if not pairs:
        return made
    if axes.startswith("."):
        for old, new in zip(was, made, strict=True):
            _zones(old, new, axes[1:], pairs, columns)
        return made
    (z, a), (y, b) = np.array(list(pairs)).T, np.array(list(pairs.values())).T
    if axes.endswith("P"):
        put = made[y, b]
        put[:, list(columns.values())] = was[z, a][:, list(columns)]
        made[y, b] = put
    else:
        made[y, b] = was[z, a]
    return made
