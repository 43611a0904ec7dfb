"""Work that may hang is done aside: by a thread, which is left to itself where it takes too long.

A call into a file system that does not answer can't be called back. What can be done is to wait
for it no longer than for so long, and to have no more than one of its kind under way. The threads
are daemon threads: the interpreter waits at its end for those of an executor, and not for these.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from steering.model import Instant, Seconds

T = TypeVar("T")


def within(seconds: Seconds, call: Callable[[], T], what: str) -> T:
    """What the call returns. Raises the OSError that it raises, and TimeoutError, which is one,
    where it has not returned after so many seconds.
    """
    done: list[T] = []
    refused: list[OSError] = []

    def run() -> None:
        try:
            done.append(call())
        except OSError as error:
            refused.append(error)

    thread = threading.Thread(target=run, name=what, daemon=True)
    thread.start()
    thread.join(seconds)
    if refused:
        raise refused[0]
    if not done and thread.is_alive():
        raise TimeoutError(None, f"no answer within {seconds:g} s")
    if not done:
        raise RuntimeError(f"{what}: ended by a bug, which was printed")
    return done[0]


async def aside(work: Callable[[], T]) -> T:
    """What `work` returns, or raises, whenever that is. Who is cancelled meanwhile leaves it."""
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

    threading.Thread(target=run, name=f"aside: {work!r}"[:60], daemon=True).start()
    return await done


class Latest:
    """A thread that does the latest thing it was given; what has waited until then is dropped."""

    def __init__(self, what: str) -> None:
        self.since: Instant | None = None
        """Since when there has been something under way; None: nothing is."""
        self._what = what
        self._next: Callable[[], None] | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, work: Callable[[], None]) -> None:
        """Have this done, by the one thread, after what is under way. `work` raises nothing.

        Raises RuntimeError where it did: a bug, which ends whoever comes here.
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
        """Waits until everything is done, or so long; whether it is."""
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
