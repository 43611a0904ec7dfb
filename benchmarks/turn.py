"""Turn time: judging and deciding, for 26 to 10,000 addresses over 4 paths.

`calm`: answers come in at the default cadence, ten turns a second. `incident`: every local
answer is bad, all are on trial, then steered; the worst turns are in it. `dnstap`: the same
while the resolvers' traffic is heard, five tallies a second of 26 busy addresses: half of the
turns hear of them all, so the means are what compares. `128 bad`: so many addresses have bad
local answers and are asked fast over two paths, beside calm ones. `nothing`: no answer is new.

Of 10,000 there is no incident: no more than 128 addresses and a sample are asked fast.

A turn is one thread's arithmetic, so its CPU time is what it takes on a core of its own.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import report
from steering.agent.loop import COLLECTIONS
from steering.config import Setup, load
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.index import Index
from steering.model import (
    LOCAL,
    Evidence,
    Failure,
    Heard,
    Kind,
    Observation,
    Outcome,
    Question,
    Round,
)

SITES = 3
TURNS = 200
BUSY = 26
"""Addresses that the resolvers ask in every fifth of a second."""
FAST = 128
"""Addresses that may be probed fast at once."""
MANY = 10_000
KNOWN_TURNS = 100
WALL = 1_700_000_000.0


Story = Callable[[int, float], tuple[Round, ...]]
"""The rounds of a turn, by its number and instant."""


def run() -> None:
    """Print the tables."""
    gc.set_threshold(*COLLECTIONS)
    rows = []
    for addresses in (26, 1_000, 10_000):
        stories = ("calm", "calm, dnstap", "incident", "incident, dnstap")
        for story in stories if addresses < MANY else stories[:2]:
            times = _turns(
                _setup(addresses), incident="incident" in story, dnstap="dnstap" in story
            )
            rows.append((f"{addresses} x {1 + SITES}", story, *_shown(times)))
    for addresses, story in ((1_000, f"{FAST} bad"), (MANY, "nothing")):
        times = _known(Index.of(_setup(addresses)), story)
        rows.append((f"{addresses} x {1 + SITES}", story, *_shown(times)))
    report.table(
        f"CPU time of a turn, {TURNS} turns ({KNOWN_TURNS} where all is known before)",
        ("addresses x paths", "story", "mean", "median", "p99"),
        rows,
    )


def _shown(times: list[float]) -> tuple[str, str, str]:
    mean = sum(times) / len(times)
    return report.ms(mean), report.ms(report.median(times)), report.ms(report.p99(times))


def _setup(addresses: int) -> Setup:
    with tempfile.TemporaryDirectory() as directory:
        return load(configure(Path(directory), addresses))


def configure(base: Path, addresses: int, *, sites: int = SITES, each: int | None = None) -> Path:
    """Write a configuration and its policies.

    `each`: addresses of one policy, all in one if left out.
    """
    (base / "policies").mkdir()
    ways = "\n".join(
        f"  s{i}: {{next_hop: {{ipv4: 10.255.0.{i}, ipv6: 'fd00:ff::{i:x}'}}}}"
        for i in range(1, sites + 1)
    )
    config = base / "steering.yaml"
    config.write_text(f"site: sin\nsites:\n{ways}\npolicies: policies\n")
    pairs = range(1, addresses // 2 + 1)
    size = (each or addresses) // 2
    for u in range(0, len(pairs), size):
        servers = "\n".join(
            f"  ns{n}.example.: [192.{n >> 16}.{n >> 8 & 255}.{n & 255}, '2001:db8::{n:x}']"
            for n in pairs[u : u + size]
        )
        (base / "policies" / f"{u}.yaml").write_text(
            f"upstream: example-{u}\noperator: {{name: operator {u}}}\nzones: [example.]\n"
            f"nameservers:\n{servers}\n"
        )
    return config


def _stories(index: Index) -> dict[str, Story]:
    names, paths = [t.address for t in index.targets], index.paths

    def slow(number: int, now: float, begin: int = 0) -> tuple[Round, ...]:
        asked = names[begin + number % 100 :: 100]
        return tuple(_round(n, paths, number, now, bad=False) for n in asked)

    def bad(number: int, now: float) -> tuple[Round, ...]:
        """The first addresses are asked fast over two paths, every other turn."""
        asked = names[number % 2 : FAST : 2]
        ill = tuple(_round(n, paths[:2], number, now, bad=True) for n in asked)
        return (*ill, *slow(number, now, FAST))

    return {
        "nothing": lambda _, __: (),
        "slow": slow,
        f"{FAST} bad": bad,
    }


def _known(index: Index, story: str) -> list[float]:
    """Turns of an agent that has heard of every key three times."""
    now = 1000.0
    state = State.blank(index, now, WALL + now)
    installed: Mapping[str, str] = {}
    times: list[float] = []
    stories = _stories(index)
    for number in range(3 * 100 + KNOWN_TURNS):
        now += 0.1
        warm = number >= 3 * 100
        rounds = stories[story if warm else "slow"](number, now)
        facts = Facts(wall=WALL + now, rounds=rounds, installed=installed)
        started = time.thread_time()
        state, _, _ = engine.turn(state, facts, now)
        if warm:
            times.append(time.thread_time() - started)
        installed = state.steers()
    return times


def _turns(setup: Setup, *, incident: bool, dnstap: bool) -> list[float]:
    index = Index.of(setup)
    now = 1000.0
    state = State.blank(index, now, WALL + now)
    paths = index.paths
    names = [t.address for t in index.targets]
    # At ten turns a second and a round every 10 s an address is heard of in each 100th turn;
    # in an incident every other turn, at 200 ms.
    every = 2 if incident else 100
    times: list[float] = []
    installed: Mapping[str, str] = {}
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
        started = time.thread_time()
        state, _, _ = engine.turn(state, facts, now)
        if number >= 3 * every:
            times.append(time.thread_time() - started)
        installed = state.steers()
    return times


def _heard(
    addresses: list[str], installed: Mapping[str, str], number: int, now: float, *, bad: bool
) -> tuple[Heard, ...]:
    """A fifth of a second's traffic, 13 % of it bad where the local path is."""
    items = []
    for address in addresses:
        path = installed.get(address, LOCAL)
        owners = [f"o{number}-{i}.example." for i in range(5)] if bad and path == LOCAL else []
        counts = {Outcome.SECURE: 40 - len(owners), Outcome.EXPIRED: len(owners)}
        items.append(
            Heard(
                address=address,
                path=path,
                at=now - 0.2,
                answers=40,
                counts={outcome: answers for outcome, answers in counts.items() if answers},
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
