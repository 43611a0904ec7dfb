"""A scrape of `/metrics`: bytes and CPU time for 1,000 addresses over 3 paths.

A site of 38 upstreams that was asked over every path and whose resolvers are heard, one upstream
of 26 addresses bad and steered. `worn`: each path has also been silent now and then, and each
address has refused resolvers, so that there is a series for each outcome; two zones an upstream.

An answer is rendered by a copy of the agent's process. So its CPU time is not the loop's, and is
what one scrape takes from the host.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks import report, turn
from steering.config import Setup, load
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.index import Index
from steering.model import LOCAL, Heard, Kind, Observation, Outcome, Question, Round
from steering.report.http.answers import answer
from steering.report.http.ipc import METRICS, OPENMETRICS
from steering.report.metrics import Meters
from steering.report.page.history import History
from steering.report.snapshot import Snapshot

ADDRESSES, SITES, EACH = 1_000, 2, 26
TURNS = 60
SCRAPES = 9
WALL = 1_700_000_000.0


def run() -> None:
    """Print the table."""
    rows = []
    for name, worn in (("fresh", False), ("worn", True)):
        meters = site(worn=worn)
        for key in (METRICS, OPENMETRICS):
            times = []
            for _ in range(SCRAPES):
                began = time.process_time()
                body = answer(key, None, History(), meters.registry).body
                times.append(time.process_time() - began)
            series = sum(not line.startswith(b"#") for line in body.splitlines())
            size = f"{len(body) / 1e6:.2f} MB"
            rows.append((f"{name}, {key}", str(series), size, report.ms(report.median(times))))
    report.table(
        f"A scrape, {ADDRESSES} addresses x {1 + SITES} paths",
        ("site", "series", "size", "CPU"),
        rows,
    )


def site(*, worn: bool) -> Meters:
    """What the agent of such a site counts and shows."""
    with tempfile.TemporaryDirectory() as directory:
        index = Index.of(_setup(Path(directory), zones=2 if worn else 1))
    meters = Meters()
    state, installed = _lived(index, meters, worn=worn)
    snapshot = Snapshot(
        mode="enforce",
        state=state,
        installed=installed,
        alarms=state.alarms,
        ready=True,
        turned_at=state.now,
    )
    meters.watch(lambda: snapshot)
    return meters


def _setup(base: Path, *, zones: int) -> Setup:
    config = turn.configure(base, ADDRESSES, sites=SITES, each=EACH)
    served = ", ".join(f"zone{z}.example." for z in range(zones))
    for file in (base / "policies").iterdir():
        text = file.read_text().replace("zones: [example.]", f"zones: [{served}]\nserial: epoch")
        file.write_text(text)
    return load(config)


def _lived(index: Index, meters: Meters, *, worn: bool) -> tuple[State, Mapping[str, str]]:
    now = 1000.0
    state = State.blank(index, now, WALL + now)
    installed: Mapping[str, str] = {}
    for number in range(TURNS):
        now += 1.0
        rounds = _rounds(index, number, now, worn=worn)
        for seen in (o for item in rounds for o in item.observations):
            upstream = index.settings[seen.address].upstream
            meters.rtt.labels(upstream, seen.path).observe(seen.rtt or 1.0)
        facts = Facts(
            wall=WALL + now,
            rounds=rounds,
            heard=_heard(index, installed, now, worn=worn),
            installed=installed,
        )
        state, _, _ = engine.turn(state, facts, now)
        installed = state.steers()
    return state, installed


def _rounds(index: Index, number: int, now: float, *, worn: bool) -> tuple[Round, ...]:
    """Ten rounds for each of one upstream, a round in ten seconds for the others."""
    made = []
    for settings in index.settings.values():
        bad = settings.number < EACH and number > TURNS // 3
        if not bad and (settings.number + number) % 10:
            continue
        zones = settings.policy.zones
        zone = zones[number // 10 % len(zones)]
        silent = worn and number < 10 * len(zones) and number % 20 >= 10
        made.append(
            Round(
                address=settings.address,
                question=Question(
                    zone=zone, name=f"n{number}.{zone}", rdtype="A", kind=Kind.DENIAL
                ),
                at=now,
                observations=tuple(
                    _seen(settings.address, path, now, bad=bad, silent=silent)
                    for path in index.paths
                ),
            )
        )
    return tuple(made)


def _seen(address: str, path: str, now: float, *, bad: bool, silent: bool) -> Observation:
    if silent:
        return Observation(address=address, path=path, outcome=Outcome.TIMEOUT)
    return Observation(
        address=address,
        path=path,
        outcome=Outcome.EXPIRED if bad and path == LOCAL else Outcome.SECURE,
        reached=True,
        rtt=0.0123,
        serial=int(WALL + now) - 60,
        expires=WALL + 500_000.0,
    )


def _heard(
    index: Index, installed: Mapping[str, str], now: float, *, worn: bool
) -> tuple[Heard, ...]:
    counts = {Outcome.SECURE: 38, Outcome.REFUSED: 2} if worn else {Outcome.SECURE: 40}
    return tuple(
        Heard(
            address=target.address,
            path=installed.get(target.address, LOCAL),
            at=now - 0.2,
            answers=40,
            counts=counts,
            expires=WALL + 500_000,
        )
        for target in index.targets
    )


def series(body: bytes) -> dict[str, int]:
    """How many samples each family has."""
    families = text_string_to_metric_families(body.decode())
    return {family.name: len(family.samples) for family in families}
