"""A group shows together what none of its addresses shows yet."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from simulation import Ask, Simulation, policy, setup

from steering.decide.fast_probing import AT_ONCE, attention
from steering.model import LOCAL, Health, Outcome

FAULT = 1020.0


def _share(name: str) -> float:
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def test_a_share_too_small_for_one_address_moves_the_group_in_seconds(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        bad = ask.path == LOCAL and ask.now >= FAULT and _share(ask.name) < 0.13
        return Outcome.EXPIRED if bad else Outcome.SECURE

    sim = Simulation(setup(tmp_path, policy(letters=13)), answer).run(30)
    moves = [(at, step.address) for at, step in sim.steps if step.now]
    assert {address for _, address in moves} == set(sim.addresses())
    assert len({at for at, _ in moves}) == 1
    assert moves[0][0] - FAULT <= 5
    said = [event.because for _, event in sim.told("confirmed")]
    assert said
    for because in said:
        assert re.match(
            r"\d+ of the 26 addresses of its group were bad here and good over pao: \+\d+ after",
            because,
        ), "what convicted it comes first"
        assert " 0.0%" not in because


def test_one_ill_letter_is_no_reason_to_convict_the_herd(tmp_path: Path) -> None:
    ill = "192.5.3.30"

    def answer(ask: Ask) -> Outcome:
        bad = ask.path == LOCAL and ask.address == ill and ask.now >= FAULT
        return Outcome.EXPIRED if bad else Outcome.SECURE

    sim = Simulation(setup(tmp_path, policy(letters=13)), answer).run(60)
    assert {step.address for _, step in sim.steps} == {ill}
    assert all(sim.health(a) is Health.HEALTHY for a in sim.addresses() if a != ill)


@pytest.mark.long
def test_a_share_that_is_the_same_everywhere_convicts_nobody(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        bad = ask.now >= FAULT and _share(ask.name) < 0.13
        return Outcome.EXPIRED if bad else Outcome.SECURE

    sim = Simulation(setup(tmp_path, policy(letters=13)), answer).run(80)
    assert not sim.steps
    assert not sim.told("confirmed")


def test_without_pairs_a_herds_trial_ends_and_the_questions_slow_down(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if ask.path != LOCAL and ask.now >= FAULT + 1.5:
            return Outcome.LOCAL_ERROR
        bad = ask.path == LOCAL and FAULT <= ask.now < FAULT + 1.5 and _share(ask.name) < 0.1
        return Outcome.EXPIRED if bad else Outcome.SECURE

    sim = Simulation(setup(tmp_path, policy(letters=13)), answer).run(110)
    assert not any(group.trial for group in sim.state.ledger.groups.values())
    assert not sim.steps
    assert not attention(sim.state)


@pytest.mark.long
def test_more_addresses_than_can_be_asked_fast_wait_their_turn(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return Outcome.EXPIRED if ask.path == LOCAL and ask.now >= FAULT else Outcome.SECURE

    one = "operator: {name: one}\n"
    texts = [policy(name=f"u{n}", net=n, letters=26, more=one) for n in range(1, 6)]
    policies = [
        text.replace("upstream:", "steer: {together: address}\nupstream:") for text in texts
    ]
    sim = Simulation(setup(tmp_path, *policies), answer)
    sample = {address for address, each in sim.index.settings.items() if each.sampled}
    assert len(sim.index.targets) > AT_ONCE + len(sample)
    most = 0
    for _ in range(100):
        sim.run(0.5)
        fast = {a for a, wanted in attention(sim.state).items() if not wanted.every}
        most = max(most, len(fast))
    assert AT_ONCE <= most <= AT_ONCE + len(sample)
    assert Health.HEALTHY not in {sim.health(address) for address in sim.addresses()}
