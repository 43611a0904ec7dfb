"""The agent's side of the guard: sees to it that there always is one.

The guard is started in a session of its own, so a signal to the agent's group, its terminal's
end or its own kill -9 don't reach it. It is there while it holds its lock and says so at each of
its looks: one that only holds the lock was stopped or hangs, and is replaced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from steering.act.guard import LOCK, LOOK, TAKE_OVER
from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import Claim
from steering.act.kernel.state import KernelProblem
from steering.act.lease import Lease, LeaseState, boot_id, boot_time
from steering.model import Seconds
from steering.system.lockfile import LockFile
from steering.system.processes import has_ended, start_detached

_STARTING: Seconds = 5.0  # longer than an interpreter takes on a busy host
SILENT: Seconds = 3.0
"""Six looks: a guard that has not looked for so long looks no more."""


def start_guard(*, runtime: Path, take_over: bool = False) -> int:
    """Starts a guard; its process id. Raises OSError where no process can be had.

    Its standard error is the agent's until it watches.
    """
    words = [TAKE_OVER] * take_over + [str(runtime.absolute())]
    return start_detached("steering.act.guard", words, {"LANG": "C.UTF-8"})


class GuardClient:
    """The guard as the agent sees it: a lock that some process holds, and shows that it lives."""

    def __init__(self, *, runtime: Path) -> None:
        self._runtime = runtime
        self._children: list[int] = []
        """Guards that we started and that were not seen to end, the youngest last."""
        self._started: Seconds = float("-inf")
        self._lock: LockFile | None = None
        self._beat: int | None = None
        self._silent: Seconds = 0.0
        self._looked: Seconds = float("-inf")

    def close(self) -> None:
        """Let go of what is open here. The guard goes on."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def present(self) -> bool:
        """Whether a guard holds the lock now, and looks. Takes no new descriptor as a rule."""
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

        So a host, or an agent, that slept for an hour does not take that for the guard's silence.
        """
        beat, now = os.fstat(lock.descriptor).st_mtime_ns, time.monotonic()
        seen, self._looked = min(now - self._looked, 2 * LOOK), now
        self._silent = 0.0 if beat != self._beat else self._silent + seen
        self._beat = beat
        return self._silent <= SILENT

    def ensure(self) -> bool:
        """Whether a guard is there; starts one where none is. To be called each second.

        Raises OSError when a guard can't be started: then nothing may be installed.
        """
        alive = self._youngest_runs()
        if self.present():
            return True
        starting = time.monotonic() - self._started < _STARTING
        if self._silent > SILENT and not starting:
            self._start(take_over=True)  # it holds the lock still
        elif not (alive and starting):
            self._start(take_over=False)
        return False

    def replace(self) -> None:
        """Starts a guard of this version that takes the place of an older one.

        The older one holds on until the new one is loaded. Raises OSError as `ensure`.
        """
        self._start(take_over=True)

    def _start(self, *, take_over: bool) -> None:
        self._runtime.mkdir(parents=True, exist_ok=True)
        self._children.append(start_guard(runtime=self._runtime, take_over=take_over))
        self._started = time.monotonic()

    def _youngest_runs(self) -> bool:
        """Takes note of the end of those that we started, so that no zombie stays."""
        youngest = self._children[-1:]
        self._children = [pid for pid in self._children if not has_ended(pid)]
        return bool(youngest) and youngest == self._children[-1:]


def found(lease: Lease, beside: Sequence[LeaseState] = ()) -> tuple[LeaseState, ...]:
    """The leases in force: this one's, and those of other directories.

    Raises OSError when the file can't be read.
    """
    now, boot, own = boot_time(), boot_id(), lease.read()
    return tuple(s for s in (*([own] if own else ()), *beside) if not s.expired(now, boot))


def inherited(
    lease: Lease, claim: Claim, *, beside: Sequence[LeaseState] = ()
) -> tuple[Claim, ...]:
    """Other claims that a valid lease covers: what they own goes when the present one is served.

    Raises as `found`.
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
    """What an agent does first: leaves what a valid lease covers, takes back all else.

    A restart within the lease touches no route; see `inherited`. Otherwise what the old claims
    owned is taken out, and what the present one owns as well, whoever left it. Returns what
    would not go. Raises OSError when the kernel or the file can't be read.
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
