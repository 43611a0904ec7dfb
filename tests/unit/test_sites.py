"""Which site, and for how long: a detour that dies, sites that are worse, sites that come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from simulation import CONFIG, Ask, Simulation, policy, setup

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
    assert set(sim.world.alarms) >= {why}
    assert {sim.rule(a) for a in sim.addresses()} == {3 if why == "clock" else 4}
    return sim


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


@PACES
def test_in_doubt_nothing_leaves_the_local_path(tmp_path: Path, config: str) -> None:
    sim = _in_doubt(tmp_path, config, "self", lambda _: None).run(120)
    assert sorted(sim.installed.values()) == ["pao"] * 6
