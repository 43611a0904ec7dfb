"""What is told, and when: what lasts, changes, flaps and ends."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.config.notify import About
from steering.decide.state import Alarm
from steering.report.notifications.news import (
    CHANGES,
    LONGEST,
    QUIET,
    SETTLED,
    News,
    alarms,
    moves,
)
from steering.report.notifications.notice import Notice, Stage

WALL = 1.7e9
NOBODY: dict[str, str] = {}


def raised(**causes: str | None) -> tuple[Notice, ...]:
    return tuple(
        alarms({n: Alarm(since=WALL, because=f"{n}!", cause=c) for n, c in causes.items()})
    )


def steered(**plan: str) -> tuple[Notice, ...]:
    """Moves of one upstream, by the last letter of each address."""
    by = {f"192.0.2.{ord(letter)}": site for letter, site in plan.items()}
    since = dict.fromkeys(by, WALL)
    return tuple(moves(by, dict.fromkeys(by, "gtld"), since, lambda a: f"{a} fails", acts=True))


class Told:
    """What was told, second by second."""

    def __init__(self) -> None:
        self.news, self.now, self.all = News(), 0.0, list[Notice]()

    def turns(
        self, seconds: float, present: Iterable[Notice] = (), seen_by: dict[str, str] = NOBODY
    ) -> list[Notice]:
        told = list[Notice]()
        for _ in range(round(seconds)):
            told += self.news.of(tuple(present), self.now, WALL + self.now, seen_by)
            self.now += 1
        self.all += told
        return told


def stages(told: Iterable[Notice]) -> list[tuple[str, str]]:
    return [(str(notice.about), str(notice.stage)) for notice in told]


def test_an_alarm_is_told_at_once_and_once_and_its_end_when_it_stays_away() -> None:
    told = Told()
    assert stages(told.turns(1, raised(kernel=None))) == [("alarm", "began")]
    assert not told.turns(3600, raised(kernel=None))
    assert not told.turns(QUIET - 1)
    (ended,) = told.turns(2)
    assert (ended.name, ended.stage, ended.ended) == ("kernel", Stage.ENDED, WALL + 3600)


def test_what_flaps_is_told_once() -> None:
    told = Told()
    for _ in range(100):
        told.turns(1, raised(kernel=None))
        told.turns(QUIET - 2)
    assert stages(told.all) == [("alarm", "began")]


def test_an_alarm_that_follows_from_another_is_not_told() -> None:
    assert [notice.name for notice in raised(clock=None, everywhere="clock")] == ["clock"]


def test_an_acknowledged_alarm_is_over_for_who_is_told_and_is_not_told_again() -> None:
    told, seen = Told(), {"kernel": "acknowledged by noc"}
    told.turns(5, raised(kernel=None))
    (ended,) = told.turns(100, raised(kernel=None), seen)
    assert ended.stage is Stage.ENDED
    assert "acknowledged by noc" in ended.title
    told = Told()
    assert not told.turns(100, raised(kernel=None), seen)


def test_an_acknowledgement_silences_no_upstream_of_that_name() -> None:
    assert stages(Told().turns(20, steered(a="pao"), {"gtld": "acknowledged by noc"})) == [
        ("move", "began")
    ]


def test_a_move_is_told_when_nothing_was_added_for_a_while() -> None:
    told = Told()
    told.turns(1, steered(a="pao"))
    told.turns(1, steered(a="pao", b="pao"))
    assert not told.all
    (began,) = told.turns(SETTLED, steered(a="pao", b="pao"))
    assert began.stage is Stage.BEGAN
    assert began.addresses == ("192.0.2.97", "192.0.2.98")
    assert began.title == "gtld: 2 addresses go through pao"


def test_a_move_that_never_settles_is_told_all_the_same() -> None:
    told = Told()
    for second in range(40):
        told.turns(1, steered(a="pao" if second % 2 else "fra"))
    assert told.all
    assert told.all[0].stage is Stage.BEGAN
    assert told.now > LONGEST


def test_changes_of_a_move_are_told_at_most_once_a_minute() -> None:
    told = Told()
    told.turns(60, steered(a="pao"))
    assert stages(told.all) == [("move", "began")]
    for second in range(600):
        told.turns(1, steered(a="pao", b="pao" if second % 20 < 10 else "fra"))
    changed = [notice for notice in told.all if notice.stage is Stage.CHANGED]
    assert 5 <= len(changed) <= 600 / CHANGES + 1


def test_the_end_of_a_move_is_an_incident_with_all_that_ever_moved() -> None:
    told = Told()
    told.turns(60, steered(a="pao", b="pao"))
    told.turns(60, steered(a="fra"))
    ended = told.turns(QUIET + 1)
    assert stages(ended) == [("move", "ended"), ("incident", "ended")]
    incident = ended[1]
    assert incident.addresses == ("192.0.2.97", "192.0.2.98")
    assert incident.sites == ("fra", "pao")
    assert "2 addresses left the local path for fra, pao" in incident.text
    assert incident.since == WALL
    assert incident.ended == pytest.approx(WALL + 119)


def test_a_move_too_short_to_be_told_is_not_told_at_its_end() -> None:
    told = Told()
    told.turns(2, steered(a="pao"))
    assert not told.turns(100)


def test_an_agent_that_does_not_act_says_would() -> None:
    (notice,) = moves(
        {"192.0.2.1": "pao"},
        {"192.0.2.1": "gtld"},
        {"192.0.2.1": WALL},
        str,
        acts=False,
    )
    assert notice.title == "gtld: 1 address would go through pao"


@given(st.lists(st.sets(st.sampled_from(["a", "b", "c"])), max_size=200))
def test_whoever_is_told_hears_of_each_thing_that_lasts_and_of_each_end(
    story: list[set[str]],
) -> None:
    """After any story, what is believed by who heard all is what lasts, or ended just now."""
    told, believed = Told(), set[tuple[About, str]]()
    for present in story:
        told.turns(7, raised(**dict.fromkeys(present)))
    told.turns(QUIET + 1, raised(**dict.fromkeys(story[-1] if story else ())))
    for notice in told.all:
        if notice.stage is Stage.ENDED:
            believed.remove(notice.key)
        else:
            assert notice.key not in believed
            believed.add(notice.key)
    assert {name for _, name in believed} == (story[-1] if story else set())
    assert {notice.key for notice in told.news.lasting()} == believed
