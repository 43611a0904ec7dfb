"""Programs that hang, fail, print without end, or are not there: each is a value with why."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from steering.act.resolvers.command import MOST, Command
from steering.act.resolvers.driver import LONGEST, NotDoneError, Result, one_line, result
from steering.lab.waiting import until


def said(argv: tuple[str, ...], *more: str, limit: float = 10.0, user: str | None = None) -> Result:
    command = Command(argv=argv, limit=limit, user=user)
    return asyncio.run(result(command.run(*more)))


def sh(script: str, *, limit: float = 10.0) -> Result:
    return said(("sh", "-c", script), limit=limit)


def test_what_a_program_says_is_the_result() -> None:
    came = said(("echo",), "ok", "$HOME", "; ls", "*")
    assert came.done
    assert came.said == "ok $HOME ; ls *", "no shell reads it"


def test_a_program_that_fails_is_not_done_and_its_words_are_kept() -> None:
    came = sh("echo 'error unknown command'; exit 3")
    assert not came.done
    assert came.said.endswith(": error unknown command (status 3)")
    assert "says nothing (signal 9)" in sh("kill -9 $$").said


def test_what_it_writes_on_its_error_output_is_kept_too() -> None:
    assert "no key" in sh("echo 'no key' >&2; exit 1").said


def test_a_program_that_is_not_there_does_not_start() -> None:
    came = said(("no-such-program",))
    assert not came.done
    assert "does not start" in came.said
    assert "does not start" in said((str(Path(__file__)),)).said, "it may not be run"


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    came = sh(f"sleep 600 & echo $! > {tmp_path}/child; sleep 600", limit=0.3)
    assert not came.done
    assert "no end within 0.3 s" in came.said
    assert time.monotonic() - began < 5
    child = int((tmp_path / "child").read_text())
    until(lambda: not running(child))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_program_that_ignores_every_signal_it_may_ignore_is_ended() -> None:
    came = sh("trap '' TERM INT HUP; while :; do sleep 0.1; done", limit=0.3)
    assert "no end within" in came.said


def test_a_program_that_prints_without_end_is_ended_at_once() -> None:
    began = time.monotonic()
    came = said(("yes",), limit=60.0)
    assert not came.done
    assert f"says more than {MOST} bytes" in came.said
    assert time.monotonic() - began < 20, "long before its time was over"


def test_a_program_that_leaves_a_child_with_its_output_is_not_waited_for() -> None:
    began = time.monotonic()
    came = sh("sleep 5 & echo ok", limit=60.0)
    assert came.done
    assert came.said == "ok"
    assert time.monotonic() - began < 4


def test_a_program_that_closes_its_output_and_stays_is_ended() -> None:
    came = sh("exec >&- 2>&-; sleep 600", limit=0.3)
    assert not came.done
    assert "does not end" in came.said


def test_it_gets_no_input_and_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the agent")
    came = sh('cat; echo "$SECRET|$PWD|$LANG"')
    assert came.said == "|/|C.UTF-8"


def test_it_inherits_no_descriptor() -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        script = (
            f"import os\ntry: os.fstat({writing}); print('open')\nexcept OSError: print('none')"
        )
        assert said((sys.executable, "-c", script)).said == "none"
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_program_may_run_as_another_user() -> None:
    assert said(("id", "-un"), user="nobody").said == "nobody"
    assert said(("id", "-G"), user="nobody").said != said(("id", "-G")).said
    assert "there is no user of-nobody" in said(("id",), user="of-nobody").said


@pytest.mark.parametrize("script", ["exec sleep 0.6", "exec >&- 2>&-; exec sleep 1.5"])
def test_a_program_that_hangs_and_may_not_be_ended_is_not_done(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's program, and no CAP_KILL."""

    def refused(_group: int, _signal: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", refused)
    came = sh(script, limit=0.1)
    assert not came.done
    assert came.said.endswith("ended, which needs CAP_KILL: it still runs")


def test_a_program_that_can_not_be_watched_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_pid: int) -> int:
        until((tmp_path / "child").exists)
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    came = sh(f"echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/child; sleep 600")
    assert not came.done
    assert came.said.endswith("can't be watched: Too many open files; ended")
    child = int((tmp_path / "child").read_text())
    until(lambda: not running(child))


def test_a_loop_goes_on_while_a_program_hangs() -> None:
    async def turns() -> int:
        hanging = asyncio.create_task(Command(argv=("sleep", "600"), limit=0.5).run())
        count = 0
        while not hanging.done():
            await asyncio.sleep(0.01)
            count += 1
        with pytest.raises(NotDoneError):
            await hanging
        return count

    assert asyncio.run(turns()) > 10


def test_what_is_said_is_one_printable_line() -> None:
    assert one_line("a\r\n\x1b[2Jb\t\x00c  d\n") == "a [2Jb c d"
    assert len(one_line("x" * 10_000_000)) == LONGEST
    assert one_line("\n" * 10 + "late") == "late"
    assert sh("printf 'ok\\033[31m\\nmore\\377'").said == "ok [31m more\N{REPLACEMENT CHARACTER}"


def test_without_a_thread_to_be_had_a_call_has_failed_and_nothing_else_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    came = asyncio.run(result(Command(argv=("true",), limit=1.0).run()))
    assert not came.done
    assert "can't start new thread" in came.said
