"""The guard's watch over a lease that goes wrong in ways that need no kernel."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
from claims import CLAIM

from steering.act import guard as guarding
from steering.act import guard_client
from steering.act.bgp import process
from steering.act.guard import LOCK, Watch, guard, holding
from steering.act.guard_client import GuardClient
from steering.act.kernel.claim import Claim
from steering.act.kernel.problem import KernelProblem
from steering.act.lease import Lease, boot_time
from steering.system.lockfile import LockFile

BEFORE = replace(CLAIM, table=5454, priority=5454)
"""What was claimed under another configuration."""


class Kernel:
    """Counts how often everything was taken back, and of whom."""

    def __init__(self) -> None:
        self.withdrawn = 0
        self.tables: list[int] = []
        self.remaining = True
        self.troubles: tuple[KernelProblem, ...] = ()

    def __call__(self, claim: Claim) -> Kernel:
        self.tables.append(claim.table)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def remains(self) -> bool:
        return self.remaining

    def withdraw(self) -> tuple[KernelProblem, ...]:
        self.withdrawn += 1
        self.remaining = bool(self.troubles)
        return self.troubles


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(guarding, "KernelRemover", made)
    return made


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    monkeypatch.setattr(guarding, "_say", told.append)
    return told


Later = Callable[[float], None]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """Lets it be so many seconds after the test's beginning."""
    begun = boot_time()

    def move(seconds: float) -> None:
        monkeypatch.setattr(guarding, "boot_time", lambda: begun + seconds)

    return move


def test_a_lease_that_can_no_longer_be_read_runs_on_to_its_end(
    tmp_path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 60)
    watch = Watch(runtime=tmp_path)
    assert watch.look() == 0.5
    lease.path.unlink()
    lease.path.mkdir()  # EISDIR, for root too
    assert watch.look() == 0.5
    assert kernel.withdrawn == 0
    now = boot_time()
    monkeypatch.setattr(guarding, "boot_time", lambda: now + 61)
    watch.look()
    assert kernel.withdrawn > 0


def test_it_looks_again_at_the_deadline_where_that_is_sooner(
    tmp_path: Path, kernel: Kernel, later: Later
) -> None:
    Lease(tmp_path).renew(CLAIM, 60)
    watch = Watch(runtime=tmp_path)
    later(59.9)
    pause = watch.look()
    assert pause is not None
    assert 0.1 <= pause < 0.5
    assert not kernel.tables


def test_when_the_lease_is_over_all_that_was_ever_claimed_is_taken_back_and_said_once(
    tmp_path: Path, kernel: Kernel, later: Later, said: list[str]
) -> None:
    Lease(tmp_path).renew(CLAIM, 60, former=[BEFORE])
    watch = Watch(runtime=tmp_path)
    watch.look()
    later(61)
    assert watch.look() == 0.5
    assert kernel.tables == [BEFORE.table, CLAIM.table]
    assert kernel.withdrawn == 1  # the second found nothing left
    assert said == ["the lease ended or steering is switched off: removed all rules and routes"]
    watch.look()
    assert len(said) == 1
    kernel.remaining = True  # who hung in the middle of a write goes on with it
    watch.look()
    assert (kernel.withdrawn, len(said)) == (2, 2)


def test_what_is_no_longer_there_is_not_said_to_be_taken_back(
    tmp_path: Path, kernel: Kernel, later: Later, said: list[str]
) -> None:
    kernel.remaining = False
    Lease(tmp_path).renew(CLAIM, 60)
    watch = Watch(runtime=tmp_path)
    later(61)
    watch.look()
    assert kernel.tables == [CLAIM.table]
    assert kernel.withdrawn == 0
    assert not said


def test_a_lease_that_vanished_is_watched_to_its_end(
    tmp_path: Path, kernel: Kernel, later: Later
) -> None:
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 60)
    watch = Watch(runtime=tmp_path)
    watch.look()
    lease.path.unlink()
    watch.look()
    assert kernel.withdrawn == 0
    later(61)
    watch.look()
    assert kernel.withdrawn == 1


def test_a_damaged_lease_is_over_and_the_last_good_one_says_what_goes(
    tmp_path: Path, kernel: Kernel
) -> None:
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 60)
    watch = Watch(runtime=tmp_path)
    watch.look()
    lease.path.write_text("rubbish")
    watch.look()
    assert kernel.tables == [CLAIM.table]
    assert kernel.withdrawn == 1


def test_the_off_switch_ends_a_lease_in_force(tmp_path: Path, kernel: Kernel) -> None:
    Lease(tmp_path).renew(CLAIM, 60)
    watch = Watch(runtime=tmp_path)
    watch.look()
    (tmp_path / process.SWITCH).touch()
    assert watch.look() == 0.5
    assert kernel.withdrawn == 1


def test_what_the_kernel_kept_is_tried_again_more_and_more_seldom(
    tmp_path: Path, kernel: Kernel, later: Later
) -> None:
    kernel.troubles = (KernelProblem(what="the rule", because="not permitted"),)
    Lease(tmp_path).renew(CLAIM, 60)
    watch = Watch(runtime=tmp_path)
    later(61)
    with pytest.raises(OSError, match="the rule: not permitted"):
        watch.look()
    assert [watch.failed() for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    kernel.troubles = ()
    watch.look()
    assert watch.failed() == 0.2


def test_the_speaker_ends_even_where_the_kernel_refuses(
    tmp_path: Path,
    kernel: Kernel,
    later: Later,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[Path] = []

    def end(runtime: Path) -> bool:
        ended.append(runtime)
        return True

    monkeypatch.setattr(process, "end", end)
    kernel.troubles = (KernelProblem(what="the rule", because="not permitted"),)
    Lease(tmp_path).renew(CLAIM, 60)
    watch = Watch(runtime=tmp_path)
    watch.look()
    assert not ended
    later(61)
    with pytest.raises(OSError, match="not permitted"):
        watch.look()
    assert ended == [tmp_path]
    assert said == ["the lease ended or steering is switched off: ended the BGP speaker"]


def test_it_leaves_a_minute_after_the_lease_and_not_while_the_agent_lives(
    tmp_path: Path, kernel: Kernel, later: Later
) -> None:
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 10)  # by this very process
    watch = Watch(runtime=tmp_path)
    watch.look()
    for seconds in (11, 70, 72, 1000):
        later(seconds)
        assert watch.look() == 0.5
    gone = subprocess.Popen(["true"])
    gone.wait()
    whose = lease.path.read_text()
    lease.path.write_text(whose.replace(f'"pid": {os.getpid()}', f'"pid": {gone.pid}'))
    watch = Watch(runtime=tmp_path)
    for moment, pause in ((11.0, 0.5), (70.9, 0.5), (71.0, None)):
        later(moment)
        assert watch.look() == pause


def test_a_lease_that_is_renewed_begins_the_minute_anew(
    tmp_path: Path, kernel: Kernel, later: Later, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 2**22 + 1)  # more than any process has
    lease = Lease(tmp_path)
    lease.renew(CLAIM, 10)
    watch = Watch(runtime=tmp_path)
    later(11)
    assert watch.look() == 0.5
    lease.renew(CLAIM, 100)
    later(50)
    assert watch.look() == 0.5
    later(101)
    assert watch.look() == 0.5
    later(160.9)
    assert watch.look() == 0.5
    later(161)
    assert watch.look() is None


def test_where_nothing_was_ever_leased_nothing_is_touched(
    tmp_path: Path, kernel: Kernel, later: Later
) -> None:
    watch = Watch(runtime=tmp_path)
    assert watch.look() == 0.5
    later(61)
    assert watch.look() is None
    assert not kernel.tables


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[LockFile]:
    with holding(tmp_path / LOCK, take_over=False) as held:
        assert held is not None
        yield held


class Looks:
    """In the watch's place: what each look comes to, and how long it slept."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self._answers = list(answers)
        self.slept: list[float] = []

    def __call__(self, *, runtime: Path) -> Looks:  # noqa: ARG002
        return self

    def look(self) -> float | None:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def failed(self) -> float:
        return 0.2

    def sleep(self, pause: float, _lock: LockFile) -> None:
        self.slept.append(pause)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Looks]:
    def put(*answers: float | Exception | None) -> Looks:
        made = Looks(*answers)
        monkeypatch.setattr(guarding, "Watch", made)
        monkeypatch.setattr(guarding, "_sleep", made.sleep)
        return made

    return put


def test_nothing_that_goes_wrong_ends_the_watch(
    tmp_path: Path, lock: LockFile, looks: Callable[..., Looks], said: list[str]
) -> None:
    made = looks(0.5, OSError("no"), KeyError("a bug"), 0.5, None)
    guard(runtime=tmp_path, lock=lock)
    assert made.slept == [0.5, 0.2, 0.2, 0.5]
    assert len(said) == 2
    assert "trying again in 0.2 s: no" in said[0]


def test_it_goes_when_another_guard_holds_the_lock_s_new_file_and_not_before(
    tmp_path: Path, lock: LockFile, looks: Callable[..., Looks]
) -> None:
    (tmp_path / LOCK).unlink()
    made = looks(0.5, None)
    guard(runtime=tmp_path, lock=lock)
    assert made.slept == [0.5]
    (tmp_path / LOCK).touch()
    made = looks(0.5, None)
    guard(runtime=tmp_path, lock=lock)
    assert made.slept == [0.5]  # nobody holds it
    with (tmp_path / LOCK).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        made = looks(AssertionError("it looked"))
        guard(runtime=tmp_path, lock=lock)
        assert not made.slept


def test_one_guard_holds_the_lock_and_says_which(
    tmp_path: Path, lock: LockFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "_LOCK_WAIT", 0.03)
    assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"
    assert (tmp_path / LOCK).stat().st_mode & 0o777 == 0o600
    with holding(tmp_path / LOCK, take_over=False) as second:
        assert second is None
    assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


_HOLDER = """
import fcntl, os, sys, time
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(f"{os.getpid()}\\n")
lock.flush()
print("held", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("named", "signals"), [("steering.act.guard", [signal.SIGTERM]), ("a.stranger", [])]
)
def test_only_a_guard_is_asked_to_go(
    tmp_path: Path, named: str, signals: list[signal.Signals], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarding, "_LOCK_WAIT", 0.03)
    command = [sys.executable, "-c", _HOLDER, str(tmp_path / LOCK), named]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        if signals:
            monkeypatch.setattr(guarding, "_LOCK_WAIT", 30.0)
        with holding(tmp_path / LOCK, take_over=bool(signals)) as held:
            assert (held is not None) == bool(signals)
        if not signals:
            with holding(tmp_path / LOCK, take_over=True) as held:
                assert held is None
            assert holder.poll() is None
            holder.kill()
    assert holder.returncode == (-signals[0] if signals else -signal.SIGKILL)


# --- the agent's side -----------------------------------------------------------------------


class Clock:
    """The agent's clock, which the test moves on."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(guard_client, "time", made)
    return made


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each guard that was started, whether it takes the place of another."""
    told: list[bool] = []

    def start(*, runtime: Path, take_over: bool) -> int:
        told.append(take_over)
        return 2**22 + 1  # nobody's: it has ended

    monkeypatch.setattr(guard_client, "start_guard", start)
    return told


def test_where_no_guard_is_there_one_is_started_that_takes_nobody_s_place(
    tmp_path: Path, clock: Clock, started: list[bool]
) -> None:
    ours = GuardClient(runtime=tmp_path)
    for _ in range(3):
        assert not ours.ensure()
        clock.now += 1.0
    assert started == [False, False, False], "it may be that another agent's is loading"
    ours.close()


def test_a_guard_that_holds_the_lock_and_looks_no_more_is_replaced(
    tmp_path: Path, clock: Clock, started: list[bool]
) -> None:
    ours, beat = GuardClient(runtime=tmp_path), 0
    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(20):
            beat += 1
            os.utime(lock.fileno(), ns=(beat, beat))
            assert ours.ensure()
            clock.now += 1.0
        silent = clock.now
        while ours.ensure():
            clock.now += 1.0
        assert guard_client.SILENT <= clock.now - silent <= guard_client.SILENT + 2.0
    assert started == [True]
    ours.close()


def test_what_the_parent_left_open_is_closed_whatever_number_it_has() -> None:
    """Also above a limit that was lowered since; and with a high one nobody waits for it."""
    code = (
        "import os, resource; from steering.system import descriptors\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "os.dup2(1, 300); os.set_inheritable(300, True)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"
        "descriptors.close_inherited()\n"
        "print([name for name in os.listdir('/proc/self/fd') if int(name) > 3])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
