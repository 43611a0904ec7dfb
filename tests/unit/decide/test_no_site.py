"""Who is left on a bad path has the sites asked fast, also while nothing shows that it is bad."""

from __future__ import annotations

from pathlib import Path

from simulation import Ask, Simulation, policy, setup

from steering.decide.moves.no_site import nowhere
from steering.model import Outcome

WELL = "192.5.2.30"


def test_the_sites_are_asked_fast_for_who_fails_as_long_as_he_does(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if not ask.local:
            return Outcome.TIMEOUT if ask.now > 1060 else Outcome.SECURE
        bad = ask.now > 1005 and ask.address != WELL and ask.unlucky(0.5)
        return Outcome.EXPIRED if bad else Outcome.SECURE

    sim = Simulation(setup(tmp_path, policy(letters=3)), answer).run(55)
    assert sim.installed.keys() == set(sim.addresses())
    sim.until(lambda: not sim.installed, 60)
    sim.run(5)
    situation = sim.state.situation
    assert situation is not None
    known = situation.addresses
    assert not any(one.breached for one in known.values()), "too little was asked just now to go by"
    assert list(nowhere(sim.state)) == [address for address, one in known.items() if one.own]
    assert len(nowhere(sim.state)) == 5, "all but the one that is well"
