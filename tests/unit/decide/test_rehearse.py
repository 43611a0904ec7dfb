"""An agent that does not act decides as one that does, and says what it would do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from faults import EXPIRED, FAULT, GOOD, STORIES, bad_here
from simulation import CONFIG, WALL, Simulation, setup

from steering.config import Config, Mode, check
from steering.config.yaml_file import parse
from steering.decide.rehearsal import rehearsed
from steering.decide.state import State
from steering.engine import engine
from steering.engine.carry_over import remember
from steering.engine.migrate import migrate
from steering.facts import Facts
from steering.from_config import acting_claim_of, bgp_settings_in_force, claim_of, rerouted
from steering.index import Index
from steering.model import LOCAL
from steering.override import Action, Match, Override
from steering.rehearsed_events import WOULD, decision, event_name
from steering.replay import timeline
from steering.replay.incidents import Incidents
from steering.report.metrics import Meters
from steering.report.snapshot import Snapshot
from steering.report.status import explain, status
from steering.report.status_text import explain_text, status_text

REHEARSE = CONFIG + "mode: rehearse\n"


def decisions(sim: Simulation) -> list[tuple[str, str | None, str | None, str | None]]:
    """What was decided of each address, in its own order."""
    every = [
        (decision(e.event), e.address, e.path, e.rule)
        for _, e in sim.events
        if decision(e.event) in WOULD
    ]
    return sorted(every, key=lambda one: one[1] or "")


LONG = {"a week", "a fault that comes and goes", "thirteen percent"}


@pytest.mark.parametrize(
    "story",
    [pytest.param(one, marks=[pytest.mark.long] if one in LONG else []) for one in STORIES],
)
def test_every_decision_of_one_that_acts_is_told_as_what_would_be_done(
    story: str, tmp_path: Path
) -> None:
    answer, length = STORIES[story]
    acting = Simulation(setup(tmp_path), answer).run(length)
    rehearsing = Simulation(setup(tmp_path, config=REHEARSE), answer).run(length)
    assert decisions(rehearsing) == decisions(acting)
    assert not WOULD.keys() & {e.event for _, e in rehearsing.events}
    assert not set(WOULD.values()) & {e.event for _, e in acting.events}
    assert not rehearsing.installed
    moments = [[at for at, s in sim.steps] for sim in (rehearsing, acting)]
    assert all(abs(one - other) < 2 for one, other in zip(*moments, strict=True))


def test_it_would_undo_what_the_site_s_own_path_speaks_against(tmp_path: Path) -> None:
    """What live answers show of one that acts, the marked ones show."""
    sim = Simulation(setup(tmp_path, config=REHEARSE), bad_here())
    sim.until(lambda: bool(sim.state.plan), limit=60)
    site = next(iter(sim.state.plan.values()))
    sim.answer = lambda ask: EXPIRED if ask.local or ask.path == site else GOOD
    sim.until(lambda: site not in sim.state.plan.values(), limit=30)
    sim.until(lambda: len(sim.state.plan) == 6, limit=60)
    assert site not in sim.state.plan.values()
    assert sim.told("would_undo"), [(at, e.event) for at, e in sim.events]


def test_what_would_go_past_the_detour_is_proved_by_nothing(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, config=REHEARSE), bad_here())
    one = sim.addresses()[0]
    state = replace(sim.state, plan=dict.fromkeys(sim.addresses(), "pao"), started=True)
    facts = rehearsed(state, Facts(wall=WALL, bypassed=frozenset({one})))
    assert facts.installed == dict.fromkeys(sim.addresses()[1:], "pao")


def test_nothing_is_asked_as_if_traffic_took_the_detour(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, config=REHEARSE), bad_here()).run(60)
    assert sim.state.plan
    live = [a for a, item in sim._wanted.items() if item.live]
    assert not live
    assert {e.event for _, e in sim.events} >= {"would_steer", "would_prove"}


def test_real_steers_that_it_finds_are_not_taken_over_and_their_end_is_told(
    tmp_path: Path,
) -> None:
    index = Index.of(setup(tmp_path, config=REHEARSE))
    state = State.blank(index, 1000.0, WALL)
    address = index.targets[0].address
    facts = Facts(wall=WALL, installed={address: "pao", "192.0.2.99": "pao"})
    after, steps, events = engine.turn(state, facts, 1000.0)
    assert (after.steers(), after.plan, steps) == ({}, {}, ())
    (gone,) = [e for e in events if e.address == address]
    assert (gone.event, gone.was, gone.now) == ("released", "pao", LOCAL)


def test_what_was_rehearsed_is_decided_anew_before_it_moves_traffic(tmp_path: Path) -> None:
    rehearsing = Simulation(setup(tmp_path, config=REHEARSE), bad_here()).run(60)
    assert len(rehearsing.state.plan) == 6
    acting = Simulation(setup(tmp_path), bad_here())
    state, ended = migrate(rehearsing.state, acting.index, rehearsing.now, WALL + rehearsing.now)
    assert {e.event for e in ended} == {"would_release"}
    assert (state.plan, state.verifications) == ({}, {})
    acting.state, acting.now = state, rehearsing.now
    took = acting.until(lambda: len(acting.installed) == 6, limit=30)
    assert took < 10
    assert len(acting.told("steered")) == 6
    acting.until(lambda: len(acting.told("proved")) == 6, limit=30)


def test_what_was_steered_ends_when_the_agent_acts_no_more(tmp_path: Path) -> None:
    acting = Simulation(setup(tmp_path), bad_here()).run(60)
    steered = acting.state.steers()
    assert len(steered) == 6
    index = Index.of(setup(tmp_path, config=REHEARSE))
    state, ended = migrate(acting.state, index, acting.now, WALL + acting.now)
    assert {(e.event, e.address, e.was) for e in ended} == {
        ("released", a, site) for a, site in steered.items()
    }
    assert (state.steers(), state.plan) == ({}, {})


def test_a_freeze_that_was_rehearsed_sends_nothing_anywhere(tmp_path: Path) -> None:
    """It says "as it is": in a rehearsal that is the local path, whatever would be."""
    sim = Simulation(setup(tmp_path, config=REHEARSE), bad_here()).run(60)
    freeze = Override(
        name="hands-off", match=Match(), action=Action.FREEZE, to=None, until=None,
        reason="-", by="noc",
    )  # fmt: skip
    sim.overrides = (freeze,)
    sim.run(5)
    assert {f.path for f in sim.state.frozen.values()} == {"fra"}, "it is rehearsed as well"
    assert not remember(sim.state).frozen
    state, _ = migrate(sim.state, Index.of(setup(tmp_path)), sim.now, WALL + sim.now)
    assert not state.frozen
    facts = Facts(wall=WALL + sim.now, overrides=(freeze,))
    for _ in range(3):
        state, _, _ = engine.turn(state, facts, state.now + 1)
        assert state.steers() == {}


@pytest.mark.parametrize("mode", ["observe", "rehearse"])
def test_the_status_says_would(mode: str, tmp_path: Path) -> None:
    config = CONFIG + f"mode: {mode}\n"
    if mode == "observe":  # what it has marks for no more, it may have pins for
        config = config.replace("{probe: {", "{probe: {pins: {pao: {dscp: 1}, fra: {dscp: 2}}, ")
    sim = Simulation(setup(tmp_path, config=config), bad_here()).run(60)
    snapshot = Snapshot(
        mode=mode, state=sim.state, installed={}, alarms={}, ready=True, turned_at=sim.now
    )
    answer = status(snapshot)
    addresses = answer["addresses"]
    assert isinstance(addresses, list)
    assert {(a["steered_to"], a["would_steer_to"]) for a in addresses} == {(None, "fra")}
    text = status_text(answer, columns=200)
    assert "6 over the local path; would move 6 to fra" in text
    assert f"{mode} (" in text
    told = explain(snapshot, sim.addresses()[0])
    assert told is not None
    assert "path local; would be fra; installed: local" in explain_text(told, columns=200)
    meters = Meters()
    meters.watch(lambda: snapshot)
    series = {
        (family.name, sample.labels.get("site", ""))
        for family in meters.registry.collect()
        for sample in family.samples
    }
    assert ("steering_would_steer", "fra") in series
    assert ("steering_desired", "fra") not in series


def test_an_incident_is_one_whether_it_was_acted_on_or_not(tmp_path: Path) -> None:
    found = []
    for config in (CONFIG, REHEARSE):
        sim = Simulation(setup(tmp_path, config=config), bad_here(until=FAULT + 60)).run(160)
        incidents = Incidents()
        for at, event in sim.events:
            incidents.add_turn([event], WALL + at, at, sim.state)
        found.append([(i.upstream, sorted(i.first), i.moves) for i in incidents.all])
        (incident,) = incidents.all
        assert incident.carried_out is (config == CONFIG)
        word = "steered " if incident.carried_out else "would_steer "
        assert any(line.strip().startswith(word) for line in timeline.incident_lines(incidents.all))
    assert found[0] == found[1]


def test_a_name_goes_both_ways_and_others_stay_as_they_are() -> None:
    for event, would in WOULD.items():
        assert event_name(event, acts=False) == would
        assert decision(would) == event_name(event, acts=True) == event
    assert event_name("confirmed", acts=False) == "confirmed" == decision("confirmed")


def configured(tmp_path: Path, more: str) -> Config:
    return check(Config, parse(CONFIG + more, tmp_path / "steering.yaml"))


BGP = (
    "act: {kernel: off, bgp: {local_as: 64512, router_id: 10.0.0.1, "
    "neighbors: [{address: 10.0.0.2, peer_as: 64512}]}}\n"
)


def test_how_far_each_mode_goes(tmp_path: Path) -> None:
    for mode in Mode:
        config = configured(tmp_path, f"mode: {mode}\n")
        assert config.acts is (mode is Mode.ENFORCE)
        assert config.compares is (mode is not Mode.OBSERVE)
        assert (acting_claim_of(config) == claim_of(config)) is config.compares
    assert not configured(tmp_path, "mode: enforce\nact: {kernel: off}\n").acts


@pytest.mark.parametrize("mode", list(Mode))
def test_routers_are_told_by_an_agent_that_acts_and_by_no_other(mode: Mode, tmp_path: Path) -> None:
    config = configured(tmp_path, f"mode: enforce\n{BGP}").model_copy(update={"mode": mode})
    assert (bgp_settings_in_force(config) is not None) is config.acts
    assert (acting_claim_of(config) is not None) is config.acts, "there is nothing else to hold"


def test_where_the_sites_are_asked_no_more_nothing_is_known_of_them(tmp_path: Path) -> None:
    one = {mode: configured(tmp_path, f"mode: {mode}\n") for mode in Mode}
    assert rerouted(one[Mode.REHEARSE], one[Mode.OBSERVE]) == {"pao", "fra"}
    assert rerouted(one[Mode.REHEARSE], one[Mode.ENFORCE]) == set()
    assert rerouted(one[Mode.ENFORCE], one[Mode.REHEARSE]) == set()


def test_the_end_of_a_real_steer_is_told_once(tmp_path: Path) -> None:
    index = Index.of(setup(tmp_path, config=REHEARSE))
    state = State.blank(index, 1000.0, WALL)
    facts = Facts(wall=WALL, installed={index.targets[0].address: "pao"})
    state, _, first = engine.turn(state, facts, 1000.0)
    assert "released" in {event.event for event in first}
    for second in range(1, 4):
        state, _, events = engine.turn(state, facts, 1000.0 + second)
        assert "released" not in {event.event for event in events}
