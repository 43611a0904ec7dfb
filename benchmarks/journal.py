"""The journal: octets an hour and a question, calm and while 26 addresses are steered.

The two-zone upstream of 26 addresses over three paths at the shipped cadence, without dnstap and
with 200 answers a second. What an actual network adds, a simulated one lacks, and it is most of
what is written: so here round-trip times and instants have noise, and failures have the owners of
NSEC3 records. `as text` is the same turns as version 2 wrote them: JSON, deflated by 64.
"""

from __future__ import annotations

import base64
import hashlib
import math
import random
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from benchmarks import report
from steering.config import Setup
from steering.facts import Facts
from steering.journal.records import Batch, Turn, digest, line
from steering.journal.store import Store
from steering.journal.writer import Item, Writer
from steering.model import Observation, Round
from steering.replay import simulate
from steering.replay.pacing import Pacing
from steering.replay.scenario import load_scenario
from steering.replay.simulate import SimulatedTurn, Simulation

LASTS, SETTLED = 300, 100
"""Seconds of the story, and from when on it is measured: all 26 are steered by then."""
STORY = """\
story: journal
begins: 2026-11-24T06:00:00Z
lasts: {lasts}s
site: sin
sites: {{pao: {{rtt: 20ms}}, fra: {{rtt: 30ms}}}}
answers: {answers}
probe: {{interval: 10s, fast_interval: 200ms, timeout: 1s}}
upstreams:
  - upstream: gtld
    zones: [com., net.]
    nameservers:
{servers}
{faults}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the turns of a while took."""

    seconds: float
    rounds: int
    steered: int
    octets: int
    text: int
    """The same as text."""
    cpu: float


def run() -> None:
    """Print the table."""
    rows = []
    for name, bad, answers in (
        ("calm", False, 0),
        ("26 steered", True, 0),
        ("calm, 200 answers/s", False, 200),
        ("26 steered, 200 answers/s", True, 200),
    ):
        found = measure(bad=bad, answers=answers)
        hour = 3600 / found.seconds / 1e6
        rows.append(
            (
                name,
                f"{found.rounds / found.seconds:.0f}/s",
                f"{found.octets * hour:.1f} MB",
                f"{found.text * hour:.1f} MB",
                f"{found.octets / found.rounds:.1f}",
                f"{found.text / found.rounds:.1f}",
                f"{found.cpu / found.seconds:.2%}",
            )
        )
    report.table(
        "The journal of 26 addresses over 3 paths",
        ("", "questions", "an hour", "as text", "octets a question", "as text", "CPU of a core"),
        rows,
    )


def measure(
    *, bad: bool, answers: int = 0, lasts: int = LASTS, settled: int = SETTLED, begins: int = 50
) -> Measured:
    """Write a story's turns into a journal, and weigh those from `settled` on."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        story = Simulation(
            load_scenario(_told(place, bad=bad, answers=answers, lasts=lasts, begins=begins))
        )
        with mock.patch.object(simulate, "choose_pacing", return_value=Pacing.DETAIL):
            turns = [(turned, _turn(turned)) for turned in _noisy(story)]
        kept = [
            (turned, turn) for turned, turn in turns if turned.at - story.scenario.begins >= settled
        ]
        as_text = [line(turn) for _, turn in kept]
        text = sum(
            len(zlib.compress(b"".join(as_text[at : at + 64]))) for at in range(0, len(kept), 64)
        )
        octets, cpu = _written(place, story.setup, kept)
    return Measured(
        seconds=kept[-1][0].at - kept[0][0].at,
        rounds=sum(len(turn.facts.rounds) for _, turn in kept),
        steered=min(len(turned.after.steers()) for turned, _ in kept),
        octets=octets,
        text=text,
        cpu=cpu,
    )


def _told(place: Path, *, bad: bool, answers: int, lasts: int, begins: int) -> Path:
    servers = "\n".join(
        f'      {chr(97 + i)}.gtld-servers.net.: [192.{5 + i}.6.30, "2001:50{i}:a83e::2:30"]'
        for i in range(13)
    )
    fault = f"faults: [{{from: {begins}s, to: {lasts}s, outcome: expired, share: 13%}}]"
    file = place / "story.yaml"
    file.write_text(
        STORY.format(lasts=lasts, answers=answers, servers=servers, faults=fault if bad else "")
    )
    return file


def _written(
    place: Path, setup: Setup, kept: list[tuple[SimulatedTurn, Turn]]
) -> tuple[int, float]:
    """The octets of all batches, and the CPU time that they took."""
    sizes: list[int] = []
    append = Store.append

    def weighed(store: Store, turns: Batch, **more: float) -> int:
        sizes.append(append(store, turns, **more))  # type: ignore[arg-type]
        return sizes[-1]

    with mock.patch.object(Store, "append", weighed):
        writer = Writer(place / "journal.sqlite", max_age=86_400.0, max_size=1 << 30)
        began = time.process_time()
        for number, (turned, turn) in enumerate(kept):
            before = None if number else turned.before
            writer.take(Item(setup=setup, turn=turn, before=before, follows=bool(number)))
        writer.close()
    return sum(sizes), time.process_time() - began


def _turn(turned: SimulatedTurn) -> Turn:
    return Turn(
        now=turned.now,
        facts=turned.facts,
        steps=turned.steps,
        events=turned.events,
        plan=digest(turned.after),
    )


def _noisy(story: Simulation) -> Iterator[SimulatedTurn]:
    """The turns with what a network and a clock add. It is nothing that the engine goes by."""
    rng = random.Random(1)
    for turned in story:
        rounds = tuple(_asked(item, rng) for item in turned.facts.rounds)
        facts: Facts = replace(turned.facts, rounds=rounds, wall=turned.facts.wall + rng.random())
        yield replace(turned, facts=facts, now=turned.now + rng.random() * 1e-3)


def _asked(item: Round, rng: random.Random) -> Round:
    at = math.floor((item.at + rng.random() * 0.01) * 1e4) / 1e4  # as the prober rounds it
    seen = tuple(_seen(one, item.question.zone, rng) for one in item.observations)
    return replace(item, at=at, observations=seen)


def _seen(one: Observation, zone: str, rng: random.Random) -> Observation:
    if one.rtt is not None:
        rtt = math.ceil((one.rtt + rng.expovariate(1 / 0.0008)) * 1e5) / 1e5  # likewise
        one = replace(one, rtt=rtt)
    if one.evidence is not None:
        hashed = hashlib.sha1(one.evidence.owner.encode(), usedforsecurity=False).digest()
        owner = f"{base64.b32hexencode(hashed).decode().lower()}.{zone}"
        one = replace(one, evidence=replace(one.evidence, owner=owner))
    return one
