"""What several operators show at once is our own fault; what one of them breaks is his."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulation import CONFIG, Ask, Shown, Simulation, policy, setup

from steering.decide.messages.reasons import because
from steering.engine import engine
from steering.facts import Facts
from steering.journal.records import pack_state, unpack_state
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
    assert "self" in sim.state.alarms
    assert {sim.rule(a) for a in sim.addresses()} == {4}


def test_a_state_that_was_written_down_knows_whose_fault_it_was(tmp_path: Path) -> None:
    """The first start is old by then: only who was among them stays one of them."""
    sim = _sim(tmp_path, {"5": FAULT, "6": FAULT}, operators=("Foo", "Bar")).run(60)
    read = replace(unpack_state(pack_state(sim.state), sim.state.index), alarms=sim.state.alarms)
    assert read.situation is None
    assert read.common_causes == sim.state.common_causes
    now = sim.now + 0.1
    facts = Facts(wall=sim.state.wall + 0.1)
    went_on, again = (engine.turn(state, facts, now) for state in (sim.state, read))
    assert went_on[1:] == again[1:]
    assert again[0].situation is not None
    assert again[0].situation.common_causes == sim.state.common_causes
    assert any(sim.state.common_causes.values())


@pytest.mark.parametrize("late", [0.5, 1.0])
def test_who_falls_ill_a_little_earlier_is_not_moved_before_the_other_is_heard(
    tmp_path: Path, late: float
) -> None:
    sim = _sim(tmp_path, {"5": FAULT, "6": FAULT + late}, operators=("Foo", "Bar")).run(60)
    assert not sim.steps


@pytest.mark.parametrize(("bad", "doubted"), [(1, False), (2, False), (3, True)])
def test_three_of_seven_operators_bad_within_a_minute_are_ourselves(
    tmp_path: Path, bad: int, doubted: bool
) -> None:
    def answer(ask: Ask) -> Outcome:
        net = int(ask.address.split(".")[1] if "." in ask.address else ask.address.split(":")[2])
        ill = ask.local and net <= bad and ask.now >= FAULT + net / 4
        return Outcome.EXPIRED if ill else Outcome.SECURE

    texts = [policy(f"u{net}", letters=2, net=net) for net in range(1, 8)]
    sim = Simulation(setup(tmp_path, *texts), answer).run(60)
    assert ("self" in sim.state.alarms) is doubted
    assert len(sim.installed) == (0 if doubted else 4 * bad)
    if doubted:
        why = sim.state.alarms["self"].because
        assert "3 of 7 unrelated operators failed here within 1 min (u1, u2, u3)" in why


def test_right_after_the_start_nobody_moves_before_every_operator_was_heard(
    tmp_path: Path,
) -> None:
    slow = CONFIG.replace("interval: 1s, fast_interval: 100ms", "interval: 60s, fast_interval: 1s")
    mute = {"192.6.0.30", "2001:db8:6::30"}

    def answer(ask: Ask) -> Outcome | Shown:
        if ask.address in mute and ask.now < 1150:
            return Shown(outcome=Outcome.NO_KEY, judged=False)  # no key set to be had yet
        return Outcome.EXPIRED if ask.local and ask.address not in mute else Outcome.SECURE

    texts = [policy("one", net=5, letters=1), policy("two", net=6, letters=1)]
    sim = Simulation(setup(tmp_path, *texts, config=slow), answer, idle=5.0)
    sim.until(lambda: bool(sim.told("confirmed")), limit=140)
    sim.run(1149 - sim.now)
    assert not sim.steps
    assert "waiting for probes of the other operators" in because(sim.state, sim.addresses()[0])
    took = sim.until(lambda: len(sim.installed) == 2, limit=70)
    assert took > 1


def test_one_operator_alone_is_moved_in_seconds(tmp_path: Path) -> None:
    sim = _sim(tmp_path, {"5": FAULT}, operators=("Foo", "Bar")).run(40)
    moves = [(at, step.address) for at, step in sim.steps if step.now]
    assert len(moves) == 8
    assert max(at for at, _ in moves) - FAULT <= 5
    assert "self" not in sim.state.alarms


def test_two_faults_an_hour_apart_are_two_faults(tmp_path: Path) -> None:
    sim = _sim(tmp_path, {"5": FAULT, "6": FAULT + 90}, operators=("Foo", "Bar")).run(130)
    assert set(sim.installed) == set(sim.addresses())


def test_two_upstreams_of_one_operator_are_not_a_crowd(tmp_path: Path) -> None:
    sim = _sim(tmp_path, {"5": FAULT, "6": FAULT}, operators=("Foo", "Foo")).run(40)
    assert set(sim.installed) == set(sim.addresses())
