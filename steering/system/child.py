"""Work in a process of its own, so that what it waits for holds up nobody else.

A file system that stopped answering, a disk in trouble or a text without end can hold whoever
touches it, for ever and against every signal. A thread that waits there keeps its process from
ending; a child keeps only itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from typing import NoReturn

from steering.model import Instant

Tell = Callable[[bytes], None]
"""Hands bytes to the parent; may be called more than once."""

_PART = 65536


class Child:
    """Some work, begun at once; `result` has what it told.

    Where no process can be had, the work is done by `result`, in this one and without a bound:
    better late than never.

    For programs of one thread: a fork copies no other, nor frees the locks that it holds.
    """

    def __init__(self, work: Callable[[Tell], None]) -> None:
        self._work = work
        self._pid: int | None = None
        with contextlib.suppress(OSError):
            self._pid, self._said = fork(lambda into: _be_child(work, into))

    def result(self, until: Instant, *, first: Instant = math.inf) -> tuple[bytes, bool]:
        """What the work told by then, and whether it came to its end; ends it if not.

        Where it has told nothing at all by `first`, it is ended then.
        """
        if self._pid is None:
            told: list[bytes] = []
            self._work(told.append)
            return b"".join(told), True
        said, ended = _read(self._said, until, first)
        os.close(self._said)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        # One that waits for a dead disk can't die yet: whoever waited for it would hang as well.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0 if ended else os.WNOHANG)
        return said, ended


def fork(work: Callable[[int], NoReturn]) -> tuple[int, int]:
    """A copy of this process, which does the work; its process id, and what it writes to a pipe.

    `work` is given the pipe's other end, and ends the copy. Raises OSError where no process or no
    descriptor can be had.
    """
    reading, writing = os.pipe()
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork beside threads, since in the copy nobody frees the locks
            # that they hold. The work has to bear that.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if not pid:
        work(writing)
    os.close(writing)
    return pid, reading


def _read(descriptor: int, until: Instant, first: Instant) -> tuple[bytes, bool]:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    said = b""
    while True:
        left = (until if said else min(until, first)) - time.monotonic()
        if not poll.poll(max(0.0, left) * 1000):
            return said, False
        part = os.read(descriptor, _PART)
        if not part:
            return said, True
        said += part


def _be_child(work: Callable[[Tell], None], into: int) -> NoReturn:
    """Does the work and ends. It keeps open nothing but the pipe to its parent.

    Who reads what the parent prints would else wait for the child as well. A session of its own
    keeps the terminal's signals from what is half done.
    """
    try:
        os.setsid()
        into = fcntl.fcntl(into, fcntl.F_DUPFD, 3)  # whoever has no input gets its number
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.closerange(3, into)
        os.closerange(into + 1, os.sysconf("SC_OPEN_MAX"))

        def tell(part: bytes) -> None:
            while part:
                part = part[os.write(into, part) :]

        work(tell)
    finally:
        os._exit(0)
