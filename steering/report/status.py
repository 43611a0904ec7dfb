"""`/api/v1/status` and `explain` as plain data, out of a snapshot."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import asdict

import numpy as np

from steering import __version__
from steering.decide.because import because
from steering.decide.explain import Explanation
from steering.decide.explain import explain as explained
from steering.decide.orders import NONE, Orders, State
from steering.decide.rules import BY_NUMBER
from steering.judge import forwarded, reach
from steering.model import OUTCOMES, Health, Override
from steering.report.events import timestamp
from steering.report.snapshot import Snapshot
from steering.world import Alarm, World

Json = dict[str, object]

OVER = "over"
"""The state of an acknowledgement whose alarm is over."""
SEEN_BY = 16
"""Acknowledgements of one alarm that are shown."""
LISTED = 20_000
"""Addresses that all overrides together are said to cover, one by one; `covered` has the number."""


def status(snapshot: Snapshot) -> Json:
    """The status of the contract (docs: HTTP API)."""
    world = snapshot.world
    through = _ways(
        forwarded.states(world.ledger.carried, world.forwarded, world.layout, world.now)
    )
    return {
        "site": world.layout.site,
        "mode": snapshot.mode,
        "off": world.off,
        "clock": "suspect" if "clock" in world.alarms else "ok",
        "version": __version__,
        "time": timestamp(world.wall),
        "addresses": _Table(snapshot).addresses(),
        "sites": _ways(reach.states(world.ledger.legs, world.sources, world.layout)),
        **({"forwarded": through} if through else {}),
        "overrides": _overrides(snapshot),
        "alarms": _alarms(snapshot, None),
    }


def _alarms(snapshot: Snapshot, cause: str | None) -> list[Json]:
    """Those that follow from this one, or from none, each with those that follow from it."""
    return [
        {
            **_alarm(snapshot, name, alarm),
            **({"follows": follows} if (follows := _alarms(snapshot, name)) else {}),
        }
        for name, alarm in sorted(snapshot.alarms.items())
        if alarm.cause == cause
    ]


def _alarm(snapshot: Snapshot, name: str, alarm: Alarm) -> Json:
    seen = snapshot.acknowledged.by.get(name, ())[:SEEN_BY]
    by: list[Json] = [
        {
            "name": override.name,
            "by": override.by,
            "reason": override.reason,
            "until": None if override.until is None else timestamp(override.until),
        }
        for override in seen
    ]
    return {
        "name": name,
        "since": timestamp(alarm.since),
        "because": alarm.because,
        **({"acknowledged": by} if by else {}),
    }


def explain(snapshot: Snapshot, address: str) -> Json | None:
    """Every rule for one address, in order, and the evidence; None: not one of ours."""
    world = snapshot.world
    explanation = explained(world, address)
    if explanation is None:
        return None
    return {
        **_Table(snapshot).address(world.layout.row[address]),
        **explanation_as_data(explanation),
        "alarms": [
            _alarm(snapshot, name, alarm)
            for name, alarm in sorted(snapshot.alarms.items())
            if world.layout.row[address] in alarm.about
        ],
        "time": timestamp(world.wall),
    }


def explanation_as_data(explanation: Explanation) -> Json:
    """The rules and the evidence of an explanation."""
    return {
        "rules": [
            {
                "number": considered.rule.number,
                "name": considered.rule.name,
                "when": considered.rule.when,
                "answer": considered.rule.answer.value,
                "applies": considered.applies,
                "decides": considered.decides,
                "because": considered.numbers,
                "otherwise": considered.otherwise,
            }
            for considered in explanation.rules
        ],
        "evidence": {
            path: {"health": health.word, "because": why}
            for path, (health, why) in explanation.evidence.items()
        },
    }


def _ways(shown: Iterable[reach.Shown]) -> Json:
    """Site, family, source -> whether answers come back, by transport."""
    made: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for way in shown:
        by_source = made.setdefault(way.leg.site, {}).setdefault(str(way.leg.family), {})
        by_source.setdefault(way.leg.sender, {})[way.transport] = str(way.state)
    return dict(made)


def _overrides(snapshot: Snapshot) -> list[Json]:
    orders, targets = snapshot.world.orders, snapshot.world.orders.targets
    spent = [state.active and snapshot.acknowledged.is_spent(o) for o, state in _with(orders)]
    decides: dict[int, list[str]] = {}
    for a in np.flatnonzero(orders.decides != NONE).tolist():
        decides.setdefault(int(orders.decides[a]), []).append(targets[a].address)
    # Where each begins in one list of all that they cover.
    begins = itertools.accumulate((len(rows) for rows in orders.covers), initial=0)
    return [
        {
            "name": override.name,
            "match": {
                key: str(value)
                for key, value in asdict(override.match).items()
                if value is not None
            },
            "action": override.action.value,
            "to": override.to,
            **({} if override.alarm is None else {"alarm": override.alarm}),
            "until": None if override.until is None else timestamp(override.until),
            "reason": override.reason,
            "by": override.by,
            "active": state.active and not spent[index],
            "state": OVER if spent[index] else state.value,
            "covers": [targets[a].address for a in rows[: max(0, LISTED - begin)]],
            "covered": len(rows),
            "decides": decides.get(index, []),
        }
        for index, (override, state, rows, begin) in enumerate(
            zip(orders.overrides, orders.states, orders.covers, begins, strict=False)
        )
    ]


def _with(orders: Orders) -> Iterable[tuple[Override, State]]:
    return zip(orders.overrides, orders.states, strict=True)


class _Table:
    """The numbers of all addresses, worked out once for one answer."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot, self.world = snapshot, snapshot.world
        world = self.world
        self.share = world.ledger.share(world.now)
        self.lag = world.ledger.copies.lag(world.layout, world.now)
        self.life = world.ledger.copies.life(world.wall)
        self.heard_share = world.ledger.hearsay.share(world.now)
        self.heard_life = world.ledger.hearsay.life(world.wall)

    def addresses(self) -> list[Json]:
        return [self.address(a) for a in range(len(self.world.layout.targets))]

    def address(self, a: int) -> Json:
        world = self.world
        target = world.layout.targets[a]
        rule = BY_NUMBER.get(int(world.rule[a]))
        return {
            "upstream": target.upstream,
            "nameserver": target.nameserver,
            "address": target.address,
            "family": str(target.family),
            "paths": {path: self.path(a, p) for p, path in enumerate(world.layout.paths)},
            **_goes_to(world, a),
            "installed": _installed(self.snapshot, target.address),
            "since": timestamp(float(world.since[a])),
            "rule": rule.name if rule else None,
            "because": because(world, a),
        }

    def path(self, a: int, p: int) -> Json:
        ledger = self.world.ledger
        counts = ledger.counts[:, a, p]
        instance = ledger.instances.get((a, p))
        return {
            "health": Health(int(ledger.health[a, p])).word,
            "failure_rate": _number(self.share[a, p], 6),
            "samples": int(counts.sum()),
            "serial_lag_s": _number(self.lag[a, p], 3),
            "signature_remaining_s": _number(self.life[a, p], 0),
            "rtt_ms": _number(ledger.rtt[a, p] * 1000, 3),
            "nsid": instance.name if instance else None,
            "outcomes": {
                str(OUTCOMES[i]): int(counts[i]) for i in (int(j) for j in np.flatnonzero(counts))
            },
            **({} if np.isnan(ledger.hearsay.at[a, p]) else {"heard": self.heard(a, p)}),
        }

    def heard(self, a: int, p: int) -> Json:
        """What the resolvers' traffic shows."""
        counts = self.world.ledger.hearsay.counts[:, a, p]
        return {
            "failure_rate": _number(self.heard_share[a, p], 6),
            "samples": int(counts.sum()),
            "signature_remaining_s": _number(self.heard_life[a, p], 0),
            "outcomes": {str(OUTCOMES[i]): int(counts[i]) for i in np.flatnonzero(counts).tolist()},
        }


def _goes_to(world: World, a: int) -> Json:
    """Where the plan sends it: in fact, or as it would if it were carried out."""
    plan = int(world.plan[a])
    site = world.layout.paths[plan] if plan else None
    if world.layout.acts:
        return {"steered_to": site}
    return {"steered_to": None, "would_steer_to": site}


def _installed(snapshot: Snapshot, address: str) -> Json:
    """Where it really goes, by each actuator."""
    by_bgp = snapshot.speaking.announced.get(address) if snapshot.speaking else None
    return {"kernel": snapshot.installed.get(address), "bgp": by_bgp}


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
