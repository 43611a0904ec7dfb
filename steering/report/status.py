"""`/api/v1/status` and `explain` as plain data, from a snapshot."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import asdict

import numpy as np

from steering import __version__
from steering.decide.explain import Explanation
from steering.decide.explain import explain as explained
from steering.decide.override_state import NONE, OverrideState, OverrideStatus
from steering.decide.reasons import because
from steering.decide.rules import BY_NUMBER
from steering.decide.state import Alarm, State
from steering.format import timestamp
from steering.judge import forwarded, reach
from steering.model import OUTCOMES, Health, Override
from steering.report.snapshot import Snapshot

Json = dict[str, object]

OVER = "over"
"""The state of an acknowledgement whose alarm is over."""
SEEN_BY = 16
"""Acknowledgements of one alarm that are shown."""
LISTED = 20_000
"""Addresses that `covers` of all overrides lists together; `covered` has the number."""


def status(snapshot: Snapshot) -> Json:
    """The status of the contract (docs: HTTP API)."""
    state = snapshot.state
    through = _by_site(
        forwarded.states(state.ledger.carried, state.forwarded, state.layout, state.now)
    )
    return {
        "site": state.layout.site,
        "mode": snapshot.mode,
        "off": state.off,
        "clock": "suspect" if "clock" in state.alarms else "ok",
        "version": __version__,
        "time": timestamp(state.wall),
        "addresses": _Table(snapshot).addresses(),
        "sites": _by_site(reach.states(state.ledger.legs, state.sources, state.layout)),
        **({"forwarded": through} if through else {}),
        "overrides": _overrides(snapshot),
        "alarms": _alarms(snapshot, None),
    }


def _alarms(snapshot: Snapshot, cause: str | None) -> list[Json]:
    """The alarms that follow from this one (None: from none), each with its own consequences."""
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
    """Every rule for one address, in order, and the evidence; None: it is in no policy."""
    state = snapshot.state
    explanation = explained(state, address)
    if explanation is None:
        return None
    return {
        **_Table(snapshot).address(state.layout.row[address]),
        **explanation_as_data(explanation),
        "alarms": [
            _alarm(snapshot, name, alarm)
            for name, alarm in sorted(snapshot.alarms.items())
            if state.layout.row[address] in alarm.about
        ],
        "time": timestamp(state.wall),
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


def _by_site(shown: Iterable[reach.SiteReach]) -> Json:
    """Site, family, source -> whether answers come back, by transport."""
    made: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for leg in shown:
        by_source = made.setdefault(leg.leg.site, {}).setdefault(str(leg.leg.family), {})
        by_source.setdefault(leg.leg.sender, {})[leg.transport] = str(leg.state)
    return dict(made)


def _overrides(snapshot: Snapshot) -> list[Json]:
    override_state, targets = snapshot.state.override_state, snapshot.state.override_state.targets
    spent = [
        status.active and snapshot.acknowledged.is_spent(o) for o, status in _with(override_state)
    ]
    decides: dict[int, list[str]] = {}
    for a in np.flatnonzero(override_state.decides != NONE).tolist():
        decides.setdefault(int(override_state.decides[a]), []).append(targets[a].address)
    # The index of the first address of each, in one list of all addresses covered.
    begins = itertools.accumulate((len(rows) for rows in override_state.covers), initial=0)
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
            "active": status.active and not spent[index],
            "state": OVER if spent[index] else status.value,
            "covers": [targets[a].address for a in rows[: max(0, LISTED - begin)]],
            "covered": len(rows),
            "decides": decides.get(index, []),
        }
        for index, (override, status, rows, begin) in enumerate(
            zip(
                override_state.overrides,
                override_state.states,
                override_state.covers,
                begins,
                strict=False,
            )
        )
    ]


def _with(override_state: OverrideState) -> Iterable[tuple[Override, OverrideStatus]]:
    return zip(override_state.overrides, override_state.states, strict=True)


class _Table:
    """The numbers of all addresses, computed once for one answer."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot, self.state = snapshot, snapshot.state
        state = self.state
        self.share = state.ledger.share(state.now)
        self.lag = state.ledger.copies.lag(state.layout, state.now)
        self.life = state.ledger.copies.life(state.wall)
        self.heard_share = state.ledger.traffic.share(state.now)
        self.heard_life = state.ledger.traffic.life(state.wall)

    def addresses(self) -> list[Json]:
        return [self.address(a) for a in range(len(self.state.layout.targets))]

    def address(self, a: int) -> Json:
        state = self.state
        target = state.layout.targets[a]
        rule = BY_NUMBER.get(int(state.rule[a]))
        return {
            "upstream": target.upstream,
            "nameserver": target.nameserver,
            "address": target.address,
            "family": str(target.family),
            "paths": {path: self.path(a, p) for p, path in enumerate(state.layout.paths)},
            **_planned(state, a),
            "installed": _installed(self.snapshot, target.address),
            "since": timestamp(float(state.since[a])),
            "rule": rule.name if rule else None,
            "because": because(state, a),
        }

    def path(self, a: int, p: int) -> Json:
        ledger = self.state.ledger
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
            **({} if np.isnan(ledger.traffic.at[a, p]) else {"heard": self.heard(a, p)}),
        }

    def heard(self, a: int, p: int) -> Json:
        """The numbers of the resolvers' traffic."""
        counts = self.state.ledger.traffic.counts[:, a, p]
        return {
            "failure_rate": _number(self.heard_share[a, p], 6),
            "samples": int(counts.sum()),
            "signature_remaining_s": _number(self.heard_life[a, p], 0),
            "outcomes": {str(OUTCOMES[i]): int(counts[i]) for i in np.flatnonzero(counts).tolist()},
        }


def _planned(state: State, a: int) -> Json:
    """The planned site: `steered_to`, or `would_steer_to` if the agent does not act."""
    plan = int(state.plan[a])
    site = state.layout.paths[plan] if plan else None
    if state.layout.acts:
        return {"steered_to": site}
    return {"steered_to": None, "would_steer_to": site}


def _installed(snapshot: Snapshot, address: str) -> Json:
    """The installed site, by each actuator."""
    by_bgp = snapshot.bgp.announced.get(address) if snapshot.bgp else None
    return {"kernel": snapshot.installed.get(address), "bgp": by_bgp}


def _number(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None
