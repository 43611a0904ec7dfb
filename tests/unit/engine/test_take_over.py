"""What a new agent makes of what it finds installed: no more than is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulation import CONFIG, WALL, Ask, Simulation, policy, setup

from steering.decide.state import State
from steering.engine.engine import turn
from steering.facts import Facts, Memory
from steering.index import Index
from steering.model import Evidence, Failure, Heard, Outcome
from steering.override import Action, Match, Override

GOOD, EXPIRED, TIMEOUT = Outcome.SECURE, Outcome.EXPIRED, Outcome.TIMEOUT


def _steer(nameserver: str, to: str) -> Override:
    return Override(
        name=f"{nameserver[0]}-{to}",
        match=Match(nameserver=nameserver),
        action=Action.STEER,
        to=to,
        until=None,
        reason="maintenance",
        by="noc",
    )


def test_what_men_steer_is_no_breach_after_a_restart(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, policy(letters=3)), lambda ask: GOOD)  # noqa: ARG005
    sim.overrides = (_steer("a.gtld.example.", "fra"), _steer("b.gtld.example.", "fra"))
    sim.run(8)
    before = dict(sim.installed)
    assert len(before) == 4
    steps = len(sim.steps)
    sim.restart()
    sim.run(8)
    assert sim.installed == before
    assert len(sim.steps) == steps, "nobody moves along with them"


@pytest.mark.parametrize("restart", [False, True])
def test_faults_that_were_far_apart_do_not_become_one_by_a_restart(
    tmp_path: Path, restart: bool
) -> None:
    def answer(ask: Ask) -> Outcome:
        first = ask.address.startswith(("192.5.", "2001:db8:5:"))
        if ask.local and ask.now > (1005 if first else 1075):
            return EXPIRED
        return TIMEOUT if ask.path == "fra" and ask.now > 1130 else GOOD

    text = policy("p0", net=5, letters=1), policy("p1", net=6, letters=1)
    sim = Simulation(setup(tmp_path, *text), answer).run(120)
    assert set(sim.installed.values()) == {"fra"}
    if restart:
        sim.restart()
    sim.run(60)
    assert "self" not in sim.state.alarms
    assert set(sim.installed.values()) == {"pao"}, "who is on a dead detour takes another"


def test_what_was_frozen_on_a_detour_comes_home_by_a_recovery_alone(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and ask.now < 1025 else GOOD

    recover = "recover: {hold: 10s, max_hold: 60s, clean: 200}\n"
    sim = Simulation(setup(tmp_path, policy(letters=1, more=recover)), answer)
    sim.run(10)
    assert len(sim.installed) == 2
    freeze = replace(_steer("a.gtld.example.", "pao"), action=Action.FREEZE, to=None)
    sim.overrides = (freeze,)
    sim.run(20)
    sim.restart()
    sim.run(5)
    sim.overrides = ()
    sim.run(2)
    assert len(sim.installed) == 2, "a few good answers are no recovery"


def test_a_detour_that_the_policy_no_longer_allows_is_not_taken_over(tmp_path: Path) -> None:
    text = policy(letters=1, more="steer: {to: [pao]}\n")
    sim = Simulation(setup(tmp_path, text), lambda ask: GOOD)  # noqa: ARG005
    address = sim.addresses()[0]
    sim.installed = {address: "fra"}
    sim.run(2)
    assert not sim.installed
    ((_, told),) = sim.told("released")
    assert (told.address, told.was, told.now) == (address, "fra", "local")
    assert "does not use site fra" in told.because


class Planted(Simulation):
    """Somebody makes the resolvers ask for names that fail."""

    victim = ""
    planted = 0

    def traffic(self, seconds: float) -> tuple[Heard, ...]:  # noqa: ARG002
        if not self.victim or self.planted >= 12:
            return ()
        self.planted += 1
        name = f"planted{self.planted}.gtld."
        evidence = Evidence(owner=name, rdtype="A", detail="signature expired")
        failure = Failure(name=name, outcome=EXPIRED, evidence=evidence)
        return (
            Heard(
                address=self.victim,
                path="local",
                at=self.now,
                answers=1,
                counts={EXPIRED: 1},
                failures=(failure,),
            ),
        )


def test_the_first_one_home_is_not_sent_away_by_what_others_ask(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and 1005 < ask.now < 1030 else GOOD

    sim = Planted(setup(tmp_path, policy(letters=3)), answer)
    sim.overrides = (_steer("c.gtld.example.", "pao"),)
    sim.until(lambda: any(p.path == "local" for p in sim.state.verifications.values()), limit=120)
    sim.victim = next(a for a, p in sim.state.verifications.items() if p.path == "local")
    sim.run(30)
    assert sim.planted == 12
    assert sim.told("suspected")
    assert not sim.told("relapsed")
    assert sim.victim not in sim.installed


def test_a_restart_while_a_group_goes_home_sends_nobody_away_again(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and 1005 < ask.now < 1030 else GOOD

    sim = Simulation(setup(tmp_path, policy(letters=3)), answer).run(30)
    assert len(sim.installed) == 6
    sim.until(lambda: len(sim.installed) < 6, limit=120)
    assert len(sim.installed) > 3, "most are away still"
    moves = len(sim.moves())
    sim.restart()
    sim.run(120)
    assert len(sim.moves()) == moves
    assert not sim.installed


def test_a_group_that_is_bad_still_stays_together_over_a_restart(tmp_path: Path) -> None:
    well = "192.5.2.30"

    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.local and ask.now > 1005 and ask.address != well else GOOD

    sim = Simulation(setup(tmp_path, policy(letters=3)), answer).run(30)
    assert well in sim.installed, "it went along"
    before = dict(sim.installed)
    sim.restart()
    sim.run(120)
    assert sim.health(well).word == "healthy"
    assert sim.installed == before


def test_what_was_found_installed_is_not_proved_anew(tmp_path: Path) -> None:
    """What becomes of it is for the rules: a detour that goes bad is left for a better one."""

    def answer(ask: Ask) -> Outcome:
        there = ask.path == "fra" and ask.now > 1040
        return EXPIRED if there or (ask.local and ask.now > 1005) else GOOD

    sim = Simulation(setup(tmp_path, policy(letters=1)), answer).run(30)
    assert set(sim.installed.values()) == {"fra"}
    proved = len(sim.told("proved"))
    sim.restart()
    sim.run(8)
    assert len(sim.told("proved")) == proved
    sim.run(60)
    assert not sim.told("undone")
    assert set(sim.installed.values()) == {"pao"}


def test_an_agent_that_does_not_act_releases_once_and_recalls_once(tmp_path: Path) -> None:
    index = Index.of(setup(tmp_path, policy(letters=1), config=CONFIG + "mode: rehearse\n"))
    one, *_ = index.settings
    facts = Facts(wall=WALL, installed={one: "pao"}, memory=Memory(at=WALL, worn={one: 3.0}))
    state, _, events = turn(State.blank(index, 5.0, WALL), facts, 5.0)
    assert [(e.event, e.address, e.was, e.now) for e in events if e.event == "released"] == [
        ("released", one, "pao", "local")
    ]
    assert state.started
    assert state.worn == {one: 3.0}
    _, _, again = turn(replace(state, worn={}), replace(facts, memory=None), 6.0)
    assert "released" not in {event.event for event in again}


def test_of_what_is_installed_that_is_taken_over_which_policy_or_override_wants(
    tmp_path: Path,
) -> None:
    text = policy(letters=2, more="steer: {to: [pao]}\n")
    index = Index.of(setup(tmp_path, text))
    first, second, third, _ = index.settings
    installed = {first: "pao", second: "fra", third: "mars", "192.0.2.1": "pao"}
    facts = Facts(wall=WALL, installed=installed)
    state, _, events = turn(State.blank(index, 5.0, WALL), facts, 5.0)
    assert state.plan == {first: "pao"}
    told = {(event.event, event.address) for event in events}
    assert {("adopted", first), ("released", second)} <= told
    assert not {a for name, a in told if name == "released"} - {second}, "no policy names these"
    assert state.verifications[first].proved
    order = replace(_steer("a.gtld.example.", "fra"), match=Match(address=second))
    state, _, events = turn(State.blank(index, 5.0, WALL), replace(facts, overrides=(order,)), 5.0)
    assert state.plan == {first: "pao", second: "fra"}
    assert state.ledger.held == {first}, "what an override sent has no breach"
