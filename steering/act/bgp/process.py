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
import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from steering.act.bgp.speaker_log import LOG
from steering.model import Seconds
from steering.system.descriptors import close_inherited

LOCK = "speaker.lock"
FOLDER = "bgp"
CONFIGURATION = "speaker.conf"
SWITCH = "off"
"""The off switch's file in the runtime directory; while it exists no speaker becomes ExaBGP."""
_FINGERPRINT = "STEERING_FINGERPRINT"
"""Passed in the environment, which other users can't read: it helps to guess the password."""
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
_LOCK_WAIT: Seconds = 2.0
_LOCK_LOOK: Seconds = 0.01


def start(
    runtime: Path, fingerprint: str, command: Sequence[str], environment: Mapping[str, str]
) -> int:
    """Starts the speaker; its process id. Raises OSError if no process can be started.

    `command` is ExaBGP's command line, with the path of its configuration. `fingerprint` identifies
    the configuration, for an agent that finds the speaker running.
    """
    root = str(Path(__file__).resolve().parents[3])
    arguments = [sys.executable, "-P", "-S", "-m", "steering.act.bgp.process"]
    arguments += [str(runtime.absolute()), *command]
    return os.posix_spawn(
        sys.executable,
        arguments,
        {"PATH": os.defpath, **environment, "PYTHONPATH": root, _FINGERPRINT: fingerprint},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(runtime.absolute() / FOLDER / LOG), _APPEND, 0o600),
        ],
        setsid=True,
        setsigmask=(),
    )


def running(runtime: Path) -> str | None:
    """The fingerprint of the running speaker; None if none runs.

    Raises OSError if the lock can't be checked.
    """
    try:
        descriptor = os.open(runtime / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _written(descriptor)[1]
    finally:
        os.close(descriptor)
    return None


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


def _written_in(lock: Path) -> int | None:
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _written(descriptor)[0]
    finally:
        os.close(descriptor)


def _written(descriptor: int) -> tuple[int | None, str]:
    pid, _, fingerprint = os.pread(descriptor, 200, 0).decode("ascii", "replace").partition("\n")
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
    lock = os.open(runtime / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                return
            time.sleep(_LOCK_LOOK)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n{fingerprint}\n".encode("ascii"), 0)
    # `steering off` first sets the switch, then ends the holder of the lock: so either it finds
    # this speaker, or this check finds the switch.
    if switched_off(runtime):
        return
    os.set_inheritable(lock, True)
    # ExaBGP changes its user and group itself, but keeps the supplementary groups.
    with contextlib.suppress(PermissionError):
        os.setgroups([])
    os.umask(0o077)
    os.ftruncate(2, 0)  # what the previous speaker printed is reported by now
    del os.environ["PYTHONPATH"]
    os.execv(command[0], command)  # noqa: S606 - there is no shell to it


if __name__ == "__main__":
    main(sys.argv[1:])
