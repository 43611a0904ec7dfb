"""Stories: those shipped have the outcomes that they are told for; wrong ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from told import simulation, written

from steering import cli
from steering.config import ConfigError
from steering.model import Event, Family
from steering.replay.incidents import Incident, Incidents
from steering.replay.scenario import LoadedScenario, load_scenario
from steering.replay.simulate import SimulatedTurn, Simulation

SHIPPED = Path(__file__).parents[3] / "scenarios"
JULY = SHIPPED / "july-2023.yaml"


def told(story: Simulation, until: Callable[[SimulatedTurn], bool]) -> Incident:
    """The one incident of a story, as far as it has come when `until` holds."""
    incidents = Incidents()
    for turned in story:
        incidents.add_turn(turned.events, turned.at, turned.now, turned.after)
        if until(turned):
            break
    (incident,) = incidents.all
    return incident


def july(answers: int, *, before: float = 60.0) -> Simulation:
    """July 2023 from shortly before the first bad answer."""
    shipped = load_scenario(JULY)
    first = shipped.scenario.when(shipped.scenario.faults[0].since)
    story = shipped.scenario.model_copy(update={"begins": first - before, "answers": answers})
    return Simulation(LoadedScenario(scenario=story, setup=shipped.setup))


def all_away(turned: SimulatedTurn) -> bool:
    return len(turned.after.steers()) == len(turned.after.index.settings)


# --- what they are told for -------------------------------------------------------------------


@pytest.mark.long
def test_july_at_a_thousand_answers_a_second_has_both_families_away_within_ten_seconds() -> None:
    incident = told(july(1000), all_away)
    for family in Family:
        took = incident.took(family)
        assert took is not None
        assert took <= 10
    assert incident.first_bad == pytest.approx(1_688_850_600, abs=0.5)  # 21:10:00
    assert (incident.moves, incident.repeated_moves) == (26, 0)


@pytest.mark.long
def test_july_at_ten_answers_a_second_takes_minutes_not_hours() -> None:
    incident = told(july(10, before=30.0), all_away)
    took = incident.took(Family.IPV6)
    assert took is not None
    assert took <= 300


SHORT_JULY = """
faults:
  - {from: 15s, to: 40s, outcome: expired, share: 10%}
  - {from: 40s, to: 70s, outcome: expired, share: 40%}
"""


def test_traffic_stays_away_until_the_fix_and_returns_after_it_without_a_flap(
    tmp_path: Path,
) -> None:
    story = simulation(tmp_path, SHORT_JULY, lasts="90s")
    incident = told(story, lambda _: False)
    assert (incident.moves, incident.repeated_moves) == (4, 0)
    fixed = story.scenario.begins + 70
    assert fixed <= incident.first["released"] < fixed + 15
    assert incident.ended == incident.last["released"]


def test_what_is_bad_everywhere_moves_nothing(tmp_path: Path) -> None:
    shipped = load_scenario(SHIPPED / "de-2026.yaml")
    first = shipped.scenario.when(shipped.scenario.faults[0].since)
    story = shipped.scenario.model_copy(update={"begins": first - 35, "lasts": 100.0})
    events = [
        e for t in Simulation(LoadedScenario(scenario=story, setup=shipped.setup)) for e in t.events
    ]
    assert not [e for e in events if e.event == "steered"]
    assert [e.now for e in events if e.event == "alarm_raised"] == ["everywhere"]


def test_an_outdated_copy_is_left_before_its_first_signature_runs_out() -> None:
    shipped = load_scenario(SHIPPED / "root-copy-october-2023.yaml")
    frozen = shipped.scenario.when(shipped.scenario.copies[0].since)
    story = shipped.scenario.model_copy(update={"begins": frozen - 120})
    simulated = Simulation(LoadedScenario(scenario=story, setup=shipped.setup))
    incident = told(simulated, all_away)
    assert simulated.would_fail == 0
    assert incident.first["steered"] - frozen < 15 * 60


def test_a_maintenance_goes_by_its_override_and_ends_with_it(tmp_path: Path) -> None:
    shipped = load_scenario(SHIPPED / "maintenance.yaml")
    (override,) = shipped.setup.overrides
    assert override.until is not None
    story = shipped.scenario.model_copy(update={"begins": override.until - 40, "lasts": 50.0})
    events: list[tuple[float, Event]] = [
        (t.at, e)
        for t in Simulation(LoadedScenario(scenario=story, setup=shipped.setup))
        for e in t.events
    ]
    assert {e.rule for _, e in events if e.event == "steered"} == {"override"}
    back = [at for at, e in events if e.event == "released"]
    assert len(back) == 4
    assert all(override.until <= at < override.until + 5 for at in back)


# --- how they are told --------------------------------------------------------------------------


def test_a_story_told_twice_is_the_same_story(tmp_path: Path) -> None:
    one, other = (
        [(t.at, t.facts, t.events) for t in simulation(tmp_path, lasts="25s")] for _ in range(2)
    )
    assert repr(one) == repr(other)


@pytest.mark.long
def test_leaps_change_no_verdict_and_save_most_of_the_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steering.replay.pacing.QUIET", 10.0)
    monkeypatch.setattr("steering.replay.pacing.LEAD", 5.0)
    long = "faults: [{from: 50s, to: 90s, outcome: expired, share: 50%}]"
    quick = list(simulation(tmp_path, long, lasts="110s", answers=0))
    monkeypatch.setattr("steering.replay.pacing.QUIET", 1e9)
    slow = list(simulation(tmp_path, long, lasts="110s", answers=0))
    assert len(quick) < len(slow) * 0.8
    quick_moves, slow_moves = (
        [(t.at, s.address, s.now) for t in turns for s in t.steps] for turns in (quick, slow)
    )
    assert [(a, s) for _, a, s in quick_moves] == [(a, s) for _, a, s in slow_moves]
    for one, other in zip(quick_moves, slow_moves, strict=True):
        assert one[0] == pytest.approx(other[0], abs=5)


def test_the_agents_own_clock_being_wrong_moves_nothing(tmp_path: Path) -> None:
    wrong = "clock: [{from: 20s, ahead: 9d}]"
    events = [e for t in simulation(tmp_path, wrong, lasts="60s") for e in t.events]
    assert "clock" in {e.now for e in events if e.event == "alarm_raised"}
    assert not [e for e in events if e.event == "steered"]


def test_another_instance_is_told_of(tmp_path: Path) -> None:
    moved = "instances: [{from: 40s, nsid: other}]"
    events = [e for t in simulation(tmp_path, moved, lasts="60s", answers=0) for e in t.events]
    assert {(e.was, e.now) for e in events if e.event == "instance_changed"} == {
        ("local1", "other")
    }


def test_a_story_as_data_tells_all_that_came_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", "--scenario", str(written(tmp_path)), "--json"]) == cli.FINE
    found = json.loads(capsys.readouterr().out)
    (incident,) = found["incidents"]
    assert incident["moves"] == 4
    assert incident["ended"] is not None
    assert incident["installed_after_s"]["ipv4"] < 5
    assert found["failed_share"] < found["failed_share_unsteered"] / 5


def test_where_nothing_happens_there_is_no_incident(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story = written(tmp_path, "faults: []", lasts="20s")
    assert cli.main(["replay", "--scenario", str(story)]) == cli.FINE
    assert "\nno incident\n" in capsys.readouterr().out


def test_policies_that_are_not_there_are_said_to_be_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replay", "--scenario", str(written(tmp_path)), "--policies", str(tmp_path / "gone")]
    assert cli.main(words) == cli.WRONG_INPUT
    assert f"{tmp_path / 'gone'}:1: is no directory, wanted" in capsys.readouterr().err


# --- the files ----------------------------------------------------------------------------------


OVER_THE_MOON = """\
overrides:
  - {name: o, match: {}, action: avoid, to: moon, until: never, reason: r, by: b}
"""


def shipped() -> Iterator[Path]:
    yield from sorted(SHIPPED.glob("*.yaml"))


@pytest.mark.parametrize("file", list(shipped()), ids=lambda file: file.stem)
def test_every_shipped_story_is_well_formed(file: Path) -> None:
    story = load_scenario(file).scenario
    assert story.faults or story.copies
    for change in Simulation(load_scenario(file)).servers.changes():
        assert story.begins <= change <= story.ends


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("flautsch: 1", ":15: flautsch: unknown key"),
        ("faults: [{outcome: rotten}]", ':15: faults[0].outcome: is "rotten"'),
        ("faults: [{outcome: expired, paths: [moon]}]", "faults[0].paths[0]: moon is no path here"),
        ("faults: [{outcome: expired, every: 5m}]", "faults[0].for: is missing"),
        ("faults: [{outcome: expired, upstream: gtdl}]", "did you mean gtld?"),
        ("faults: [{outcome: expired, from: soon}]", 'faults[0].from: "soon" is no duration'),
        ("policies: [nowhere.yaml]", "nowhere.yaml:1: does not exist"),
        (
            OVER_THE_MOON,
            "overrides[0].to: moon is no remote site",
        ),
    ],
)
def test_a_wrong_story_is_told_of_by_file_and_line(
    more: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, more)
    with pytest.raises(ConfigError):
        load_scenario(file)
    assert cli.main(["replay", "--scenario", str(file)]) == cli.WRONG_INPUT
    assert complaint in capsys.readouterr().err


def test_other_policies_take_the_place_of_the_storys(tmp_path: Path) -> None:
    place = tmp_path / "policies"
    place.mkdir()
    policy = (SHIPPED.parent / "policies/root-servers.yaml").read_text()
    (place / "root.yaml").write_text(policy)
    (place / "copy.yaml").write_text("zone_copy: root\nresolvers: {}\n")  # no part of a story
    story = load_scenario(written(tmp_path, more=""), policies=place)
    assert [one.upstream for one in story.setup.policies] == ["root-servers"]
