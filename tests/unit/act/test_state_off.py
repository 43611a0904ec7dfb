"""The off switch in `state` is found by a thread, and engaged where loop and guard look."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from steering.act.off_switch import OffSwitch
from steering.agent import state_off
from steering.agent.state_off import SILENT, StateOff
from steering.lab import waiting
from steering.system import files

until = functools.partial(waiting.until, within=10.0)


@dataclass
class Host:
    """The two directories, and the threads that look."""

    state: Path
    runtime: Path
    looking: list[StateOff] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state.mkdir()
        self.runtime.mkdir()
        self.switch = OffSwitch(state=self.state, runtime=self.runtime)

    def look(self, *, leased: bool = False) -> StateOff:
        made = StateOff(state=self.state, runtime=self.runtime, leased=leased)
        self.looking.append(made)
        return made


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(state_off, "EVERY", 0.02)
    made = Host(tmp_path / "state", tmp_path / "run")
    yield made
    for one in made.looking:
        one.close()


def test_a_host_that_was_switched_off_before_its_restart_is_off(host: Host) -> None:
    host.switch.engage("ticket 4711", "noc")
    (host.runtime / "off").unlink()  # in memory
    kept = host.look()
    kept.wait(5.0)
    assert kept.off
    assert host.switch.engaged(), "before anything is installed"
    record = host.switch.record()
    assert record is not None
    assert (record.by, record.reason) == ("noc", "ticket 4711")


def test_one_that_was_not_is_on(host: Host) -> None:
    kept = host.look()
    kept.wait(5.0)
    assert not kept.off
    assert not kept.unknown
    assert not kept.problem(time.monotonic())
    assert not host.switch.engaged()


def test_a_switch_made_by_hand_is_found_and_one_released_is_not_engaged_again(host: Host) -> None:
    kept = host.look()
    kept.wait(5.0)
    for text in (b"", b"\xff", json.dumps({"time": 1, "by": "me", "reason": "x"}).encode()):
        (host.state / "off").write_bytes(text)
        until(host.switch.engaged)
        until(lambda: kept.off)
        host.switch.release()
        until(lambda: not kept.off)
        assert not host.switch.engaged()


def test_a_switch_that_is_released_between_two_looks_of_one_is_on(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`steering on` comes when the kept one was seen, and the one in force is about to be put."""
    host.switch.engage("test", "noc")
    (host.runtime / "off").unlink()
    write, written = files.write_atomically, threading.Event()

    def released(path: Path, text: str) -> None:
        host.switch.release()
        write(path, text)
        written.set()

    monkeypatch.setattr(state_off, "write_atomically", released)
    kept = host.look()
    assert written.wait(5.0)
    until(lambda: not kept.off)
    assert not host.switch.engaged()


@pytest.mark.parametrize("leased", [False, True])
def test_no_answer_means_off_but_within_a_lease(
    host: Host, monkeypatch: pytest.MonkeyPatch, leased: bool
) -> None:
    answers, there = threading.Event(), state_off._exists

    def hung(place: Path) -> bool:
        answers.wait()
        return there(place)

    monkeypatch.setattr(state_off, "_exists", hung)
    kept = host.look(leased=leased)
    started = time.monotonic()
    kept.wait(0.05)
    assert time.monotonic() - started < 2.0
    assert kept.off is not leased
    assert bool(kept.unknown) is not leased
    assert "has not answered for 6 s" in kept.problem(time.monotonic() + SILENT + 1.0)
    answers.set()
    until(lambda: not kept.off)
    assert not kept.unknown
    until(lambda: not kept.problem(time.monotonic()))


def test_what_can_no_longer_be_read_changes_nothing(host: Host) -> None:
    kept = host.look()
    kept.wait(5.0)
    (host.state / "off").symlink_to("off")
    until(lambda: kept.off)  # there is something by that name
    host.switch.release()
    until(lambda: not kept.off)
    host.state.rename(host.state.with_name("away"))
    host.state.symlink_to(host.state)  # ELOOP, for root too
    until(lambda: kept.problem(time.monotonic()))
    assert "can't be read" in kept.problem(time.monotonic())
    assert not kept.off
    host.state.unlink()
    host.state.with_name("away").rename(host.state)
    until(lambda: not kept.problem(time.monotonic()))
