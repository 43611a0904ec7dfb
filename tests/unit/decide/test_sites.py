"""Which site, and for how long: a detour that dies, sites that are worse, sites that come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from simulation import CONFIG, Ask, Simulation, policy, setup

from steering.decide.fast_probing import attention
from steering.decide.messages.reasons import because
from steering.decide.moves.no_site import SCOUTS, SILENT_FOR
from steering.model import LOCAL, Outcome

FAULT = 1020.0
DOUBT = FAULT + 60
DEAD = DOUBT + 60
GOOD, EXPIRED, FORGED, TIMEOUT = (
    Outcome.SECURE,
    Outcome.EXPIRED,
    Outcome.BAD_SIGNATURE,
    Outcome.TIMEOUT,
)
SHIPPED = CONFIG.replace("interval: 1s", "interval: 10s").replace("100ms", "200ms")
"""At the pace that is the default."""
PACES = pytest.mark.parametrize("config", [CONFIG, SHIPPED], ids=["quick", "shipped"])


# --- in doubt ---------------------------------------------------------------------------------


def _net(ask: Ask) -> int:
    return int(ask.address.split(".")[1] if "." in ask.address else ask.address.split(":")[2])


def _in_doubt(
    tmp: Path, config: str, why: str, after: Callable[[Ask], Outcome | None]
) -> Simulation:
    """Six addresses on a detour, then the others go bad in a way that speaks against ourselves."""

    def answer(ask: Ask) -> Outcome:
        if ask.now >= DEAD and (told := after(ask)) is not None:
            return told
        if _net(ask) == 1:
            return FORGED if ask.local and ask.now >= FAULT else GOOD
        if ask.now < DOUBT:
            return GOOD
        if why == "clock":
            return EXPIRED
        return FORGED if ask.local else GOOD

    texts = [policy("u1", net=1, more="steer: {to: [pao, fra]}\nrecover: {}\n")]
    texts += [policy(f"u{net}", letters=1, net=net) for net in (2, 3, 4)]
    sim = Simulation(setup(tmp, *texts, config=config), answer).run(DEAD - 1 - 1000)
    assert sorted(sim.installed.values()) == ["pao"] * 6
    assert set(sim.state.alarms) >= {why}
    assert {sim.rule(a) for a in sim.addresses()} == {3 if why == "clock" else 4}
    return sim


@pytest.mark.long
@PACES
@pytest.mark.parametrize("why", ["self", "clock"])
def test_a_detour_that_dies_while_we_doubt_ourselves_is_left_for_the_next_site(
    tmp_path: Path, config: str, why: str
) -> None:
    def dead(ask: Ask) -> Outcome | None:
        return TIMEOUT if ask.path == "pao" and _net(ask) == 1 else None

    sim = _in_doubt(tmp_path, config, why, dead)
    took = sim.until(lambda: sorted(sim.installed.values()) == ["fra"] * 6, limit=60)
    assert took < 10
    assert {s.rule for at, s in sim.steps if at >= DEAD} == {"steer"}
    sim.run(60)
    assert len([at for at, _ in sim.steps if at >= DEAD]) == 6


@pytest.mark.long
@PACES
@pytest.mark.parametrize("why", ["self", "clock"])
def test_a_detour_that_dies_while_we_doubt_ourselves_ends_where_local_answers_well(
    tmp_path: Path, config: str, why: str
) -> None:
    def dead(ask: Ask) -> Outcome | None:
        if _net(ask) != 1:
            return None
        return GOOD if ask.local else TIMEOUT

    sim = _in_doubt(tmp_path, config, why, dead)
    took = sim.until(lambda: not sim.installed, limit=60)
    assert took < 30
    assert {s.rule for at, s in sim.steps if not s.now} == {why}
    because = [e.because for _, e in sim.told("released")]
    assert any(text.startswith("the detour is worse: pao: ") for text in because)
    steps = len(sim.steps)
    sim.run(60)
    assert len(sim.steps) == steps


@pytest.mark.long
@PACES
def test_a_detour_that_is_silent_while_local_is_silent_too_is_kept(
    tmp_path: Path, config: str
) -> None:
    """It may be our own link that is gone, and when it is back the detour is."""
    sim = _in_doubt(tmp_path, config, "self", lambda ask: TIMEOUT if ask.now < DEAD + 60 else None)
    steps = len(sim.steps)
    sim.run(120)
    assert len(sim.steps) == steps
    assert sorted(sim.installed.values()) == ["pao"] * 6


def test_a_dead_detour_is_left_for_the_next_site_while_nothing_comes_back_over_local(
    tmp_path: Path,
) -> None:
    sim = _in_doubt(
        tmp_path, CONFIG, "self", lambda ask: TIMEOUT if ask.path in (LOCAL, "pao") else GOOD
    )
    assert sim.until(lambda: sorted(sim.installed.values()) == ["fra"] * 6, limit=60) < 10


@pytest.mark.long
@PACES
def test_in_doubt_nothing_leaves_the_local_path(tmp_path: Path, config: str) -> None:
    sim = _in_doubt(tmp_path, config, "self", lambda _: None).run(120)
    assert sorted(sim.installed.values()) == ["pao"] * 6


# --- sites that are worse ----------------------------------------------------------------------

ALONE = '  fra: {next_hop: {ipv4: 10.255.2.2, ipv6: "fd00:ff:2::2"}}\n'


def _flawed(
    tmp: Path, config: str, *, here: float, there: float, letters: int, to: str = "pao, fra"
) -> Simulation:
    """The local path is bogus for a share of names; pao fails a share of answers, fra none."""

    def answer(ask: Ask) -> Outcome:
        if ask.local:
            return EXPIRED if ask.now >= FAULT and ask.unlucky(here) else GOOD
        return Outcome.SERVFAIL if ask.path == "pao" and ask.lost(there) else GOOD

    text = policy(letters=letters, more=f"steer: {{to: [{to}]}}\nrecover: {{}}\n")
    return Simulation(setup(tmp, text, config=config), answer)


@pytest.mark.long
@PACES
def test_a_site_worse_than_the_local_path_is_no_way_out_whatever_the_policy_s_order(
    tmp_path: Path, config: str
) -> None:
    sim = _flawed(tmp_path, config, here=0.072, there=0.268, letters=3).run(200)
    assert [(s.was, s.now) for _, s in sim.steps] == [(None, "fra")] * 6


@pytest.mark.long
def test_who_finds_worse_sites_alone_stays(tmp_path: Path) -> None:
    config = SHIPPED.replace(ALONE, "")
    sim = _flawed(tmp_path, config, here=0.072, there=0.268, letters=3, to="pao")
    told = "pao healthy, but it fails more than the local path"
    sim.until(lambda: any(told in because(sim.state, a) for a in sim.addresses()), limit=300)
    sim.run(300)
    assert sim.told("confirmed")
    assert not sim.steps


@pytest.mark.long
@pytest.mark.parametrize("share", [0.01, 0.1])
def test_failures_at_the_border_of_a_step_move_nobody_twice(tmp_path: Path, share: float) -> None:
    sim = _flawed(tmp_path, SHIPPED, here=0.5, there=share, letters=1).run(1200)
    for address in sim.addresses():
        ways = [s.now for _, s in sim.steps if s.address == address]
        assert ways in (["pao"], ["fra"], ["pao", "fra"])


def test_a_lone_lost_packet_rules_no_site_out(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        if ask.path == "pao" and FAULT - 11 <= ask.now < FAULT - 1 and ask.address == "192.5.1.30":
            return TIMEOUT
        return EXPIRED if ask.local and ask.now >= FAULT and ask.unlucky(0.3) else GOOD

    text = policy(letters=3, more="steer: {to: [pao, fra]}\nrecover: {}\n")
    sim = Simulation(setup(tmp_path, text, config=SHIPPED), answer)
    sim.until(lambda: len(sim.installed) == 6, limit=120)
    assert set(sim.installed.values()) == {"pao"}


# --- sites that come back ----------------------------------------------------------------------

OUTAGE = FAULT + 60


def _outage(tmp: Path, config: str, *, letters: int, seconds: float) -> Simulation:
    """Three names in ten are bogus here; every site falls silent for a while."""

    def answer(ask: Ask) -> Outcome:
        if ask.local:
            return EXPIRED if ask.now >= FAULT and ask.unlucky(0.3) else GOOD
        return TIMEOUT if OUTAGE <= ask.now < OUTAGE + seconds else GOOD

    text = policy(letters=letters, more="recover: {}\n")
    return Simulation(setup(tmp, text, config=config), answer).run(OUTAGE - 1000)


@pytest.mark.long
@PACES
@pytest.mark.parametrize("alone", [False, True])
def test_after_a_minute_of_silence_the_sites_are_back_in_seconds(
    tmp_path: Path, config: str, alone: bool
) -> None:
    config = config.replace(ALONE, "") if alone else config
    sim = _outage(tmp_path, config, letters=3, seconds=60)
    assert len(sim.installed) == 6
    sim.run(60)
    assert not sim.installed
    assert sim.until(lambda: len(sim.installed) == 6, limit=60) <= 20
    steps = len(sim.steps)
    sim.run(60)
    assert len(sim.steps) == steps


@pytest.mark.long
def test_sites_that_stay_silent_are_asked_fast_for_few_and_not_for_ever(tmp_path: Path) -> None:
    sim = _outage(tmp_path, SHIPPED, letters=5, seconds=1e9).run(120)
    assert not sim.installed
    assert sum(not wanted.every for wanted in attention(sim.state).values()) == SCOUTS
    sim.run(SILENT_FOR)
    assert all(wanted.every for wanted in attention(sim.state).values())


def test_a_site_that_turns_bad_under_what_is_sent_there_is_tried_again_once(tmp_path: Path) -> None:
    used: set[str] = set()

    def answer(ask: Ask) -> Outcome:
        if ask.local:
            return EXPIRED if ask.now >= FAULT and ask.unlucky(0.3) else GOOD
        return Outcome.SERVFAIL if ask.address in used else GOOD

    text = policy(letters=1, more="recover: {}\n")
    sim = Simulation(setup(tmp_path, text, config=SHIPPED.replace(ALONE, "")), answer)
    while sim.now < FAULT + 240:
        sim.run(1)
        used.clear()
        used.update(a for a, since in _away(sim).items() if sim.now - since > 10)
    away = [at for at, s in sim.moves() if s.address == sim.addresses()[0]]
    assert len(away) == 2


def _away(sim: Simulation) -> dict[str, float]:
    return {s.address: at for at, s in sim.steps if s.address in sim.installed}
