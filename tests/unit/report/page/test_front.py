"""The page: all that is wrong is on it, in words, for whoever reads it."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from simulation import Ask, Shown, Simulation, policy, setup

from steering.decide.state import Alarm
from steering.model import Event, Outcome
from steering.override import Action, Match, Override
from steering.report.http.ipc import is_key
from steering.report.page import address as page_of
from steering.report.page.front import front, live
from steering.report.page.history import EVENTS, POINTS, STEP, History
from steering.report.snapshot import Snapshot
from steering.report.status import explain, status

PATHS = ("local", "pao", "fra", "nrt")
HOSTILE = "<script>alert(1)</script>\u202e\x1b[2J\" onload='x"


class Text(HTMLParser):
    """The text of a page, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def bad_here(ask: Ask) -> Outcome | Shown:
    return Shown(
        outcome=Outcome.EXPIRED if ask.local and ask.now >= 1020 else Outcome.SECURE,
        nsid=HOSTILE,
        detail=HOSTILE,
    )


def snapshot(tmp_path: Path, seconds: float = 60, letters: int = 2) -> Snapshot:
    sim = Simulation(setup(tmp_path, policy(letters=letters)), bad_here)
    sim.overrides = (
        Override(
            name="hold",
            match=Match(address="192.5.0.30"),
            action=Action.LOCAL,
            to=None,
            until=None,
            reason=HOSTILE,
            by="noc",
        ),
    )
    sim.run(seconds)
    return Snapshot(
        mode="enforce",
        state=sim.state,
        installed=sim.state.plan,
        alarms=sim.state.alarms,
        ready=True,
        turned_at=sim.state.now,
    )


def test_a_calm_page_says_that_all_is_well(tmp_path: Path) -> None:
    page = Text(front(status(snapshot(tmp_path, 10)), History()))
    assert "All is well" in page.text
    assert "4 addresses are healthy and local" in page.text
    assert "To do:" not in page.text


def test_an_incident_is_told_in_words_with_the_rule_and_the_path(tmp_path: Path) -> None:
    shown = snapshot(tmp_path)
    history = History()
    history.happened(Event(event="steered", because="why", upstream="gtld", was="a", now="b"), 1e9)
    alarms = {
        "self": Alarm(since=1.7e9, because=f"{HOSTILE}. To do: look there"),
        "keys": Alarm(since=1.7e9, because="no keys", cause="self"),
    }
    (site,) = set(shown.state.plan.values())
    page = Text(front(status(replace(shown, alarms=alarms)), history))
    for text in (
        "1 alarm",
        "Alarm self",
        "To do: look there",
        "keys: no keys",
        "F4",
        f"3 {site}, 1 local",
        "192.5.0.30",
        "override",
        "steer",
        "hold",
        "a → b",
    ):
        assert text in page.text, text


def test_a_copy_is_shown_with_its_health_its_phase_and_the_servers_serial(tmp_path: Path) -> None:
    copy = {
        "copy": "root",
        "zone": ".",
        "resolver": "cache-1",
        "kind": "unbound",
        "health": "stale",
        "phase": "out",
        "serial": 2026113000,
        "servers": {"serial": 2026120100},
        "trouble": HOSTILE,
        "held": "",
        "because": "no new copy for 2 d",
    }
    answer = {**status(snapshot(tmp_path, 10)), "copies": [copy]}
    page = Text(front(answer, History()))
    for text in ("cache-1 (unbound)", "O stale", "out", "2026113000", "2026120100", "for 2 d"):
        assert text in page.text, text
    assert "<script>alert(1)</script>\\u202e" in page.text
    assert "Copies of zones" not in Text(front(status(snapshot(tmp_path, 10)), History())).text


def test_what_others_say_stays_text_on_every_page(tmp_path: Path) -> None:
    shown = snapshot(tmp_path)
    history = History()
    history.happened(Event(event="notice", because=HOSTILE, upstream=HOSTILE), 1e9)
    explained = explain(shown, "192.5.0.30")
    assert explained is not None
    for page in (front(status(shown), history), page_of.page(explained)):
        read = Text(page)
        assert read.tags.count("script") == 2  # ours, by name
        assert "<script>alert(1)</script>\\u202e\\x1b[2J" in read.text
        assert not {"\u202e", "\x1b"} & set(page)


def test_a_page_needs_nothing_of_others_and_has_nothing_inline(tmp_path: Path) -> None:
    page = front(status(snapshot(tmp_path)), History())
    assert " style=" not in page
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) >= {"/static/page.js", "/"}
    assert all(found.startswith("/") for found in re.findall(r'(?:src|href)="([^"]*)"', page))


def test_a_watcher_is_told_the_same_as_who_loads_the_page(tmp_path: Path) -> None:
    shown = snapshot(tmp_path)
    told = live(status(shown), History())
    page = front(status(shown), History())
    assert f'data-structure="{told["structure"]}"' in page
    cells = told["cells"]
    assert isinstance(cells, dict)
    for key, (text, _) in cells.items():
        assert f'data-k="{key}"' in page
        assert text in Text(page).text


def test_the_structure_is_another_only_when_something_is_added_or_gone(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path, policy(letters=2)), bad_here)
    history = History()

    def mark(seconds: float) -> object:
        sim.run(seconds)
        one = Snapshot(
            mode="enforce",
            state=sim.state,
            installed=sim.state.plan,
            alarms=sim.state.alarms,
            ready=True,
            turned_at=sim.state.now,
        )
        return live(status(one), history)["structure"]

    calm = mark(10)
    assert mark(5) == calm
    away = mark(30)
    assert away != calm
    assert mark(3) == away
    history.happened(Event(event="notice", because="x"), 1e9)
    assert mark(1) != away


def test_the_words_of_an_alarm_change_without_another_structure(tmp_path: Path) -> None:
    shown = snapshot(tmp_path, 10)

    def told(text: str) -> dict[str, object]:
        alarms = {
            "notify": Alarm(since=1.7e9, because=f"{text}. To do: {text}!"),
            "keys": Alarm(since=1.7e9, because=text, cause="notify"),
        }
        return live(status(replace(shown, alarms=alarms)), History())

    one, other = told("for 1 min 1 s"), told("for 1 min 2 s")
    assert one["structure"] == other["structure"]
    assert one["cells"] != other["cells"]


def test_a_thousand_failing_addresses_fit_into_150_kilobytes(tmp_path: Path) -> None:
    shown = snapshot(tmp_path, letters=25)
    every = status(shown)
    addresses = every["addresses"]
    assert isinstance(addresses, list)
    worst = {**addresses[-1]["paths"]["local"], "health": "failing", "failure_rate": 0.13}
    failing = [
        {**one, "address": f"2001:db8:{net:x}::{at:x}", "paths": dict.fromkeys(PATHS, worst)}
        for net in range(20)
        for at, one in enumerate(addresses)
    ]
    page = front({**every, "addresses": failing}, _full())
    assert len(failing) == 1000
    assert len(gzip.compress(page.encode(), 6)) < 150_000


def _full() -> History:
    history = History()
    for number in range(2 * EVENTS):
        event = Event(
            event="health_changed",
            because=f"{number / 7:.1f}% failing lately; last: com. SOA: signature expired",
            upstream="gtld",
            address=f"192.0.{number % 256}.{number // 256}",
            path="local",
            was="healthy",
            now="suspect",
        )
        history.happened(event, 1.7e9 + number)
    return history


def test_history_is_bounded_and_has_a_point_for_every_five_minutes(tmp_path: Path) -> None:
    history = _full()
    assert len(history.events) == EVENTS
    assert history.events[-1].number == 2 * EVENTS
    first = snapshot(tmp_path).state
    for at in range(3000):
        history.turned(replace(first, wall=first.wall + 60.0 * at))
    assert len(history.times) == POINTS
    gaps = {b - a for a, b in zip(history.times, list(history.times)[1:], strict=False)}
    assert gaps == {STEP}
    (points,) = history.points.values()
    assert len(points) == POINTS
    assert points[-1].steered == 3
    assert points[-1].share is not None
    assert points[-1].share > 0.2


def test_a_clock_that_is_set_back_or_ahead_stops_no_plot(tmp_path: Path) -> None:
    first = snapshot(tmp_path).state
    for jump in (-1e6, 1e6):
        history = History()
        history.turned(first)
        for at in range(20):
            history.turned(replace(first, wall=first.wall + jump + 60.0 * at))
        assert len(history.times) >= 4


@pytest.mark.parametrize(
    ("key", "good"),
    [("live", True), ("page:192.0.2.1", True), ("page:fe80::1%x", False), ("page:live", False)],
)
def test_keys_of_pages(key: str, good: bool) -> None:
    assert is_key(key) is good


def test_the_plot_has_its_data_and_a_table_with_the_same(tmp_path: Path) -> None:
    history, first = History(), snapshot(tmp_path).state
    for at in range(20):
        history.turned(replace(first, wall=first.wall + 60.0 * at))
    page = front(status(snapshot(tmp_path)), history)
    found = re.search(r'data-points="([^"]*)"', page)
    assert found is not None
    data = json.loads(found[1].replace("&quot;", '"'))
    assert data["times"] == [round(wall) for wall in history.times]
    assert data["upstreams"]["gtld"]["steered"] == [3] * len(history.times)
    assert "3 steered" in Text(page).text
