"""Who may be compared with: a path whose last answer was good."""

from __future__ import annotations

from pathlib import Path

from simulation import Ask, Simulation, policy, setup

from steering.judge.compare import candidates, standing
from steering.model import Outcome


def test_one_lost_answer_makes_no_candidate_of_a_path_that_one_may_stay_on(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        lost = ask.path == "pao" and ask.now > 1020
        return Outcome.TIMEOUT if lost else Outcome.SECURE

    sim = Simulation(setup(tmp_path, policy(letters=1)), answer)
    pao, fra = sim.layout.column["pao"], sim.layout.column["fra"]
    sim.run(20)
    assert candidates(sim.world.ledger, sim.layout, sim.now)[:, [pao, fra]].all()
    sim.until(lambda: not sim.world.ledger.run[0, pao], 5)
    now = sim.world.ledger, sim.layout, sim.now
    assert standing(*now)[0, [pao, fra]].tolist() == [True, True]
    assert candidates(*now)[0, [pao, fra]].tolist() == [False, True]
