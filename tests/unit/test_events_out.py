"""Events on their way out: nothing that becomes of them may hold up the agent or the guard."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from steering.act import guard
from steering.model import Event
from steering.report.events import Log

EVENT = Event(event="steered", because="x" * 100)


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """The end of a full pipe that nobody reads from; a write to it would wait for ever."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    with os.fdopen(into, "w") as stream:
        try:
            while True:
                os.write(into, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(into, True)
        yield stream
        os.close(out)


def test_an_event_is_a_line_of_json() -> None:
    stream = io.StringIO()
    Log(stream=stream, readable=False).write(EVENT, 0.0)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["time"]) == ("steered", "1970-01-01T00:00:00.000Z")


@pytest.mark.timeout(10)
def test_a_full_pipe_costs_lines_and_no_time(unread: TextIO) -> None:
    log = Log(stream=unread, readable=False)
    for _ in range(3):
        log.write(EVENT, 0.0)
    assert log.lost == 3


@pytest.mark.timeout(10)
def test_a_pipe_without_a_reader_costs_lines() -> None:
    out, into = os.pipe()
    os.close(out)
    stream = os.fdopen(into, "w")
    log = Log(stream=stream, readable=False)
    log.write(EVENT, 0.0)
    assert log.lost == 1
    with contextlib.suppress(BrokenPipeError):
        stream.close()


@pytest.mark.timeout(10)
def test_a_full_pipe_does_not_hold_up_the_guard(
    unread: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", unread)
    guard._say("took back all rules and routes")


def test_lost_lines_are_an_alarm_for_a_minute_after_the_last(unread: TextIO) -> None:
    log = Log(stream=unread, readable=False)
    assert not log.trouble(0.0)
    log.write(EVENT, 0.0)
    assert log.trouble(1.0).startswith("1 lines")
    log.write(EVENT, 0.0)
    assert log.trouble(30.0).startswith("2 lines")
    assert log.trouble(89.0)
    assert not log.trouble(91.0)
