"""Explain: every rule with its numbers, and what would give another answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from random_facts import ADDRESSES, INDEX, turns
from simulation import CONFIG, Ask, Simulation, policy, setup

from steering.decide.messages.explain import Considered, Explanation, explain
from steering.decide.rules import RULES
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.model import Outcome
from steering.override import Action, Match, Override

FAULT, HEALED = 1020.0, 1060.0
GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED
ONE = "192.5.1.30"


def bad_here(ask: Ask) -> Outcome:
    return EXPIRED if ask.local and FAULT <= ask.now < HEALED else GOOD


def told(sim: Simulation, address: str = ONE) -> Explanation:
    found = explain(sim.state, address)
    assert found is not None
    return found


def rule(found: Explanation, name: str) -> Considered:
    (one,) = [c for c in found.rules if c.rule.name == name]
    return one


def deciding(found: Explanation) -> Considered:
    (one,) = [c for c in found.rules if c.decides]
    return one


def test_a_healthy_address_says_what_it_would_take_to_move_it(tmp_path: Path) -> None:
    found = told(Simulation(setup(tmp_path), bad_here).run(15))
    assert deciding(found).rule.name == "healthy"
    assert (
        deciding(found).numbers == "local path healthy; 0 of 6 addresses of its group are breached"
    )
    assert "a trial that reaches +12" in deciding(found).otherwise
    assert [c.rule.number for c in found.rules] == list(range(1, 11))
    assert found.path == "local"
    assert rule(found, "steer").otherwise == "a proven site"


def test_a_path_that_was_never_asked_is_not_said_to_answer_badly(tmp_path: Path) -> None:
    found = told(Simulation(setup(tmp_path), bad_here).run(0.2))
    assert rule(found, "steer").numbers.endswith(
        "pao unknown, not measured yet, fra unknown, not measured yet"
    )


def test_a_suspect_on_trial_shows_its_score(tmp_path: Path) -> None:
    alone = policy(more="steer: {together: address}\n")
    sim = Simulation(setup(tmp_path, alone), bad_here).run(15)

    def tried() -> list[str]:
        known = sim.state.ledger.addresses.items()
        return [address for address, of in known if of.trial and of.trial.score > 2]

    sim.until(lambda: bool(tried()), limit=10)
    found = told(sim, tried()[0])
    assert deciding(found).rule.name == "unproven"
    assert "on trial (+" in deciding(found).numbers
    assert "that reaches +12 (now +" in deciding(found).otherwise


def test_a_steered_one_shows_why_and_how_long_the_way_home_is(tmp_path: Path) -> None:
    found = told(Simulation(setup(tmp_path), bad_here).run(30))
    assert deciding(found).rule.name == "steer"
    assert "best: fra; proven: " in deciding(found).numbers
    home = rule(found, "healthy")
    assert not home.applies
    assert "30 more clean answers" in home.otherwise
    assert "breach number 1" in home.otherwise


def test_an_override_is_named_with_who_why_and_until_when(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), bad_here).run(10)
    sim.overrides = (
        Override(
            name="migration",
            match=Match(upstream="gtld"),
            action=Action.STEER,
            to="pao",
            until=sim.state.wall + 7200,
            reason="ticket 4711",
            by="noc",
        ),
    )
    sim.turn()
    found = told(sim)
    assert deciding(found).rule.name == "override"
    said = "migration: steer to pao, by noc: ticket 4711 (active, decides)"
    assert said in deciding(found).numbers
    assert "the end of the override migration in 2 h" in deciding(found).otherwise
    assert rule(found, "healthy").applies, "it would say so if no rule before it did"


def test_an_override_that_leaves_no_site_is_named(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, policy(more="steer: {to: [pao]}\n")), bad_here).run(30)
    sim.overrides = tuple(
        Override(
            name=name,
            match=Match(nameserver=server),
            action=Action.AVOID,
            to="pao",
            until=None,
            reason="ticket 4711",
            by="noc",
        )
        for name, server in (("here", "b.gtld.example."), ("there", "a.gtld.example."))
    )
    sim.run(3)
    ((_, step),) = [(at, one) for at, one in sim.steps if one.address == ONE and not one.now]
    assert step.rule == "override"
    assert step.because.startswith("here: avoid pao, by noc: ticket 4711")
    assert step.because.endswith("; no other site is available now")


def test_one_that_waits_for_the_budget_shows_the_numbers(tmp_path: Path) -> None:
    config = CONFIG + "budget: {at_once: 2}\n"
    to_first = policy(more="steer: {to: [pao]}\n")
    sim = Simulation(setup(tmp_path, to_first, config=config), bad_here).run(30)
    found = told(sim, "192.5.2.30")
    assert deciding(found).rule.name == "budget"
    assert deciding(found).numbers == "waits: 2 addresses are steered (at_once: 2)"


def test_clock_and_self_show_whose_evidence(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda ask: EXPIRED if ask.now >= FAULT else GOOD).run(120)
    found = told(sim)
    assert deciding(found).rule.name == "clock"
    assert "most answers of gtld have signatures that are expired" in deciding(found).numbers
    texts = [policy(name, net=net) for name, net in (("one", 5), ("two", 6))]
    us = Simulation(setup(tmp_path, *texts), bad_here).run(40)
    found = told(us)
    assert deciding(found).rule.name == "self"
    assert deciding(found).numbers == (
        "2 of 2 unrelated operators failed here within 1 min (one, two): the common cause is most "
        "likely this host or its uplink"
    )


def test_of_an_address_of_no_policy_there_is_nothing_to_explain(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), bad_here)
    assert explain(sim.state, ONE) is None, "no turn yet"
    sim.run(2)
    assert explain(sim.state, "203.0.113.1") is None


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(turns())
def test_whatever_happened_exactly_one_rule_decides_and_all_have_numbers(
    facts: list[tuple[Facts, float]],
) -> None:
    state = State.blank(INDEX, 1000.0, 0.0)
    for one, now in facts:
        state, _, _ = engine.turn(state, one, now)
    for address in ADDRESSES:
        found = explain(state, address)
        assert found is not None
        assert deciding(found).rule.number == state.rule[address]
        assert len(found.rules) == len(RULES)
        assert all(c.numbers and c.otherwise for c in found.rules)
        before = [c for c in found.rules if c.rule.number < deciding(found).rule.number]
        forced = deciding(found).rule.name == "override"
        assert forced or not any(c.applies for c in before)


@pytest.mark.parametrize("name", [r.name for r in RULES])
def test_the_words_of_every_rule_fit_on_a_page(tmp_path: Path, name: str) -> None:
    found = told(Simulation(setup(tmp_path), bad_here).run(30))
    assert len(rule(found, name).numbers) < 400
