"""Events on their way out: nothing that becomes of them may hold up the agent or the guard."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.lab.waiting import until
from steering.model import Event
from steering.report.log import Log, json_line
from steering.system.output import LONGEST, Output

pytestmark = pytest.mark.timeout(60)

EVENT = Event(event="steered", because="x" * 100)


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                os.close(end)


def _fill(descriptor: int) -> None:
    """Until not one byte more can be written at once."""
    os.set_blocking(descriptor, False)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(descriptor, b"." * size)
    os.set_blocking(descriptor, True)


def _drained(descriptor: int) -> bytes:
    """All that can be read of it for a moment."""
    os.set_blocking(descriptor, False)
    read, calm = b"", time.monotonic() + 0.5
    while time.monotonic() < calm:
        with contextlib.suppress(BlockingIOError):
            if part := os.read(descriptor, 65536):
                read, calm = read + part, time.monotonic() + 0.5
                continue
        time.sleep(0.01)
    return read


def test_an_event_is_a_line_of_json() -> None:
    with _pipe() as (out, into):
        output = Output(into)
        Log(output=output, readable=False).write(EVENT, 0.0)
        assert output.drain(20.0)
        line = json.loads(_drained(out))
    assert (line["event"], line["time"]) == ("steered", "1970-01-01T00:00:00.000Z")


@given(
    because=st.text(max_size=3000).map(lambda text: text * 5),
    more=st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.one_of(st.integers(), st.none(), st.text(max_size=3000).map(lambda text: text * 3)),
    ),
)
def test_no_line_is_longer_than_a_pipe_takes_at_once_and_each_is_json(
    because: str, more: dict[str, str | int | None]
) -> None:
    event = Event(event="config_loaded", because=because, more=more)
    line = json_line(event, 0.0, LONGEST - 1)
    assert len(line.encode(errors="backslashreplace")) < LONGEST
    value = json.loads(line.encode(errors="backslashreplace"))
    assert value["event"] == "config_loaded"
    for key, whole in {"because": because, **more}.items():
        if whole is not None and value[key] != whole:
            assert value[key].endswith(" characters left out)")


def test_what_was_cut_says_how_much() -> None:
    event = Event(event="alarm_raised", because="x" * 10_000, was="short")
    value = json.loads(json_line(event, 0.0, LONGEST - 1))
    text, _, note = value["because"].partition("... (")
    assert note == f"{10_000 - len(text)} characters left out)"
    assert len(text) > LONGEST - 300
    assert value["was"] == "short"


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_nobody_waits_for_a_reader_and_one_that_comes_back_gets_whole_lines(kind: str) -> None:
    with contextlib.ExitStack() as stack:
        if kind == "pipe":
            out, into = stack.enter_context(_pipe())
        elif kind == "socket":
            ends = [stack.enter_context(end) for end in socket.socketpair()]
            out, into = (end.fileno() for end in ends)
        else:
            out, into = pty.openpty()
            stack.callback(os.close, into)
            stack.callback(os.close, out)
            modes = termios.tcgetattr(into)
            modes[1] &= ~termios.OPOST
            termios.tcsetattr(into, termios.TCSANOW, modes)
        _fill(into)
        if kind == "pipe":
            os.read(out, 4096)  # room for a page: it is writable, and takes no longer line at once
        output = Output(into, room=100_000)
        log = Log(output=output, readable=False)
        started = time.monotonic()
        for number in range(2000):
            log.write(Event(event="held", because="x" * 9000, more={"number": number}), 0.0)
        assert time.monotonic() - started < 20.0
        assert log.lost >= 1900
        until(lambda: output.stalled() > 0.0)
        assert os.get_blocking(into), "others may share it"
        read = _drained(out)
        assert output.drain(20.0)
        lines = read.lstrip(b".").splitlines()
        numbers = [json.loads(line)["number"] for line in lines]
        assert numbers == sorted(set(numbers))
        assert len(numbers) == 2000 - log.lost
        log.write(EVENT, 0.0)
        assert output.drain(20.0)
        assert json.loads(_drained(out))["event"] == "steered"


def test_a_descriptor_that_others_made_non_blocking_loses_nothing() -> None:
    with _pipe() as (out, into):
        _fill(into)
        os.set_blocking(into, False)
        output = Output(into)
        output.write("one")
        output.write("two")
        assert not output.drain(0.2)
        assert _drained(out).lstrip(b".") == b"one\ntwo\n"
        assert output.drain(20.0)
        assert output.lost == 0


@pytest.mark.parametrize("kind", ["no reader", "full", "closed"])
def test_what_can_not_be_written_is_counted(kind: str) -> None:
    with _pipe() as (out, into):
        if kind == "no reader":
            os.close(out)
        elif kind == "full":
            os.dup2(os.open("/dev/full", os.O_WRONLY), into)
        output = Output(1_000_000 if kind == "closed" else into)
        for _ in range(3):
            output.write("a line")
        assert output.drain(20.0)
        assert output.lost == 3


def test_after_a_line_that_a_full_disk_cut_off_comes_a_line_of_its_own() -> None:
    code = """if True:
        import os, resource, sys, tempfile
        from steering.system.output import Output
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        file = tempfile.TemporaryFile()
        output = Output(file.fileno())
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        for word in ("one", "too long for it", "two"):
            output.write(word)
        assert output.drain(20.0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        output.write("three")
        assert output.drain(20.0)
        file.seek(0)
        print(file.read(), output.lost)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "b'one\\ntoo lo\\nthree\\n' 2\n"


def _with_a_full_pipe_for_stderr(code: str) -> tuple[int, bytes]:
    """Runs it to its end without a reader; the exit code, and what the reader found then."""
    with _pipe() as (out, into):
        _fill(into)
        # What ends by the timeout was held up.
        done = subprocess.run([sys.executable, "-c", code], stderr=into, timeout=40, check=False)
        os.close(into)
        return done.returncode, _drained(out).lstrip(b".")


def test_an_end_by_a_bug_is_no_end_without_end() -> None:
    code = (
        "import sys\n"
        "from steering.system.output import Output\n"
        "sys.stderr = Output(2).stream()\n"
        "raise RuntimeError('a bug')"
    )
    assert _with_a_full_pipe_for_stderr(code)[0] == 1
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith("RuntimeError: a bug\n"), "with a reader it is all there"


def test_lost_lines_are_an_alarm_for_a_minute_after_the_last() -> None:
    with _pipe() as (_, into):
        _fill(into)
        output = Output(into, room=0)
        log = Log(output=output, readable=False)
        assert not log.trouble(0.0)
        log.write(EVENT, 0.0)
        assert log.trouble(1.0).startswith("1 lines")
        log.write(EVENT, 0.0)
        assert log.trouble(30.0).startswith("2 lines")
        assert log.trouble(89.0)
        assert not log.trouble(91.0)


def test_lines_that_nobody_reads_are_an_alarm_before_the_first_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("steering.report.log._STALLED", 0.05)
    with _pipe() as (out, into):
        _fill(into)
        output = Output(into)
        log = Log(output=output, readable=False)
        log.write(EVENT, 0.0)
        until(lambda: "no program reads" in log.trouble(0.0))
        assert log.lost == 0
        _drained(out)
        until(lambda: not log.trouble(0.0))
