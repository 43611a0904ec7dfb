"""Work that may hang, in a thread that is left behind where it takes too long.

A call into a file system that does not answer can't be cancelled. The caller can only limit how
long it waits for the call, and how many such calls there are at once. These are daemon threads: the
interpreter does not wait for them at its end, as it does for those of an executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from steering.model import Instant, Seconds

T = TypeVar("T")


def within(seconds: Seconds, call: Callable[[], T], what: str) -> T:
    """What the call returns. Raises the OSError that the call raises, and TimeoutError (an OSError
    too) where it has not returned after so many seconds.
    """
    done: list[T] = []
    errors: list[OSError] = []

    def run() -> None:
        try:
            done.append(call())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not done and thread.is_alive():
        raise TimeoutError(None, f"no answer within {seconds:g} s")
    if not done:
        raise RuntimeError(f"{what}: ended by a bug, which was printed")
    return done[0]


async def aside(work: Callable[[], T]) -> T:
    """What `work` returns or raises, whenever that is. A cancelled caller leaves it behind.

    Raises OSError as well where no thread can be had.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:  # noqa: BLE001 - it is raised where it is waited for
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    thread = threading.Thread(target=run, name=f"aside: {work!r}"[:60], daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    return await done


class Latest:
    """A thread that does the latest work it was given; earlier work that still waits is dropped."""

    def __init__(self, what: str) -> None:
        self.since: Instant | None = None
        """Since when there has been work to do; None: there is none."""
        self._what = what
        self._next: Callable[[], None] | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, work: Callable[[], None]) -> None:
        """Has the thread do this next, after the work that it is doing. `work` raises nothing.

        Raises RuntimeError where earlier work did raise, which is a bug.
        """
        if self._thread is not None and not self._thread.is_alive():
            raise RuntimeError(f"{self._what}: ended by a bug, which was printed")
        with self._changed:
            self._next = work
            if self.since is None:
                self.since = time.monotonic()
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._what, daemon=True)
            self._thread.start()

    def wait(self, seconds: Seconds) -> bool:
        """Waits until all work is done, at most so long; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.since is None, max(0.0, seconds))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next is not None)
                work, self._next = self._next, None
                self.since = time.monotonic()
            assert work is not None
            work()
            with self._changed:
                if self._next is None:
                    self.since = None
                    self._changed.notify_all()
