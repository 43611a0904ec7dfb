"""The agent's side of the guard: keeps one running.

The guard is started in its own session. So a signal to the agent's process group, the end of its
terminal and a kill -9 of the agent don't reach it. A guard counts as running while it holds its
lock and its heartbeat goes on. One that holds the lock without a heartbeat was stopped or hangs,
and is replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import steering
from steering.act.guard import LOCK, LOOK, TAKE_OVER
from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import Claim
from steering.act.kernel.state import KernelProblem
from steering.act.lease import Lease, LeaseState, boot_id, boot_time
from steering.model import Seconds

_STARTING: Seconds = 5.0  # longer than an interpreter takes on a busy host
SILENT: Seconds = 3.0
"""Six checks: a guard without a heartbeat for this long hangs."""


def start_guard(*, runtime: Path, take_over: bool = False) -> int:
    """Starts a guard; its process id. Raises OSError if no process can be started.

    Its standard error is the agent's until it holds the lock. With -S and the path of this package
    it loads only the standard library and the same code as the agent.
    """
    root = str(Path(steering.__file__).resolve().parent.parent)
    arguments = [sys.executable, "-P", "-S", "-m", "steering.act.guard"]
    arguments += [TAKE_OVER] * take_over + [str(runtime.absolute())]
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


class GuardClient:
    """The guard as the agent sees it: a lock that some process holds, and a heartbeat."""

    def __init__(self, *, runtime: Path) -> None:
        self._runtime = runtime
        self._children: list[int] = []
        """Guards that this process started and has not reaped, the newest last."""
        self._started: Seconds = float("-inf")
        self._lock: int | None = None
        self._beat: int | None = None
        self._silent: Seconds = 0.0
        self._looked: Seconds = float("-inf")

    def close(self) -> None:
        """Closes the lock file. The guard goes on."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def present(self) -> bool:
        """Whether a guard holds the lock now, with a heartbeat. Usually opens no new descriptor."""
        lock = self._open()
        if lock is None:
            return False
        try:
            # A shared lock does not disturb another agent's check, and a starting guard tries
            # again within 10 ms.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._looks(lock)
        fcntl.flock(lock, fcntl.LOCK_UN)
        return False

    def _open(self) -> int | None:
        """The lock file that is in the directory now; None if there is none."""
        path = self._runtime / LOCK
        try:
            if self._lock is not None and os.path.samestat(os.fstat(self._lock), path.stat()):
                return self._lock
            self.close()
            self._lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.close()
        return self._lock

    def _looks(self, lock: int) -> bool:
        """Whether there was a heartbeat within SILENT.

        Only time that this process observed counts: a suspended host or agent must not take its
        own pause for the guard's.
        """
        beat, now = os.fstat(lock).st_mtime_ns, time.monotonic()
        seen, self._looked = min(now - self._looked, 2 * LOOK), now
        self._silent = 0.0 if beat != self._beat else self._silent + seen
        self._beat = beat
        return self._silent <= SILENT

    def ensure(self) -> bool:
        """Whether a guard runs; starts one if not. To be called each second.

        Raises OSError when a guard can't be started: then nothing may be installed.
        """
        alive = self._youngest_runs()
        if self.present():
            return True
        starting = time.monotonic() - self._started < _STARTING
        if self._silent > SILENT and not starting:
            self._start(take_over=True)  # the hanging one still holds the lock
        elif not (alive and starting):
            self._start(take_over=False)
        return False

    def replace(self) -> None:
        """Starts a guard of this version in place of an older one.

        The older one runs until the new one is loaded. Raises OSError as `ensure`.
        """
        self._start(take_over=True)

    def _start(self, *, take_over: bool) -> None:
        self._runtime.mkdir(parents=True, exist_ok=True)
        self._children.append(start_guard(runtime=self._runtime, take_over=take_over))
        self._started = time.monotonic()

    def _youngest_runs(self) -> bool:
        """Reaps ended guards of this process; whether the newest one still runs."""
        youngest = self._children[-1:]
        self._children = [pid for pid in self._children if _lives(pid)]
        return bool(youngest) and youngest == self._children[-1:]


def _lives(child: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(child, os.WNOHANG) == (0, 0)
    return False


def found(lease: Lease, beside: Sequence[LeaseState] = ()) -> tuple[LeaseState, ...]:
    """The leases in force: that of `lease`, and those of other directories (`beside`).

    Raises OSError when the file can't be read.
    """
    now, boot, own = boot_time(), boot_id(), lease.read()
    return tuple(s for s in (*([own] if own else ()), *beside) if not s.expired(now, boot))


def inherited(
    lease: Lease, claim: Claim, *, beside: Sequence[LeaseState] = ()
) -> tuple[Claim, ...]:
    """Other claims that a lease in force covers.

    What they own is removed once the present claim is installed. Raises as `found`.
    """
    covered = (before for state in found(lease, beside) for before in state.claims)
    return tuple(dict.fromkeys(before for before in covered if before != claim))


def leftovers(
    lease: Lease,
    claim: Claim,
    actuator: Callable[[Claim], KernelActuator] = KernelActuator,
    *,
    beside: Sequence[LeaseState] = (),
) -> tuple[KernelProblem, ...]:
    """Removes what no lease in force covers. An agent calls this first.

    A restart within the lease changes no route; see `inherited`. Otherwise all that the old claims
    and the present one own is removed. Returns what could not be removed. Raises OSError when the
    kernel or the file can't be read.
    """
    if found(lease, beside):
        return ()
    own = lease.read()
    left = (before for state in (*([own] if own else ()), *beside) for before in state.claims)
    troubles: list[KernelProblem] = []
    for owned in dict.fromkeys((claim, *left)):
        with actuator(owned) as kernel:
            troubles.extend(kernel.withdraw())
    return tuple(troubles)
