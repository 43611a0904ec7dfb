"""Metrics for Prometheus. Their names and labels are a contract.

Here are events between scrapes, counted when they happen; `state_metrics` has all states.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Collection, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from steering import __version__
from steering.act.kernel.diff import ChangeKind
from steering.report.snapshot import Snapshot
from steering.report.state_metrics import States

# No second series beside each counter for the time of its creation: it is not needed.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Meters:
    """The metrics that are counted when something happens."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        agent = os.getpid()  # a copy of this process answers a scrape
        ProcessCollector(pid=lambda: agent, registry=self.registry)
        self.rtt = Histogram(
            "steering_probe_rtt_seconds",
            "Round-trip time of answered probes.",
            ["upstream", "path"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
        )
        self.actions = Counter(
            "steering_actions",
            "Changes an actuator tried; `done` means read back, not that packets follow.",
            ["actuator", "action", "result"],
            registry=self.registry,
        )
        for labels in itertools.product(("kernel", "bgp"), ChangeKind, ("done", "refused")):
            self.actions.labels(*labels)
        self.action_seconds = Histogram(
            "steering_action_seconds",
            "From the plan to the change read back, per change.",
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5),
        )
        self.detection_seconds = Histogram(
            "steering_detection_seconds",
            "First bad answer to installed, per address.",
            registry=self.registry,
            buckets=(0.5, 1, 2, 3, 5, 8, 15, 30, 60, 300),
        )
        self.bgp_acknowledged = Histogram(
            "steering_bgp_acknowledge_seconds",
            "From a command to the speaker's answer; does not show what the routers did.",
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0),
        )
        self.turn_seconds = Histogram(
            "steering_turn_seconds",
            "One turn of the engine: judging and deciding.",
            registry=self.registry,
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
        )
        self.copy_actions = Counter(
            "steering_copy_actions",
            "Orders to take a copy out or put it back; `done` is the resolver's word, and not that"
            " its clients see it.",
            ["copy", "resolver", "remedy", "act", "result"],
            registry=self.registry,
        )
        self.flushes = Counter(
            "steering_flushes",
            "Times a resolver was made to forget after a move; not that its clients are served.",
            ["resolver", "result"],
            registry=self.registry,
        )
        self.flush_seconds = Histogram(
            "steering_flush_seconds",
            "How long a resolver took for it.",
            ["resolver"],
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
        )
        self.rootzone_rounds = Counter(
            "steering_rootzone_rounds",
            "Rounds of asking the sources of the root zone, by how they ended.",
            ["outcome"],
            registry=self.registry,
        )
        self.rootzone_best_before = Gauge(
            "steering_rootzone_best_before_timestamp_seconds",
            "When the copy of the root zone must no longer be used; 0: there is none.",
            registry=self.registry,
        )
        self.rootzone_published = Counter(
            "steering_rootzone_published",
            "Times a resolver was given a copy, by how far that came.",
            ["resolver", "step"],
            registry=self.registry,
        )
        self.reload_ok = Gauge(
            "steering_config_last_reload_successful",
            "1 if the configuration in force is the one that was last read from disk.",
            registry=self.registry,
        )
        self.reloads = Counter(
            "steering_config_reloads",
            "Versions of the files that were read, by what became of them: loaded, rejected, held.",
            ["result"],
            registry=self.registry,
        )
        for result in ("loaded", "rejected", "held"):
            self.reloads.labels(result)
        self.notices = Counter(
            "steering_notices",
            "Notices by receiver: sent, dropped since too many waited, and attempts that failed.",
            ["receiver", "result"],
            registry=self.registry,
        )
        build = Gauge(
            "steering_build_info", "1; the version is a label.", ["version"], registry=self.registry
        )
        build.labels(version=__version__).set(1)

    def forget(self, upstreams: Iterable[str], paths: Collection[str]) -> None:
        """Remove the series of these upstreams over these paths."""
        for upstream, path in itertools.product(upstreams, paths):
            with contextlib.suppress(KeyError):  # there was no answer
                self.rtt.remove(upstream, path)

    def watch(self, snapshot: Callable[[], Snapshot | None]) -> None:
        """Show the latest snapshot at each scrape."""
        self.registry.register(States(snapshot))
