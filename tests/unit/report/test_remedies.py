"""One cause is one alarm, and each alarm says what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

from simulation import Simulation, policy, setup

from steering.agent.own_alarms import OwnAlarms
from steering.decide.messages.alarms import settle
from steering.model import Outcome
from steering.observe.dnssec.keys.chain import Lack
from steering.remedies import FOLLOW, KEYS, REMEDIES
from steering.report.snapshot import Snapshot
from steering.report.status import status
from steering.report.status_text import status_text

ROOT = Path(__file__).parents[3]
BY_THEMSELVES = {
    *("marked", "reach", "forwarded", "unserved", "capacity", "bypassed"),
    *("unasked", "pins", "return", "keys"),
}
"""Alarms whose own text ends with what to do, as it depends on what was found."""


def test_each_alarm_of_the_page_says_what_to_do() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    page = text.partition("### Alarms")[2].partition("## Switch off")[0]
    named = set(re.findall(r"(?m)^\| `(\w+)` \|", page))
    assert named - BY_THEMSELVES == set(REMEDIES)
    assert set(FOLLOW) | {c for cs in FOLLOW.values() for c in cs} <= named


def test_what_follows_from_another_is_neither_raised_nor_cleared() -> None:
    now, raised = settle({}, {"everywhere": "26 addresses are bad"}, 1.0)
    assert [(e.event, e.now) for e in raised] == [("alarm_raised", "everywhere")]
    now, both = settle(now, {"everywhere": "26 addresses are bad", "clock": "it is ahead"}, 2.0)
    assert [(e.event, e.was, e.now) for e in both] == [
        ("alarm_raised", None, "clock"),
        ("alarm_cleared", "everywhere", None),
    ]
    assert both[1].because == "it follows from clock"
    assert now["everywhere"].cause == "clock"
    assert now["everywhere"].since == 1.0
    now, again = settle(now, {"everywhere": "26 addresses are bad"}, 3.0)
    assert [(e.event, e.was, e.now) for e in again] == [
        ("alarm_raised", None, "everywhere"),
        ("alarm_cleared", "clock", None),
    ]
    _, over = settle(now, {}, 4.0)
    assert [(e.was, e.because) for e in over] == [("everywhere", "no longer so")]


def test_the_agents_own_alarms_follow_from_the_engines() -> None:
    troubles = OwnAlarms()
    assert troubles.update({"keys": "com.: expired"}, 1.0, ["clock"]) == ()
    assert troubles.alarms["keys"].cause == "clock"
    (raised,) = troubles.update({"keys": "com.: expired"}, 2.0)
    assert raised.because == "com.: expired"


def test_whatever_is_the_matter_with_keys_has_a_remedy_of_its_own() -> None:
    assert set(KEYS) == set(Lack)
    assert len(set(KEYS.values())) == len(KEYS)


def test_a_clock_40_days_ahead_is_one_alarm_with_what_follows_under_it(tmp_path: Path) -> None:
    texts = [policy(name, net=n, letters=2) for n, name in enumerate(("one", "two"), start=5)]
    sim = Simulation(
        setup(tmp_path, *texts), lambda ask: Outcome.EXPIRED if ask.now >= 1040 else Outcome.SECURE
    ).run(120)
    sim_alarms = dict(sim.state.alarms)
    assert {name for name, alarm in sim_alarms.items() if alarm.cause is None} == {"clock"}
    assert "everywhere" in sim_alarms
    snapshot = Snapshot(
        mode="enforce",
        state=sim.state,
        installed={},
        alarms=sim_alarms,
        ready=True,
        turned_at=sim.now,
    )
    answer = json.loads(json.dumps(status(snapshot)))
    (alarm,) = answer["alarms"]
    assert alarm["name"] == "clock"
    assert "everywhere" in {one["name"] for one in alarm["follows"]}
    told = " ".join(status_text(answer).split())
    assert told.count("ALARM") == 1
    assert "To do: compare `date -u` with another clock" in told
    assert "consequence: everywhere: " in told
