"""The second process: takes everything back when the agent no longer renews its lease.

Started as ``python -m steering.act.guard RUNTIME``. It imports at its start all that it will ever
need and touches nothing but that directory, so that neither a disk that is full or hangs nor a
half-done upgrade can keep it from acting. It holds `guard.lock` for as long as it lives. Twice a
second it looks at the lease; when that is over, or the off switch is thrown, nothing of ours may
be in the kernel, and it takes out what is. It remembers the last good claim, so a lease file that
vanishes ends no watch.

At each look it says so by the lock's modification time, which is CLOCK_BOOTTIME there: that takes
no room, no descriptor, and can't be half written. A guard that holds the lock and no longer says
so (it was stopped, it hangs) is none, and the agent has it replaced.

What its parent had open it lets go of, or whoever reads the agent's output would wait for the guard
as well: what it says goes to the system log, and only what keeps it from starting to stderr.

It leaves by itself when there has been no lease for a minute, nothing of ours is left and the
agent's process is gone: then no one is there who could install anything, and the next agent
starts its own guard before it writes. A hanging agent may wake up in the middle of a write,
so for as long as its process exists the guard stays.
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
from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.state import KernelProblem
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
    """What the guard knows between two looks."""

    def __init__(self, *, runtime: Path) -> None:
        self._runtime = runtime
        self._lease = Lease(runtime)
        self._boot = boot_id()
        self._last: LeaseState | None = None
        self._void_since: Seconds | None = None
        self._pause = _BACK_OFF[0]
        self._words = SpeakerLog(runtime / process.FOLDER)

    def look(self) -> Seconds | None:
        """Looks once, takes back what may not be; how long until the next look.

        None when there is nothing left to guard. Raises OSError when taking back fails.
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
        """How long to wait after a look that failed: twice as long each time, to a limit."""
        self._pause = min(2 * self._pause, _BACK_OFF[1])
        return self._pause

    def _read(self) -> LeaseState | None:
        """The lease in force: the file's, or the last one seen when the file is gone.

        What can't be read can't be trusted to be renewed: the last one runs on to its end.
        """
        try:
            state = self._lease.read()
        except OSError as error:
            if self._last is None:
                raise
            _say(f"the lease can't be read: {error}")
            return self._last
        if state is None:
            return self._last
        if state.claim is not None:
            self._last = state
        return state

    def _pass_on(self, now: Seconds) -> None:
        """What the speaker says while there is no agent to tell it."""
        if self._last is None or Path(f"/proc/{self._last.pid}").exists():
            self._words.skip()
        elif said := self._words.new(now):
            _say(f"the BGP speaker says: {said}")

    def _take_back(self) -> None:
        try:
            self._take_back_from_kernel()
        finally:
            if process.end(self._runtime):
                said = last(self._runtime / process.FOLDER)
                words = f"; its last words: {said}" if said else ""
                _say(f"the lease is over or the switch is off: ended the BGP speaker{words}")

    def _take_back_from_kernel(self) -> None:
        if self._last is None:
            return
        taken, left = False, list[KernelProblem]()
        for claim in self._last.claims:
            with KernelActuator(claim) as kernel:
                if kernel.remains():
                    taken = True
                    left += kernel.withdraw()
        if left:
            raise OSError("; ".join(map(str, left)))
        if taken:
            _say("the lease is over or the switch is off: took back all rules and routes")
        self._pause = _BACK_OFF[0]


def guard(*, runtime: Path, lock: LockFile) -> None:
    """Watches until there is nothing left to guard, or another guard has taken the place.

    `lock` is held by this process.
    """
    watch = Watch(runtime=runtime)
    while True:
        try:
            if _succeeded(lock, runtime / LOCK):
                return
            pause = watch.look()
        except Exception as error:  # noqa: BLE001
            # Elsewhere a bug ends the process because the lease makes that safe. Here is the
            # lease: whatever went wrong, the only safe thing is to try again.
            pause = watch.failed()
            _say(f"could not take everything back, trying again in {pause:.1f} s: {error}")
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
    """Whether the lock is another file now, since someone emptied the directory, and is held."""
    try:
        if lock.is_at(path):
            return False
        other = LockFile.open(path)
    except FileNotFoundError:
        return False  # whoever needs a guard starts one
    with other:
        return other.held()


@contextlib.contextmanager
def holding(path: Path, *, take_over: bool) -> Iterator[LockFile | None]:
    """Holds the lock and says so; None when another guard has it and may keep it.

    Taking over asks the other one to go only once this process is ready in its place, so the
    time without a guard is that of one signal.
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
    """What an agent started without, say with `2>&-`, must not become the lock's descriptor."""
    while (null := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        pass
    os.close(null)


def _let_go() -> None:
    """Holds nothing of the parent's any more: not its log, nor what it was started with."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)


def _say(text: str) -> None:
    _SYSLOG.write(text)


def main(arguments: list[str]) -> int:
    """Exit status 0: nothing to guard any more, or another guard is there."""
    take_over = TAKE_OVER in arguments
    # An agent of version 0.1.0, over whose files a newer one was installed, names `state` as well.
    runtime, *_ = (Path(argument) for argument in arguments if argument != TAKE_OVER)
    # The agent's terminal and its service manager's reload are not for us.
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
