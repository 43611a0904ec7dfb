"""`/api/v1/status` and `explain` as plain data, from a snapshot."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from steering import __version__
from steering.decide.messages.explain import Explanation
from steering.decide.messages.explain import explain as explained
from steering.decide.messages.reasons import because
from steering.decide.overrides.override_state import OverrideState, OverrideStatus
from steering.decide.rules import BY_NUMBER
from steering.decide.state import Alarm, State
from steering.format import timestamp
from steering.index import Settings
from steering.judge.known.ledger import worst_lag
from steering.judge.known.legs import SiteReach
from steering.judge.probes import reach
from steering.judge.traffic import forwarded
from steering.model import NEVER, OUTCOMES, Outcome
from steering.override import Override
from steering.report.copies import copies, zones
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
        forwarded.states(state.ledger.carried, state.forwarded, state.index, state.now)
    )
    return {
        "site": state.index.site,
        "mode": snapshot.mode,
        "off": state.off,
        "clock": "suspect" if "clock" in state.alarms else "ok",
        "version": __version__,
        "time": timestamp(state.wall),
        "addresses": [_address(snapshot, each) for each in state.index.settings.values()],
        "sites": _by_site(reach.states(state.ledger.legs, state.sources, state.index)),
        **({"forwarded": through} if through else {}),
        "overrides": _overrides(snapshot),
        "zones": zones(state, snapshot.copies),
        **({"copies": copies(snapshot.copies, state)} if snapshot.copies else {}),
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
        **_address(snapshot, state.index.settings[address]),
        **explanation_as_data(explanation),
        "alarms": [
            _alarm(snapshot, name, alarm)
            for name, alarm in sorted(snapshot.alarms.items())
            if address in alarm.about
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


def _by_site(shown: Iterable[SiteReach]) -> Json:
    """Site, family, source -> whether answers come back, by transport."""
    made: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for leg in shown:
        by_source = made.setdefault(leg.leg.site, {}).setdefault(str(leg.leg.family), {})
        by_source.setdefault(leg.leg.sender, {})[leg.transport] = str(leg.state)
    return dict(made)


def _overrides(snapshot: Snapshot) -> list[Json]:
    override_state = snapshot.state.override_state
    spent = [
        status.active and snapshot.acknowledged.is_spent(o) for o, status in _with(override_state)
    ]
    decides: dict[int, list[str]] = {}
    for address, number in override_state.decides.items():
        decides.setdefault(number, []).append(address)
    # The index of the first address of each, in one list of all addresses covered.
    begins = itertools.accumulate((len(covered) for covered in override_state.covers), initial=0)
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
            "covers": list(covered[: max(0, LISTED - begin)]),
            "covered": len(covered),
            "decides": decides.get(index, []),
        }
        for index, (override, status, covered, begin) in enumerate(
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


def _address(snapshot: Snapshot, settings: Settings) -> Json:
    state, target = snapshot.state, settings.target
    rule = BY_NUMBER.get(state.rule.get(target.address, 0))
    return {
        "upstream": target.upstream,
        "nameserver": target.nameserver,
        "address": target.address,
        "family": str(target.family),
        "paths": {path: _path(state, settings, path) for path in state.index.paths},
        **_planned(state, target.address),
        "installed": _installed(snapshot, target.address),
        "since": timestamp(state.since[target.address]),
        "rule": rule.name if rule else None,
        "because": because(state, target.address),
    }


def _path(state: State, settings: Settings, path: str) -> Json:
    ledger, key = state.ledger, (settings.address, path)
    record, instance = ledger.path(*key), ledger.instances.get(key)
    lives = (copy.soonest.life(ledger.windows, state.wall) for copy in record.copies.values())
    return {
        "health": record.health.word,
        "failure_rate": _number(record.recent.share(state.now), 6),
        "samples": sum(record.counts.values()),
        "serial_lag_s": _number(worst_lag(ledger, settings, path, state.now), 3),
        "signature_remaining_s": _number(
            min((life for life in lives if life is not None), default=None), 0
        ),
        "rtt_ms": _number(None if record.rtt is None else record.rtt * 1000, 3),
        "nsid": instance.name if instance else None,
        "outcomes": _outcomes(record.counts),
        **({} if ledger.heard(*key).at == NEVER else {"heard": _heard(state, *key)}),
    }


def _heard(state: State, address: str, path: str) -> Json:
    """The numbers of the resolvers' traffic."""
    known = state.ledger.heard(address, path)
    return {
        "failure_rate": _number(known.recent.share(state.now), 6),
        "samples": sum(known.counts.values()),
        "signature_remaining_s": _number(known.soonest.life(state.ledger.windows, state.wall), 0),
        "outcomes": _outcomes(known.counts),
    }


def _outcomes(counts: Mapping[Outcome, int]) -> Json:
    return {str(outcome): counts[outcome] for outcome in OUTCOMES if counts.get(outcome)}


def _planned(state: State, address: str) -> Json:
    """The planned site: `steered_to`, or `would_steer_to` if the agent does not act."""
    site = state.plan.get(address)
    if state.index.acts:
        return {"steered_to": site}
    return {"steered_to": None, "would_steer_to": site}


def _installed(snapshot: Snapshot, address: str) -> Json:
    """The installed site, by each actuator."""
    by_bgp = snapshot.bgp.announced.get(address) if snapshot.bgp else None
    return {"kernel": snapshot.installed.get(address), "bgp": by_bgp}


def _number(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
