"""Changed files: read when they are stable, applied whole or not at all, or held for approval."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from etc import place
from simulation import CONFIG, policy

from steering.agent import approval, reload
from steering.agent.reload import Ended, Reload, Version
from steering.config import Fingerprint, fingerprint, load
from steering.config.validate import Validation
from steering.errors import CannotRunError
from steering.lab.waiting import async_until
from steering.model import Event
from steering.report.metrics import Meters

STEERS = frozenset({"192.5.0.30", "192.5.1.30"})
OVERRIDES = """\
overrides:
  - {name: x, match: {family: ipv6}, action: steer, to: pao, until: never, reason: r, by: noc}
"""


@dataclass
class FakeApplier:
    """Records what it is given, or refuses it."""

    version: Version
    steers: Collection[str] = STEERS
    would_end: Collection[str] = ()
    refuses: str = ""
    applied: list[bool] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def ended_by(self, version: Version) -> Ended:  # noqa: ARG002
        return Ended(gone=tuple(sorted(self.would_end)), of=len(self.steers))

    def apply(self, version: Version, *, rebuild: bool) -> None:
        if self.refuses:
            raise CannotRunError(1, self.refuses)
        self.version = version
        self.applied.append(rebuild)

    def log_event(self, event: Event) -> None:
        self.events.append(event)

    @property
    def told(self) -> list[str]:
        return [event.event for event in self.events]


@dataclass
class Desk:
    """An operator's files, and the part of the agent that checks them."""

    config: Path
    applier: FakeApplier
    meters: Meters
    reload: Reload

    @property
    def policy(self) -> Path:
        return self.config.parent / "policies" / "gtld.yaml"

    def look(self, times: int = 2, *, asked: bool = False) -> None:
        for _ in range(times):
            asyncio.run(self.reload.check(asked=asked))

    def counted(self, result: str) -> float:
        return (
            self.meters.registry.get_sample_value(
                "steering_config_reloads_total", {"result": result}
            )
            or 0.0
        )

    @property
    def ok(self) -> float | None:
        return self.meters.registry.get_sample_value("steering_config_last_reload_successful")

    def write(self, text: str) -> None:
        """Another text in the policy, as an editor puts it there."""
        draft = self.policy.with_suffix(".draft")
        draft.write_text(text)
        draft.replace(self.policy)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    text = f"{CONFIG}runtime: {tmp_path}\nstate: {tmp_path}\n"
    config = place(tmp_path, text, gtld=policy())
    applier = FakeApplier(Version.of(load(config), fingerprint(config)))
    meters = Meters()
    return Desk(config, applier, meters, Reload(config, applier, meters))


@pytest.mark.parametrize("stage", ["load", "override_changes"])
def test_text_that_raises_is_rejected_and_ends_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def raises(*_: object, **__: object) -> None:
        raise TypeError("expected text")

    monkeypatch.setattr(reload, stage, raises)
    desk.write(other())
    desk.look()
    assert desk.applier.told == ["config_rejected"]
    assert "TypeError: expected text" in desk.reload.rejected
    assert not desk.applier.applied
    monkeypatch.undo()
    desk.write(other("12s"))
    desk.look()
    assert desk.applier.applied == [True]


def other(hold: str = "11s") -> str:
    return policy(more=f"recover: {{hold: {hold}, max_hold: 60s, clean: 20}}\n")


@pytest.mark.parametrize("stage", ["ended_by", "apply"])
def test_what_cannot_be_tried_or_built_is_rejected_with_an_alarm_and_not_tried_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    tried: list[str] = []

    def cannot(*_: object, **__: object) -> Ended:
        tried.append(stage)
        raise CannotRunError(
            1, "these files can't be used: building from them failed: ValueError: priority: 32765"
        )

    was = desk.applier.version
    monkeypatch.setattr(desk.applier, stage, cannot)
    desk.write(other())
    desk.look(5)
    assert tried == [stage]
    assert desk.applier.version is was
    assert not desk.applier.applied
    assert desk.applier.told == ["config_rejected"]
    assert "priority: 32765; the last good version stays in force" in desk.reload.problem(1e9)
    assert (desk.counted("rejected"), desk.ok) == (1.0, 0.0)
    monkeypatch.undo()
    desk.write(other("12s"))
    desk.look()
    assert desk.applier.applied == [True]


def test_files_that_do_not_change_are_not_read_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "load", lambda *_, **__: pytest.fail("it was read"))
    desk.look(5)
    assert not desk.applier.events


def test_a_change_is_applied_at_the_second_check_and_logged_as_a_difference(desk: Desk) -> None:
    desk.write(other())
    desk.look(1)
    assert not desk.applier.applied, "it may be half a file"
    desk.look(1)
    assert desk.applier.applied == [True]
    assert [e.because for e in desk.applier.events] == [
        "policy gtld: recover.hold: was 10s, now 11s"
    ]
    assert (desk.counted("loaded"), desk.ok) == (1.0, 1.0)
    desk.look(3)
    assert desk.applier.applied == [True], "once"


def test_a_file_that_is_still_being_written_is_left_alone(desk: Desk) -> None:
    for number in range(11, 20):
        desk.write(other(f"{number}s"))
        desk.look(1)
    assert not desk.applier.applied
    desk.look(1)
    assert desk.applier.version.setup.policies[0].recover.hold == 19


def test_files_that_change_while_they_are_read_are_read_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(path: Path, *, reading: Validation) -> object:
        setup = load(path, reading=reading)
        desk.write(other("12s"))
        monkeypatch.setattr(reload, "load", load)
        return setup

    desk.write(other("11s"))
    monkeypatch.setattr(reload, "load", slow)
    desk.look(2)
    assert not desk.applier.applied, "half of the one and half of the other"
    desk.look(2)
    assert desk.applier.version.setup.policies[0].recover.hold == 12


def test_an_override_alone_rebuilds_nothing(desk: Desk) -> None:
    (desk.policy.parent / "overrides.yaml").write_text(OVERRIDES)
    desk.look()
    assert desk.applier.applied == [False]
    assert "override added: x: " in desk.applier.events[0].because


@pytest.mark.parametrize(("number", "held"), [(1, False), (2, True)])
def test_one_removed_override_is_an_order_and_several_at_once_may_be_a_lost_directory(
    desk: Desk, number: int, held: bool
) -> None:
    folder = desk.policy.parent / "overrides.d"
    folder.mkdir()
    for name in ("x", "y")[:number]:
        (folder / f"{name}.yaml").write_text(OVERRIDES.replace("name: x", f"name: {name}"))
    desk.look()
    desk.applier.would_end = STEERS
    folder.rename(desk.config.parent / "elsewhere")
    desk.look()
    assert bool(desk.reload.held) is held
    assert desk.applier.applied == [False] * (1 if held else 2)


def test_a_directory_of_overrides_may_be_missing_and_a_directory_of_policies_not(
    desk: Desk,
) -> None:
    folder = desk.policy.parent / "overrides.d"
    folder.mkdir()
    (folder / "x.yaml").write_text(OVERRIDES)
    desk.look()
    (folder / "x.yaml").unlink()
    folder.rmdir()
    desk.look()
    assert desk.applier.told == ["config_loaded", "config_loaded"]
    desk.policy.parent.rename(desk.config.parent / "gone")
    desk.look()
    assert desk.applier.told[2:] == ["config_rejected"]
    assert "does not exist" in desk.reload.rejected
    assert desk.ok == 0.0


def test_a_faulty_file_changes_nothing_and_every_problem_is_logged_once(desk: Desk) -> None:
    good = desk.policy.read_text()
    desk.write(other() + "nonsense: 1\nserial: sideways\n")
    desk.look(4)
    assert not desk.applier.applied
    (event,) = desk.applier.events
    assert (event.event, event.because.count("gtld.yaml:")) == ("config_rejected", 2)
    assert desk.reload.rejected.endswith(" (and 1 more); the last good version stays in force")
    assert (desk.counted("rejected"), desk.ok) == (1.0, 0.0)
    desk.write(good)
    desk.look()
    assert not desk.applier.applied, "what is in force is what is there"
    assert (desk.reload.rejected, desk.ok) == ("", 1.0)


def test_faulty_anchors_are_a_fault_of_the_files(desk: Desk) -> None:
    anchors = desk.config.parent / "anchors"
    anchors.write_text("gtld. IN DS 1 13 2 " + "00" * 32 + "\n")
    desk.config.write_text(desk.config.read_text() + "trust_anchors: anchors\n")
    desk.look()
    assert desk.applier.told == ["config_loaded"]
    anchors.write_text("gtld. IN DS 2 13 2 " + "00" * 32 + "\n")
    desk.look()
    assert "trust_anchors: the records" in desk.applier.events[-1].because
    anchors.write_text("rubbish\n")
    desk.look()
    assert desk.applier.told[-1] == "config_rejected"
    assert "anchors:" in desk.reload.rejected


def test_what_this_host_lacks_is_rejected_and_tried_again_when_asked(desk: Desk) -> None:
    desk.applier.refuses = "status: port 9353 can't be listened on"
    desk.write(other())
    desk.look(4)
    assert desk.reload.rejected.startswith("status: port 9353")
    assert desk.counted("rejected") == 1.0
    desk.applier.refuses = ""
    desk.look(3)
    assert not desk.applier.applied, "no operator said that anything is better now"
    desk.look(1, asked=True)
    assert desk.applier.applied == [True]
    assert not desk.reload.rejected


@pytest.mark.parametrize(
    ("gone", "of", "held"),
    [(0, 0, False), (0, 4, False), (1, 1, True), (1, 2, False), (2, 4, False), (3, 4, True)],
)
def test_more_than_half_of_the_steers_are_most(gone: int, of: int, held: bool) -> None:
    assert Ended(gone=("a",) * gone, of=of).most is held


def test_what_would_end_most_steers_waits_until_it_is_approved(desk: Desk) -> None:
    desk.applier.would_end = STEERS
    desk.write(other())
    desk.look(5)
    assert not desk.applier.applied
    assert desk.applier.told == ["config_held"]
    assert "2 of 2 steers" in desk.reload.held
    assert (desk.counted("held"), desk.ok) == (1.0, 0.0)
    held = approval.waiting(desk.config.parent)
    assert held is not None
    assert held.changes == ("policy gtld: recover.hold: was 10s, now 11s",)
    approval.accept(desk.config.parent, fingerprint(desk.config))
    desk.look(1)
    assert desk.applier.applied == [True]
    assert approval.waiting(desk.config.parent) is None
    assert not approval.accepted(desk.config.parent, fingerprint(desk.config)), "it is used once"
    assert not desk.reload.held


def test_an_approval_of_other_files_approves_nothing(desk: Desk) -> None:
    desk.applier.would_end = STEERS
    desk.write(other())
    desk.look()
    approval.accept(desk.config.parent, fingerprint(desk.config))
    desk.write(other("12s"))
    desk.look(4)
    assert not desk.applier.applied


def test_files_that_a_command_marked_as_whole_are_applied_at_the_first_check(desk: Desk) -> None:
    desk.write(other())
    approval.mark_whole(desk.config.parent, fingerprint(desk.config))
    desk.look(1)
    assert desk.applier.applied == [True]
    assert not approval.whole(desk.config.parent, fingerprint(desk.config)), "it is used once"


def test_whole_files_wait_for_approval_like_others(desk: Desk) -> None:
    """A policy that changed beside an override by a command is not approved."""
    desk.applier.would_end = STEERS
    desk.write(other())
    approval.mark_whole(desk.config.parent, fingerprint(desk.config))
    desk.look(1)
    assert desk.applier.told == ["config_held"]
    approval.mark_whole(desk.config.parent, fingerprint(desk.config))
    desk.look(3)
    assert not desk.applier.applied
    assert desk.reload.held


def _put_right(desk: Desk) -> None:
    desk.write(policy())
    desk.look()


def _end_by_themselves(desk: Desk) -> None:
    desk.applier.steers, desk.applier.would_end = (), ()
    desk.look(1)


@pytest.mark.parametrize(("change", "taken"), [(_put_right, []), (_end_by_themselves, [True])])
def test_it_waits_for_as_long_as_that_is_what_it_would_do(
    desk: Desk, change: Callable[[Desk], None], taken: list[bool]
) -> None:
    desk.applier.would_end = STEERS
    desk.write(other())
    desk.look()
    assert desk.reload.held
    change(desk)
    assert desk.applier.applied == taken
    assert not desk.reload.held
    assert approval.waiting(desk.config.parent) is None


def test_fewer_steers_that_would_still_end_show_in_the_alarm_alone(desk: Desk) -> None:
    desk.applier.would_end = STEERS
    desk.write(other())
    desk.look()
    desk.applier.steers = desk.applier.would_end = frozenset(sorted(STEERS)[:1])
    desk.look(2)
    assert "1 of 1 steers" in desk.reload.held
    assert desk.applier.told == ["config_held"]
    assert desk.counted("held") == 1.0


def test_a_full_runtime_directory_holds_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(approval, "write_atomically", full)
    desk.applier.would_end = STEERS
    desk.write(other())
    desk.look(4)
    assert "No space left" in desk.reload.held
    assert not desk.applier.applied


def test_an_approval_from_before_the_start_is_removed(desk: Desk) -> None:
    approval.accept(desk.config.parent, fingerprint(desk.config))
    Reload(desk.config, desk.applier, Meters())
    assert not approval.accepted(desk.config.parent, fingerprint(desk.config))


def test_what_was_held_before_a_restart_is_not_held_after_it(desk: Desk) -> None:
    desk.applier.would_end = STEERS
    desk.write(other())
    desk.look()
    assert approval.waiting(desk.config.parent) is not None
    applier = FakeApplier(Version.of(load(desk.config), fingerprint(desk.config)))
    restarted = Reload(desk.config, applier, Meters())
    assert approval.waiting(desk.config.parent) is None
    asyncio.run(restarted.check())
    assert not applier.events, "the files are those in force"


def test_files_changed_between_the_start_and_the_first_check_are_seen(desk: Desk) -> None:
    before: Fingerprint = fingerprint(desk.config)
    applier = FakeApplier(Version.of(load(desk.config), before))
    desk.write(other())
    late = Reload(desk.config, applier, Meters())
    for _ in range(2):
        asyncio.run(late.check())
    assert applier.applied == [True]


# --- files that change, hang, or are never stable ------------------------------------------------


def unstable(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the files have been changing for long enough to be read all the same."""
    monkeypatch.setattr(reload, "UNSTABLE", 0.0)
    desk.look(1)


def touched(file: Path, times: int) -> None:
    os.utime(file, (times, times))


def test_a_file_that_is_touched_all_the_time_prevents_no_change(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.policy.parent / "overrides.yaml").write_text(OVERRIDES)
    for times in range(5):
        touched(desk.policy, times)
        desk.look(1)
    assert not desk.applier.applied, "it may be half a file"
    unstable(desk, monkeypatch)
    touched(desk.policy, 99)
    desk.look(1)
    assert desk.applier.applied == [False]


def test_files_with_another_content_when_read_again_are_not_applied(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds = iter(range(11, 60))

    def moving(path: Path) -> Fingerprint:
        desk.write(other(f"{next(holds)}s"))
        return fingerprint(path)

    monkeypatch.setattr(reload, "fingerprint", moving)
    unstable(desk, monkeypatch)
    desk.look(4)
    assert not desk.applier.applied
    now = time.monotonic()
    assert desk.reload.problem(now) == ""
    assert "have kept changing for 1" in desk.reload.problem(now + 15)
    assert "gtld.yaml" in desk.reload.problem(now + 15)
    monkeypatch.undo()
    while not desk.applier.applied:  # a rest from what was read just now
        desk.look(1)
    assert desk.reload.problem(time.monotonic() + 15) == ""


def test_a_file_system_that_hangs_is_an_alarm_and_goes_on_when_it_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, asked = threading.Event(), []

    def hangs(path: Path) -> Fingerprint:
        asked.append(path)
        assert answers.wait(30)
        return fingerprint(path)

    async def hang() -> None:
        looking = asyncio.create_task(desk.reload.run())
        await async_until(lambda: asked, 30)
        now = time.monotonic()
        assert desk.reload.problem(now) == ""
        assert "does not answer" in desk.reload.problem(now + reload.ALARM_AFTER + 1)
        assert len(asked) == 1, "one thread at a time"
        answers.set()
        await async_until(lambda: desk.applier.applied, 30)
        assert desk.reload.problem(time.monotonic() + reload.ALARM_AFTER + 1) == ""
        looking.cancel()

    monkeypatch.setattr(reload, "fingerprint", hangs)
    desk.write(other())
    asyncio.run(hang())


HANGS = """
import asyncio, threading, time
from pathlib import Path
from steering.system.side_thread import aside

async def main():
    task = asyncio.create_task(aside(threading.Event().wait))
    await asyncio.sleep(0.05)
    task.cancel()

asyncio.run(main())
print("ended")
"""


def test_a_stuck_thread_does_not_keep_the_process_from_its_end() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout == "ended\n"


def test_after_a_long_reading_there_is_as_long_a_pause(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(path: Path, *, reading: Validation) -> object:
        read.append(path)
        time.sleep(0.2)
        return load(path, reading=reading)

    read: list[Path] = []
    monkeypatch.setattr(reload, "load", slow)
    monkeypatch.setattr(reload, "UNSTABLE", 0.0)
    desk.write(other("11s"))
    desk.look(2)
    assert len(read) == 1
    desk.write(other("12s"))
    started = time.monotonic()
    while len(read) == 1:
        desk.look(1)
    assert time.monotonic() - started >= 0.15


def test_no_message_about_the_files_is_too_long_to_read(desk: Desk) -> None:
    folder = desk.policy.parent / "overrides.d"
    folder.mkdir()
    lines = "".join(f"{'k' * 300}{number}: x\n" for number in range(2000))
    (folder / "x.yaml").write_text(lines)
    desk.look()
    (event,) = desk.applier.events
    assert event.event == "config_rejected"
    assert len(event.because) < 8000
    assert len(desk.reload.rejected) < 1000
