"""The way home: one address first, and the rest when that one does well."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulation import Answer, Ask, Simulation, policy, setup

from steering.decide.verification import allowance
from steering.model import Outcome

FAULT, HEALED = 1020.0, 1060.0
LETTERS = 5
ALL = 2 * LETTERS
GOOD, EXPIRED, TIMEOUT = Outcome.SECURE, Outcome.EXPIRED, Outcome.TIMEOUT


def _story(live: Answer = lambda _: GOOD) -> Answer:
    """Bad here until it is healed, as far as marked probes show; `live` says what traffic gets."""

    def answer(ask: Ask) -> Outcome:
        if ask.local and FAULT <= ask.now < HEALED:
            return EXPIRED
        if ask.local and ask.live and ask.now >= HEALED:
            shown = live(ask)
            assert isinstance(shown, Outcome)
            return shown
        return GOOD

    return answer


def _sim(tmp: Path, answer: Answer, more: str = "") -> Simulation:
    return Simulation(setup(tmp, policy(letters=LETTERS, more=more)), answer)


def test_one_address_goes_home_first_and_the_rest_when_it_did_well(tmp_path: Path) -> None:
    sim = _sim(tmp_path, _story()).run(100)
    home = [(at, s.address) for at, s in sim.steps if s.now is None]
    first = [address for at, address in home if at == home[0][0]]
    assert len(first) == 1
    rest = [at for at, _ in home[1:]]
    assert len(rest) == ALL - 1
    assert len(set(rest)) == 1
    watched = rest[0] - home[0][0]
    assert 0.4 <= watched <= allowance(0.1, 1.0) + 0.2
    proved = [e for _, e in sim.told("proved") if e.path == "local"]
    assert [e.address for e in proved] == first
    assert {e.rule for _, e in sim.told("held")} == {"budget"}
    assert not sim.state.verifications, "nobody is watched any more"


@pytest.mark.long
def test_when_the_first_one_does_badly_it_returns_at_once_and_the_rest_never_left(
    tmp_path: Path,
) -> None:
    sim = _sim(tmp_path, _story(lambda ask: TIMEOUT if ask.now < 1120 else GOOD))
    sim.until(lambda: bool(sim.told("relapsed")), limit=100)
    first = sim.told("relapsed")[0][1].address
    home = [at for at, s in sim.steps if s.now is None]
    back = [(at, s) for at, s in sim.steps if s.now and at > HEALED]
    assert [s.address for _, s in back] == [first]
    assert back[0][0] - home[0] <= allowance(0.1, 1.0) + 1.5
    assert len(sim.installed) == ALL
    sim.run(8)
    assert [s.address for at, s in sim.steps if at > HEALED] == [first, first]
    sim.until(lambda: not sim.installed, limit=120)
    assert sim.now > 1120


def test_a_relapse_is_a_further_breach_with_a_longer_hold(tmp_path: Path) -> None:
    sim = _sim(tmp_path, _story(lambda ask: TIMEOUT if ask.now < 1100 else GOOD))
    sim.until(lambda: bool(sim.told("relapsed")), limit=100)
    relapsed = sim.now
    holds = [known.hold for known in sim.state.ledger.addresses.values() if known.hold]
    assert {hold.breaches for hold in holds} == {2}
    home = len([s for _, s in sim.steps if s.now is None])
    sim.until(lambda: len([s for _, s in sim.steps if s.now is None]) > home, limit=60)
    assert sim.now - relapsed >= 20  # twice the 10 s of the policy


def test_bad_probes_of_the_first_one_bring_it_back_as_well(tmp_path: Path) -> None:
    sim: Simulation

    def answer(ask: Ask) -> Outcome:
        gone_home = bool(sim.told("released"))
        bad = ask.local and (FAULT <= ask.now < HEALED or (gone_home and not ask.live))
        return EXPIRED if bad else (TIMEOUT if ask.live and gone_home and ask.local else GOOD)

    sim = _sim(tmp_path, answer)
    sim.until(lambda: bool(sim.told("released")), limit=100)
    took = sim.until(lambda: len(sim.installed) == ALL, limit=20)
    assert took < 6


@pytest.mark.long
def test_a_first_one_of_which_nothing_is_shown_keeps_the_rest_waiting(tmp_path: Path) -> None:
    def nothing(ask: Ask) -> Outcome:
        return Outcome.SECURE if ask.now > 1110 else Outcome.LOCAL_ERROR

    sim = _sim(tmp_path, lambda ask: nothing(ask) if ask.live and ask.local else _story()(ask))
    sim.run(1075 - sim.now)
    assert len(sim.installed) in (ALL - 1, ALL)
    sim.run(1110 - sim.now)
    assert len(sim.installed) in (ALL - 1, ALL)
    sim.until(lambda: not sim.installed, limit=30)


def test_without_gradual_all_go_home_in_one_plan(tmp_path: Path) -> None:
    more = "recover: {hold: 10s, max_hold: 60s, clean: 20, gradual: false}\n"
    sim = _sim(tmp_path, _story(), more).run(100)
    home = {at for at, s in sim.steps if s.now is None}
    assert len(home) == 1
    assert not sim.installed


@pytest.mark.parametrize("together", ["nameserver", "address"])
def test_each_group_sends_its_own_first_one(tmp_path: Path, together: str) -> None:
    sim = _sim(tmp_path, _story(), f"steer: {{together: {together}}}\n").run(100)
    home = [at for at, s in sim.steps if s.now is None]
    first = [at for at in home if at < home[0] + 0.35]
    assert len(home) == ALL
    assert len(first) == (LETTERS if together == "nameserver" else ALL)


def test_an_agent_that_dies_while_the_first_one_is_home_starts_the_recovery_over(
    tmp_path: Path,
) -> None:
    sim = _sim(tmp_path, _story())
    sim.until(lambda: bool(sim.told("released")), limit=100)
    assert len(sim.installed) == ALL - 1
    died, steps = sim.now, len(sim.steps)
    sim.restart()
    sim.until(lambda: not sim.installed, limit=30)
    home = [at for at, s in sim.steps[steps:] if s.now is None]
    assert home[0] - died >= 2, "twenty clean answers anew; the hold runs on"
    assert home.count(home[0]) == 1, "what the first one showed is forgotten: again one goes first"
    assert home[1] > home[0] + 0.4


def test_off_while_the_first_one_is_watched_brings_all_home(tmp_path: Path) -> None:
    sim = _sim(tmp_path, _story())
    sim.until(lambda: bool(sim.told("released")), limit=100)
    sim.off = True
    sim.turn()
    assert not sim.installed
    assert not sim.state.verifications
