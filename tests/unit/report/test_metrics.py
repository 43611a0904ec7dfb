"""What `/metrics` shows, how it is written, and what a scrape of a large site costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics import exposition as library
from prometheus_client.parser import text_string_to_metric_families
from simulation import Ask, Simulation, policy, setup

from benchmarks import scrape
from steering.agent.inputs import Inputs
from steering.index import Index
from steering.model import LOCAL, Kind, Observation, Outcome, Question, Round
from steering.report import exposition
from steering.report.http.answers import answer
from steering.report.http.ipc import METRICS, OPENMETRICS
from steering.report.metrics import Meters
from steering.report.page.history import History
from steering.report.snapshot import Snapshot
from steering.system.child import Child


def _bad_here(ask: Ask) -> Outcome:
    return Outcome.EXPIRED if ask.local and ask.now >= 1020 else Outcome.SECURE


def _shown(tmp: Path) -> tuple[Simulation, Meters]:
    sim = Simulation(setup(tmp, policy(letters=2)), _bad_here).run(40)
    snapshot = Snapshot(
        mode="enforce",
        state=sim.state,
        installed=sim.installed,
        alarms=sim.state.alarms,
        ready=True,
        turned_at=sim.now,
    )
    meters = Meters()
    meters.watch(lambda: snapshot)
    return sim, meters


def _samples(meters: Meters, name: str) -> list[tuple[dict[str, str], float]]:
    families = text_string_to_metric_families(generate_latest(meters.registry).decode())
    (family,) = [one for one in families if one.name == name]
    return [(dict(sample.labels), sample.value) for sample in family.samples]


def test_health_has_one_series_for_each_address_and_path_that_of_its_state(tmp_path: Path) -> None:
    sim, meters = _shown(tmp_path)
    shown = _samples(meters, "steering_health")
    assert {value for _, value in shown} == {1.0}
    told = {(labels["address"], labels["path"]): labels["state"] for labels, _ in shown}
    assert len(shown) == len(told)
    assert told == {
        (address, path): sim.health(address, path).word
        for address in sim.addresses()
        for path in sim.state.index.paths
    }
    assert {told[address, LOCAL] for address in sim.addresses()} == {"failing"}


def test_counters_begin_at_0_and_nothing_is_said_of_when(tmp_path: Path) -> None:
    _, meters = _shown(tmp_path)
    assert b"_created" not in generate_latest(meters.registry)
    counted = {
        (labels["actuator"], labels["action"], labels["result"]): value
        for labels, value in _samples(meters, "steering_actions")
    }
    assert counted["kernel", "remove", "refused"] == 0
    assert counted["bgp", "add", "done"] == 0
    assert len(_samples(meters, "steering_config_reloads")) == 3
    strays = _samples(meters, "steering_probe_strays")
    assert {labels["path"] for labels, _ in strays} >= {LOCAL, "pao", "live"}
    seen = {
        (labels["address"], labels["path"], labels["outcome"]): value
        for labels, value in _samples(meters, "steering_observations")
    }
    assert all((a, p, "servfail") in seen for a, p, _ in seen)
    assert 0 in seen.values()


def test_the_process_that_is_told_of_is_the_agent_and_not_the_copy_that_answers(
    tmp_path: Path,
) -> None:
    _, meters = _shown(tmp_path)
    ((_, here),) = _samples(meters, "process_start_time_seconds")

    def tell(said: Callable[[bytes], None]) -> None:
        said(repr(_samples(meters, "process_start_time_seconds")[0][1]).encode())

    said, _ = Child(tell).result(time.monotonic() + 30.0)
    assert float(said) == here
    assert {"cpu_seconds", "open_fds", "resident_memory_bytes", "max_fds"} <= {
        family.name.removeprefix("process_") for family in meters.registry.collect()
    }


def test_what_is_installed_and_seen_of_the_copies_names_the_upstream(tmp_path: Path) -> None:
    sim, meters = _shown(tmp_path)
    installed = _samples(meters, "steering_installed")
    assert {labels["address"] for labels, _ in installed} == set(sim.addresses())
    for name in ("steering_installed", "steering_desired"):
        assert {labels["upstream"] for labels, _ in _samples(meters, name)} == {"gtld"}
    assert _samples(meters, "steering_mode") == [({"mode": "enforce"}, 1.0)]


def test_round_trips_are_kept_by_upstream_and_path(tmp_path: Path) -> None:
    index = Index.of(setup(tmp_path, policy(letters=2)))
    meters = Meters()
    inputs = Inputs(meters, lambda _: None)
    kernel_paths = SimpleNamespace(changed=lambda: False, over_their_paths=lambda item: item)
    kernel_paths.installed = dict
    components: Any = SimpleNamespace(
        index=index,
        kernel_paths=kernel_paths,
        sources=SimpleNamespace(addresses=frozenset()),
        actuators=None,
        dnstap=None,
        claim=None,
        forwarding=None,
    )
    inputs.components = components
    for address in (*index.settings, "203.0.113.1"):  # the last one of files that are gone
        inputs.deliver(_round(address))
    assert len(inputs.gather().rounds) == 5
    shown = _samples(meters, "steering_probe_rtt_seconds")
    counts = {labels["path"]: n for labels, n in shown if labels.get("le") == "0.025"}
    assert counts == {LOCAL: 4.0, "pao": 4.0}
    assert {labels["upstream"] for labels, _ in shown} == {"gtld"}
    assert not any("address" in labels for labels, _ in shown)
    meters.forget({"gtld", "never-asked"}, ["pao"])
    left = {labels["path"] for labels, _ in _samples(meters, "steering_probe_rtt_seconds")}
    assert left == {LOCAL}


def _round(address: str) -> Round:
    seen = {"address": address, "outcome": Outcome.SECURE, "reached": True, "rtt": 0.02}
    paths: list[dict[str, Any]] = [
        {"path": LOCAL},
        {"path": "pao"},
        {"path": "live", "live": True},
        {"path": "fra", "rtt": None},
    ]
    return Round(
        address=address,
        question=Question(zone="gtld.", name="n.gtld.", rdtype="A", kind=Kind.DENIAL),
        at=1000.0,
        observations=tuple(Observation(**{**seen, **path}) for path in paths),
    )


def _odd() -> tuple[Metric, ...]:
    gauge = GaugeMetricFamily("odd", 'Back\\slash, "quotes"\nand lines.', labels=["b", "a"])
    for text in ('"', "\\", "\n", "é", ""):
        gauge.add_metric([text, f"x{text}y"], 1)
    for number in (0, 1e7, 123456789.5, 1e21, -1e9, 0.1, float("inf"), float("-inf"), float("nan")):
        gauge.add_metric(["n", repr(number)], number)
    counter = CounterMetricFamily("seen", "With its birth.", labels=["a"])
    counter.add_metric(["x"], 3, created=1_700_000_000.25)
    return gauge, counter


class _Given:
    """A registry of these."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> tuple[Metric, ...]:
        return self._families


def test_what_is_written_is_what_the_library_writes_to_the_byte(tmp_path: Path) -> None:
    _, meters = _shown(tmp_path)
    meters.rtt.labels("gtld", LOCAL).observe(0.02)
    meters.actions.labels("kernel", "add", "done").inc()
    registry = cast("Any", _Given(*meters.registry.collect(), *_odd()))
    assert exposition.prometheus(registry.collect()) == generate_latest(registry)
    theirs: Callable[[Any], bytes] = library.generate_latest
    assert exposition.openmetrics(registry.collect()) == theirs(registry)


@pytest.fixture(scope="module")
def large() -> Meters:
    """1,000 addresses over 3 paths, an upstream of them steered."""
    return scrape.site(worn=False)


@pytest.mark.long
@pytest.mark.parametrize("key", [METRICS, OPENMETRICS])
def test_a_scrape_of_a_thousand_addresses_is_small(large: Meters, key: str) -> None:
    """What it costs is held by `make bench BENCH=scrape`."""
    assert len(answer(key, None, History(), large.registry).body) <= 2_000_000
    families = scrape.series(generate_latest(large.registry))
    assert families["steering_health"] == families["steering_failure_ratio"] == 3_000
    assert families["steering_probe_rtt_seconds"] < 3_000
