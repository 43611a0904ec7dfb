"""Work in a forked child, so that this process does not wait for what the work waits for.

A file system that does not answer, a failing disk or an endless file can block a process for ever,
and no signal ends that. A thread that is blocked there keeps its process from ending. A blocked
child keeps only itself.
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
"""Sends bytes to the parent. May be called more than once."""

_CHUNK = 65536


class Child:
    """Work that begins at once. `result` returns what it sent.

    Where no process can be started, `result` does the work in this process, without a time limit.

    For programs of one thread: a fork copies no other thread, and a lock that another one holds
    stays locked in the child.
    """

    def __init__(self, work: Callable[[Tell], None]) -> None:
        self._work = work
        self._pid: int | None = None
        with contextlib.suppress(OSError):
            self._pid, self._pipe = fork(lambda into: _run_child(work, into))

    def result(self, until: Instant, *, first: Instant = math.inf) -> tuple[bytes, bool]:
        """What the work sent until then, and whether it has ended. Kills the child if not.

        Where it has sent nothing until `first`, it is killed then.
        """
        if self._pid is None:
            sent: list[bytes] = []
            self._work(sent.append)
            return b"".join(sent), True
        received, ended = _read(self._pipe, until, first)
        os.close(self._pipe)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        # A child that waits for a disk may not end yet, so a killed one is not waited for.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0 if ended else os.WNOHANG)
        return received, ended


def fork(work: Callable[[int], NoReturn]) -> tuple[int, int]:
    """Forks a child that does the work; its process id, and the reading end of a pipe.

    `work` is given the writing end, and ends the child. Raises OSError where there is no process or
    no descriptor left.
    """
    reading, writing = os.pipe()
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork beside threads: a lock that one of them holds is never
            # released in the child. The caller has to allow for that.
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
    received = b""
    while True:
        left = (until if received else min(until, first)) - time.monotonic()
        if not poll.poll(max(0.0, left) * 1000):
            return received, False
        part = os.read(descriptor, _CHUNK)
        if not part:
            return received, True
        received += part


def _run_child(work: Callable[[Tell], None], into: int) -> NoReturn:
    """Does the work and ends. Nothing stays open but the pipe to the parent.

    Otherwise a reader of the parent's output would wait for the child as well. In a session of its
    own the child gets no signals of the terminal.
    """
    try:
        os.setsid()
        into = fcntl.fcntl(into, fcntl.F_DUPFD, 3)  # 0 to 2 are not free for it
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
