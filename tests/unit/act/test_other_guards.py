"""Guards of other directories: which of them cover what this agent may write, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from claims import CLAIM

from steering.act import other_guards
from steering.act.bgp import process as process_of_speaker
from steering.act.kernel.claim import Claim
from steering.act.lease import Lease
from steering.act.other_guards import OtherGuard, end, leases_of

ELSEWHERE = replace(
    CLAIM, table=CLAIM.table + 10, priority=CLAIM.priority + 100, mark=CLAIM.mark << 3
)
SLEEP = "import signal, sys, time; {more}print(flush=True); time.sleep(60)"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); "

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts a process that looks like the guard of a directory."""
    begun: list[subprocess.Popen[str]] = []

    def begin(
        runtime: Path, claim: Claim | None = CLAIM, more: str = "", name: str = "guard"
    ) -> object:
        runtime.mkdir(exist_ok=True)
        if claim is not None:
            Lease(runtime).renew(claim, 60.0)
        words = [sys.executable, "-c", SLEEP.format(more=more), f"steering.act.{name}"]
        process = subprocess.Popen([*words, str(runtime)], stdout=subprocess.PIPE, text=True)
        begun.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield begin  # type: ignore[misc]
    for process in begun:
        process.kill()
        process.communicate()


def found(runtime: Path, below: Path, claim: Claim = CLAIM) -> list[OtherGuard]:
    """Those of this test."""
    every = other_guards.other_guards(runtime, claim)
    return [one for one in every if one.runtime.is_relative_to(below)]


def test_a_guard_of_another_directory_that_covers_a_part_is_found_with_its_lease(
    tmp_path: Path, begin: Begin
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    process = begin(there)
    (one,) = found(here, tmp_path)
    assert (one.pid, one.runtime) == (process.pid, there)
    assert one.lease is not None
    assert one.lease.claim == CLAIM
    assert leases_of([one, replace(one, lease=None)]) == (one.lease,)
    assert str(one) == f"the guard of {there} (process {process.pid})"
    assert not found(there, tmp_path), "it is this agent's own"
    (tmp_path / "link").symlink_to(there)
    assert not found(tmp_path / "link", tmp_path)


@pytest.mark.parametrize(
    ("claim", "covers"),
    [
        (CLAIM, True),
        (ELSEWHERE, False),
        (replace(ELSEWHERE, table=CLAIM.table + 1), True),
        (replace(ELSEWHERE, priority=CLAIM.priority + 1), True),
        (replace(CLAIM, protocol=CLAIM.protocol + 1), False),
    ],
)
def test_it_matters_if_it_would_remove_what_this_agent_installs(
    tmp_path: Path, begin: Begin, claim: Claim, covers: bool
) -> None:
    begin(tmp_path / "there")
    assert bool(found(tmp_path / "here", tmp_path, claim)) == covers


def test_one_whose_lease_is_not_known_may_cover_anything(tmp_path: Path, begin: Begin) -> None:
    begin(tmp_path / "none", claim=None)
    begin(tmp_path / "torn", claim=None)
    (tmp_path / "torn" / "lease").write_text("{")
    begin(tmp_path / "odd", claim=None)
    (tmp_path / "odd" / "lease").mkdir()
    assert len(found(tmp_path / "here", tmp_path, ELSEWHERE)) == 3


def test_another_program_is_no_guard(tmp_path: Path, begin: Begin) -> None:
    process = begin(tmp_path / "there", name="guardian")
    assert not found(tmp_path / "here", tmp_path)
    end(OtherGuard(pid=process.pid, runtime=tmp_path / "there", lease=None))
    assert process.poll() is None, "its process id may be another's by now"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_user_that_may_not_change_routes_can_pretend_nothing(
    tmp_path: Path, begin: Begin
) -> None:
    begin(tmp_path / "there", more="import os; os.setuid(65534); ")
    assert not found(tmp_path / "here", tmp_path)


@pytest.mark.parametrize(("more", "by"), [("", signal.SIGTERM), (DEAF, signal.SIGKILL)])
def test_it_is_asked_to_end_and_then_made_to(
    tmp_path: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch, more: str, by: signal.Signals
) -> None:
    monkeypatch.setattr(other_guards, "_NICELY", 0.1)
    there = tmp_path / "there"
    process = begin(there, more=more)
    ended: list[Path] = []
    monkeypatch.setattr(process_of_speaker, "end", ended.append)
    (one,) = found(tmp_path / "here", tmp_path)
    end(one)
    assert process.wait(10.0) == -by
    assert ended == [there], "and the BGP speaker of its directory"
    assert not found(tmp_path / "here", tmp_path)


def test_one_that_does_not_end_is_an_error_after_two_seconds(
    tmp_path: Path, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, times = begin(tmp_path / "there"), iter((10.0, 10.0, 10.4, 10.6, 12.0, 12.1))
    sent: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(times))
        patch.setattr(os, "kill", lambda _pid, number: sent.append(number))
        patch.setattr(time, "sleep", lambda _seconds: None)
        with pytest.raises(TimeoutError, match="does not end"):
            end(OtherGuard(pid=process.pid, runtime=tmp_path, lease=None))
    assert sent == [signal.SIGTERM] * 2 + [signal.SIGKILL] * 2
