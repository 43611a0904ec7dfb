"""Whose packets: a site is taken only where answers come back to every source of the resolvers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from simulation import CONFIG, Ask, Simulation, policy, setup

from steering.decide.messages.reasons import because
from steering.judge.known.legs import ADDRESSES, AT_FIRST, BACK, LOST, Leg, LegState, Reach
from steering.model import LOCAL, Family, Outcome

GOOD, EXPIRED, TIMEOUT = Outcome.SECURE, Outcome.EXPIRED, Outcome.TIMEOUT
FAULT = 1030.0
OWN, OTHER = "10.0.0.53", "10.0.1.53"
BOTH: Mapping[Family, tuple[str, ...]] = {Family.IPV4: (OWN, OTHER)}
SHIPPED = CONFIG.replace("interval: 1s", "interval: 10s").replace("100ms", "200ms")
PACES = pytest.mark.parametrize("config", [CONFIG, SHIPPED], ids=["quick", "shipped"])

Lost = Callable[[Ask], bool]


def state(
    tmp: Path,
    lost: Lost,
    *,
    sources: Mapping[Family, tuple[str, ...]] = BOTH,
    config: str = CONFIG,
    tcp_every: int = 0,
    to: str = "[pao]",
    share: float = 0.13,
) -> Simulation:
    """So many of the names expired here from `FAULT` on; what is lost is told."""

    def answer(ask: Ask) -> Outcome:
        if lost(ask):
            return TIMEOUT
        return EXPIRED if ask.local and ask.now >= FAULT and ask.unlucky(share) else GOOD

    made = setup(tmp, policy(more=f"steer: {{to: {to}}}\n"), config=config)
    return Simulation(made, answer, sources=sources, tcp_every=tcp_every)


def four(ask: Ask) -> bool:
    return "." in ask.address


@pytest.mark.long
@PACES
def test_a_site_that_one_source_gets_nothing_over_is_never_taken(
    tmp_path: Path, config: str
) -> None:
    """The field's case: 13 % of failures became 100 %, proved, without an alarm."""
    sim = state(tmp_path, lambda ask: ask.path == "pao" and ask.source == OTHER, config=config)
    sim.run(400)
    assert {":" in s.address for _, s in sim.moves()} == {True}  # IPv6 has no such source
    assert {a for a in sim.installed if "." in a} == set()
    alarm = sim.state.alarms["reach"].because
    assert OTHER in alarm
    assert "pao" in alarm
    assert OWN not in alarm
    address = sim.addresses(Family.IPV4)[0]
    assert OTHER in because(sim.state, address)


@pytest.mark.long
@PACES
def test_where_answers_come_back_to_all_sources_it_is_taken_as_ever(
    tmp_path: Path, config: str
) -> None:
    sim = state(tmp_path, lambda _: False, config=config).run(FAULT - 1000)
    took = sim.until(lambda: sorted(sim.installed) == sorted(sim.addresses()), limit=60)
    alone = state(tmp_path, lambda _: False, config=config, sources={}).run(FAULT - 1000)
    before = alone.until(lambda: sorted(alone.installed) == sorted(alone.addresses()), limit=60)
    assert took <= before + 5
    sim.run(60)
    assert "reach" not in sim.state.alarms
    assert len(sim.told("proved")) == len(sim.addresses())


@pytest.mark.long
def test_another_site_is_taken_that_does_come_back(tmp_path: Path) -> None:
    sim = state(
        tmp_path, lambda ask: ask.path == "pao" and ask.source == OTHER, to="[pao, fra]"
    ).run(100)
    assert {site for a, site in sim.installed.items() if "." in a} == {"fra"}
    assert {site for a, site in sim.installed.items() if ":" in a} == {"pao"}


@pytest.mark.long
@PACES
def test_a_source_that_begins_to_be_used_on_a_detour_and_gets_nothing_ends_it(
    tmp_path: Path, config: str
) -> None:
    lost: Lost = lambda ask: ask.path == "pao" and ask.source == OTHER  # noqa: E731
    sim = state(tmp_path, lost, sources={}, config=config).run(FAULT - 1000)
    sim.until(lambda: sorted(sim.installed) == sorted(sim.addresses()), limit=60)
    sim.run(30)
    sim.sources = BOTH
    took = sim.until(lambda: not any("." in a for a in sim.installed), limit=60)
    assert took < 15
    assert {a for a in sim.installed if ":" in a} == set(sim.addresses(Family.IPV6))
    away = len(sim.moves())
    sim.run(300)
    assert len(sim.moves()) == away


def test_a_source_that_is_lost_on_a_detour_ends_it_and_one_that_comes_back_allows_it(
    tmp_path: Path,
) -> None:
    gone = [False]
    sim = state(tmp_path, lambda ask: gone[0] and ask.path == "pao" and ask.source == OTHER)
    sim.run(FAULT - 1000)
    sim.until(lambda: sorted(sim.installed) == sorted(sim.addresses()), limit=60)
    sim.run(30)
    gone[0] = True
    assert sim.until(lambda: not any("." in a for a in sim.installed), limit=60) < 10
    gone[0] = False
    sim.until(lambda: sorted(sim.installed) == sorted(sim.addresses()), limit=600)
    assert "reach" not in sim.state.alarms


@pytest.mark.long
def test_a_site_that_loses_tcp_alone_is_not_taken(tmp_path: Path) -> None:
    sim = state(
        tmp_path, lambda ask: ask.path == "pao" and ask.tcp and four(ask), sources={}, tcp_every=4
    ).run(200)
    assert {a for a in sim.installed if "." in a} == set()
    assert {a for a in sim.installed if ":" in a} == set(sim.addresses(Family.IPV6))
    assert "TCP" in sim.state.alarms["reach"].because


@pytest.mark.long
def test_lost_tcp_alone_keeps_nobody_at_a_local_path_that_is_mostly_bad(tmp_path: Path) -> None:
    sim = state(
        tmp_path, lambda ask: ask.path == "pao" and ask.tcp, sources={}, tcp_every=5, share=1.0
    ).run(FAULT - 1000)
    assert "TCP" in sim.state.alarms["reach"].because
    sim.run(170)
    assert sorted(sim.installed) == sorted(sim.addresses())
    assert "TCP" in sim.state.alarms["reach"].because
    assert not [s for _, s in sim.steps if s.was]


@pytest.mark.long
def test_a_source_that_gets_nothing_anywhere_is_told_and_holds_up_nothing(tmp_path: Path) -> None:
    """It has nothing to lose. Asked from it less often (`probe`), the others still tell."""
    sim = state(tmp_path, lambda ask: ask.source == OTHER)
    sim.sources = {Family.IPV4: (*[OWN] * 15, OTHER)}
    sim.run(120)
    assert {s.address for _, s in sim.moves()} == set(sim.addresses())
    assert OTHER in sim.state.alarms["unanswered"].because
    assert "reach" not in sim.state.alarms


@pytest.mark.long
@pytest.mark.parametrize("path", ["pao", LOCAL])
def test_one_nameserver_without_tcp_says_nothing_of_a_site(tmp_path: Path, path: str) -> None:
    sim = state(
        tmp_path,
        lambda ask: ask.tcp and ask.path == path and "192.5.0.30" in ask.address,
        sources={},
        tcp_every=4,
    ).run(200)
    assert sorted(sim.installed) == sorted(sim.addresses())
    assert "reach" not in sim.state.alarms


@pytest.mark.long
def test_what_a_site_loses_of_everything_is_no_source_that_gets_nothing(tmp_path: Path) -> None:
    sim = state(tmp_path, lambda ask: ask.path == "pao" and ask.lost(0.1)).run(600)
    states = {reach.state for reach in sim.state.ledger.legs.values()}
    assert states == {LegState.USABLE}
    assert not [e for _, e in sim.events if e.now == "reach"]


@pytest.mark.long
def test_a_silent_local_path_says_nothing_of_what_a_site_brings_back(tmp_path: Path) -> None:
    """Nothing is lost on a leg where nothing came back over the local path either."""
    sim = state(tmp_path, lambda ask: ask.source == OTHER).run(300)
    assert not [e for _, e in sim.events if e.now == "reach"]


@PACES
def test_a_local_path_that_is_silent_from_the_start_is_left_all_the_same(
    tmp_path: Path, config: str
) -> None:
    """Nothing comes back over it to compare with: what comes back over the site is enough."""
    others = [policy(f"u{net}", letters=1, net=net) for net in (6, 7, 8)]
    mine = policy(net=5, more="steer: {to: [pao]}\n")

    def answer(ask: Ask) -> Outcome:
        return TIMEOUT if ask.local and ask.address.startswith("192.5.") else GOOD

    sim = Simulation(setup(tmp_path, mine, *others, config=config), answer, sources=BOTH)
    took = sim.until(lambda: len(sim.installed) == 3, limit=120)
    assert took < 110
    assert set(sim.installed) == {a for a in sim.addresses() if a.startswith("192.5.")}


def test_a_leg_is_lost_by_several_addresses_in_a_row_and_found_by_answers_in_a_row() -> None:
    leg = Reach()
    for number in range(AT_FIRST - 1):
        leg = leg.unanswered(str(number), 26)
        assert leg.state is LegState.UNTRIED
    assert leg.unanswered("0", 26).state is LegState.UNTRIED, "of too few addresses"
    assert leg.unanswered("0", 2).state is LegState.LOST, "there are no more"
    leg = leg.unanswered("9", 26)
    assert leg.state is LegState.LOST
    assert ADDRESSES == AT_FIRST
    for _ in range(BACK - 1):
        leg = leg.answered()
        assert leg.state is LegState.LOST
    leg = leg.answered()
    assert leg.state is LegState.USABLE
    for number in range(LOST - 1):
        leg = leg.unanswered(str(number), 26)
        assert leg.state is LegState.USABLE
    assert leg.answered().unanswered("0", 1).state is LegState.USABLE, "the row begins anew"
    assert leg.unanswered("0", 26).state is LegState.LOST


@pytest.mark.long
def test_what_is_lost_over_one_site_by_one_source_is_that_leg_alone(tmp_path: Path) -> None:
    sim = state(
        tmp_path,
        lambda ask: ask.path == "pao" and ask.source == OTHER,
        to="[pao, fra]",
        tcp_every=5,
    ).run(120)
    lost = {leg for leg, reach in sim.state.ledger.legs.items() if reach.state is LegState.LOST}
    assert lost == {Leg("pao", Family.IPV4, OTHER, tcp) for tcp in (False, True)}
    assert {leg.site for leg in sim.state.ledger.legs} == {LOCAL, "pao", "fra"}
