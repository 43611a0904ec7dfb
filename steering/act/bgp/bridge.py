"""The helper inside ExaBGP: lines between its pipes and the agent's socket.

ExaBGP starts it, as whoever ExaBGP runs as, with a Python of its own and nothing but the
standard library; the file is copied to where that user may read it. Three duties:

- always drain: 64 KiB that nobody reads would stall ExaBGP until the hold time. What the
  agent does not take in time is dropped with the connection, and it begins again;
- wait for the agent, whichever it is: when one goes, the next one's socket is looked for;
- be the dead man's switch: without a word of the agent's for the lease, ExaBGP is ended, and
  with it its sessions and routes. The guard does the same from outside.
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
"""What an agent's line begins with that is for the bridge: it is still there."""
_MOST = 1 << 20  # bytes kept for an agent that is slow to read
_LOOK = 0.05  # seconds between two looks for an agent


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
        self._half_said = b""
        self._owed = 0
        """Commands without an answer yet."""
        self._stale = 0
        """Of these, an earlier agent's: their answers are for nobody."""
        for pipe in (0, 1):
            os.set_blocking(pipe, False)

    def run(self) -> None:
        """Until ExaBGP ends, or is ended."""
        while _now() < self._deadline:
            if self._agent is None:
                self._look_for_agent()
            if not self._turn(min(_LOOK if self._agent is None else 0.5, self._lease / 4)):
                return
        self._end()

    def _turn(self, patience: float) -> bool:
        poll = select.poll()
        poll.register(0, select.POLLIN)
        if self._to_exabgp:
            poll.register(1, select.POLLOUT)
        agent = self._agent
        if agent is not None:
            # What ExaBGP has not taken yet is not added to.
            hears = 0 if self._to_exabgp else select.POLLIN
            poll.register(agent, hears | (select.POLLOUT if self._to_agent else 0))
        for descriptor, event in poll.poll(patience * 1000):
            if descriptor == 0:
                if not self._hear_exabgp():
                    return False
            elif descriptor == 1:
                self._tell_exabgp()
            elif agent is not None and event & select.POLLHUP and self._to_exabgp:
                self._lose_agent()
            elif agent is not None:
                self._serve(agent)
        return True

    def _look_for_agent(self) -> None:
        agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            agent.connect(self._path)
        except OSError:
            agent.close()
            return
        agent.setblocking(False)
        self._agent, self._to_agent, self._from_agent = agent, b"", b""
        self._stale = self._owed

    def _lose_agent(self) -> None:
        if self._agent is not None:
            self._agent.close()
        self._agent = None

    def _hear_exabgp(self) -> bool:
        said = os.read(0, 1 << 16)
        if not said:
            return False
        *lines, self._half_said = (self._half_said + said).split(b"\n")
        for line in lines:
            wanted = not self._stale or line.startswith(b"{")  # an event is for everybody
            if line.strip() in (b"done", b"error"):
                self._owed = max(0, self._owed - 1)
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
                said = agent.recv(1 << 16)
                if not said:
                    raise ConnectionResetError
                *lines, self._from_agent = (self._from_agent + said).split(b"\n")
                self._take(lines)
        except OSError:
            self._lose_agent()

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            if line.startswith(BEAT):
                self._deadline = _now() + self._lease
            else:
                self._owed += 1
                self._to_exabgp += line + b"\n"
        if self._to_exabgp:
            self._tell_exabgp()

    def _tell_exabgp(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._to_exabgp = self._to_exabgp[os.write(1, self._to_exabgp) :]

    def _end(self) -> None:
        """A child of nobody's, after ExaBGP died, has no parent to end."""
        if os.getppid() == self._parent:
            os.kill(self._parent, signal.SIGKILL)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Bridge(sys.argv[1], float(sys.argv[2])).run()
