"""Bad here, with nobody to compare with, and a host whose probes do not get out: both are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from simulation import Ask, Simulation, policy, setup

from steering.decide.messages.intercepted import ALONE
from steering.model import LOCAL, Health, Outcome
from steering.report.snapshot import Snapshot
from steering.report.status import status
from steering.report.status_text import status_text

TWO = (policy(), policy("other", net=9))


def alarms(sim: Simulation) -> dict[str, str]:
    return {name: alarm.because for name, alarm in sim.state.alarms.items()}


def bad_alone(ask: Ask) -> Outcome:
    """The local answers of one upstream are bad, and no question to a site gets out."""
    if not ask.local:
        return Outcome.LOCAL_ERROR
    return Outcome.EXPIRED if ask.name.endswith("gtld.") else Outcome.SECURE


def test_what_is_bad_here_and_can_be_compared_with_nobody_is_an_alarm(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, *TWO), answer=bad_alone)
    sim.run(ALONE + 60.0)
    assert sim.health(sim.addresses()[0]) >= Health.SUSPECT
    said = alarms(sim)["uncompared"]
    assert "6 addresses of gtld look bad here" in said
    assert "pao unknown, but probes over it do not leave this host now" in said
    assert not sim.moves()


def test_a_lone_bad_toldwith_nobody_to_compare_with_is_none(tmp_path: Path) -> None:
    bad: list[Ask] = []

    def once(ask: Ask) -> Outcome:
        if not ask.local:
            return Outcome.LOCAL_ERROR
        if ask.now > 1030.0 and not bad:
            bad.append(ask)
            return Outcome.EXPIRED
        return Outcome.SECURE

    sim = Simulation(setup(tmp_path, *TWO), answer=once)
    sim.run(120.0)
    assert bad
    assert not [event for _, event in sim.told("alarm_raised") if event.now == "uncompared"]


@pytest.mark.parametrize("path", ["pao", "fra"])
def test_where_one_path_can_be_compared_the_trial_decides(tmp_path: Path, path: str) -> None:
    def answer(ask: Ask) -> Outcome:
        return Outcome.SECURE if ask.path == path else bad_alone(ask)

    sim = Simulation(setup(tmp_path, *TWO), answer=answer)
    sim.run(ALONE + 60.0)
    assert not [event for _, event in sim.told("alarm_raised") if event.now == "uncompared"]
    assert sim.moves()


def shown(sim: Simulation) -> dict[str, Any]:
    """The status."""
    snapshot = Snapshot(
        mode="enforce",
        state=sim.state,
        installed=sim.installed,
        alarms=sim.state.alarms,
        ready=True,
        turned_at=sim.now,
    )
    answer: dict[str, Any] = json.loads(json.dumps(status(snapshot)))
    return answer


def shut_in(ask: Ask) -> Outcome:
    """The default routes are lost at 1060."""
    return Outcome.LOCAL_ERROR if ask.local and ask.now >= 1060.0 else Outcome.SECURE


def test_a_lost_default_route_is_told_as_a_fault_of_this_host(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, *TWO), answer=shut_in)
    sim.run(50.0)
    assert not alarms(sim)
    sim.run(120.0)
    said = alarms(sim)["self"]
    assert "no probe leaves this host over the local path (ipv4 and ipv6)" in said
    assert "`32766: from all lookup main`" in said
    assert not sim.moves()


def test_one_family_that_no_longer_gets_out_is_named(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return shut_in(ask) if ask.v6 else Outcome.SECURE

    sim = Simulation(setup(tmp_path, *TWO), answer=answer)
    sim.run(170.0)
    assert "no probe leaves this host over the local path (ipv6)" in alarms(sim)["self"]
    assert "2001:" in status_text(shown(sim)), "what is lost is shown"


def test_a_host_that_never_had_a_family_has_no_alarm_for_it(tmp_path: Path) -> None:
    def answer(ask: Ask) -> Outcome:
        return Outcome.LOCAL_ERROR if ask.v6 else Outcome.SECURE

    sim = Simulation(setup(tmp_path, *TWO), answer=answer)
    sim.run(170.0)
    assert sim.health(sim.addresses()[1], LOCAL) is Health.UNKNOWN
    assert not alarms(sim)
    told = shown(sim)
    text = status_text(told)
    assert "unknown" not in text
    number = sum(":" in address for address in sim.addresses())
    assert (
        f"ipv6: this host has no route and never had one: {number} addresses are not shown" in text
    )
    assert "unknown" in status_text(told, everything=True)


def test_an_upstream_that_is_of_a_family_that_is_not_there_is_an_alarm(tmp_path: Path) -> None:
    """Of the others half is left out, and nothing is amiss; of this one there is nothing left."""

    def answer(ask: Ask) -> Outcome:
        return Outcome.LOCAL_ERROR if ask.v6 and ask.now < 1170 else Outcome.SECURE

    six = (
        "upstream: six\nzones: [six.]\n"
        'nameservers:\n  a.six.example.: ["2001:db8:7::30", "2001:db8:7::31"]\n'
    )
    sim = Simulation(setup(tmp_path, policy(), six), answer=answer)
    sim.run(160.0)
    assert set(alarms(sim)) == {"unwatched"}
    assert (
        "2 addresses of six are of families that this host has no route for"
        in (alarms(sim)["unwatched"])
    )
    about = sim.state.alarms["unwatched"].about
    assert {sim.state.index.settings[address].upstream for address in about} == {"six"}
    sim.run(60.0)
    assert not alarms(sim), "the family came"
