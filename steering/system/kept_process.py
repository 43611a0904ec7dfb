"""A process that serves the agent over a socket, and is started again whenever it ends.

Nothing here waits for it. One descriptor stands for all processes to come: it is readable when
there is something on the socket, or when the process has ended. After it ended there is a pause,
which doubles with each start, to a limit.
"""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Sequence
from typing import Final

from steering.model import Instant, Seconds
from steering.system.processes import command, environment

_STEADY: Final[Seconds] = 30.0
"""One that ran for so long is started again after the shortest pause."""


class KeptProcess:
    """One process at a time, which runs a module of this program."""

    def __init__(self, name: str, module: str, *, back_off: tuple[Seconds, Seconds]) -> None:
        """`name` is the subject of `because`; `back_off` is the shortest and the longest pause."""
        self.because = ""
        """Why there is no process now; empty if there is one, or none was started."""
        self.due: Instant = float("-inf")
        """When the next one may be started."""
        self.socket: socket.socket | None = None
        """Leads to the process, and does not block; None: there is no process."""
        self.poll = select.epoll()
        self._name, self._module, self._back_off = name, module, back_off
        self._pause = back_off[0]
        self._process: subprocess.Popen[bytes] | None = None
        self._started: Instant = float("-inf")

    @property
    def pid(self) -> int | None:
        """Process id; None: there is no process."""
        return self._process.pid if self._process else None

    def start(
        self,
        now: Instant,
        pair: tuple[socket.socket, socket.socket],
        words: Sequence[str] = (),
        passed: Sequence[int] = (),
    ) -> bool:
        """Starts the process; whether it runs. Where it does not, `because` and `due` are set.

        It gets the second socket of the pair, whose number is its first argument, before `words`,
        and the descriptors `passed`. Its standard error is the agent's.
        """
        ours, theirs = pair
        number = theirs.fileno()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    command(self._module, str(number), *words),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[number, *passed],
                    env=environment({"LANG": "C.UTF-8"}),
                    cwd="/",
                )
            except OSError as error:
                ours.close()
                self.failed(now, f"does not start: {error}")
                return False
        ours.setblocking(False)
        self.socket, self._started, self.because = ours, now, ""
        self.poll.register(ours, select.EPOLLIN)
        return True

    def failed(self, now: Instant, how: str) -> None:
        """Notes that there is no process, and when the next one may be started."""
        self.because, self.due = f"{self._name} {how}", now + self._pause
        self._pause = min(2 * self._pause, self._back_off[1])

    def ended(self, now: Instant, how: str) -> None:
        """Takes note of its end, or ends it."""
        self.stop()
        if now - self._started >= _STEADY:
            self._pause = self._back_off[0]
        self.failed(now, how)

    def stop(self) -> int | None:
        """Ends it with SIGKILL: it keeps nothing that could be left half done.

        Returns how it ended (`subprocess.Popen.returncode`); None: there was no process.
        """
        if self.socket is not None:
            self.poll.unregister(self.socket)
            self.socket.close()
            self.socket = None
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        return process.wait()

    def close(self) -> None:
        """Ends it for good."""
        self.stop()
        self.poll.close()
