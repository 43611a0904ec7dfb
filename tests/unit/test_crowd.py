"""What several operators show at once is our own fault; what one of them breaks is his."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation import Ask, Simulation, policy, setup

from steering.model import LOCAL, Outcome

FAULT = 1020.0


def _sim(tmp: Path, fault_of: dict[str, float], *, operators: tuple[str, str]) -> Simulation:
    """Two upstreams, each bad on the local path from its own instant on."""

    def answer(ask: Ask) -> Outcome:
        net = ask.address.split(".")[1] if "." in ask.address else ask.address.split(":")[2]
        bad = ask.path == LOCAL and ask.now >= fault_of.get(net, 1e9)
        return Outcome.EXPIRED if bad else Outcome.SECURE

    texts = [
        policy(name=name, net=net, letters=4) + f"operator: {{name: {operator}}}\n"
        for name, net, operator in (("one", 5, operators[0]), ("two", 6, operators[1]))
    ]
    return Simulation(setup(tmp, *texts), answer)


def test_two_operators_bad_at_once_are_ourselves(tmp_path: Path) -> None:
    sim = _sim(tmp_path, {"5": FAULT, "6": FAULT}, operators=("Foo", "Bar")).run(60)
    assert not sim.steps
    assert "self" in sim.world.alarms
    assert {sim.rule(a) for a in sim.addresses()} == {4}


@pytest.mark.parametrize("late", [0.5, 1.0])
def test_who_falls_ill_a_little_earlier_is_not_moved_before_the_other_is_heard(
    tmp_path: Path, late: float
) -> None:
    sim = _sim(tmp_path, {"5": FAULT, "6": FAULT + late}, operators=("Foo", "Bar")).run(60)
    assert not sim.steps


def test_one_operator_alone_is_moved_in_seconds(tmp_path: Path) -> None:
    sim = _sim(tmp_path, {"5": FAULT}, operators=("Foo", "Bar")).run(40)
    moves = [(at, step.address) for at, step in sim.steps if step.now]
    assert len(moves) == 8
    assert max(at for at, _ in moves) - FAULT <= 5
    assert "self" not in sim.world.alarms


def test_two_faults_an_hour_apart_are_two_faults(tmp_path: Path) -> None:
    sim = _sim(tmp_path, {"5": FAULT, "6": FAULT + 90}, operators=("Foo", "Bar")).run(130)
    assert set(sim.installed) == set(sim.addresses())


def test_two_upstreams_of_one_operator_are_not_a_crowd(tmp_path: Path) -> None:
    sim = _sim(tmp_path, {"5": FAULT, "6": FAULT}, operators=("Foo", "Foo")).run(40)
    assert set(sim.installed) == set(sim.addresses())
