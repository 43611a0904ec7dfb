"""Scenarios: a timeline in, what the engine did out."""

from __future__ import annotations

from pathlib import Path

from simulation import Simulation, policy, setup

from steering.model import LOCAL, Family, Outcome

FAULT = 1020.0


def test_all_signatures_expired_here_moves_both_families_in_one_plan(tmp_path: Path) -> None:
    def answer(address: str, path: str, name: str, now: float) -> Outcome:
        bad = path == LOCAL and FAULT <= now < FAULT + 60
        return Outcome.EXPIRED if bad else Outcome.SECURE

    sim = Simulation(setup(tmp_path, policy(letters=13)), answer).run(140)
    moves = [(at, s) for at, s in sim.steps if s.now]
    assert {s.address for _, s in moves} == set(sim.addresses())
    assert len({at for at, _ in moves}) == 1
    assert moves[0][0] - FAULT <= 5
    assert {s.now for _, s in moves} == {"fra"}  # same order, same RTT: by name
    back = [(at, s) for at, s in sim.steps if not s.now]
    assert {s.address for _, s in back} == set(sim.addresses())
    assert all(at >= FAULT + 60 for at, _ in back)
    assert max(at for at, _ in back) <= FAULT + 60 + 5
    assert not sim.installed
