"""Work that may hang is waited for no longer than was said, and never piles up."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from steering.system.side_thread import Latest, within


@pytest.fixture
def held() -> Iterator[threading.Event]:
    """What hangs waits for this; it is set when the test is over."""
    event = threading.Event()
    yield event
    event.set()


def test_what_is_done_in_time_is_returned_or_raised() -> None:
    assert within(5.0, lambda: 7, "seven") == 7
    assert within(5.0, lambda: None, "nothing") is None

    def refused() -> int:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(PermissionError):
        within(5.0, refused, "refused")


def test_what_hangs_is_waited_for_so_long_and_left_to_itself(held: threading.Event) -> None:
    started = time.monotonic()
    with pytest.raises(OSError, match="no answer") as raised:
        within(0.05, held.wait, "hangs")
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.strerror == "no answer within 0.05 s"
    assert time.monotonic() - started < 2.0


def test_only_the_latest_of_what_waits_is_done(held: threading.Event) -> None:
    aside, done, begun = Latest("test"), list[int](), threading.Event()

    def first() -> None:
        begun.set()
        held.wait()
        done.append(0)

    aside.put(first)
    assert begun.wait(5.0)
    before = threading.active_count()
    for number in range(1, 100):
        aside.put(lambda number=number: done.append(number))  # type: ignore[misc]
    assert threading.active_count() == before
    assert not aside.wait(0.02)
    assert aside.since is not None
    held.set()
    assert aside.wait(5.0)
    assert done == [0, 99]
    assert aside.since is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_aside_ends_whoever_relies_on_it() -> None:
    def bug() -> int:
        raise ZeroDivisionError

    with pytest.raises(RuntimeError, match="bug"):
        within(5.0, bug, "test")
    aside = Latest("test")
    aside.put(bug)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="bug"):  # noqa: PT012
        while True:
            aside.put(bug)  # type: ignore[arg-type]
            time.sleep(0.001)
