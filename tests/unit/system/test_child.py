"""Work in a process of its own: what it waits for holds up nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steering.system.child import Child, Tell

pytestmark = pytest.mark.timeout(30)


def _soon() -> float:
    return time.monotonic() + 20.0


def _for_ever(tell: Tell) -> None:
    tell(b"begun")
    time.sleep(600)


def test_what_the_work_told_comes_whole_and_from_another_process() -> None:
    said, ended = Child(lambda tell: tell(b"%d" % os.getpid() + b"x" * 200_000)).result(_soon())
    assert ended
    assert said.endswith(b"x" * 200_000)
    assert not said.startswith(b"%d" % os.getpid())


def test_work_that_fails_has_told_what_it_told() -> None:
    def fails(tell: Tell) -> None:
        tell(b"one")
        raise RuntimeError

    assert Child(fails).result(_soon()) == (b"one", True)


def test_work_that_never_ends_is_ended_and_what_it_told_is_had() -> None:
    child = Child(_for_ever)
    started = time.monotonic()
    said, ended = child.result(started + 1.0)
    assert (said, ended) == (b"begun", False)
    assert child._pid is not None
    while True:  # a killed process that nobody waited for is there until somebody does
        try:
            os.waitpid(child._pid, 0)
        except ChildProcessError:
            break
    with pytest.raises(ProcessLookupError):
        os.kill(child._pid, 0)


def test_work_that_tells_nothing_is_ended_sooner() -> None:
    started = time.monotonic()
    result = Child(lambda _tell: time.sleep(600)).result(_soon(), first=started + 0.2)
    assert result == (b"", False)
    assert time.monotonic() - started < 10.0


def test_who_reads_the_output_does_not_wait_for_a_child() -> None:
    code = (
        "import time; from steering.system.child import Child\n"
        "Child(lambda tell: time.sleep(20)); print('done')"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"done\n"
    assert time.monotonic() - started < 15.0


def test_a_child_holds_nothing_that_this_process_has_open() -> None:
    """A lock on a file, above all (flock(2))."""
    reading, writing = os.pipe()

    def look(tell: Tell) -> None:
        tell(repr([Path(f"/proc/self/fd/{n}").exists() for n in (reading, writing)]).encode())

    try:
        assert Child(look).result(_soon()) == (b"[False, False]", True)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_child_works_where_no_standard_descriptor_is_open() -> None:
    code = (
        "import os, time; from steering.system.child import Child\n"
        "os.closerange(0, 3)\n"
        "said = Child(lambda tell: tell(b'told')).result(time.monotonic() + 20)\n"
        "os._exit(said != (b'told', True))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_no_process_can_be_had_the_work_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert Child(lambda tell: tell(b"here")).result(_soon()) == (b"here", True)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
