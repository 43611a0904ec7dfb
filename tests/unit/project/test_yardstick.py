"""What the engine makes of facts is what was recorded: the same steps, plan, events and alarms."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from yardstick import compare as comparing
from yardstick import kinds
from yardstick.compare import RECORDED, compare, names, read, share
from yardstick.form import Reader, Words, Writer

SORTS = {"aimed", "chaos", "lab", "long", "odd", "part"}
LINES = 600
"""Of each recording: the test is to cost ten seconds of CPU."""


def begun(name: str) -> Iterator[Words]:
    """The beginning of a recording."""
    return islice(read(name), LINES)


@pytest.mark.long
@pytest.mark.parametrize("name", share())
def test_the_same_facts_give_the_same_turns_as_on_the_day_they_were_recorded(name: str) -> None:
    found = compare(name, begun(name))
    assert found is None, str(found)


def test_some_of_each_sort_are_run_and_the_scenarios_are_recorded_whole() -> None:
    assert {name.partition("-")[0] for name in share()} == SORTS
    assert {name.partition("-")[0] for name in names()} == SORTS | {"scenario"}


LACKING = {("event", "relapsed"), ("event", "would_undo")}
"""What no story came to; the properties and stories of other tests have it."""


def test_the_share_has_every_event_alarm_and_rule_of_the_engine_but_for_what_is_listed() -> None:
    found = kinds.together(kinds.of_lines(begun(name)) for name in share())
    lacking = {
        (sort, kind) for sort, can in kinds.possible().items() for kind in can - found[sort].keys()
    }
    assert lacking == LACKING
    assert found["line"].keys() == {"begin", "restart", "reload", kinds.TURNS}
    assert found["mode"].keys() == {"enforce", "rehearse", "observe"}


# --- what differs is noticed ------------------------------------------------------------------

ONES = sorted(share(), key=lambda name: (RECORDED / f"{name}.xz").stat().st_size)


def altered(alter: Callable[[Words], bool]) -> tuple[str, int, list[Words]]:
    """The smallest story that can be altered so after its first turn; the turn, and its lines."""
    for name in ONES:
        turn, lines = 0, [*begun(name)]
        for line in lines:
            turn += "facts" in line
            if turn > 1 and "facts" in line and alter(line):
                return name, turn, lines
    raise AssertionError("no turn of any can be altered so")


def another_step(line: Words) -> bool:
    for step in line["made"].get("steps", ()):
        step["rule"] = "damped"
        return True
    return False


def no_step(line: Words) -> bool:
    return bool(line["made"].pop("steps", None))


def another_event(line: Words) -> bool:
    for event in line["made"].get("events", ()):
        event["event"] = "calm"
        return True
    return False


def one_more_event(line: Words) -> bool:
    line["made"].setdefault("events", []).append({"event": "notice"})
    return True


def another_plan(line: Words) -> bool:
    for way in filter(None, line["made"].get("plan", {}).values()):
        way[0] = "nowhere"
        return True
    return False


def another_alarm(line: Words) -> bool:
    for alarm in filter(None, line["made"].get("alarms", {}).values()):
        alarm["since"] += 0.001
        return True
    return False


def other_questions(line: Words) -> bool:
    for asks in filter(None, line["made"].get("asks", {}).values()):
        asks["paths"] = []
        return True
    return False


def another_fact(line: Words) -> bool:
    line["facts"]["off"] = not line["facts"].get("off", False)
    return True


@pytest.mark.parametrize(
    ("alter", "part"),
    [
        (another_step, "steps"),
        (no_step, "steps"),
        (another_event, "events"),
        (one_more_event, "events"),
        (another_plan, "plan"),
        (another_alarm, "alarms"),
        (other_questions, "asks"),
        (another_fact, "events"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_one_thing_that_differs_is_told_with_its_turn(
    alter: Callable[[Words], bool], part: str
) -> None:
    name, turn, lines = altered(alter)
    found = compare(name, lines)
    assert found is not None
    assert found.turn == turn
    assert f"{name}: turn {turn} " in str(found)
    assert part in found.what


def test_the_command_tells_of_a_difference_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from yardstick import __main__ as command

    name, turn, lines = altered(one_more_event)
    monkeypatch.setattr(command, "read", lambda _: lines)
    monkeypatch.setattr(command, "names", lambda: [name])
    assert command.main(["compare", "--jobs", "1", "--only", name]) == 1
    assert f"{name}: turn {turn} " in capsys.readouterr().out
    monkeypatch.setattr(command, "read", comparing.read)
    assert command.main(["compare", "--jobs", "1", "--only", name]) == 0


# --- the words ---------------------------------------------------------------------------------

EVERYTHING: Words = {
    "ahead": 5.25,
    "installed": {"192.5.0.30": "pao"},
    "sources": {"ipv4": ["192.0.2.1", "192.0.2.2@vrf"]},
    "bypassed": ["192.5.0.30"],
    "forwarded": {
        "ipv4": [
            {"source": "10.0.0.7", "translated": "192.0.2.1", "carried": True},
            {"source": "10.0.0.8"},
        ]
    },
    "off": True,
    "overrides": [
        {
            "name": "o",
            "match": {
                "upstream": "u",
                "nameserver": "a.u.",
                "address": "192.5.0.30",
                "family": "ipv4",
                "site": "sin",
            },
            "action": "steer",
            "to": "pao",
            "until": 1700000000.0,
            "reason": "r",
            "by": "b",
        },
        {"name": "p", "action": "acknowledge", "reason": "r", "by": "b", "alarm": "x"},
    ],
    "rounds": [
        {
            "address": "192.5.0.30",
            "ago": 0.0,
            "zone": "u.",
            "name": "u.",
            "type": "SOA",
            "kind": "soa",
            "answers": [
                {
                    "address": "192.5.0.30",
                    "path": "live",
                    "outcome": "expired",
                    "live": True,
                    "source": "192.0.2.1",
                    "tcp": True,
                    "unjudged": True,
                    "reached": True,
                    "stalled": True,
                    "large": 1400,
                    "rtt": 0.02,
                    "nsid": "one",
                    "serial": 0,
                    "expires": 1700000000.0,
                    "evidence": {
                        "owner": "u.",
                        "type": "SOA",
                        "detail": "expired",
                        "key_tag": 0,
                        "inception": 1,
                        "expiration": 2,
                    },
                    "detail": "d",
                },
                {"address": "192.5.0.30", "path": "local", "outcome": "timeout"},
            ],
        },
        {
            "address": "192.5.0.30",
            "ago": 0.5,
            "zone": "u.",
            "name": "bad.u.",
            "type": "A",
            "kind": "denial",
            "answers": [0],
        },
    ],
    "heard": [
        {
            "address": "192.5.0.30",
            "path": "pao",
            "ago": 0.25,
            "answers": 3,
            "counts": {"expired": 2, "secure": 1},
            "failures": [
                {
                    "name": "n.",
                    "outcome": "expired",
                    "evidence": {"owner": "n.", "type": "A", "detail": "d"},
                    "ask": "n.",
                }
            ],
            "expires": 1700000000.0,
            "proved": 1,
            "disproved": [0],
            "serials": {"u.": 7},
            "overdue": 4,
        }
    ],
    "passed": [
        {"address": "192.5.0.30", "path": "pao", "source": "10.0.0.7", "answered": 1, "lost": 2}
    ],
}


def test_facts_become_the_words_that_they_came_from() -> None:
    now = 1000.0
    words = json.loads(json.dumps(EVERYTHING))
    written = Writer().facts(Reader().facts(words, now, None), now)
    assert written == EVERYTHING


def test_a_name_made_up_for_one_question_is_made_up_anew() -> None:
    good = {"address": "192.5.0.30", "path": "local", "outcome": "secure", "rtt": 0.02}
    words = copy.deepcopy(EVERYTHING["rounds"][1]) | {"name": "q7x.u.", "answers": [good]}
    facts = Reader().facts({"rounds": [words]}, 1000.0, None)
    del words["name"]
    written = Writer().facts(facts, 1000.0)
    assert written["rounds"] == [words]
    (again,) = Reader().facts(written, 1000.0, None).rounds
    assert again.question.name == "x0.u."
