"""The guard: a second process that removes all routes and rules when the lease ends.

It is started as ``python -m steering.act.guard RUNTIME``. It imports all its code at the start and
uses only that directory, so a full or hanging disk or a half-done upgrade can't stop it. It holds
`guard.lock` while it runs. Twice a second it checks the lease. When the lease has ended, or the off
switch is set, it removes everything of ours from the kernel and ends the BGP speaker. It remembers
the last valid claim, so it still works when the lease file vanishes.

At each check it sets the lock's modification time to CLOCK_BOOTTIME as a heartbeat. That needs no
disk space and no descriptor, and can't be half written. A guard that holds the lock without a
heartbeat was stopped or hangs; the agent replaces it.

It closes all descriptors of its parent: otherwise a reader of the agent's output would wait for the
guard too. It logs to the system log; only an error that prevents its start goes to stderr.

It exits when there was no lease for a minute, nothing of ours is left, and the agent's process is
gone: then no process can install anything, and the next agent starts its own guard before it
writes. A hanging agent may wake up in the middle of a write, so the guard stays while the agent's
process exists.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from steering.act.bgp import process
from steering.act.bgp.speaker_log import SpeakerLog, last
from steering.act.kernel.problem import KernelProblem
from steering.act.kernel.removal import KernelRemover
from steering.act.lease import Lease, LeaseState, boot_id, boot_time
from steering.model import Seconds
from steering.system.descriptors import close_inherited
from steering.system.lockfile import LockFile
from steering.system.syslog import Syslog

LOCK = "guard.lock"
TAKE_OVER = "--take-over"
LOOK: Seconds = 0.5
_LINGER: Seconds = 60.0
_BACK_OFF: tuple[Seconds, Seconds] = (0.1, 5.0)
_LOCK_WAIT: Seconds = 2.0
_LOCK_LOOK: Seconds = 0.01
_ASK_NICELY: Seconds = 0.5
_SYSLOG = Syslog("steering-guard")


class Watch:
    """One lease, checked again and again; the state that is kept between two checks."""

    def __init__(self, *, runtime: Path) -> None:
        self._runtime = runtime
        self._lease = Lease(runtime)
        self._boot = boot_id()
        self._last: LeaseState | None = None
        self._void_since: Seconds | None = None
        self._pause = _BACK_OFF[0]
        self._words = SpeakerLog(runtime / process.FOLDER)

    def look(self) -> Seconds | None:
        """Checks once, and removes everything if the lease is over; seconds to the next check.

        None when there is nothing left to guard. Raises OSError when a removal fails.
        """
        now = boot_time()
        state = self._read()
        self._pass_on(now)
        if (
            state is not None
            and not state.expired(now, self._boot)
            and not process.switched_off(self._runtime)
        ):
            self._void_since = None
            return max(0.0, min(LOOK, state.deadline - now))
        self._take_back()
        self._void_since = now if self._void_since is None else self._void_since
        pid = 0 if self._last is None else self._last.pid
        if now - self._void_since >= _LINGER and not Path(f"/proc/{pid}").exists():
            return None
        return LOOK

    def failed(self) -> Seconds:
        """Seconds to wait after a failed check: doubled each time, up to 5 s."""
        self._pause = min(2 * self._pause, _BACK_OFF[1])
        return self._pause

    def _read(self) -> LeaseState | None:
        """The lease of the file, or the last one read when the file is gone or unreadable.

        A lease that can't be read is not taken as renewed: the last one runs to its end.
        """
        try:
            state = self._lease.read()
        except OSError as error:
            if self._last is None:
                raise
            _say(f"can't read the lease: {error}")
            return self._last
        if state is None:
            return self._last
        if state.claim is not None:
            self._last = state
        return state

    def _pass_on(self, now: Seconds) -> None:
        """Logs what the speaker prints while there is no agent to report it."""
        if self._last is None or Path(f"/proc/{self._last.pid}").exists():
            self._words.skip()
        elif said := self._words.new(now):
            _say(f"message of the BGP speaker: {said}")

    def _take_back(self) -> None:
        try:
            self._take_back_from_kernel()
        finally:
            if process.end(self._runtime):
                said = last(self._runtime / process.FOLDER)
                words = f"; its last message: {said}" if said else ""
                _say(f"the lease ended or steering is switched off: ended the BGP speaker{words}")

    def _take_back_from_kernel(self) -> None:
        if self._last is None:
            return
        taken, left = False, list[KernelProblem]()
        for claim in self._last.claims:
            with KernelRemover(claim) as kernel:
                if kernel.remains():
                    taken = True
                    left += kernel.withdraw()
        if left:
            raise OSError("; ".join(map(str, left)))
        if taken:
            _say("the lease ended or steering is switched off: removed all rules and routes")
        self._pause = _BACK_OFF[0]


def guard(*, runtime: Path, lock: LockFile) -> None:
    """Checks the lease until nothing is left to guard, or another guard has taken over.

    `lock` is held by this process.
    """
    watch = Watch(runtime=runtime)
    while True:
        try:
            if _succeeded(lock, runtime / LOCK):
                return
            pause = watch.look()
        except Exception as error:  # noqa: BLE001
            # Elsewhere a bug ends the process, because the lease makes that safe. This process
            # enforces the lease: whatever went wrong, the only safe thing is to try again.
            pause = watch.failed()
            _say(f"could not remove everything, trying again in {pause:.1f} s: {error}")
        if pause is None:
            return
        _sleep(pause, lock)


def _sleep(pause: Seconds, lock: LockFile) -> None:
    until = time.monotonic() + pause
    while True:
        with contextlib.suppress(OSError):
            _beat(lock)
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, LOOK))


def _beat(lock: LockFile) -> None:
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    os.utime(lock.descriptor, ns=(now, now))


def _succeeded(lock: LockFile, path: Path) -> bool:
    """Whether the path is a new lock file (the directory was emptied) that another guard holds."""
    try:
        if lock.is_at(path):
            return False
        other = LockFile.open(path)
    except FileNotFoundError:
        return False  # an agent that needs a guard starts one
    with other:
        return other.held()


@contextlib.contextmanager
def holding(path: Path, *, take_over: bool) -> Iterator[LockFile | None]:
    """Holds the lock, and writes this process's id into it; None if another guard keeps it.

    With `take_over` the other guard is signalled to end. This
    process is ready by then, so the time without a guard is that of one signal.
    """
    with LockFile.create(path) as lock:

        def ask(waited: Seconds) -> None:
            if take_over:
                _ask_to_go(lock, signal.SIGTERM if waited < _ASK_NICELY else signal.SIGKILL)

        held = lock.wait(_LOCK_WAIT, every=_LOCK_LOOK, meanwhile=ask)
        if held:
            lock.write(f"{os.getpid()}\n")
        yield lock if held else None


def _ask_to_go(lock: LockFile, how: signal.Signals) -> None:
    """Signals the lock's holder, if what it wrote there still names a guard."""
    written = lock.read(32).strip()
    if not written.isdigit():
        return
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{int(written)}/cmdline").read_bytes().split(b"\0")
        if b"steering.act.guard" in command:
            os.kill(int(written), how)


def _fill_up() -> None:
    """Opens descriptors 0 to 2 if they are closed (`2>&-`): the lock must not become one."""
    while (null := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        pass
    os.close(null)


def _let_go() -> None:
    """Replaces standard input, output and error by /dev/null: they are the parent's."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)


def _say(text: str) -> None:
    _SYSLOG.write(text)


def main(arguments: list[str]) -> int:
    """Exit status 0: nothing is left to guard, or another guard runs."""
    take_over = TAKE_OVER in arguments
    # An agent of version 0.1.0, with newer files installed over its own, names `state` as well.
    runtime, *_ = (Path(argument) for argument in arguments if argument != TAKE_OVER)
    # An interrupt at the agent's terminal, and a reload of its unit, are not for the guard.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")
    close_inherited()
    _fill_up()
    with holding(runtime / LOCK, take_over=take_over) as lock:
        if lock is not None:
            _let_go()
            guard(runtime=runtime, lock=lock)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
