"""What the API and the terminal show of overrides, budgets and rules."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client import generate_latest
from simulation import WALL, Ask, Simulation, policy, setup

from steering.model import Family, Outcome
from steering.override import Action, Match, Override
from steering.report.metrics import Meters
from steering.report.snapshot import Snapshot
from steering.report.status import explain, status
from steering.report.status_text import explain_text, status_text

ONE = "192.5.0.30"
OVERRIDES = (
    Override(
        name="ticket-4711",
        match=Match(upstream="gtld", family=Family.IPV4),
        action=Action.STEER,
        to="pao",
        until=WALL + 5000.5,
        reason="stale data",
        by="noc",
    ),
    Override(
        name="but-this",
        match=Match(address=ONE),
        action=Action.LOCAL,
        to=None,
        until=None,
        reason="a test",
        by="ops",
    ),
    Override(
        name="long-ago",
        match=Match(site="sin"),
        action=Action.FREEZE,
        to=None,
        until=WALL,
        reason="over",
        by="noc",
    ),
)


def _snapshot(tmp: Path) -> Snapshot:
    def answer(ask: Ask) -> Outcome:
        return Outcome.EXPIRED if ask.local and ask.now >= 1020 else Outcome.SECURE

    sim = Simulation(setup(tmp, policy(letters=2)), answer)
    sim.overrides = OVERRIDES
    sim.run(40)
    return Snapshot(
        mode="enforce",
        state=sim.state,
        installed=sim.installed,
        alarms=sim.state.alarms,
        ready=True,
        turned_at=sim.now,
    )


def test_the_status_lists_every_override_with_its_standing(tmp_path: Path) -> None:
    shown = json.loads(json.dumps(status(_snapshot(tmp_path))))["overrides"]
    first, second, third = shown
    assert first == {
        "name": "ticket-4711",
        "match": {"upstream": "gtld", "family": "ipv4"},
        "action": "steer",
        "to": "pao",
        "until": "2023-11-14T23:36:40.500Z",
        "reason": "stale data",
        "by": "noc",
        "active": True,
        "state": "active",
        "covers": ["192.5.0.30", "192.5.1.30"],
        "covered": 2,
        "decides": ["192.5.1.30"],
    }
    assert (second["until"], second["decides"]) == (None, [ONE])
    assert (third["active"], third["state"]) == (False, "expired")


def test_explain_has_the_numbers_and_the_other_answer_of_every_rule(tmp_path: Path) -> None:
    snapshot = _snapshot(tmp_path)
    told = explain(snapshot, ONE)
    assert told is not None
    data = json.loads(json.dumps(told))
    assert [rule["number"] for rule in data["rules"]] == list(range(1, 11))
    (deciding,) = [rule for rule in data["rules"] if rule["decides"]]
    assert deciding["name"] == "override"
    assert "but-this: local, by ops: a test (active, decides)" in deciding["because"]
    assert deciding["otherwise"] == "the removal of the override but-this, or a later override"
    text = explain_text(data)
    assert text.count("would change with: ") == 10
    assert "=>  2. override" in text
    assert explain(snapshot, "203.0.113.1") is None


def test_what_goes_against_the_evidence_is_an_alarm_on_the_terminal(tmp_path: Path) -> None:
    snapshot = _snapshot(tmp_path)
    text = status_text(json.loads(json.dumps(status(snapshot))))
    assert "ALARM override" in text
    told = "but-this: local, by ops: a test: obeyed although the measurements contradict it"
    assert told in " ".join(text.split())


def test_what_a_person_reads_fits_80_columns_and_has_ages_for_dates(tmp_path: Path) -> None:
    snapshot = _snapshot(tmp_path)
    data = json.loads(json.dumps(status(snapshot)))
    told = json.loads(json.dumps(explain(snapshot, ONE)))
    for columns in (80, 120):
        for text in (
            status_text(data, everything=True, columns=columns),
            explain_text(told, columns=columns),
        ):
            assert max(map(len, text.splitlines())) <= columns
    text = status_text(data, everything=True)
    (row,) = [line for line in text.splitlines() if line.startswith(ONE)]
    assert re.search(r"  failing  [0-9.]+% +local +override  (39|40) s$", row)
    assert "ALARM override for 19 s: " in text
    assert "Z" not in text.partition("\n")[2], "no date but that of the answer"
    assert "\x1b" not in text + explain_text(told)
    coloured = status_text(data, colour=True)
    assert "\x1b[31mfailing\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == status_text(data)
    assert re.sub(r"\x1b\[[0-9;]*m", "", explain_text(told, colour=True)) == explain_text(told)


def test_long_names_and_addresses_fit_as_well(tmp_path: Path) -> None:
    data = json.loads(json.dumps(status(_snapshot(tmp_path))))
    one, *_ = data["addresses"]
    one |= {
        "address": "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff",
        "nameserver": f"{'n' * 60}.example.",
    }
    one["installed"] = {"kernel": "frankfurt-am-main-2", "bgp": "singapore-changi-1"}
    text = status_text(data, everything=True)
    assert max(map(len, text.splitlines())) <= 80
    shown = "".join(text.split())
    assert "nnnn.." in shown


def test_the_metric_tells_which_overrides_are_in_force(tmp_path: Path) -> None:
    meters = Meters()
    snapshot = _snapshot(tmp_path)
    meters.watch(lambda: snapshot)
    text = generate_latest(meters.registry).decode()
    assert 'steering_override_active{action="steer",name="ticket-4711"} 1.0' in text
    assert 'steering_override_active{action="freeze",name="long-ago"} 0.0' in text
    assert 'steering_decisions{rule="override"} 2.0' in text
