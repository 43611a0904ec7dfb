"""When a speaker is started, ended, kept or waited for: each case, with no process at all."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from steering.act.bgp import process, supervisor
from steering.act.bgp.settings import BgpSettings, Peer
from steering.act.bgp.supervisor import (
    BACK_OFF,
    CONNECTED_WITHIN,
    Supervisor,
)
from steering.act.bgp.sync import KNOWN, Phase
from steering.model import Family

NOW = 1000.0
TERMS = BgpSettings(
    peers=(Peer(address="127.0.0.1", peer_as=64512),),
    local_as=64512,
    router_id="10.0.0.1",
    next_hops={"pao": {Family.IPV4: "10.255.1.1"}},
    user="root",
)


@dataclass
class World:
    """What runs, and what was done to it."""

    running: str | None = None
    done: list[str] = field(default_factory=list)
    stubborn: bool = False
    startable: bool = True
    usable: bool = True
    fingerprint: str = "wanted"
    now: float = NOW
    ended: set[int] = field(default_factory=set)

    def end(self, _runtime: Path, _within: float = 0.0) -> bool:
        self.done.append("end")
        if self.stubborn:
            raise TimeoutError("it does not end")
        ran, self.running = self.running is not None, None
        return ran

    def start(self, *_: object) -> int:
        if not self.startable:
            raise OSError("no process left")
        self.done.append("start")
        self.running = self.fingerprint
        return 77

    def look_around(self, *_: object) -> object:
        return SimpleNamespace(
            usable=self.usable,
            fingerprint=self.fingerprint,
            command=[],
            terms=TERMS,
            write_files=lambda *_: self.done.append("write"),
        )


class Talk:
    """A link that says what the test wants."""

    def __init__(self, *_: object, **__: object) -> None:
        self.dumb: bool = False
        self.sync = SimpleNamespace(
            phase=Phase.IDLE, ready=False, version="9", silent=lambda _now: self.dumb
        )
        self.linked = True
        self.met = True
        self.apart_since = 0.0
        self.beats = 0
        self.waits: list[float] = []
        self.hung_up: list[str] = []

    def beat(self) -> None:
        self.beats += 1

    def hang_up(self, because: str) -> None:
        self.hung_up.append(because)

    def await_bridge(self, *_: object) -> None: ...

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def pump(self) -> None: ...


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(process, "running", lambda _runtime: made.running)
    monkeypatch.setattr(process, "end", made.end)
    monkeypatch.setattr(process, "start", made.start)
    monkeypatch.setattr(supervisor, "look_around", made.look_around)
    monkeypatch.setattr(supervisor, "environment", lambda _terms: {})
    monkeypatch.setattr(supervisor, "has_ended", lambda pid: pid in made.ended)
    monkeypatch.setattr(supervisor, "Link", Talk)
    clock = SimpleNamespace(monotonic=lambda: made.now, sleep=lambda _seconds: None)
    monkeypatch.setattr(supervisor, "time", clock)
    return made


@pytest.fixture
def one(world: World, tmp_path: Path) -> Supervisor:
    assert world.running is None
    (tmp_path / process.FOLDER).mkdir()
    return Supervisor(TERMS, tmp_path, lease=60.0, may_speak=lambda: True)


def talk_of(one: Supervisor) -> Talk:
    return cast("Talk", one.talk)


def told(one: Supervisor) -> list[tuple[str | None, str]]:
    return [(event.now, event.because) for event in one.news()]


def keep_up(one: Supervisor, now: float = NOW) -> None:
    one.keep_up(now, {})


def test_where_none_runs_one_is_started_once_and_then_has_a_beat_each_turn(
    one: Supervisor, world: World
) -> None:
    keep_up(one)
    assert world.done == ["write", "start"]
    assert one.starts == 1
    assert told(one) == [("started", "no speaker was running")]
    assert talk_of(one).beats == 0
    for _ in range(3):
        keep_up(one)
    assert world.done == ["write", "start"]
    assert talk_of(one).beats == 3
    talk_of(one).linked = False
    talk_of(one).apart_since = NOW
    keep_up(one)
    assert talk_of(one).beats == 3, "there is nobody to hear it"


def test_a_start_waits_for_the_one_under_way_and_longer_each_time_it_fails(
    one: Supervisor, world: World
) -> None:
    keep_up(one)
    world.running = None  # it has not taken its lock yet
    keep_up(one, NOW + CONNECTED_WITHIN)
    assert one.starts == 1
    keep_up(one, NOW + CONNECTED_WITHIN + 0.1)
    assert one.starts == 2
    assert not one.settled(NOW + 2 * CONNECTED_WITHIN)
    now, pauses = NOW + 100.0, []
    world.ended = {77}
    for _ in range(9):
        world.running = None
        before, starts = now, one.starts
        while one.starts == starts:
            now += 0.25
            keep_up(one, now)
        pauses.append(now - before)
    assert pauses[0] < 1.0
    assert pauses[-1] == BACK_OFF[1]
    keep_up(one, now + 61.0)
    world.running = None
    keep_up(one, now + 61.5)
    assert one.starts == 12, "after a calm minute there is no pause"


@pytest.mark.parametrize("lack", ["switch", "prerequisite", "process", "version"])
def test_none_is_started_without_what_it_needs(one: Supervisor, world: World, lack: str) -> None:
    if lack == "switch":
        one._may_speak = lambda: False
    world.usable = lack != "prerequisite"
    world.startable = lack != "process"
    if lack == "version":
        talk_of(one).sync.phase = Phase.USELESS
    keep_up(one)
    assert "start" not in world.done
    assert one.starts == 0
    assert one.why == ("can't start it: no process left" if lack == "process" else "")
    assert told(one) == []


Setting = dict[str, Any]


@pytest.mark.parametrize(
    ("setting", "because"),
    [
        ({}, ""),
        ({"running": "another"}, "its configuration is not the wanted one"),
        ({"running": "another", "linked": False}, ""),
        ({"dumb": True}, "it did not answer"),
        ({"linked": False, "apart": CONNECTED_WITHIN}, ""),
        ({"linked": False, "apart": CONNECTED_WITHIN + 1}, "it did not answer"),
        (
            {"linked": False, "apart": CONNECTED_WITHIN + 1, "met": False},
            "its helper did not connect: it did not answer",
        ),
        ({"phase": Phase.USELESS}, f"this is ExaBGP 9, wanted {KNOWN[:-1]}: others have"),
    ],
)
def test_a_running_one_is_ended_where_it_is_of_no_use_and_told_why(
    one: Supervisor, world: World, setting: Setting, because: str
) -> None:
    keep_up(one)
    told(one)
    world.running = setting.get("running", "wanted")
    talk = talk_of(one)
    talk.linked, talk.dumb = setting.get("linked", True), setting.get("dumb", False)
    talk.met, talk.sync.phase = setting.get("met", True), setting.get("phase", Phase.IDLE)
    talk.apart_since = NOW + 9 - setting.get("apart", 0.0)
    keep_up(one, NOW + 9)
    if not because:
        assert world.done == ["write", "start"]
        assert told(one) == []
        return
    assert world.done[2] == "end"
    (how, why), *_ = told(one)
    assert how == "ended"
    assert why.startswith(because)
    assert talk.hung_up[0].startswith(f"there is no speaker: {because}")


def test_one_that_does_not_end_is_tried_each_turn_and_is_an_error_after_half_a_second(
    one: Supervisor, world: World
) -> None:
    keep_up(one)
    told(one)
    world.stubborn, talk_of(one).dumb = True, True
    keep_up(one)
    talk_of(one).dumb = False
    world.now = NOW + 0.5
    keep_up(one)
    assert told(one) == [], "it has not ended"
    assert talk_of(one).beats == 0
    assert not one._is_ours(1), "nobody of it is listened to any more"
    world.now = NOW + 0.6
    with pytest.raises(TimeoutError):
        keep_up(one)
    world.stubborn = False
    keep_up(one, NOW + 9)
    assert [how for how, _ in told(one)] == ["ended", "started"]


def test_a_start_adopts_what_runs_by_the_same_configuration_and_ends_any_other(
    one: Supervisor, world: World
) -> None:
    one.adopt()
    assert not one._lives
    world.running = "wanted"
    one.adopt()
    assert one._lives
    assert one._started == NOW
    assert world.done == []
    world.running = "another"
    one.adopt()
    assert world.done == ["end"]
    assert not one._lives
    assert one.why == "the running speaker has another configuration"


def test_an_adopted_one_is_waited_for_a_third_of_the_lease_at_most(
    one: Supervisor, world: World
) -> None:
    talk = talk_of(one)
    one.meet(5.0)
    assert not talk.waits, "there is none"
    world.running = "wanted"
    one.adopt()
    talk.sync.ready = True
    one.meet(5.0)
    assert not talk.waits, "it has answered"
    talk.sync.ready = False

    def wait(seconds: float) -> None:
        talk.waits.append(seconds)
        world.now += seconds

    talk.wait = wait  # type: ignore[method-assign]
    for within, waited in ((0.12, 0.12), (99.0, 20.0)):
        talk.waits.clear()
        world.running = "wanted"
        one._lives = True
        one.meet(within)
        assert sum(talk.waits) == pytest.approx(waited)
        assert max(talk.waits) <= 0.05
        assert world.running is None
        assert one.why == "the running speaker does not answer"


def test_ending_it_ends_also_one_that_holds_no_lock_yet(
    one: Supervisor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not one.end(), "none ran"
    assert talk_of(one).hung_up == []
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, how: killed.append((pid, how)))
    keep_up(one)
    world.running = None
    clock = iter(range(10**6))
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: NOW + next(clock) / 50)  # type: ignore[attr-defined]
    assert one.end()
    assert killed == [(77, signal.SIGKILL)]
    assert told(one)[-1] == ("ended", "all routes were withdrawn")
    assert one.settled(0.0), "the next one starts at once"
    world.ended = {77}
    assert not one.end()


def test_it_is_known_what_is_announced_where_it_said_so_or_none_runs(
    one: Supervisor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one.known
    world.running = "wanted"
    assert not one.known
    talk_of(one).sync.ready = True
    assert one.known
    talk_of(one).sync.ready = False

    def refuses(_runtime: Path) -> str:
        raise OSError

    monkeypatch.setattr(process, "running", refuses)
    assert not one.known


def test_a_helper_is_ours_if_the_wanted_speaker_started_it(
    one: Supervisor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_up(one)
    helper = [True]
    monkeypatch.setattr(process, "is_helper", lambda *_: helper[0])
    assert one._is_ours(1)
    helper[0] = False
    assert not one._is_ours(1)
    helper[0], world.running = True, "another"
    assert not one._is_ours(1)


def test_changed_settings_try_again_at_once(one: Supervisor, world: World) -> None:
    one._pause, one._foreign = 30.0, True
    world.fingerprint = "changed"
    one.change(TERMS, 30.0)
    keep_up(one)
    assert one.starts == 1
    assert one._lease == 30.0
    assert one._fingerprint == "changed"
