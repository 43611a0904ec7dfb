"""Work in a copy of this process, whose result comes through a pipe.

Rendering takes up to seconds of CPU, and a thread for it would often take the interpreter from the
loop. A fork (fork(2)) has all values of this moment for the cost of its page tables, some
milliseconds; passing the same values to another process would take as long, and need a second
interpreter with everything loaded.

The copy has only the thread that forked, and a lock that another thread held stays locked. So the
copy does only the work, which takes no such lock; if it ever waits for one, its time limit ends it.
It first closes the descriptors that it does not need: a file lock or the name of a socket must not
outlive the agent in it. Files in a directory that may hang stay open, since closing one waits for
the disk. So does the end of the copy, which no signal can end, but its answer has been sent by then
(`Copy.ending`).
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from steering.model import Instant, Seconds
from steering.system import child

LONGEST: Seconds = 30.0
"""The limit of CPU time, set in the copy, and of time, by `Copy.over`."""
_NICE = 5
_FAILED = 1


@dataclass(slots=True, kw_only=True)
class Copy:
    """A copy at work."""

    pid: int
    began: Instant
    status: int | None = None
    """Its exit status; None: it is running."""

    def over(self, now: Instant) -> bool:
        """Whether it has ended. A copy that takes too long is killed."""
        if self.status is None:
            if now - self.began > LONGEST:
                self.kill()
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    @property
    def ending(self) -> bool:
        """Whether its work is done and its memory free, and it waits for files to be closed."""
        try:
            return Path(f"/proc/{self.pid}/statm").read_bytes().startswith(b"0 ")
        except OSError:
            return True

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def fork(work: Callable[[int], None], now: Instant, *, leave: Path) -> tuple[Copy, int]:
    """Run `work` in a copy, with a pipe to write to; the copy, and the other end of the pipe.

    Files below `leave` stay open in it. Raises OSError without a process or descriptor.
    """
    pid, reading = child.fork(lambda writing: _work(work, writing, leave))
    return Copy(pid=pid, began=now), reading


def _work(work: Callable[[int], None], writing: int, leave: Path) -> NoReturn:
    """In the copy: never returns to the code of the agent."""
    status = _FAILED
    try:
        gc.disable()  # a collection would write to every object, and so copy every page
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but(writing, leave)
        resource.setrlimit(resource.RLIMIT_CPU, (int(LONGEST), int(LONGEST)))
        os.nice(_NICE)
        work(writing)
        status = 0
    finally:
        os._exit(status)


def _close_all_but(writing: int, leave: Path) -> None:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - includes its own descriptor
        number = int(name)
        if number > 2 and number != writing:
            with contextlib.suppress(OSError):
                if not Path(f"/proc/self/fd/{number}").readlink().is_relative_to(leave):
                    os.close(number)
