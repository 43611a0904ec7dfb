"""The agent's side of the dnstap reader: starts it, keeps it running, takes its tallies.

It never blocks. One descriptor serves for all readers in succession: it is readable if there is a
tally to take, or if the reader has ended. A reader that ends is started again after a pause that
doubles; the sockets that resolvers connect to stay open meanwhile.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import steering
from steering.model import Instant, Seconds
from steering.observe.dnstap.ipc import TAKEN, IpcMessages, interest_message, read_tally
from steering.observe.dnstap.listeners import Listener, Place
from steering.observe.dnstap.tally import Interest, Tally
from steering.system.unreadable import HERE, Where

_BACK_OFF: tuple[Seconds, Seconds] = (0.1, 10.0)
_STABLE: Seconds = 30.0  # after a reader has run for so long, the pause begins anew
_CHUNK = 1 << 18
_CHECK_INTERVAL: Seconds = 1.0  # between two checks of the sockets' files


class ReaderClient:
    """The agent's handle on the reader process and its sockets."""

    def __init__(
        self, places: Sequence[Place], interest: Interest, beside: ReaderClient | None = None
    ) -> None:
        """Listens at once; the reader starts with the first `take`.

        Places where the client `beside` listens already are shared with it until `succeed`.
        Raises OSError if it can't listen, LookupError for an unknown owner or group.
        """
        self.restarts = 0
        """How often a reader had to be started again."""
        self.because = ""
        """Why no reader runs now; empty if one does."""
        self._interest = interest
        self._outbox = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._messages = IpcMessages()
        self._started: Instant = float("-inf")
        self._due: Instant = float("-inf")
        self._pause = _BACK_OFF[0]
        self.lost = ""
        """Sockets whose files are missing and can't be created again; empty if there are none."""
        self._next_check: Instant = float("-inf")
        with ExitStack() as stack:
            self._poll = stack.enter_context(select.epoll())
            there = {listener.place: listener for listener in beside.listeners} if beside else {}
            self.listeners: list[Listener] = [
                stack.enter_context(there[place].share() if place in there else Listener(place))
                for place in places
            ]
            self._open = stack.pop_all()

    @property
    def names(self) -> tuple[str, ...]:
        """The places where it listens."""
        return tuple(listener.name for listener in self.listeners)

    @property
    def pid(self) -> int | None:
        """Process id of the reader."""
        return self._process.pid if self._process else None

    def fileno(self) -> int:
        """The descriptor to wait on: the same for all readers in succession."""
        return self._poll.fileno()

    def wake_at(self) -> Instant | None:
        """When to call `take` even if nothing is readable; None while a reader runs."""
        return None if self._process else self._due

    def watch(self, interest: Interest) -> None:
        """Set what to count from now on. Counts of addresses that stay go on."""
        self._interest = interest
        self._send(interest_message(interest))

    def repair_sockets(self, now: Instant) -> None:
        """Check the file of every socket, and create a missing one again.

        Then a new reader is started, since a reader gets its sockets at its start: resolvers that
        were connected connect again. What can't be created is in `lost`, and is tried again.
        """
        if now < self._next_check:
            return
        self._next_check = now + _CHECK_INTERVAL
        gone = [listener for listener in self.listeners if not listener.in_place()]
        self.lost = ""
        for listener in gone:
            try:
                again = Listener(listener.place)
            except (OSError, LookupError) as error:
                self.lost = f"{listener.place.at} is missing and can't be created again: {error}"
                continue
            listener.replace(again)
            self._end_reader()
            self._due = now

    def take(self, now: Instant) -> tuple[Tally, ...]:
        """The tallies since the last call. Starts a reader if none runs and one is due.

        Call it when the descriptor is readable, and at `wake_at`.
        """
        if self._control is None:
            if now >= self._due:
                self._start(now)
            return ()
        tallies: list[Tally] = []
        try:
            self._send(b"")
            while data := self._control.recv(_CHUNK):
                for message in self._messages.receive(data):
                    with HERE.reading(Where.DNSTAP, message):
                        tallies.append(read_tally(message))
                    self._send(TAKEN)
        except BlockingIOError:
            return tuple(tallies)
        except OSError:
            pass
        self._ended(now)
        return tuple(tallies)

    def succeed(self, other: ReaderClient) -> None:
        """Replace another client, which is closed. Resolvers connect again."""
        mine = {listener.place: listener for listener in self.listeners}
        for listener in other.listeners:
            if listener.place in mine:
                listener.hand_over_to(mine[listener.place])
        other.close()

    def close(self) -> None:
        """End the reader, and stop listening."""
        self._end_reader()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, now: Instant) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            passed = [theirs.fileno(), *(listener.socket.fileno() for listener in self.listeners)]
            words = [str(theirs.fileno())]
            for listener in self.listeners:
                words += [str(listener.socket.fileno()), listener.name]
            root = str(Path(steering.__file__).resolve().parent.parent)
            try:
                # With -S and the path of this package it loads only the standard library and the
                # code that the agent runs.
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-S", "-m", "steering.observe.dnstap.reader", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=passed,
                    env={"PYTHONPATH": root, "PATH": os.defpath, "LANG": "C.UTF-8"},
                    cwd="/",
                )
            except OSError as error:
                ours.close()
                self._retry_later(now, f"the reader does not start: {error}")
                return
        ours.setblocking(False)
        self._control, self._messages, self._started = ours, IpcMessages(), now
        self._poll.register(ours, select.EPOLLIN)
        self.because, self._outbox = "", b""
        self._send(interest_message(self._interest))

    def _ended(self, now: Instant) -> None:
        process = self._process
        self._end_reader()
        status = process.returncode if process else None
        if now - self._started >= _STABLE:
            self._pause = _BACK_OFF[0]
        self.restarts += 1
        self._retry_later(now, f"the reader ended with status {status}")

    def _retry_later(self, now: Instant, because: str) -> None:
        self.because, self._due = because, now + self._pause
        self._pause = min(2 * self._pause, _BACK_OFF[1])

    def _end_reader(self) -> None:
        if self._control:
            self._poll.unregister(self._control)
            self._control.close()
            self._control = None
        if self._process:
            self._process.kill()  # it has nothing to save
            self._process.wait()
            self._process = None

    def _send(self, message: bytes) -> None:
        """Write what the reader can take now; the rest follows at the next call."""
        self._outbox += message
        if self._control is None:
            return
        with suppress(BlockingIOError, ConnectionError):
            while self._outbox:
                self._outbox = self._outbox[self._control.send(self._outbox) :]
        events = select.EPOLLIN | (select.EPOLLOUT if self._outbox else 0)
        self._poll.modify(self._control, events)
