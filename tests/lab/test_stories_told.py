"""The shipped stories, whole: hours and days of them, in a minute or two each."""

from __future__ import annotations

from pathlib import Path

import pytest

from steering.model import Event, Family
from steering.replay.incidents import Incident, Incidents, with_moves
from steering.replay.scenario import load_scenario
from steering.replay.simulate import Simulation

pytestmark = pytest.mark.lab

SHIPPED = Path(__file__).parents[2] / "scenarios"


def told(name: str) -> tuple[Simulation, list[Incident], list[Event]]:
    simulation, incidents = Simulation(load_scenario(SHIPPED / f"{name}.yaml")), Incidents()
    events: list[Event] = []
    for turned in simulation:
        incidents.add_turn(turned.events, turned.at, turned.now, turned.after)
        events += turned.events
    return simulation, list(with_moves(incidents.all)), events


def test_july_2023_from_the_first_bad_answer_to_the_way_home() -> None:
    simulation, (incident,), _ = told("july-2023")
    for family in Family:
        took = incident.took(family)
        assert took is not None
        assert took <= 10
    assert (incident.moves, incident.repeated_moves, incident.sites) == (26, 0, ("fra",))
    until = simulation.scenario.faults[-1].until
    assert until is not None
    fixed = simulation.scenario.when(until)
    # The hold is long over; at five probes a second the bucket takes eight minutes to empty.
    assert fixed + 300 <= incident.first["released"] <= incident.last["released"] <= fixed + 600
    assert incident.ended is not None
    assert simulation.failed < simulation.would_fail / 1000


def test_de_2026_moves_nothing_from_beginning_to_end() -> None:
    _, moved, events = told("de-2026")
    assert moved == []
    assert "steered" not in {event.event for event in events}
    assert [e.now for e in events if e.event == "alarm_raised"] == ["everywhere"]
    assert [e.was for e in events if e.event == "alarm_cleared"] == ["everywhere"]


def test_the_root_copy_of_october_2023_is_left_two_days_before_it_fails() -> None:
    simulation, (incident,), _ = told("root-copy-october-2023")
    assert incident.first_bad is None
    copy = simulation.scenario.copies[0]
    assert incident.first["steered"] - simulation.scenario.when(copy.since) < 15 * 60
    assert simulation.failed == 0
    assert simulation.would_fail > 0


def test_an_instance_that_flaps_for_hours_moves_each_address_at_most_a_dozen_times() -> None:
    _, incidents, events = told("flapping")
    away = {a for incident in incidents for a in incident.moved}
    assert away
    for address in away:
        moves = [e for e in events if e.address == address and e.event in ("steered", "released")]
        assert len(moves) <= 12


def test_a_maintenance_is_nobodys_incident() -> None:
    simulation, (incident,), events = told("maintenance")
    assert {e.rule for e in events if e.event == "steered"} == {"override"}
    assert "confirmed" not in incident.first
    assert simulation.failed == 0
