"""How much is asked is known as well as it was heard: deafness is not silence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from simulation import Simulation, policy, setup

from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.ledger import Ledger
from steering.judge.traffic.demand import STALE, count_queries, demand
from steering.model import LOCAL, Evidence, Failure, Heard, Outcome

ONE, OTHER = "192.5.0.30", "2001:db8:5::30"
TALLY = 0.2


@dataclass
class Asking:
    """Resolvers that ask two addresses at steady rates, and a reader that is deaf at times."""

    index: Index
    rates: tuple[float, float]
    deaf: Callable[[float], bool] = lambda now: False  # noqa: ARG005
    now: float = 1000.0
    heard: Ledger = field(default_factory=lambda: Ledger.blank(1000.0))

    def run(self, seconds: float) -> Asking:
        for _ in range(round(seconds / TALLY)):
            began, self.now = self.now, round(self.now + TALLY, 6)
            asked = [math.floor(r * self.now) - math.floor(r * began) for r in self.rates]
            if any(asked) and not self.deaf(self.now):
                draft = self.draft()
                count_queries(draft, dict(zip((ONE, OTHER), asked, strict=True)), began)
                self.heard = draft.done()
        return self

    def draft(self) -> Draft:
        return Draft(self.heard, self.index, 0.0, self.now)

    def found(self) -> list[float | None]:
        return [demand(self.heard, self.index.settings[a], self.now) for a in (ONE, OTHER)]

    def rate(self) -> float:
        found, _ = self.found()
        assert found is not None
        return found


def asking(
    tmp: Path,
    rates: tuple[float, float],
    deaf: Callable[[float], bool] = lambda now: False,  # noqa: ARG005
    estimate: int | None = None,
) -> Asking:
    steer = f"steer: {{queries_per_second: {estimate}}}\n" if estimate else ""
    return Asking(Index.of(setup(tmp, policy(letters=1, more=steer))), rates, deaf)


@pytest.mark.parametrize("seconds", [5.0, 30.0, 300.0])
def test_the_rate_is_right_from_the_first_seconds_on(tmp_path: Path, seconds: float) -> None:
    sim = asking(tmp_path, (250, 0)).run(seconds)
    assert sim.found() == [pytest.approx(250, rel=0.02), 0], "heard of one, the other is silent"


def test_the_rate_is_right_as_soon_however_late_anybody_began_to_listen(tmp_path: Path) -> None:
    sim = asking(tmp_path, (250, 0), lambda now: now < 1500)
    sim.run(505)
    assert sim.found()[0] == pytest.approx(250, rel=0.05), "of 5 s, not of 505"


@pytest.mark.parametrize("gap", [4.0, 20.0, 120.0, 550.0])
def test_while_nobody_listens_the_estimate_stands(tmp_path: Path, gap: float) -> None:
    sim = asking(tmp_path, (250, 50), lambda now: 1200 < now <= 1200 + gap)
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
    sim = asking(tmp_path, (250, 0), lambda now: 1200 < now <= 1500)
    sim.run(500)
    sim.rates = (25, 0)
    sim.run(5)
    assert sim.rate() < 50, "what was heard before the gap weighs little after it"
    sim.run(60)
    assert sim.found()[0] == pytest.approx(25, rel=0.05)


def test_after_ten_deaf_minutes_nothing_is_known(tmp_path: Path) -> None:
    sim = asking(tmp_path, (250, 0), lambda now: now > 1100, estimate=80)
    sim.run(100)
    assert sim.found()[0] == pytest.approx(250, rel=0.02)
    sim.run(STALE - 1)
    assert sim.found()[0] == pytest.approx(250, rel=0.02)
    sim.run(3)
    assert sim.found() == [40, 40], "the policy's estimate, over its addresses"


def test_falling_demand_is_seen_within_minutes(tmp_path: Path) -> None:
    sim = asking(tmp_path, (250, 0)).run(200)
    sim.rates = (10, 0)
    sim.run(180)
    assert 10 < sim.rate() < 25


def test_the_pauses_of_a_quiet_host_are_listened_to(tmp_path: Path) -> None:
    sim = asking(tmp_path, (0.05, 0)).run(1200)
    assert sim.found()[0] == pytest.approx(0.05, rel=0.6), "one query every 20 s"


def test_another_server_behind_an_address_is_asked_as_much_as_the_one_before(
    tmp_path: Path,
) -> None:
    sim = asking(tmp_path, (250, 0)).run(100)
    before, draft = sim.found(), sim.draft()
    draft.traffic.to_write((ONE, LOCAL)).forget()
    sim.heard = draft.done()
    assert sim.found() == before


@dataclass
class Heeding(Simulation):
    """The whole engine, that hears the same of every second."""

    item: Heard | None = None

    def traffic(self, seconds: float) -> tuple[Heard, ...]:
        if self.item is None:
            return ()
        answers = round(self.item.answers * seconds)
        counts = {outcome: round(n * seconds) for outcome, n in self.item.counts.items()}
        return (replace(self.item, at=self.now - seconds, answers=answers, counts=counts),)


FAILURE = Failure(
    name="a.gtld.",
    outcome=Outcome.BAD_SIGNATURE,
    evidence=Evidence(owner="a.gtld.", rdtype="A", detail="is no signature of this key"),
)


@pytest.mark.parametrize(
    ("item", "rate"),
    [
        (Heard(address=ONE, path="local", at=0.0, answers=100), 100),
        (Heard(address=ONE, path="pao", at=0.0, answers=100), 100),
        (Heard(address=ONE, path="local", at=0.0, counts={Outcome.TIMEOUT: 100}), 100),
        (Heard(address=ONE, path="local", at=0.0, disproved=(FAILURE,)), None),
    ],
    ids=["answers", "by-a-detour", "losses", "a-second-look"],
)
def test_answers_and_losses_are_queries_and_a_second_look_is_none(
    tmp_path: Path, item: Heard, rate: float | None
) -> None:
    sim = Heeding(setup(tmp_path, policy(letters=1)), lambda ask: Outcome.SECURE)  # noqa: ARG005
    sim.item = item
    sim.run(10)
    found = demand(sim.state.ledger, sim.index.settings[ONE], sim.now)
    assert found == (None if rate is None else pytest.approx(rate, rel=0.05))


def test_nothing_heard_is_the_estimate_or_nothing_known(tmp_path: Path) -> None:
    assert asking(tmp_path, (0, 0)).found() == [None, None]
    assert asking(tmp_path, (0, 0), estimate=80).found() == [40, 40]
