"""Runs a program as an operator would, and takes what it says: briefly, and not for long.

A control program may hang with its resolver, print without end, or not be there. It gets no shell,
no input, and an environment of its own. It leads a session, so that what it starts ends with it
when its time is over. All of that happens in a thread, for no call that starts or ends a program is
sure to return.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Final, TypedDict

from steering.act.resolvers.driver import NotDoneError
from steering.model import Instant, Seconds
from steering.system.side_thread import aside

MOST: Final = 65_536
"""Octets of output. No answer that is read here has more than a few hundred."""
_KILLED: Final[Seconds] = 1.0
"""How long a killed program is waited for. One that waits for a disk may not end."""
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}


class _User(TypedDict, total=False):
    """Arguments of Popen."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program with its first arguments, and the limits within which it is run."""

    argv: tuple[str, ...]
    limit: Seconds
    """How long it may take."""
    user: str | None = None
    """Whom it runs as, where this process is root's; None: as this process."""

    async def run(self, *more: str) -> str:
        """What it says, at its end with status 0.

        Raises NotDoneError: it does not start, or ends otherwise, or too late, or says too much. It
        is killed then, with all that it has started.
        """
        words = (*self.argv, *more)
        called = " ".join((self.argv[0].rpartition("/")[2], *more[:4]))
        try:
            async with asyncio.timeout(self.limit + 3 * _KILLED):
                status, said = await aside(lambda: _run(words, self.limit, self.user))
        except TimeoutError:
            raise NotDoneError(f"{called}: hangs where nothing can end it") from None
        except _StoppedError as error:
            raise NotDoneError(f"{called}: {error}") from None
        except OSError as error:  # no thread is to be had
            raise NotDoneError(f"{called}: does not start: {error.strerror}") from None
        if status:
            how = f"status {status}" if status > 0 else f"signal {-status}"
            raise NotDoneError(f"{called}: {said.strip() or 'says nothing'} ({how})")
        return said


class _StoppedError(Exception):
    """It did not come to an end of its own."""


def _run(words: tuple[str, ...], limit: Seconds, user: str | None) -> tuple[int, str]:
    """Its exit status and its output. Raises _StoppedError."""
    until = time.monotonic() + limit
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
            **_as(user),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _StoppedError(f"does not start: {error}") from None
    assert process.stdout is not None
    with process.stdout as pipe:
        try:
            said, problem = _read(process.pid, pipe.fileno(), until, limit)
        except OSError as error:  # no descriptor is left, or the kernel has no such call
            said, problem = b"", f"can't be watched: {error.strerror}; ended"
        if problem:
            problem += _kill(process.pid)
    try:
        status = process.wait(_KILLED if problem else max(_KILLED, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        status = 0
        if not problem:
            problem = "has closed its output, and does not end; ended" + _kill(process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_KILLED)
    if problem:
        raise _StoppedError(problem)
    return status, said.decode(errors="replace")


def _kill(pid: int) -> str:
    """Ends all of its session that is not reaped yet, so the number is its own.

    Returns why that can't be done, to be added to what went wrong: another user's program needs
    CAP_KILL.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except PermissionError:
        return ", which needs CAP_KILL: it still runs"
    except OSError as error:
        return f", which failed: {error.strerror}"
    return ""


def _read(pid: int, pipe: int, until: Instant, limit: Seconds) -> tuple[bytes, str]:
    """What it wrote, and why it has to be killed; empty: it has ended, or closed its output.

    Once the program has ended nothing more is waited for, although what it has started may still
    have the other end of the pipe. Raises OSError: it can't be watched.
    """
    said, poll, ended = b"", select.poll(), os.pidfd_open(pid)
    try:
        poll.register(pipe, select.POLLIN)
        poll.register(ended, select.POLLIN)
        while True:
            left = until - time.monotonic()
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, left) * 1000)}
            if pipe in ready:
                part = os.read(pipe, MOST)
                said += part
                if len(said) > MOST:
                    return said, f"says more than {MOST} bytes; ended"
                if not part:
                    return said, ""
            elif ended in ready:
                return said, ""
            if left <= 0:
                return said, f"no end within {limit:g} s; ended"
    finally:
        os.close(ended)


def _as(user: str | None) -> _User:
    """Raises _StoppedError where there is no such user."""
    if user is None or os.geteuid():
        return {}
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise _StoppedError(f"does not start: there is no user {user}") from None
    groups = os.getgrouplist(user, found.pw_gid)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups}
