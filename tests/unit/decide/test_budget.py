"""How much moves at once: rule 9, and who gets which site when one is full."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import CONFIG, Ask, Simulation, policy, setup

from steering.decide.look import look, with_budget
from steering.decide.messages.explain import explain
from steering.decide.rules import decide_one
from steering.decide.situation import Situation
from steering.index import Index
from steering.model import LOCAL, Heard, Outcome
from steering.override import Action, Match, Override

FAULT, HEALED = 1020.0, 1060.0
GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED


def bad_here(ask: Ask) -> Outcome:
    return EXPIRED if ask.local and FAULT <= ask.now < HEALED else GOOD


def capacity(pao: int, fra: int | None = None) -> str:
    """The configuration with so much capacity at each site."""
    text = CONFIG.replace("pao: {", f"pao: {{capacity: {pao}, ")
    return text if fra is None else text.replace("fra: {", f"fra: {{capacity: {fra}, ")


def estimate(queries: int, letters: int = 13, more: str = "") -> str:
    steer = f"steer: {{to: [pao, fra], queries_per_second: {queries}{more}}}\n"
    return policy(letters=letters, more=steer)


class Busy(Simulation):
    """With resolvers that ask each address so many questions a second."""

    rates: dict[str, int]

    def traffic(self, seconds: float) -> tuple[Heard, ...]:
        return tuple(
            Heard(
                address=address,
                path=self.installed.get(address, "local"),
                at=self.now - seconds,
                answers=round(rate * self.now) - round(rate * (self.now - seconds)),
                counts={},
            )
            for address, rate in self.rates.items()
        )


def busy(tmp: Path, text: str, config: str, rates: dict[str, int]) -> Busy:
    sim = Busy(setup(tmp, text, config=config), bad_here)
    sim.rates = rates
    return sim


# --- the defaults hinder nobody ---------------------------------------------------------------


@pytest.mark.long
def test_fifty_two_addresses_of_two_upstreams_go_at_once(tmp_path: Path) -> None:
    texts = [policy("one", letters=13, net=5), policy("two", letters=13, net=6)]
    same = [text + "operator: {name: Foo}\n" for text in texts]
    sim = Simulation(setup(tmp_path, *same), bad_here).run(40)
    assert len(sim.installed) == 52
    assert all(rule == 10 for rule in sim.state.rule.values())
    assert "budget" not in sim.state.alarms


# --- moves a minute ---------------------------------------------------------------------------


@pytest.mark.long
def test_so_many_moves_a_minute_away_and_back_and_the_first_in_order(tmp_path: Path) -> None:
    config = CONFIG + "budget: {moves_per_minute: 4}\n"
    sim = Simulation(setup(tmp_path, policy(letters=5), config=config), bad_here)
    sim.until(lambda: bool(sim.installed), limit=40)
    assert list(sim.installed) == sim.addresses()[:4]
    sim.run(1)
    held = [e for _, e in sim.told("held")]
    assert len(held) == 6
    assert "waits: the 4 moves_per_minute are used up" in held[0].because
    assert "the 4 moves_per_minute" in sim.state.alarms["budget"].because
    sim.run(200)
    moves = sorted(at for at, _ in sim.steps)
    assert all(sum(at <= other < at + 60 for other in moves) <= 4 for at in moves)
    assert not sim.installed


@pytest.mark.long
def test_a_detour_worse_than_home_is_left_whatever_the_budget_says(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if ask.now < FAULT:
            return GOOD
        if ask.local:
            return Outcome.BAD_SIGNATURE if ask.unlucky(0.3) else GOOD
        return Outcome.SERVFAIL if ask.now >= FAULT + 60 else GOOD

    config = CONFIG + "budget: {moves_per_minute: 6}\n"
    sim = Simulation(setup(tmp_path, config=config), answer).run(75)
    assert len(sim.installed) == 6
    sim.until(lambda: not sim.installed, limit=60)
    home = [at for at, s in sim.steps if s.now is None]
    assert home[-1] - home[0] < 50


@pytest.mark.long
def test_what_off_takes_home_spends_no_moves_so_on_sends_all_away_at_once(tmp_path: Path) -> None:
    """25 of 30 a minute went by themselves: over a minute later they are not counted any more."""
    config = CONFIG + "budget: {moves_per_minute: 30}\n"
    sim = Simulation(setup(tmp_path, policy(letters=13), config=config), _bad_here_for_good)
    sim.run(40)
    assert len(sim.installed) == 26
    sim.run(60)
    sim.off = True
    sim.until(lambda: not sim.installed, limit=2)
    assert not sim.state.moves
    sim.off = False
    assert sim.until(lambda: len(sim.installed) == 26, limit=60) <= 2
    assert "budget" not in sim.state.alarms


def test_off_and_on_within_the_minute_leaves_what_was_left_of_it(tmp_path: Path) -> None:
    config = CONFIG + "budget: {moves_per_minute: 40}\n"
    sim = Simulation(setup(tmp_path, policy(letters=13), config=config), _bad_here_for_good)
    sim.until(lambda: len(sim.installed) == 26, limit=40)
    sim.off = True
    sim.until(lambda: not sim.installed, limit=2)
    sim.off = False
    assert sim.until(lambda: len(sim.installed) == 14, limit=60) <= 2
    sim.run(5)
    assert len(sim.installed) == 14, "26 and 14 of the agent's own are all that a minute has"
    assert {e.rule for _, e in sim.told("held")} == {"budget"}


def test_what_overrides_move_away_and_keep_at_home_spends_no_moves(tmp_path: Path) -> None:
    config = CONFIG + "budget: {moves_per_minute: 6}\n"
    sim = Simulation(setup(tmp_path, config=config), _bad_here_for_good)
    sim.run(10)
    for action, to, away in ((Action.STEER, "fra", 6), (Action.LOCAL, None, 0)):
        sim.overrides = (_order(action, to),)
        sim.until(lambda: len(sim.installed) == away, limit=2)  # noqa: B023 - called at once
        assert not sim.state.moves
    sim.run(20)
    assert not sim.installed
    sim.overrides = ()
    assert sim.until(lambda: len(sim.installed) == 6, limit=60) <= 2
    assert sum(number for _, number in sim.state.moves) == 6


def _bad_here_for_good(ask: Ask) -> Outcome:
    return EXPIRED if ask.local and ask.now >= FAULT else GOOD


def _order(action: Action, to: str | None) -> Override:
    return Override(
        name="mine", match=Match(), action=action, to=to, until=None, reason="4711", by="noc"
    )


# --- at once ----------------------------------------------------------------------------------


def test_at_once_is_over_all_upstreams_together(tmp_path: Path) -> None:
    texts = [policy("one", letters=3, net=5), policy("two", letters=3, net=6)]
    same = [text + "operator: {name: Foo}\n" for text in texts]
    config = CONFIG + "budget: {at_once: 8}\n"
    sim = Simulation(setup(tmp_path, *same, config=config), bad_here).run(35)
    assert list(sim.installed) == sim.addresses()[:8]
    assert {e.rule for _, e in sim.told("held")} == {"budget"}
    assert "8 addresses are steered (at_once: 8)" in sim.told("held")[0][1].because


def test_detours_kept_by_another_rule_take_up_their_room(tmp_path: Path) -> None:
    alone = policy(letters=3, more="steer: {together: address, at_most: 2}\n")
    dead = "192.5.2.30"

    def answer(ask: Ask) -> Outcome:
        if ask.address == dead and not ask.local:
            return EXPIRED if ask.now > FAULT + 10 else GOOD
        from_when = FAULT if ask.address == dead else FAULT + 15
        return EXPIRED if ask.local and ask.now > from_when else GOOD

    one_site = CONFIG.replace('  fra: {next_hop: {ipv4: 10.255.2.2, ipv6: "fd00:ff:2::2"}}\n', "")
    sim = Simulation(setup(tmp_path, alone, config=one_site), answer).run(80)
    assert dead in sim.installed, "every path is bad for it: it is kept"
    assert len(sim.installed) == 2


# --- capacity ---------------------------------------------------------------------------------


def test_a_whole_upstream_takes_the_site_that_has_room_for_all_of_it(tmp_path: Path) -> None:
    config = capacity(1000, 2000)
    sim = Simulation(setup(tmp_path, estimate(1300), config=config), bad_here).run(40)
    assert set(sim.installed.values()) == {"fra"}, "pao is liked better, and would be full"
    assert len(sim.installed) == 26


@pytest.mark.long
def test_where_no_site_has_room_for_all_it_is_spread_and_the_rest_waits(tmp_path: Path) -> None:
    config = capacity(1000, 500)  # 800 and 400 may be used, of 1,300 that are needed
    sim = Simulation(setup(tmp_path, estimate(1300), config=config), bad_here).run(40)
    assert Counter(sim.installed.values()) == {"pao": 16, "fra": 8}
    assert list(sim.installed) == sim.addresses()[:24]
    assert sim.rule(sim.addresses()[-1]) == 9
    assert "pao 800 of 800 queries/s, fra 400 of 400 queries/s" in (
        sim.state.alarms["budget"].because
    )
    sim.run(60)
    assert not sim.installed


def test_what_dnstap_shows_spreads_the_load_and_holds_nobody(tmp_path: Path) -> None:
    """Beyond the estimate it may be a lie: each site is full by it, and all six go all the same."""
    text = estimate(10, letters=3)
    rates = {"192.5.0.30": 300, "192.5.1.30": 300, "2001:db8:5::2:30": 300}
    sim = busy(tmp_path, text, capacity(500, 600), rates)
    sim.run(40)
    assert len(sim.installed) == 6
    assert {sim.installed["192.5.0.30"], sim.installed["192.5.1.30"]} == {"pao", "fra"}
    assert "budget" not in sim.state.alarms
    shown = re.search(r"of 400 queries/s \((\d+) by dnstap\)", sim.state.alarms["capacity"].because)
    assert shown
    assert int(shown[1]) == pytest.approx(600, rel=0.05)


@pytest.mark.parametrize("claimed", [10**4, 2**63, 2**200])
@pytest.mark.parametrize("text", [estimate(300, letters=3), policy(letters=3)])
def test_who_claims_any_demand_forbids_no_move(tmp_path: Path, claimed: int, text: str) -> None:
    """For all addresses, or for one: the policy's own estimate fits, or there is none."""
    everybody = list(Index.of(setup(tmp_path, text)).settings)
    for lied in (everybody, everybody[:1]):
        sim = busy(tmp_path, text, capacity(500, 600), dict.fromkeys(lied, claimed))
        sim.until(lambda: len(sim.installed) == 6, limit=40)  # noqa: B023 - called at once
        assert not sim.told("held")
        sim.run(2)
        assert "by dnstap" in sim.state.alarms["capacity"].because


@pytest.mark.parametrize("heard", [{}, {"192.5.0.30": 1}, {"192.5.0.30": 10**6}])
def test_who_claims_little_sends_a_site_no_more_than_the_policy_allows(
    tmp_path: Path, heard: dict[str, int]
) -> None:
    """One answer a second from one address of an upstream makes all of it heard of."""
    text = estimate(1300)
    sim = busy(tmp_path, text, capacity(1000, 500), heard)
    sim.until(lambda: len(sim.installed) == 24, limit=40)
    sim.run(1)
    assert Counter(sim.installed.values()) == {"pao": 16, "fra": 8}


def test_without_dnstap_or_estimate_capacity_is_not_known_and_that_is_said(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, config=capacity(1, 1)), bad_here).run(40)
    assert len(sim.installed) == 6
    told = explain(sim.state, sim.addresses()[0])
    assert told is not None
    (budget,) = [c for c in told.rules if c.rule.name == "budget"]
    assert "to this address unknown queries/s;" in budget.numbers
    assert "steer.queries_per_second" in budget.otherwise


@pytest.mark.long
def test_traffic_that_grew_moves_nobody_and_raises_the_alarm(tmp_path: Path) -> None:
    text = policy(letters=1, more="steer: {to: [pao]}\nrecover: {hold: 1h, clean: 50}\n")
    sim = busy(tmp_path, text, capacity(1000), {"192.5.0.30": 300, "2001:db8:5::30": 300})
    sim.run(40)
    assert len(sim.installed) == 2
    steps = len(sim.steps)
    sim.rates = dict.fromkeys(sim.rates, 900)
    sim.run(400)
    assert len(sim.steps) == steps
    assert "pao 0 of 800 queries/s (18" in sim.state.alarms["capacity"].because


def test_who_is_steered_keeps_his_place_when_a_better_liked_site_is_full(tmp_path: Path) -> None:
    text = estimate(1300, letters=3) + "recover: {hold: 1h, clean: 5000}\n"
    text = text.replace("recover: {hold: 10s, max_hold: 60s, clean: 20}\n", "", 1)
    sim = Simulation(setup(tmp_path, text, config=capacity(1000, 2000)), bad_here).run(39)
    assert len(sim.steps) == 6
    assert set(sim.installed.values()) == {"fra"}
    sim.run(100)
    assert len(sim.steps) == 6


# --- a guard only shrinks ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def tense(tmp_path_factory: pytest.TempPathFactory) -> tuple[Situation, Index]:
    """A moment in which everybody wants to leave, before anybody has."""
    texts = [
        estimate(600, letters=4),
        policy("two", letters=4, net=6, more="steer: {together: nameserver}\n"),
    ]
    same = [text + "operator: {name: Foo}\n" for text in texts]
    config = capacity(500, 400)
    sim = Simulation(setup(tmp_path_factory.mktemp("tense"), *same, config=config), bad_here)
    sim.run(35)
    assert len(sim.installed) > 8
    return look(replace(sim.state, plan={}, moves=(), verifications={})), sim.index


def _moves(situation: Situation, index: Index, at_most: int) -> dict[str, str]:
    """Address -> the site that it moves to, with so many of an upstream steered at most."""
    settings = {a: replace(each, at_most=at_most) for a, each in index.settings.items()}
    budgeted = with_budget(situation, replace(index, settings=settings))
    decided = {a: decide_one(budgeted, one)[1] for a, one in budgeted.addresses.items()}
    return {address: path for address, path in decided.items() if path != LOCAL}


@given(
    minute=st.integers(0, 20),
    at_once=st.none() | st.integers(1, 20),
    at_most=st.integers(1, 20),
    share=st.floats(0.01, 1.0),
)
def test_the_budget_adds_no_move_and_keeps_within_every_limit(
    tense: tuple[Situation, Index],
    minute: int,
    at_once: int | None,
    at_most: int,
    share: float,
) -> None:
    situation, index = tense
    room = replace(
        situation.room,
        budget=situation.room.budget.model_copy(update={"at_once": at_once}),
        minute=minute,
        allowed={"pao": 500.0 * share, "fra": 400.0 * share},
    )
    wide = replace(situation.room, minute=99, allowed=dict.fromkeys(index.sites, math.inf))
    free = _moves(replace(situation, room=wide), index, 99)
    held = _moves(replace(situation, room=room), index, at_most)
    assert held.keys() <= free.keys()
    assert len(held) <= minute
    assert at_once is None or len(held) <= at_once
    for upstream in index.upstreams.values():
        assert len(held.keys() & set(upstream)) <= at_most
    for site, allowed in room.allowed.items():
        need = sum(index.settings[a].estimate or 0.0 for a, to in held.items() if to == site)
        assert need <= allowed + 1e-6
