"""Work on a copy of this process, whose result comes through a pipe.

Rendering takes up to seconds of CPU, and a thread that does it would take the interpreter from
the loop again and again. A fork (fork(2)) has all values as they are at this moment, for the
price of its page tables: some milliseconds, where handing the same values to another process
would take as long and need a second interpreter with everything loaded.

Of a process with threads only this one is in the copy, and a lock that another one held stays
held. So the copy does nothing but the work, which takes no lock of others; should it ever wait
for one, its time runs out. It closes what it does not need before anything else: a lock on a file
or a socket's name must not outlive the agent in it. Files in a directory that may hang are left
open, as closing one waits for the disk. The copy's end waits for it as well, and no signal ends
that, but its answer has been given by then (`Copy.ending`).
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
"""Of CPU by its own limit, of time by `Copy.over`."""
_NICE = 5
_FAILED = 1


@dataclass(slots=True, kw_only=True)
class Copy:
    """A copy at work."""

    pid: int
    began: Instant
    status: int | None = None
    """How it ended; None: it has not."""

    def over(self, now: Instant) -> bool:
        """Whether it has ended; one that takes too long is."""
        if self.status is None:
            if now - self.began > LONGEST:
                self.kill()
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    @property
    def ending(self) -> bool:
        """Whether it has done its work, given back its memory, and waits for files to be closed."""
        try:
            return Path(f"/proc/{self.pid}/statm").read_bytes().startswith(b"0 ")
        except OSError:
            return True

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def fork(work: Callable[[int], None], now: Instant, *, leave: Path) -> tuple[Copy, int]:
    """Have a copy do this, which is given a pipe to write to; the copy, and the pipe's other end.

    Files below `leave` stay open in it. Raises OSError where no process or descriptor can be had.
    """
    pid, reading = child.fork(lambda writing: _work(work, writing, leave))
    return Copy(pid=pid, began=now), reading


def _work(work: Callable[[int], None], writing: int, leave: Path) -> NoReturn:
    """In the copy: nothing of what follows here may run on into what it was copied from."""
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
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the one by which this was read
        number = int(name)
        if number > 2 and number != writing:
            with contextlib.suppress(OSError):
                if not Path(f"/proc/self/fd/{number}").readlink().is_relative_to(leave):
                    os.close(number)
