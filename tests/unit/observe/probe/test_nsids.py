"""Whoever answers chooses the NSID: many of them, or a new one each time, change no verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest
from simulation import Ask, Shown, Simulation, policy, setup

from steering.judge.known.instance import CHANGES, KNOWN
from steering.judge.known.stream import NO_LEVELS
from steering.model import Outcome

FAULT, HEALED = 1040.0, 1080.0
CLEAN = 120
MORE = f"recover: {{hold: 10s, max_hold: 60s, clean: {CLEAN}, moves_per_day: 1000}}\n"
GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED

Names = Callable[[Ask], str | None]
"""Who says to have answered."""


def pool(servers: int) -> Names:
    """One of so many, as the source port has it."""
    return lambda ask: f"{ask.path}{crc32(fresh(ask).encode()) % servers}"


def alone(ask: Ask) -> str:
    return ask.path


def fresh(ask: Ask) -> str:
    """A new one with every answer."""
    return f"{ask.name}{ask.address}{ask.path}{ask.now}"


def in_part(ask: Ask) -> str | None:
    """Every other answer has none."""
    return fresh(ask) if ask.lost(0.5, "silent") else None


def every(seconds: float) -> Names:
    """Another instance so often, over the local path."""
    return lambda ask: f"n{ask.now // seconds}" if ask.local else ask.path


def once_bad(ask: Ask) -> str:
    """An honest name until the fault, then a new one with every answer."""
    return fresh(ask) if ask.local and ask.now >= FAULT else ask.path


STORIES: dict[str, Names] = {
    "2": pool(2),
    "16": pool(16),
    "20": pool(20),
    "40": pool(40),
    "1000": pool(1000),
    "fresh": fresh,
    "fresh-in-part": in_part,
    "fresh-with-the-fault": once_bad,
    "another-every-3-s": every(3.0),
    "another-every-11-s": every(11.0),
}


def story(tmp: Path, names: Names, share: float) -> Simulation:
    """A fault of the local path for a while, then none."""

    def answer(ask: Ask) -> Shown:
        bad = ask.local and FAULT <= ask.now < HEALED and ask.unlucky(share)
        return Shown(outcome=EXPIRED if bad else GOOD, nsid=names(ask))

    return Simulation(setup(tmp, policy(letters=1, more=MORE)), answer)


def times(sim: Simulation) -> tuple[float, float]:
    """How soon everything is steered, and how long after the fault it is home again."""
    sim.until(lambda: len(sim.installed) == 2, limit=200)
    away = sim.now - FAULT
    sim.until(lambda: not sim.installed, limit=600)
    return away, sim.now - HEALED


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[float, tuple[float, float]]:
    """The same with one name a path."""
    return {
        share: times(story(tmp_path_factory.mktemp("usual"), alone, share)) for share in (1.0, 0.13)
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("names", "share"),
    # Of all the stories at both shares, those in which names are told apart, can't be, and change.
    [("2", 1.0), ("20", 1.0), ("fresh-with-the-fault", 1.0), ("40", 0.13), ("fresh", 0.13)],
)
def test_however_many_names_a_fault_is_found_as_soon_and_everybody_comes_home(
    tmp_path: Path, usual: dict[float, tuple[float, float]], names: str, share: float
) -> None:
    sim = story(tmp_path, STORIES[names], share)
    away, home = times(sim)
    slack = 1.0 if share == 1.0 else 6.0
    assert away <= 1.5 * usual[share][0] + slack, "as soon as with one name"
    assert home <= 1.5 * usual[share][1] + slack
    assert home >= 0.5 * usual[share][1], "and no sooner"
    changes = len(sim.told("instance_changed"))
    assert changes <= CHANGES * sum(1 for _ in sim.state.ledger.instances)
    assert len(sim.told("instances_mixed")) <= len(sim.state.ledger.instances)
    assert all(len(i.known) <= KNOWN for i in sim.state.ledger.instances.values())


@pytest.mark.long
@pytest.mark.parametrize("names", ["fresh", "another-every-3-s", "another-every-11-s"])
def test_a_path_that_is_bad_for_ever_is_not_returned_to_for_its_names(
    tmp_path: Path, names: str
) -> None:
    def answer(ask: Ask) -> Shown:
        bad = ask.local and ask.now >= FAULT and ask.unlucky(0.02)
        return Shown(outcome=EXPIRED if bad else GOOD, nsid=STORIES[names](ask))

    sim = Simulation(setup(tmp_path, policy(letters=1, more=MORE)), answer)
    sim.until(lambda: bool(sim.installed), limit=400)
    sim.run(120)
    assert sim.installed
    assert not [s for _, s in sim.steps if s.now is None]


@pytest.mark.long
def test_an_old_copy_is_no_younger_for_its_names(tmp_path: Path) -> None:
    """What was seen of a serial would be dropped with each of them."""

    def answer(ask: Ask) -> Shown:
        frozen = ask.local and ask.now >= FAULT
        made = FAULT if frozen else ask.now
        nsid = fresh(ask) if ask.local else ask.path
        return Shown(serial=1_700_000_000 + int(made), expires=1_700_001_400 + made, nsid=nsid)

    stale = "serial: epoch\nbreach: {on: [stale], stale: {serial_lag: 1m}}\n"
    sim = Simulation(setup(tmp_path, policy(letters=1, more=MORE + stale)), answer)
    sim.until(lambda: bool(sim.installed), limit=400)
    sim.run(100)
    assert sim.installed


def test_good_answers_of_another_instance_put_nothing_back_and_bad_ones_do(
    tmp_path: Path,
) -> None:
    """The path is what recovers, whoever answers over it."""

    def answer(ask: Ask) -> Shown:
        bad = ask.local and (FAULT <= ask.now < HEALED or 1094 <= ask.now < 1095)
        nsid = "a" if not ask.local or ask.now < 1084 else "b" if ask.now < 1094 else "c"
        return Shown(outcome=EXPIRED if bad else GOOD, nsid=nsid)

    sim = Simulation(setup(tmp_path, policy(letters=1, more=MORE)), answer).run(83)

    def points() -> int:
        bucket = sim.state.ledger.path("192.5.0.30").bucket
        assert bucket is not None
        return bucket.points

    before = points()
    sim.run(3)
    assert len(sim.told("instance_changed")) == 2, "one an address"
    assert points() < before
    sim.until(lambda: sim.now >= 1093.5, limit=30)
    before = points()
    sim.run(3)
    assert len(sim.told("instance_changed")) == 4
    assert points() > before


@pytest.mark.parametrize("servers", [1, 16])
def test_a_bad_site_that_gives_way_to_a_good_one_is_forgotten_at_once(
    tmp_path: Path, servers: int
) -> None:
    """Suspected, and not convicted: the next instance is not on trial for it."""
    struck: list[bool] = []

    def answer(ask: Ask) -> Shown:
        moved = ask.local and ask.now >= 1200.7
        bad = ask.local and 1200 <= ask.now < 1200.7
        struck.append(bad)
        nsid = f"{'b' if moved else 'a'}{pool(servers)(ask)}"
        return Shown(outcome=EXPIRED if bad else GOOD, nsid=nsid)

    sim = Simulation(setup(tmp_path, policy(letters=1, more=MORE)), answer)
    sim.until(lambda: len(sim.told("instance_changed")) == 2, limit=207)
    assert any(struck)
    assert all(sim.state.ledger.path(a).levels == NO_LEVELS for a in sim.addresses())
    sim.run(30)
    assert not sim.steps
