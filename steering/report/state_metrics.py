"""The metrics of states: read from the snapshot at a scrape, so they cost a turn nothing."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from steering.act.bgp.status import BgpStatus
from steering.decide.rules import RULES
from steering.judge.known.ledger import zone_lag
from steering.judge.known.legs import LegState
from steering.judge.known.zone_copies import UNSEEN
from steering.judge.probes import reach
from steering.judge.traffic import forwarded
from steering.model import LOCAL, OUTCOMES
from steering.observe.dnstap.tally import Frames
from steering.observe.strays import Stray
from steering.report.copies_metrics import copy_metrics
from steering.report.snapshot import Snapshot, TrafficStatus

_OF_SHARES, _OF_SECONDS = 6, 3
"""Decimals that are shown: more would be a third of a large scrape."""
FROM_ZERO = 100
"""Up to so many addresses every outcome of each has a series from 0 on, so that `rate` includes the
first one. With more addresses a series begins with its first outcome: 14 for each pair would be
most of a scrape."""


class States(Collector):
    """The states in the latest snapshot as metrics."""

    def __init__(self, snapshot: Callable[[], Snapshot | None]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot()
        if snapshot is None:
            return
        yield _mode(snapshot)
        yield _sites(snapshot)
        yield from _observations(snapshot)
        yield from _health(snapshot)
        yield from _copies(snapshot)
        yield from _plan(snapshot)
        yield from _overrides(snapshot)
        if snapshot.bgp is not None:
            yield from _bgp(snapshot.bgp)
        if snapshot.dnstap is not None:
            yield from _dnstap(snapshot.dnstap)
        yield _strays(snapshot)
        yield _put_back(snapshot)
        yield from copy_metrics(snapshot.copies, snapshot.state.now, snapshot.state.wall)
        yield CounterMetricFamily(
            "steering_events_lost",
            "Lines of events that could not be written: the log's pipe is full or gone.",
            value=snapshot.events_lost,
        )
        yield CounterMetricFamily(
            "steering_journal_lost",
            "Turns that could not be written to the journal; a replay has a gap there.",
            value=snapshot.journal_lost,
        )
        unreadable = CounterMetricFamily(
            "steering_unreadable",
            "Received messages that were dropped because of an error in this program.",
            labels=["where"],
        )
        for where, number in snapshot.unreadable.items():
            unreadable.add_metric([where], number)
        yield unreadable
        family = GaugeMetricFamily(
            "steering_alarm",
            "1 while the alarm lasts; no series for one that follows from another.",
            labels=["name"],
        )
        for name, alarm in snapshot.alarms.items():
            if alarm.cause is None:
                family.add_metric([name], 1)
        yield family
        seen = GaugeMetricFamily(
            "steering_alarm_acknowledged",
            "1 while the alarm lasts and an override acknowledges it.",
            labels=["name"],
        )
        for name in sorted(snapshot.acknowledged.told & snapshot.alarms.keys()):
            seen.add_metric([name], 1)
        yield seen


def _observations(snapshot: Snapshot) -> Iterator[Metric]:
    index, ledger = snapshot.state.index, snapshot.state.ledger
    family = CounterMetricFamily(
        "steering_observations",
        "Answers, or their absence, by outcome; of source dnstap, secure is by dates alone.",
        labels=["upstream", "address", "path", "source", "outcome"],
    )
    few = len(index.targets) <= FROM_ZERO
    for target, path in itertools.product(index.targets, index.paths):
        probed = ledger.path(target.address, path).counts
        heard = ledger.heard(target.address, path).counts
        heard_as_a_rule = snapshot.dnstap is not None and path == LOCAL
        for source, counts, from_zero in (
            ("probe", probed, few),
            ("dnstap", heard, few and heard_as_a_rule),
        ):
            for outcome in OUTCOMES if from_zero else counts:
                subject = [target.upstream, target.address, path, source, str(outcome)]
                family.add_metric(subject, float(counts.get(outcome, 0)))
    yield family


def _strays(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "steering_probe_strays",
        "Packets to probes' sockets that were ignored; does not show who sent them.",
        labels=["path", "reason"],
    )
    every = itertools.product((*snapshot.state.index.paths, "live"), map(str, Stray))
    for (path, reason), number in sorted({**dict.fromkeys(every, 0), **snapshot.strays}.items()):
        family.add_metric([path, reason], number)
    return family


def _put_back(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "steering_put_back",
        "Rules and routes of ours that another program, or a link that was down, had removed from"
        " the kernel, and that are installed again.",
        labels=["what"],
    )
    for what, number in {"route": 0, "rule": 0, **snapshot.put_back}.items():
        family.add_metric([what], number)
    return family


def _health(snapshot: Snapshot) -> Iterator[Metric]:
    state = snapshot.state
    ratio = GaugeMetricFamily(
        "steering_failure_ratio",
        "Failing share of own probes in about the last minute; absent where none was answered.",
        labels=["upstream", "address", "path"],
    )
    health = GaugeMetricFamily(
        "steering_health",
        "1 for the state of the path, no series for the other states; covers only the names that"
        " were asked.",
        labels=["upstream", "address", "path", "state"],
    )
    for target, path in itertools.product(state.index.targets, state.index.paths):
        record = state.ledger.path(target.address, path)
        subject = [target.upstream, target.address, path]
        if (share := record.recent.share(state.now)) is not None:
            ratio.add_metric(subject, round(share, _OF_SHARES))
        health.add_metric([*subject, record.health.word], 1)
    yield ratio
    yield health


def _copies(snapshot: Snapshot) -> Iterator[Metric]:
    state = snapshot.state
    lag = GaugeMetricFamily(
        "steering_serial_lag_seconds",
        "How far this path's copy of the zone is behind the newest seen on any path.",
        labels=["upstream", "zone", "address", "path"],
    )
    left = GaugeMetricFamily(
        "steering_signature_remaining_seconds",
        "Shortest remaining life among the signatures seen lately; below 0: expired.",
        labels=["upstream", "zone", "address", "path"],
    )
    index, ledger = state.index, state.ledger
    for settings in index.settings.values():
        for zone, path in itertools.product(settings.policy.zones, index.paths):
            subject = [settings.upstream, zone, settings.address, path]
            copy = ledger.path(settings.address, path).copies.get(zone, UNSEEN)
            if (late := zone_lag(ledger, settings, path, zone, state.now)) is not None:
                lag.add_metric(subject, round(late, _OF_SECONDS))
            if (life := copy.soonest.life(ledger.windows, state.wall)) is not None:
                left.add_metric(subject, round(life, _OF_SECONDS))
    yield lag
    yield left


def _dnstap(traffic: TrafficStatus) -> Iterator[Metric]:
    frames = CounterMetricFamily(
        "steering_dnstap_frames", "Frames read, by what became of them.", labels=["result"]
    )
    for result, number in {**dict.fromkeys(map(str, Frames), 0), **traffic.frames}.items():
        frames.add_metric([result], number)
    yield frames
    yield CounterMetricFamily(
        "steering_dnstap_lost",
        "Frames dropped unread by the reader; those that a resolver drops itself are not counted.",
        value=traffic.lost,
    )
    yield CounterMetricFamily(
        "steering_dnstap_verified", "Messages verified with keys.", value=traffic.looked
    )
    yield CounterMetricFamily(
        "steering_dnstap_passed_over",
        "Messages of the sample for which there was no time.",
        value=traffic.passed_over,
    )
    for name, text, value in (
        ("writers", "Connections of resolvers.", traffic.writers),
        ("frames_per_second", "Frames per second, in about the last 0.2 s.", traffic.rate),
        (
            "longest_gap_seconds",
            "Longest time between two recent reads: above 0.2 s resolvers drop frames.",
            traffic.longest_gap,
        ),
    ):
        yield GaugeMetricFamily(f"steering_dnstap_{name}", text, value=value)


def _overrides(snapshot: Snapshot) -> Iterator[Metric]:
    override_state = snapshot.state.override_state
    active = GaugeMetricFamily(
        "steering_override_active",
        "1 while the override is in force here; does not show whether it can be obeyed.",
        labels=["name", "action"],
    )
    for override, status in zip(override_state.overrides, override_state.states, strict=True):
        holds = status.active and not snapshot.acknowledged.is_spent(override)
        active.add_metric([override.name, override.action.value], float(holds))
    yield active


def _bgp(status: BgpStatus) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "steering_bgp_session_up", "1 while the session is established.", labels=["neighbor"]
    )
    routes = GaugeMetricFamily(
        "steering_bgp_routes",
        "Routes sent in the established session; not whether the neighbour accepted them.",
        labels=["neighbor"],
    )
    for neighbor, line in status.sessions.items():
        up.add_metric([neighbor], line.up)
        routes.add_metric([neighbor], line.routes)
    yield up
    yield routes
    yield GaugeMetricFamily(
        "steering_bgp_wanted", "Routes that every neighbour should have.", value=status.wanted
    )
    yield CounterMetricFamily(
        "steering_bgp_updates", "UPDATEs that the speaker reported as sent.", value=status.updates
    )
    yield CounterMetricFamily(
        "steering_bgp_speaker_starts", "Speakers started by this agent.", value=status.starts
    )


def _sites(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily(
        "steering_site_usable",
        "1 where answers come back over the site to this source of the resolvers (kernel: the one"
        " that the kernel chooses) by udp, by tcp, and large ones; 0 where they do not; absent if"
        " that was not tried.",
        labels=["site", "family", "source", "transport"],
    )
    state = snapshot.state
    own = reach.states(state.ledger.legs, state.sources, state.index)
    through = forwarded.states(state.ledger.carried, state.forwarded, state.index, state.now)
    for way in (*own, *through):
        if way.state is not LegState.UNTRIED:
            subject = [way.leg.site, str(way.leg.family), way.leg.sender, way.transport]
            family.add_metric(subject, float(way.state is LegState.USABLE))
    return family


def _mode(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily("steering_mode", "1; the mode is a label.", labels=["mode"])
    family.add_metric([snapshot.mode], 1)
    return family


def _plan(snapshot: Snapshot) -> Iterator[Metric]:
    state = snapshot.state
    desired = GaugeMetricFamily(
        "steering_desired",
        "1 where the plan sends the address through the site; does not show what is installed.",
        labels=["upstream", "address", "family", "site"],
    )
    would = GaugeMetricFamily(
        "steering_would_steer",
        "1 where an agent that does not act (steering_mode) would send the address through the"
        " site.",
        labels=["upstream", "address", "family", "site"],
    )
    planned = desired if state.index.acts else would
    installed = GaugeMetricFamily(
        "steering_installed",
        "1 where the actuator found the route in place (bgp: sent in an established session).",
        labels=["actuator", "upstream", "address", "family", "site"],
    )
    for target in state.index.targets:
        subject = [target.upstream, target.address, str(target.family)]
        if target.address in state.plan:
            planned.add_metric([*subject, state.plan[target.address]], 1)
        if target.address in snapshot.installed:
            installed.add_metric(["kernel", *subject, snapshot.installed[target.address]], 1)
        if snapshot.bgp is not None and target.address in snapshot.bgp.announced:
            site = snapshot.bgp.announced[target.address]
            installed.add_metric(["bgp", *subject, site], 1)
    yield desired
    yield would
    yield installed
    decisions = GaugeMetricFamily(
        "steering_decisions", "Addresses decided by each rule in the latest turn.", labels=["rule"]
    )
    decided = collections.Counter(state.rule.values())
    for rule in RULES:
        decisions.add_metric([rule.name], decided[rule.number])
    yield decisions
