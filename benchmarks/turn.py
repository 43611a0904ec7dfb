"""Turn time: judging and deciding for 26, 1,000 and 10,000 addresses over four paths.

`calm`: answers come in at the default cadence, ten turns a second. `incident`: every local
answer is bad, all are on trial, then steered; the worst turns are in it. `dnstap`: the same
while the resolvers' traffic is heard, five tallies a second of 26 busy addresses.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks import report
from steering import engine
from steering.config import Setup, load
from steering.layout import Layout
from steering.model import (
    LOCAL,
    Evidence,
    Facts,
    Failure,
    Heard,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
)
from steering.world import World

SITES = ("pao", "fra", "iad")
TURNS = 300
BUSY = 26
"""Addresses that the resolvers ask in every fifth of a second."""
WALL = 1_700_000_000.0


def run() -> None:
    """Print the table."""
    rows = []
    for addresses in (26, 1_000, 10_000):
        for story in ("calm", "calm, dnstap", "incident", "incident, dnstap"):
            times = _turns(
                _setup(addresses), incident="incident" in story, dnstap="dnstap" in story
            )
            rows.append(
                (
                    f"{addresses} x {1 + len(SITES)}",
                    story,
                    report.ms(report.median(times)),
                    report.ms(report.p99(times)),
                )
            )
    report.table(
        f"turn of the engine, {TURNS} turns", ("addresses x paths", "story", "median", "p99"), rows
    )


def _setup(addresses: int) -> Setup:
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        (base / "policies").mkdir()
        sites = "\n".join(
            f"  {site}: {{next_hop: {{ipv4: 10.255.{i}.2, ipv6: 'fd00:ff:{i}::2'}}}}"
            for i, site in enumerate(SITES, start=1)
        )
        (base / "steering.yaml").write_text(f"site: sin\nsites:\n{sites}\npolicies: policies\n")
        servers = "\n".join(
            f"  ns{n}.example.: [192.{n >> 16}.{n >> 8 & 255}.{n & 255}, '2001:db8::{n:x}']"
            for n in range(1, addresses // 2 + 1)
        )
        (base / "policies" / "p.yaml").write_text(
            f"upstream: example\nzones: [example.]\nnameservers:\n{servers}\n"
        )
        return load(base / "steering.yaml")


def _turns(setup: Setup, *, incident: bool, dnstap: bool) -> list[float]:
    layout = Layout.of(setup)
    now = 1000.0
    world = World.blank(layout, now, WALL + now)
    paths = layout.paths
    names = [t.address for t in layout.targets]
    # At ten turns a second and a round every 10 s an address is heard of in each 100th turn;
    # in an incident every other turn, at 200 ms.
    every = 2 if incident else 100
    times: list[float] = []
    installed: dict[str, str] = {}
    for number in range(TURNS + 3 * every):
        now += 0.1
        bad = incident and number > 3 * every
        rounds = tuple(
            _round(name, paths, number, now, bad=bad) for name in names[number % every :: every]
        )
        heard = _heard(names[:BUSY], installed, number, now, bad=bad) if dnstap else ()
        facts = Facts(
            wall=WALL + now,
            rounds=rounds,
            heard=heard if number % 2 else (),
            installed=installed,
        )
        started = time.perf_counter()
        world, _, _ = engine.turn(world, facts, now)
        if number >= 3 * every:
            times.append(time.perf_counter() - started)
        installed = world.steers()
    return times


def _heard(
    addresses: list[str], installed: dict[str, str], number: int, now: float, *, bad: bool
) -> tuple[Heard, ...]:
    """A fifth of a second's traffic, 13 % of it bad where the local path is."""
    items = []
    for address in addresses:
        path = installed.get(address, LOCAL)
        owners = [f"o{number}-{i}.example." for i in range(5)] if bad and path == LOCAL else []
        items.append(
            Heard(
                address=address,
                path=path,
                at=now - 0.2,
                answers=40,
                counts={Outcome.SECURE: 40 - len(owners), Outcome.EXPIRED: len(owners)},
                failures=tuple(
                    Failure(
                        name=owner,
                        outcome=Outcome.EXPIRED,
                        evidence=Evidence(owner=owner, rdtype="NSEC3", detail="expired"),
                    )
                    for owner in owners
                ),
                expires=WALL + 500_000,
            )
        )
    return tuple(items)


def _round(address: str, paths: tuple[str, ...], number: int, now: float, *, bad: bool) -> Round:
    question = Question(zone="example.", name=f"n{number}.example.", rdtype="A", kind=Kind.DENIAL)
    seen = tuple(
        Observation(
            address=address,
            path=path,
            outcome=Outcome.EXPIRED if bad and path == LOCAL else Outcome.SECURE,
            reached=True,
            rtt=0.01,
            expires=WALL + 500_000,
        )
        for path in paths
    )
    return Round(address=address, question=question, at=now, observations=seen)
