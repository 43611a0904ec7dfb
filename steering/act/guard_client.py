"""The agent's side of the guard: keeps one running.

The guard is started in its own session. So a signal to the agent's process group, the end of its
terminal and a kill -9 of the agent don't reach it. A guard counts as running while it holds its
lock and its heartbeat goes on. One that holds the lock without a heartbeat was stopped or hangs,
and is replaced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from steering.act.guard import LOCK, LOOK, TAKE_OVER
from steering.act.kernel.claim import Claim
from steering.act.kernel.problem import KernelProblem
from steering.act.kernel.removal import KernelRemover
from steering.act.lease import Lease, LeaseState, boot_id, boot_time
from steering.model import Seconds
from steering.system.lockfile import LockFile
from steering.system.processes import has_ended, start_detached

_STARTING: Seconds = 5.0  # longer than an interpreter takes on a busy host
SILENT: Seconds = 3.0
"""Six checks: a guard without a heartbeat for this long hangs."""


def start_guard(*, runtime: Path, take_over: bool = False) -> int:
    """Starts a guard; its process id. Raises OSError if no process can be started.

    Its standard error is the agent's until it holds the lock.
    """
    words = [TAKE_OVER] * take_over + [str(runtime.absolute())]
    return start_detached("steering.act.guard", words, {"LANG": "C.UTF-8"})


class GuardClient:
    """The guard as the agent sees it: a lock that some process holds, and a heartbeat."""

    def __init__(self, *, runtime: Path) -> None:
        self._runtime = runtime
        self._children: list[int] = []
        """Guards that this process started and has not reaped, the newest last."""
        self._started: Seconds = float("-inf")
        self._lock: LockFile | None = None
        self._beat: int | None = None
        self._silent: Seconds = 0.0
        self._looked: Seconds = float("-inf")

    def close(self) -> None:
        """Closes the lock file. The guard goes on."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def present(self) -> bool:
        """Whether a guard holds the lock now, with a heartbeat. Usually opens no new descriptor."""
        lock = self._open()
        return lock is not None and lock.held() and self._looks(lock)

    def _open(self) -> LockFile | None:
        """The lock's file, as it is in the directory now; None where there is none."""
        path = self._runtime / LOCK
        try:
            if self._lock is not None and self._lock.is_at(path):
                return self._lock
            self.close()
            self._lock = LockFile.open(path)
        except FileNotFoundError:
            self.close()
        return self._lock

    def _looks(self, lock: LockFile) -> bool:
        """Whether it has shown itself within SILENT, of which no more counts than was seen here.

        Only time that this process observed counts: a suspended host or agent must not take its
        own pause for the guard's.
        """
        beat, now = os.fstat(lock.descriptor).st_mtime_ns, time.monotonic()
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
        self._children = [pid for pid in self._children if not has_ended(pid)]
        return bool(youngest) and youngest == self._children[-1:]


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
    remover: Callable[[Claim], KernelRemover] = KernelRemover,
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
        with remover(owned) as kernel:
            troubles.extend(kernel.withdraw())
    return tuple(troubles)
