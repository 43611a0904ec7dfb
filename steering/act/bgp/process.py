"""ExaBGP as a process: starts it so that it outlives the agent, and ends it completely.

Like the guard it runs in its own session. It holds `speaker.lock` while it runs, so only one runs
at a time, and the guard, `steering off` and another agent can find and end it without having
started it. It takes the lock and writes its process id before it becomes ExaBGP, so it can be found
at any time.

It closes all descriptors of its parent: otherwise a reader of the agent's output would wait for the
speaker too, a lease longer than the agent runs. Its standard error is a file (`speaker_log`).

This module loads nothing but the standard library: the guard imports it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from steering.act.bgp.speaker_log import LOG
from steering.model import Seconds
from steering.system.descriptors import close_inherited
from steering.system.lockfile import LockFile
from steering.system.processes import start_detached

LOCK = "speaker.lock"
FOLDER = "bgp"
CONFIGURATION = "speaker.conf"
SWITCH = "off"
"""The off switch's file in the runtime directory; while it exists no speaker becomes ExaBGP."""
_FINGERPRINT = "STEERING_FINGERPRINT"
"""Passed in the environment, which other users can't read: it helps to guess the password."""
_LOCK_WAIT: Seconds = 2.0
_LOCK_LOOK: Seconds = 0.01


def start(
    runtime: Path, fingerprint: str, command: Sequence[str], environment: Mapping[str, str]
) -> int:
    """Starts the speaker; its process id. Raises OSError if no process can be started.

    `command` is ExaBGP's command line, with the path of its configuration. `fingerprint` identifies
    the configuration, for an agent that finds the speaker running.
    """
    return start_detached(
        "steering.act.bgp.process",
        [str(runtime.absolute()), *command],
        {**environment, _FINGERPRINT: fingerprint},
        log=runtime.absolute() / FOLDER / LOG,
    )


def running(runtime: Path) -> str | None:
    """The fingerprint of the running speaker; None if none runs.

    Raises OSError if the lock can't be checked.
    """
    try:
        opened = LockFile.open(runtime / LOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with opened as lock:
        return _written(lock)[1] if lock.held() else None


def is_helper(runtime: Path, pid: int) -> bool:
    """Whether the speaker started this process: others may run as the same user."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(") ")[2].split()[1]) == _written_in(runtime / LOCK)
    except (OSError, ValueError, IndexError):
        return False


def end(runtime: Path, within: Seconds = 0.5) -> bool:
    """Ends the speaker, if one runs; whether one did. Its sessions and routes end with it.

    It sends SIGKILL, since an orderly end would only delay the end of the sessions. Raises OSError
    if it may not signal the speaker, TimeoutError if that has not ended within this time.
    """
    until, found = time.monotonic() + within, False
    while running(runtime) is not None:
        found = True
        if time.monotonic() > until:
            raise TimeoutError(f"the BGP speaker in {runtime} does not end")
        with contextlib.suppress(FileNotFoundError):
            pid = _written_in(runtime / LOCK)
            if pid is not None and _is_speaker(pid, runtime):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(_LOCK_LOOK)
    return found


def _written_in(path: Path) -> int | None:
    with LockFile.open(path) as lock:
        return _written(lock)[0]


def _written(lock: LockFile) -> tuple[int | None, str]:
    pid, _, fingerprint = lock.read(200).decode("ascii", "replace").partition("\n")
    return int(pid) if pid.isdigit() else None, fingerprint.strip()


def _is_speaker(pid: int, runtime: Path) -> bool:
    """Whether this process is the speaker in the lock file: process ids are reused."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(runtime.absolute() / FOLDER / CONFIGURATION) in words


def switched_off(runtime: Path) -> bool:
    """Whether steering is switched off; a switch that can't be checked counts as off."""
    try:
        (runtime / SWITCH).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def main(arguments: Sequence[str]) -> None:
    """Takes the lock and becomes ExaBGP; returns if another one runs or steering is off."""
    close_inherited()
    runtime, command = Path(arguments[0]), list(arguments[1:])
    fingerprint = os.environ.pop(_FINGERPRINT)
    lock = LockFile.create(runtime / LOCK)
    if not lock.wait(_LOCK_WAIT, every=_LOCK_LOOK):
        return
    lock.write(f"{os.getpid()}\n{fingerprint}\n")
    # Who switches off puts the switch first and ends the holder of the lock then: a speaker is
    # either seen there, or sees the switch here.
    if switched_off(runtime):
        return
    lock.keep_over_exec()
    # ExaBGP changes its user and group by itself, but keeps the other groups.
    with contextlib.suppress(PermissionError):
        os.setgroups([])
    os.umask(0o077)
    os.ftruncate(2, 0)  # what the previous speaker printed is reported by now
    del os.environ["PYTHONPATH"]
    os.execv(command[0], command)  # noqa: S606 - there is no shell to it


if __name__ == "__main__":
    main(sys.argv[1:])
