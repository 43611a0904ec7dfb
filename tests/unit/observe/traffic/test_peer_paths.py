"""Who may be compared with: a path that is asked, and whose last answer was good."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from simulation import Ask, Simulation, policy, setup

from steering.facts import Facts
from steering.judge.probes.peer_paths import candidates, is_standing
from steering.model import Outcome, Round


def test_one_lost_answer_makes_no_candidate_of_a_path_that_one_may_stay_on(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        lost = ask.path == "pao" and ask.now > 1020
        return Outcome.TIMEOUT if lost else Outcome.SECURE

    sim = Simulation(setup(tmp_path, policy(letters=1)), answer)
    sim.run(20)
    for address in sim.addresses():
        assert candidates(sim.state.ledger, sim.index, address, sim.now) == ("pao", "fra")
    first = sim.addresses()[0]
    sim.until(lambda: not sim.state.ledger.path(first, "pao").run, 5)
    for path in ("pao", "fra"):
        assert is_standing(sim.state.ledger, sim.index, first, path, sim.now)
    assert candidates(sim.state.ledger, sim.index, first, sim.now) == ("fra",)


class Unasked(Simulation):
    """No question gets out over the first of the sites."""

    def facts(self, rounds: Iterable[Round]) -> Facts:
        first = self.index.paths[1]
        return super().facts(
            replace(one, observations=tuple(o for o in one.observations if o.path != first))
            for one in rounds
        )


def test_a_site_of_which_nothing_is_seen_keeps_nobody_from_being_compared(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return Outcome.EXPIRED if ask.local and ask.now > 1020 else Outcome.SECURE

    apart = policy(letters=1, more="steer: {together: address}\n")  # and no group on trial
    sim = Unasked(setup(tmp_path, apart), answer).run(60)
    assert set(sim.installed.values()) == {sim.index.paths[2]}
    assert len(sim.installed) == 2
