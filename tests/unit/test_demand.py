"""How much is asked is known as well as it was heard: deafness is not silence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from simulation import CONFIG, Simulation, policy, setup

from steering.judge.demand import STALE, demand
from steering.judge.hearsay import Hearsay, forget
from steering.judge.own import fork
from steering.layout import Layout
from steering.model import Heard, Outcome

ONE, OTHER = "192.5.0.30", "2001:db8:5::30"


@dataclass
class Asking(Simulation):
    """Resolvers that ask at a steady rate, and a reader that is deaf at times."""

    rates: dict[str, float] = field(default_factory=dict)
    deaf: Callable[[float], bool] = lambda now: False  # noqa: ARG005
    dead: bool = False
    """Nobody answers."""
    step: float = 0.2
    idle: float = 0.2

    def traffic(self, seconds: float) -> tuple[Heard, ...]:
        if self.deaf(self.now):
            return ()
        return tuple(
            Heard(
                address=address,
                path="local",
                at=self.now - seconds,
                answers=0 if self.dead else number,
                counts={Outcome.TIMEOUT: number} if self.dead else {},
            )
            for address, rate in self.rates.items()
            if (number := math.floor(rate * self.now) - math.floor(rate * (self.now - seconds)))
        )

    def found(self) -> list[float]:
        found: list[float] = demand(self.world.ledger.hearsay, self.layout, self.now).tolist()
        return found


def asking(
    tmp: Path,
    rates: dict[str, float],
    deaf: Callable[[float], bool] = lambda now: False,  # noqa: ARG005
    estimate: int | None = None,
) -> Asking:
    steer = f"steer: {{queries_per_second: {estimate}}}\n" if estimate else ""
    made = setup(tmp, policy(letters=1, more=steer), config=CONFIG)
    return Asking(made, lambda ask: Outcome.SECURE, rates=rates, deaf=deaf)  # noqa: ARG005


@pytest.mark.parametrize("seconds", [5.0, 30.0, 300.0])
def test_the_rate_is_right_from_the_first_seconds_on(tmp_path: Path, seconds: float) -> None:
    sim = asking(tmp_path, {ONE: 250}).run(seconds)
    assert sim.found() == [pytest.approx(250, rel=0.02), 0], "heard of one, the other is silent"


def test_the_rate_is_right_as_soon_however_late_anybody_began_to_listen(tmp_path: Path) -> None:
    sim = asking(tmp_path, {ONE: 250}, lambda now: now < 1500)
    sim.run(505)
    assert sim.found()[0] == pytest.approx(250, rel=0.05), "of 5 s, not of 505"


@pytest.mark.parametrize("gap", [4.0, 20.0, 120.0, 550.0])
def test_while_nobody_listens_the_estimate_stands(tmp_path: Path, gap: float) -> None:
    sim = asking(tmp_path, {ONE: 250, OTHER: 50}, lambda now: 1200 < now <= 1200 + gap)
    sim.run(200)
    before = sim.found()
    assert before == pytest.approx([250, 50], rel=0.02)
    sim.run(gap)
    assert sim.found() == before
    sim.run(1)
    assert sim.found() == pytest.approx([250, 50], rel=0.05), "right at once when heard again"
    sim.run(60)
    assert sim.found() == pytest.approx([250, 50], rel=0.02)


def test_traffic_that_changed_during_a_gap_is_known_a_minute_after_it(tmp_path: Path) -> None:
    sim = asking(tmp_path, {ONE: 250}, lambda now: 1200 < now <= 1500)
    sim.run(500)
    sim.rates = {ONE: 25}
    sim.run(5)
    assert sim.found()[0] < 50, "what was heard before the gap weighs little after it"
    sim.run(60)
    assert sim.found()[0] == pytest.approx(25, rel=0.05)


def test_after_ten_deaf_minutes_nothing_is_known(tmp_path: Path) -> None:
    sim = asking(tmp_path, {ONE: 250}, lambda now: now > 1100, estimate=80)
    sim.run(100)
    assert sim.found()[0] == pytest.approx(250, rel=0.02)
    sim.run(STALE - 1)
    assert sim.found()[0] == pytest.approx(250, rel=0.02)
    sim.run(3)
    assert sim.found() == [40, 40], "the policy's estimate, over its addresses"


def test_falling_demand_is_seen_within_minutes(tmp_path: Path) -> None:
    sim = asking(tmp_path, {ONE: 250}).run(200)
    sim.rates = {ONE: 10}
    sim.run(180)
    assert 10 < sim.found()[0] < 25


def test_the_pauses_of_a_quiet_host_are_listened_to(tmp_path: Path) -> None:
    sim = asking(tmp_path, {ONE: 0.05}).run(1200)
    assert sim.found()[0] == pytest.approx(0.05, rel=0.6), "one query every 20 s"


def test_another_server_behind_an_address_is_asked_as_much_as_the_one_before(
    tmp_path: Path,
) -> None:
    sim = asking(tmp_path, {ONE: 250}).run(100)
    before, heard = sim.found(), fork(sim.world.ledger.hearsay)
    object.__setattr__(heard, "counted", dict(heard.counted))
    object.__setattr__(heard, "evidence", dict(heard.evidence))
    forget(heard, sim.layout.row[ONE], 0)
    assert demand(heard, sim.layout, sim.now).tolist() == before


def test_losses_are_queries_too(tmp_path: Path) -> None:
    sim = asking(tmp_path, {ONE: 100})
    sim.dead = True
    sim.run(10)
    assert sim.found()[0] == pytest.approx(100, rel=0.05)


def test_nothing_heard_is_the_estimate_or_nothing_known(tmp_path: Path) -> None:
    layout = Layout.of(setup(tmp_path, policy(letters=1)))
    assert all(map(math.isnan, demand(Hearsay.blank(layout, 0.0), layout, 0.0)))
