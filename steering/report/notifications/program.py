"""Runs an operator's program for each notice: the notice as JSON on its standard input."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from steering.model import Instant, Seconds
from steering.report.notifications.notice import Notice, Sender, body
from steering.report.notifications.receiver import NotSentError
from steering.report.notifications.webhook import printable_line

_READ: Final = 4096
"""Octets of its output that are kept: the last line explains a failure."""
_LOOK: Final[Seconds] = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program by its argv: no shell. Its process group is killed at the time limit."""

    argv: tuple[str, ...]
    timeout: Seconds
    sender: Sender
    resend: Seconds | None = None

    def send(self, notices: Sequence[Notice]) -> str:
        """Run it for each notice. Raises NotSentError where it fails, hangs or can't be run."""
        for notice in notices:
            self._run(json.dumps(body(notice, self.sender)).encode() + b"\n")
        return ""

    def _run(self, given: bytes) -> None:
        try:
            # A pipe would wait for a program that reads nothing.
            with tempfile.TemporaryFile() as into:
                into.write(given)
                into.seek(0)
                process = subprocess.Popen(
                    self.argv,
                    stdin=into,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            raise NotSentError(f"{self.argv[0]}: {error.strerror}") from error
        assert process.stderr is not None
        with process.stderr as stderr:
            said = _last_line(process, stderr.fileno(), time.monotonic() + self.timeout)
            if process.poll() is None:
                _kill(process)  # before the pipe is closed, which may end it as well
                raise NotSentError(f"{self.argv[0]}: has not ended within {self.timeout:g} s")
        if process.returncode:
            raise NotSentError(f"{self.argv[0]}: exit status {process.returncode}: {said}")


def _last_line(process: subprocess.Popen[bytes], descriptor: int, until: Instant) -> str:
    """Reads what the program prints, until it ends or the time has come; the last line.

    Not until the end of the pipe: a process that it left behind may hold that open.
    """
    os.set_blocking(descriptor, False)
    poll, kept = select.poll(), b""
    poll.register(descriptor, select.POLLIN)
    while time.monotonic() < until:
        ended = process.poll() is not None
        if poll.poll(0 if ended else _LOOK * 1000):
            read = os.read(descriptor, _READ)
            kept = (kept + read)[-_READ:]
            if not read:
                break
        elif ended:
            break
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, until - time.monotonic()))
    return printable_line(kept.decode(errors="replace").strip().rpartition("\n")[2])


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # one of another user can't be killed
        process.wait(_LOOK)
