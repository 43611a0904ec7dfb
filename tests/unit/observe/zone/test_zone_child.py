"""The process that looks at a zone may hang at its start and at its end: nothing waits for it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steering.lab.waiting import async_until, until
from steering.observe.zone import child
from steering.observe.zone.facts import LIMITS, Failed, Fault, ZoneFacts

NOW = 1_700_000_000.0


def look(file: Path, *, seconds: float = 30.0) -> Coroutine[Any, Any, ZoneFacts | Failed]:
    return child.examine(file, ".", {}, NOW, replace(LIMITS, time=seconds))


class Started:
    """What Popen does, with another program in place of the child."""

    def __init__(self, patched: pytest.MonkeyPatch, script: str | None = None) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.hold = threading.Event()
        self.hold.set()
        real = subprocess.Popen

        def popen(words: list[str], **settings: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - those of Popen
            assert threading.current_thread() is not threading.main_thread()
            self.hold.wait(20.0)
            made = real(words if script is None else ["sh", "-c", script], **settings)
            self.processes.append(made)
            return made

        patched.setattr(subprocess, "Popen", popen)


async def beside(work: Coroutine[Any, Any, object]) -> tuple[object, float]:
    """What comes of it, and the longest pause of the loop meanwhile."""
    task, longest = asyncio.create_task(work), 0.0
    while not task.done():
        before = time.monotonic()
        await asyncio.sleep(0.01)
        longest = max(longest, time.monotonic() - before)
    return task.result(), longest


def test_a_start_that_hangs_holds_up_nobody_and_what_starts_late_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = Started(monkeypatch, "exec sleep 600")
    started.hold.clear()
    found, longest = asyncio.run(beside(look(tmp_path / "zone", seconds=0.3)))
    assert isinstance(found, Failed)
    assert found.fault is Fault.HOST
    assert "not done after 0.3 s" in found.because
    assert longest < 0.2
    assert not started.processes
    started.hold.set()
    until(lambda: started.processes and started.processes[0].returncode is not None)
    assert started.processes[0].returncode == -signal.SIGKILL


def test_a_child_that_does_not_end_when_killed_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = os.killpg
    groups: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _signal: groups.append(group))
    started = Started(monkeypatch, "echo '{\"no\": 1}'; exec sleep 600")
    began = time.monotonic()
    try:
        found, longest = asyncio.run(beside(look(tmp_path / "zone")))
        assert time.monotonic() - began < 5.0
    finally:
        for process in started.processes:
            kill(process.pid, signal.SIGKILL)
            process.wait()
    assert isinstance(found, Failed)
    assert "can't be read" in found.because
    assert groups == [started.processes[0].pid]
    assert longest < 0.5


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("exit 3", "ended with status 3"),
        ("kill -XCPU $$", "ended by a limit"),
        ("exec >&-; exec sleep 600", "closed its output, and did not end"),
        ("sleep 600 & cat", "it printed what can't be read"),
        ("exec sleep 600", "not done after 0.5 s"),
    ],
)
def test_however_it_ends_is_said_and_nothing_of_it_is_left(
    script: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "cat" in script:
        script += "; echo; sleep 600"
    started = Started(monkeypatch, script)
    seconds = 0.5 if "0.5 s" in how else 30.0
    found = asyncio.run(look(tmp_path / "zone", seconds=seconds))
    assert isinstance(found, Failed)
    assert how in found.because
    (process,) = started.processes
    assert process.returncode is not None
    until(lambda: not group_runs(process.pid))


def group_runs(group: int) -> bool:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = stat.read_text().rpartition(") ")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of) == group and state not in "ZX":
            return True
    return False


def test_a_cancelled_look_ends_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = Started(monkeypatch, "exec sleep 600")

    async def story() -> None:
        task = asyncio.create_task(look(tmp_path / "zone"))
        await async_until(lambda: started.processes)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert started.processes[0].returncode == -signal.SIGKILL


def test_a_host_without_a_process_to_spare_is_at_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", none_left)
    found = asyncio.run(look(tmp_path / "zone"))
    assert isinstance(found, Failed)
    assert found.fault is Fault.HOST
    assert "no process: Resource temporarily unavailable" in found.because
