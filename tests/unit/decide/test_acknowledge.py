"""An alarm that somebody has seen is marked, is shown all the same, and changes no decision."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from simulation import CONFIG, WALL, Ask, Simulation, policy, setup

from steering import cli
from steering.agent.restart_state import RestartState
from steering.cli.override import command
from steering.cli.override.options import ALARMS
from steering.cli.override.show import of_alarm
from steering.config import load
from steering.decide.overrides.acknowledge import (
    OTHERS_GONE,
    QUIET,
    Acknowledged,
    acknowledge,
    fingerprint,
)
from steering.decide.overrides.override_state import OverrideState, OverrideStatus, read
from steering.decide.state import Alarm
from steering.index import Index
from steering.model import Event, Family, Outcome
from steering.override import Action, Match, Override
from steering.remedies import EVERY_ALARM, OF_ADDRESSES
from steering.report.metrics import Meters
from steering.report.snapshot import Snapshot
from steering.report.status import explain, status
from steering.report.status_text import explain_text, status_text

EVERYTHING = Match()
GOOD, EXPIRED = Outcome.SECURE, Outcome.EXPIRED


def seen(
    alarm: str, name: str = "seen", match: Match = EVERYTHING, until: float | None = None
) -> Override:
    return Override(
        name=name,
        match=match,
        action=Action.ACKNOWLEDGE,
        to=None,
        until=until,
        reason="ticket 4711",
        by="noc",
        alarm=alarm,
    )


class Desk:
    """Alarms and acknowledgements, turn by turn."""

    def __init__(self, tmp: Path, *texts: str) -> None:
        self.index = Index.of(setup(tmp, *texts))
        self.override_state = OverrideState.blank(self.index)
        self.state = Acknowledged()
        self.events: list[Event] = []

    def turn(
        self, overrides: tuple[Override, ...], alarms: dict[str, tuple[int, ...]], now: float
    ) -> set[str]:
        """The alarms that are acknowledged; `alarms` have the numbers of their addresses."""
        self.override_state = read(self.override_state, self.index, overrides, WALL + now)
        known = self.index.targets
        there = {
            name: Alarm(
                since=WALL, because="it is so", about=tuple(known[a].address for a in about)
            )
            for name, about in alarms.items()
        }
        self.state, told = acknowledge(self.state, self.override_state, there, now)
        self.events += told
        return set(self.state.by)

    def told(self) -> list[str]:
        events, self.events = [event.event for event in self.events], []
        return events


# --- how long it holds ------------------------------------------------------------------------


def test_it_holds_while_its_alarm_is_there_and_ends_with_its_time(tmp_path: Path) -> None:
    desk, words = Desk(tmp_path), (seen("reach", until=WALL + 7200),)
    for now in (0.0, 3600.0, 7199.0):
        assert desk.turn(words, {"reach": ()}, now) == {"reach"}
    assert desk.told() == ["alarm_acknowledged"]
    assert desk.turn(words, {"reach": ()}, 7201.0) == set()
    assert desk.told() == ["alarm_unacknowledged"]


def test_it_is_of_one_outage_and_the_next_is_news(tmp_path: Path) -> None:
    desk, words = Desk(tmp_path), (seen("reach"),)
    assert desk.turn(words, {"reach": ()}, 0.0) == {"reach"}
    desk.turn(words, {}, 10.0)
    assert desk.turn(words, {}, 10.0 + QUIET) == set()
    assert desk.told() == ["alarm_acknowledged", "acknowledgement_over"]
    assert desk.state.is_spent(words[0])
    assert desk.turn(words, {"reach": ()}, 5000.0) == set()
    assert desk.told() == []


def test_an_alarm_that_flaps_is_one_and_the_same(tmp_path: Path) -> None:
    desk, words = Desk(tmp_path), (seen("reach"),)
    for minute in range(0, 600, 10):
        assert desk.turn(words, {"reach": ()}, 60.0 * minute) == {"reach"}
        assert desk.turn(words, {}, 60.0 * minute + 30.0) == set()
    assert "acknowledgement_over" not in desk.told()


def test_one_that_is_said_beforehand_waits_for_its_alarm_as_long(tmp_path: Path) -> None:
    desk, words = Desk(tmp_path), (seen("reach"),)
    desk.turn(words, {}, 100.0)
    assert desk.turn(words, {"reach": ()}, 99.0 + QUIET) == {"reach"}
    desk = Desk(tmp_path)
    desk.turn(words, {}, 100.0)
    desk.turn(words, {}, 100.0 + QUIET)
    assert desk.turn(words, {"reach": ()}, 101.0 + QUIET) == set()


def test_what_is_said_anew_counts_anew(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    words = (seen("reach", until=WALL + 9000),)
    desk.turn(words, {"reach": ()}, 0.0)
    desk.turn(words, {}, QUIET)
    assert desk.turn(words, {"reach": ()}, 1000.0) == set()
    again = (replace(words[0], until=WALL + 9001),)
    assert desk.turn(again, {"reach": ()}, 1001.0) == {"reach"}
    assert desk.turn((), {"reach": ()}, 1002.0) == set()
    assert not desk.state.spent
    assert desk.turn(words, {"reach": ()}, 1003.0) == {"reach"}, "taken back and said again"


def test_what_is_spent_is_so_for_the_next_agent_too(tmp_path: Path) -> None:
    words = (seen("reach"),)
    restart_state = RestartState(tmp_path)
    state = Simulation(setup(tmp_path), lambda ask: GOOD).state  # noqa: ARG005
    restart_state.save(state)
    assert restart_state.flush(10.0)
    assert not (tmp_path / "memory.json").exists()
    restart_state.save(state, spent=frozenset({fingerprint(words[0])}))
    assert restart_state.flush(10.0)
    memory = RestartState(tmp_path).memory
    assert memory is not None
    desk = Desk(tmp_path)
    desk.state = Acknowledged(spent=memory.spent)
    assert desk.turn(words, {"reach": ()}, 0.0) == set()
    desk.state = Acknowledged()
    assert desk.turn(words, {"reach": ()}, 0.0) == {"reach"}, "one that is not, goes on"


# --- of what it is ----------------------------------------------------------------------------


def test_what_comes_to_an_alarm_that_was_narrowly_acknowledged_is_news(tmp_path: Path) -> None:
    desk = Desk(tmp_path, policy("one", 1, net=5), policy("two", 1, net=6))
    words = (seen("unproven", match=Match(upstream="one")),)
    assert desk.turn(words, {"unproven": (0, 1)}, 0.0) == {"unproven"}
    assert desk.turn(words, {"unproven": (0, 1, 2)}, 1.0) == set()
    assert desk.told() == ["alarm_acknowledged", "alarm_unacknowledged"]
    two = (*words, seen("unproven", "two", Match(upstream="two", family=Family.IPV4)))
    assert desk.turn(two, {"unproven": (0, 1, 2)}, 2.0) == {"unproven"}
    assert desk.state.by["unproven"] == two
    assert desk.turn(two, {"unproven": (0, 3)}, 3.0) == set()


def test_an_alarm_whose_addresses_come_and_go_is_told_of_seldom(tmp_path: Path) -> None:
    """And is not acknowledged between two looks at a metric that it is about others as well."""
    desk = Desk(tmp_path)
    first = Match(address=desk.index.targets[0].address)
    words, others = (seen("unproven", match=first),), 0
    for second in range(600):
        about = (0, 1) if second % 2 else (0,)
        others += "unproven" in desk.turn(words, {"unproven": about}, float(second))
    assert others == 1, "at the first look, before it was about others"
    assert desk.told() == ["alarm_acknowledged", "alarm_unacknowledged"]
    for second in range(600, 600 + int(OTHERS_GONE)):
        desk.turn(words, {"unproven": (0,)}, float(second))
    assert desk.told() == ["alarm_acknowledged"]


def test_a_narrow_one_is_over_when_the_alarm_is_about_others_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, policy("one", 1, net=5), policy("two", 1, net=6))
    words = (seen("unproven", match=Match(upstream="one")),)
    desk.turn(words, {"unproven": (0,)}, 0.0)
    desk.turn(words, {"unproven": (2,)}, QUIET)
    assert desk.turn(words, {"unproven": (0,)}, QUIET + 1) == set()


@pytest.mark.parametrize(
    ("override", "state"),
    [
        (seen("reach"), OverrideStatus.ACTIVE),
        (seen("unproven", match=Match(upstream="gtld")), OverrideStatus.ACTIVE),
        (seen("reach", match=Match(site="sin")), OverrideStatus.ACTIVE),
        (seen("reach", match=Match(site="pao")), OverrideStatus.ELSEWHERE),
        (seen("no-such-alarm"), OverrideStatus.UNMATCHED),
        (seen("reach", match=Match(upstream="gtld")), OverrideStatus.UNMATCHED),
        (seen("unproven", match=Match(upstream="no-such-upstream")), OverrideStatus.UNMATCHED),
        (seen("reach", until=WALL), OverrideStatus.EXPIRED),
    ],
)
def test_one_that_is_of_nothing_here_acknowledges_nothing(
    tmp_path: Path, override: Override, state: OverrideStatus
) -> None:
    desk = Desk(tmp_path)
    alarms = {"reach": (), "unproven": (0,), "no-such-alarm": ()}
    found = desk.turn((override,), alarms, 1.0)
    assert desk.override_state.states == (state,)
    assert found == ({override.alarm} if state.active else set())


def test_one_that_follows_from_another_is_told_of_when_it_stands_by_itself(
    tmp_path: Path,
) -> None:
    desk, words = Desk(tmp_path), (seen("keys"),)
    desk.override_state = read(desk.override_state, desk.index, words, WALL)
    below = {"keys": Alarm(since=WALL, because="", cause="clock")}
    desk.state, events = acknowledge(desk.state, desk.override_state, below, 1.0)
    assert (events, desk.state.told) == ((), frozenset())
    assert desk.turn(words, {"keys": ()}, 2.0) == {"keys"}
    assert desk.told() == ["alarm_acknowledged"]


def test_thousands_cost_a_turn_little(tmp_path: Path) -> None:
    desk = Desk(tmp_path, policy(letters=26))
    words = tuple(
        seen("unproven", f"n{number}", Match(family=Family.IPV4 if number % 2 else Family.IPV6))
        for number in range(10_000)
    )
    about = {"unproven": tuple(range(52))}
    assert desk.turn(words, about, 0.0) == {"unproven"}
    began = time.process_time()
    for second in range(1, 4):
        assert desk.turn(words, about, float(second)) == {"unproven"}
    assert time.process_time() - began < 1.0


def test_every_alarm_of_the_page_can_be_acknowledged() -> None:
    text = (Path(__file__).parents[3] / "docs/operations.md").read_text()
    page = text.partition("### Alarms")[2].partition("## Switch off")[0]
    named = set(re.findall(r"(?m)^\| `(\w+)` \|", page))
    assert named == EVERY_ALARM
    assert named >= OF_ADDRESSES


# --- it moves nothing -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["enforce", "rehearse", "observe"])
def test_no_decision_knows_of_it(tmp_path: Path, mode: str) -> None:
    def answer(ask: Ask) -> Outcome:
        return EXPIRED if ask.now >= 1020 and (ask.local or ask.now >= 1030) else GOOD

    files = setup(tmp_path, config=f"{CONFIG}mode: {mode}\n")
    plain = Simulation(files, answer).run(50)
    marked = Simulation(files, answer)
    marked.overrides = tuple(
        seen(name, f"seen-{name}", match)
        for name in sorted(EVERY_ALARM)
        for match in (
            [EVERYTHING, Match(family=Family.IPV4)] if name in OF_ADDRESSES else [Match()]
        )
    )[: len(EVERY_ALARM)]
    marked.run(50)
    assert marked.steps == plain.steps
    assert marked.state.rule == plain.state.rule
    assert dict(marked.state.alarms) == dict(plain.state.alarms)
    assert marked.state.alarms
    assert plain.steps if mode == "enforce" else True
    assert not marked.state.override_state.conflicts


def test_it_takes_no_word_from_an_override_before_it(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda ask: GOOD)  # noqa: ARG005
    steer = replace(seen("", "move"), action=Action.STEER, to="pao", alarm=None)
    sim.overrides = (steer, seen("override"), seen("override", "narrow", Match(family=Family.IPV4)))
    sim.run(15)
    assert set(sim.installed.values()) == {"pao"}
    assert not sim.told("override_conflict")


# --- how it is shown --------------------------------------------------------------------------


def snapshot(tmp: Path, *overrides: Override) -> Snapshot:
    """Both upstreams of unrelated operators are bad everywhere, an override is defied."""
    texts = (policy("one", 2, net=5), policy("two", 1, net=6))
    sim = Simulation(
        setup(tmp, *texts),
        lambda ask: EXPIRED if ask.now >= 1020 and ask.address.startswith("192.5.") else GOOD,
    )
    sim.overrides = overrides
    sim.run(40)
    state, _ = acknowledge(Acknowledged(), sim.state.override_state, sim.state.alarms, sim.now)
    return Snapshot(
        mode="enforce",
        state=sim.state,
        installed=sim.installed,
        alarms=sim.state.alarms,
        acknowledged=state,
        ready=True,
        turned_at=sim.now,
    )


def test_the_alarm_stays_listed_with_who_why_and_until_when(tmp_path: Path) -> None:
    word = seen("everywhere", "t-1", Match(upstream="one"), until=WALL + 9000)
    shown = snapshot(tmp_path, word)
    data = json.loads(json.dumps(status(shown)))
    (alarm,) = data["alarms"]
    assert alarm["name"] == "everywhere"
    assert alarm["acknowledged"] == [
        {"name": "t-1", "by": "noc", "reason": "ticket 4711", "until": "2023-11-15T00:43:20.000Z"}
    ]
    (listed,) = data["overrides"]
    assert (listed["action"], listed["alarm"], listed["to"]) == ("acknowledge", "everywhere", None)
    assert (listed["active"], listed["state"], listed["decides"]) == (True, "active", [])
    text = status_text(data, colour=True)
    assert max(map(len, status_text(data).splitlines())) <= 80
    assert "\x1b[1;31m" not in text, "nothing that nobody has seen"
    told = " ".join(text.split())
    assert "ALARM everywhere for" in told
    assert "acknowledged by noc for another 2 h (t-1): ticket 4711" in told


def test_explain_shows_the_alarms_about_an_address(tmp_path: Path) -> None:
    shown = snapshot(tmp_path, seen("everywhere", "t-1"))
    bad, well = (explain(shown, address) for address in ("192.5.0.30", "192.6.0.30"))
    assert bad is not None
    assert well is not None
    assert [a["name"] for a in json.loads(json.dumps(bad))["alarms"]] == ["everywhere"]
    assert well["alarms"] == []
    text = explain_text(json.loads(json.dumps(bad)))
    assert "acknowledged by noc until that is removed (t-1): ticket 4711" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert "acknowledge everywhere" not in text, "it says nothing of where the address goes"


def test_alerts_can_leave_it_out_and_the_alarm_stays_a_metric(tmp_path: Path) -> None:
    shown = snapshot(tmp_path, seen("everywhere", "t-1"))
    meters = Meters()
    meters.watch(lambda: shown)
    text = generate_latest(meters.registry).decode()
    assert 'steering_alarm{name="everywhere"} 1.0' in text
    assert 'steering_alarm_acknowledged{name="everywhere"} 1.0' in text
    assert 'steering_override_active{action="acknowledge",name="t-1"} 1.0' in text
    spent = replace(
        shown, acknowledged=Acknowledged(spent=frozenset({fingerprint(seen("everywhere", "t-1"))}))
    )
    meters = Meters()
    meters.watch(lambda: spent)
    text = generate_latest(meters.registry).decode()
    assert "steering_alarm_acknowledged{" not in text
    assert 'steering_override_active{action="acknowledge",name="t-1"} 0.0' in text
    (listed,) = json.loads(json.dumps(status(spent)))["overrides"]
    assert (listed["active"], listed["state"]) == (False, "over")


# --- how it is said ---------------------------------------------------------------------------

WHY = ("--for", "2h", "--reason", "ticket 4711", "--by", "noc", "--yes")


def typed(tmp: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        code = cli.main(["override", *words, "--config", str(tmp / "steering.yaml")])
    except SystemExit as stopped:
        code = int(str(stopped.code))
    said = capsys.readouterr()
    return code, " ".join(said.out.split()), " ".join(said.err.split())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    setup(tmp_path, config=f"{CONFIG}state: state\nruntime: run\n")
    return tmp_path


def test_what_is_typed_is_what_an_agent_reads(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = typed(files, capsys, "acknowledge", "unproven", *WHY)
    assert code == 0
    assert "seen-unproven: acknowledge unproven, all of it, until" in out
    assert "no address changes its path" in out
    assert "CAUTION: it covers everything that the alarm will be about" in out
    (override,) = load(files / "steering.yaml").overrides
    assert (override.action, override.alarm, override.to) == (Action.ACKNOWLEDGE, "unproven", None)
    assert override.match == Match()
    code, out, _ = typed(files, capsys, "acknowledge", "unproven", "--upstream", "gtld", *WHY)
    assert code == 0
    assert "CAUTION: it covers everything" not in out
    code, out, _ = typed(files, capsys, "list")
    assert "seen-unproven-gtld: acknowledge unproven, upstream gtld in force; 6 addresses" in out
    code, out, _ = typed(files, capsys, "remove", "seen-unproven", "--yes")
    assert code == 0
    assert "CAUTION" not in out
    assert [o.name for o in load(files / "steering.yaml").overrides] == ["seen-unproven-gtld"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("unprovn",), '"unprovn" is no alarm, did you mean unproven'),
        (("kernal",), '"kernal" is no alarm, did you mean kernel'),
        (("qqq",), '"qqq" is no alarm, wanted one of: bgp, budget,'),
        (("reach", "--upstream", "gtld"), "reach is not about addresses"),
        (("unproven", "--upstream", "gtdl"), "did you mean gtld?"),
        (("unproven", "--name", "a b"), "is no name"),
    ],
)
def test_what_is_of_nothing_is_refused(
    files: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], complaint: str
) -> None:
    code, _, err = typed(files, capsys, "acknowledge", *words, *WHY)
    assert code == 2
    assert complaint in err
    assert not load(files / "steering.yaml").overrides


@pytest.mark.parametrize("alarm", ["keys", "unproven"])
def test_who_acknowledges_a_whole_alarm_is_told_that_new_causes_come_under_it(alarm: str) -> None:
    said = " ".join(" ".join(of_alarm(seen(alarm), None, there=True)).split())
    assert ("also new causes" in said) is (alarm == "keys")
    assert "CAUTION: it covers everything that the alarm will be about until then" in said
    narrow = " ".join(of_alarm(seen(alarm, match=Match(upstream="one")), None, there=True))
    assert "everything" not in narrow


def test_one_whose_time_is_over_gives_way_and_one_in_force_does_not(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(files, capsys, "acknowledge", "reach", *WHY)[0] == 0
    code, _, err = typed(files, capsys, "acknowledge", "reach", *WHY)
    assert code == 2
    assert "see --replace" in err
    assert typed(files, capsys, "acknowledge", "reach", *WHY, "--replace")[0] == 0
    (place,) = (files / "policies/overrides.d").iterdir()
    over = re.sub("until: .*", "until: 2020-01-01T00:00:00Z", place.read_text())
    place.write_text(over)
    assert typed(files, capsys, "acknowledge", "reach", *WHY)[0] == 0
    (override,) = load(files / "steering.yaml").overrides
    assert override.until is not None
    assert override.until > time.time()


def test_one_whose_alarm_is_over_gives_way_and_not_to_the_same_words(
    files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for_ever = ("--until", "never", "--reason", "known", "--by", "noc", "--yes")
    assert typed(files, capsys, "acknowledge", "reach", *for_ever)[0] == 0
    answer = {"overrides": [{"name": "seen-reach", "state": "active"}], "alarms": [], "off": False}
    answer |= {"mode": "enforce", "addresses": [], "time": "2026-11-24T07:00:00.000Z"}
    monkeypatch.setattr(command, "fetch", lambda *_: answer)
    code, _, err = typed(files, capsys, "acknowledge", "reach", *WHY)
    assert code == 2
    assert "see --replace" in err
    answer["overrides"] = [{"name": "seen-reach", "state": "over"}]
    code, _, err = typed(files, capsys, "acknowledge", "reach", *for_ever)
    assert code == 2
    assert "seen-reach is the same already: give another --reason, or another end" in err
    code, out, _ = typed(files, capsys, "acknowledge", "reach", *WHY)
    assert code == 0
    assert "there is no such alarm now: this waits 10 min for it" in out
    (override,) = load(files / "steering.yaml").overrides
    assert override.until is not None


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("action: acknowledge", "alarm: is missing, wanted the alarm that was seen"),
        ("action: local, alarm: reach", "alarm: has no meaning with action: local, wanted none"),
        ("action: acknowledge, alarm: reach, to: pao", "to: has no meaning with action: ackn"),
    ],
)
def test_a_file_that_says_half_of_it_is_faulty(
    files: Path, capsys: pytest.CaptureFixture[str], entry: str, complaint: str
) -> None:
    text = f"{{name: a, match: {{}}, {entry}, until: never, reason: r, by: b}}"
    (files / "policies/overrides.yaml").write_text(f"overrides: [{text}]\n")
    code, _, err = typed(files, capsys, "list")
    assert code == 2
    assert complaint in err


def test_a_slip_in_a_file_keeps_no_other_override_from_being_heard(files: Path) -> None:
    rest = "until: never, reason: r, by: b"
    (files / "policies/overrides.yaml").write_text(
        "overrides:\n"
        f"  - {{name: a, match: {{}}, action: acknowledge, alarm: reech, {rest}}}\n"
        f"  - {{name: b, match: {{}}, action: steer, to: pao, {rest}}}\n"
    )
    read_back = load(files / "steering.yaml")
    (remark,) = read_back.remarks
    assert remark.message == 'matches nothing: "reech" is no alarm, did you mean reach?'
    assert [o.name for o in read_back.overrides] == ["a", "b"]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_the_names_of_alarms(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    body = script.partition(f"{ALARMS}() {{")[2].partition("}")[0]
    assert set(body.split()) >= {"unproven", "unserved"}
    assert script.count(ALARMS) >= 2, "it is used"
    assert os.linesep in script
