"""The agent's side of the guard: sees to it that there always is one.

The guard is started in a session of its own, so a signal to the agent's group, its terminal's
end or its own kill -9 don't reach it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import steering
from steering.act.claim import Claim
from steering.act.guard import LOCK, TAKE_OVER
from steering.act.kernel import KernelActuator
from steering.act.lease import Lease
from steering.act.reader import Trouble
from steering.model import Seconds

_STARTING: Seconds = 5.0  # longer than an interpreter takes on a busy host


def start_guard(*, runtime: Path, state: Path, take_over: bool = False) -> int:
    """Starts a guard; its process id. Raises OSError where no process can be had.

    Its standard error is the agent's. With -S and the path of this very package it loads
    nothing but the standard library and the code that the agent runs.
    """
    root = str(Path(steering.__file__).resolve().parent.parent)
    arguments = [sys.executable, "-P", "-S", "-m", "steering.act.guard"]
    arguments += [TAKE_OVER] * take_over + [str(runtime.absolute()), str(state.absolute())]
    return os.posix_spawn(
        sys.executable,
        arguments,
        {"PYTHONPATH": root, "PATH": os.defpath, "LANG": "C.UTF-8"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
        setsigmask=(),
    )


class Guard:
    """The guard as the agent sees it: a lock that some process holds."""

    def __init__(self, *, runtime: Path, state: Path) -> None:
        self._runtime = runtime
        self._state = state
        self._child: int | None = None
        self._started: Seconds = float("-inf")

    def present(self) -> bool:
        """Whether a guard holds the lock now."""
        try:
            descriptor = os.open(self._runtime / LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # A shared lock: it disturbs no other agent that looks, and a starting guard tries
            # again within a hundredth of a second.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def ensure(self) -> bool:
        """Whether a guard is there; starts one where none is. To be called each second.

        Raises OSError when a guard can't be started: then nothing may be installed.
        """
        alive = self._child_lives()
        if self.present():
            return True
        if not (alive and time.monotonic() - self._started < _STARTING):
            self._start(take_over=False)
        return False

    def replace(self) -> None:
        """Starts a guard of this version that takes the place of an older one.

        The older one holds on until the new one is loaded. Raises OSError as `ensure`.
        """
        self._child_lives()
        self._start(take_over=True)

    def _start(self, *, take_over: bool) -> None:
        self._runtime.mkdir(parents=True, exist_ok=True)
        self._child = start_guard(runtime=self._runtime, state=self._state, take_over=take_over)
        self._started = time.monotonic()

    def _child_lives(self) -> bool:
        """Takes note of the end of a guard that we started, so that no zombie stays."""
        if self._child is None:
            return False
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(self._child, os.WNOHANG) == (0, 0):
                return True
        self._child = None
        return False


def inherited(lease: Lease, claim: Claim) -> tuple[Claim, ...]:
    """Other claims that a valid lease covers: what they own goes when the present one is served.

    Raises OSError when the file can't be read.
    """
    state = lease.read()
    if state is None or lease.expired():
        return ()
    return tuple(dict.fromkeys(before for before in state.claims if before != claim))


def leftovers(
    lease: Lease, claim: Claim, actuator: Callable[[Claim], KernelActuator] = KernelActuator
) -> tuple[Trouble, ...]:
    """What an agent does first: leaves what a valid lease covers, takes back all else.

    A restart within the lease touches no route; see `inherited`. Otherwise what the old claims
    owned is taken out, and what the present one owns as well, whoever left it. Returns what
    would not go. Raises OSError when the kernel or the file can't be read.
    """
    state = lease.read()
    if state is not None and not lease.expired():
        return ()
    claims = [claim, *(c for c in (state.claims if state else ()) if c != claim)]
    troubles: list[Trouble] = []
    for owned in claims:
        with actuator(owned) as kernel:
            troubles.extend(kernel.withdraw())
    return tuple(troubles)
