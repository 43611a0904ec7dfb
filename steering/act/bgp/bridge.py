"""The helper inside ExaBGP: passes lines between ExaBGP's pipes and the agent's socket.

ExaBGP starts it as the user that ExaBGP runs as. It uses only the standard library; the file is
copied to where that user may read it. It has three tasks:

- it always reads ExaBGP's output: 64 KiB unread would stall ExaBGP until the hold time ends. If the
  agent is too slow, the bridge drops the connection with its lines, and the agent starts again;
- it waits for an agent: when one disconnects, it connects to the next one's socket;
- it is a dead man's switch: without a heartbeat of the agent for the lease it ends ExaBGP, and with
  it the sessions and routes. The guard does the same from outside.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time

BEAT = b"!"
"""The agent's heartbeat: the beginning of a line that is for the bridge."""
_MOST = 1 << 20  # bytes kept for an agent that reads slowly
_RETRY = 0.05  # seconds between two tries to connect to an agent


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Bridge:
    """One bridge between descriptors 0, 1 and a socket's path."""

    def __init__(self, path: str, lease: float) -> None:
        self._path, self._lease = path, lease
        self._parent = os.getppid()
        self._deadline = _now() + lease
        self._agent: socket.socket | None = None
        self._to_agent = b""
        self._from_agent = b""
        self._to_exabgp = b""
        self._partial = b""
        self._unanswered = 0
        """Commands without an answer yet."""
        self._stale = 0
        """Of these, those of an earlier agent: their answers are dropped."""
        for pipe in (0, 1):
            os.set_blocking(pipe, False)

    def run(self) -> None:
        """Runs until ExaBGP ends, or the lease is over and the bridge ends ExaBGP."""
        while _now() < self._deadline:
            if self._agent is None:
                self._connect_to_agent()
            if not self._turn(min(_RETRY if self._agent is None else 0.5, self._lease / 4)):
                return
        self._end()

    def _turn(self, timeout: float) -> bool:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        if self._to_exabgp:
            poll.register(1, select.POLLOUT)
        agent = self._agent
        if agent is not None:
            # Reads no more from the agent until ExaBGP has taken everything.
            wanted_events = 0 if self._to_exabgp else select.POLLIN
            poll.register(agent, wanted_events | (select.POLLOUT if self._to_agent else 0))
        for descriptor, event in poll.poll(timeout * 1000):
            if descriptor == 0:
                if not self._read_exabgp():
                    return False
            elif descriptor == 1:
                self._write_exabgp()
            elif agent is not None and event & select.POLLHUP and self._to_exabgp:
                self._lose_agent()
            elif agent is not None:
                self._serve(agent)
        return True

    def _connect_to_agent(self) -> None:
        agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            agent.connect(self._path)
        except OSError:
            agent.close()
            return
        agent.setblocking(False)
        self._agent, self._to_agent, self._from_agent = agent, b"", b""
        self._stale = self._unanswered

    def _lose_agent(self) -> None:
        if self._agent is not None:
            self._agent.close()
        self._agent = None

    def _read_exabgp(self) -> bool:
        data = os.read(0, 1 << 16)
        if not data:
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            wanted = not self._stale or line.startswith(b"{")  # an event is for any agent
            if line.strip() in (b"done", b"error"):
                self._unanswered = max(0, self._unanswered - 1)
                self._stale = max(0, self._stale - 1)
            if wanted and self._agent is not None:
                self._to_agent += line + b"\n"
        if len(self._to_agent) > _MOST:
            self._lose_agent()
        return True

    def _serve(self, agent: socket.socket) -> None:
        try:
            if self._to_agent:
                with contextlib.suppress(BlockingIOError):
                    self._to_agent = self._to_agent[agent.send(self._to_agent) :]
            if self._to_exabgp:
                return
            with contextlib.suppress(BlockingIOError):
                data = agent.recv(1 << 16)
                if not data:
                    raise ConnectionResetError
                *lines, self._from_agent = (self._from_agent + data).split(b"\n")
                self._take_lines(lines)
        except OSError:
            self._lose_agent()

    def _take_lines(self, lines: list[bytes]) -> None:
        for line in lines:
            if line.startswith(BEAT):
                self._deadline = _now() + self._lease
            else:
                self._unanswered += 1
                self._to_exabgp += line + b"\n"
        if self._to_exabgp:
            self._write_exabgp()

    def _write_exabgp(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._to_exabgp = self._to_exabgp[os.write(1, self._to_exabgp) :]

    def _end(self) -> None:
        """Kills ExaBGP, unless it has ended: then this process has another parent."""
        if os.getppid() == self._parent:
            os.kill(self._parent, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Bridge(sys.argv[1], float(sys.argv[2])).run()
