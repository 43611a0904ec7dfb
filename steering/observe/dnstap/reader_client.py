"""The agent's side of the reader: starts it, keeps it running, takes its tallies.

Nothing here blocks. One descriptor stands for all readers to come: it is readable when there
is something to take, or when the reader has ended. A reader that ends is started again, after
a pause that doubles; the sockets that resolvers connect to stay meanwhile.
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
from steering.observe.dnstap.ipc import TAKEN, IpcMessages, interest_letter, read_tally
from steering.observe.dnstap.listeners import Listener, Place
from steering.observe.dnstap.tally import Interest, Tally
from steering.system.unreadable import HERE, Where

_BACK_OFF: tuple[Seconds, Seconds] = (0.1, 10.0)
_STEADY: Seconds = 30.0  # a reader that lived so long is started again at once
_CHUNK = 1 << 18
_LOOK: Seconds = 1.0  # between two looks at the sockets' files


class ReaderClient:
    """The reader as the agent sees it."""

    def __init__(
        self, places: Sequence[Place], interest: Interest, beside: ReaderClient | None = None
    ) -> None:
        """Listens at once; the reader starts with the first `take`.

        Places where another tap listens already are shared with it, until it is succeeded.
        Raises OSError where nobody can listen, LookupError for an unknown owner or group.
        """
        self.restarts = 0
        """How often a reader had to be started again."""
        self.because = ""
        """Why there is no reader now; empty if there is one."""
        self._interest = interest
        self._outbox = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._letters = IpcMessages()
        self._started: Instant = float("-inf")
        self._due: Instant = float("-inf")
        self._pause = _BACK_OFF[0]
        self.lost = ""
        """What of the sockets is gone and can't be made again; empty if nothing is."""
        self._look_at: Instant = float("-inf")
        with ExitStack() as stack:
            self._poll = stack.enter_context(select.epoll())
            there = {made.place: made for made in beside.listeners} if beside else {}
            self.listeners: list[Listener] = [
                stack.enter_context(there[place].share() if place in there else Listener(place))
                for place in places
            ]
            self._open = stack.pop_all()

    @property
    def names(self) -> tuple[str, ...]:
        """Where it listens."""
        return tuple(listener.name for listener in self.listeners)

    @property
    def pid(self) -> int | None:
        """Process id of the reader."""
        return self._process.pid if self._process else None

    def fileno(self) -> int:
        """The descriptor to wait on: the same for all readers to come."""
        return self._poll.fileno()

    def wake_at(self) -> Instant | None:
        """When `take` is to be called though nothing is readable; None while a reader runs."""
        return None if self._process else self._due

    def watch(self, interest: Interest) -> None:
        """What to count from now on. Counts of what stays go on."""
        self._interest = interest
        self._post(interest_letter(interest))

    def mend(self, now: Instant) -> None:
        """See that every socket's file leads here; where one is gone, it is made again.

        Then the reader is another one, as it is given its sockets when it starts: resolvers that
        were connected connect again. What can't be made is told in `lost`, and tried again.
        """
        if now < self._look_at:
            return
        self._look_at = now + _LOOK
        gone = [made for made in self.listeners if not made.in_place()]
        self.lost = ""
        for made in gone:
            try:
                again = Listener(made.place)
            except (OSError, LookupError) as error:
                self.lost = f"{made.place.at} is gone and can't be made again: {error}"
                continue
            made.replace(again)
            self._let_go()
            self._due = now

    def take(self, now: Instant) -> tuple[Tally, ...]:
        """What was handed over since the last call; starts a reader where none is and one is due.

        To be called when the descriptor is readable, and at `wake_at`.
        """
        if self._control is None:
            if now >= self._due:
                self._start(now)
            return ()
        tallies: list[Tally] = []
        try:
            self._post(b"")
            while data := self._control.recv(_CHUNK):
                for letter in self._letters.receive(data):
                    with HERE.reading(Where.DNSTAP, letter):
                        tallies.append(read_tally(letter))
                    self._post(TAKEN)
        except BlockingIOError:
            return tuple(tallies)
        except OSError:
            pass
        self._ended(now)
        return tuple(tallies)

    def succeed(self, other: ReaderClient) -> None:
        """Take the place of another tap, which ends. Resolvers connect again."""
        mine = {made.place: made for made in self.listeners}
        for listener in other.listeners:
            if listener.place in mine:
                listener.hand_over_to(mine[listener.place])
        other.close()

    def close(self) -> None:
        """End the reader, and stop listening."""
        self._let_go()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, now: Instant) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            passed = [theirs.fileno(), *(made.socket.fileno() for made in self.listeners)]
            words = [str(theirs.fileno())]
            for listener in self.listeners:
                words += [str(listener.socket.fileno()), listener.name]
            root = str(Path(steering.__file__).resolve().parent.parent)
            try:
                # With -S and the path of this very package it loads nothing but the standard
                # library and the code that the agent runs.
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
                self._later(now, f"the reader does not start: {error}")
                return
        ours.setblocking(False)
        self._control, self._letters, self._started = ours, IpcMessages(), now
        self._poll.register(ours, select.EPOLLIN)
        self.because, self._outbox = "", b""
        self._post(interest_letter(self._interest))

    def _ended(self, now: Instant) -> None:
        process = self._process
        self._let_go()
        status = process.returncode if process else None
        if now - self._started >= _STEADY:
            self._pause = _BACK_OFF[0]
        self.restarts += 1
        self._later(now, f"the reader ended with status {status}")

    def _later(self, now: Instant, because: str) -> None:
        self.because, self._due = because, now + self._pause
        self._pause = min(2 * self._pause, _BACK_OFF[1])

    def _let_go(self) -> None:
        if self._control:
            self._poll.unregister(self._control)
            self._control.close()
            self._control = None
        if self._process:
            self._process.kill()  # it keeps nothing that could be left half done
            self._process.wait()
            self._process = None

    def _post(self, letter: bytes) -> None:
        """Write to the reader what it can take now; the rest goes with the next call."""
        self._outbox += letter
        if self._control is None:
            return
        with suppress(BlockingIOError, ConnectionError):
            while self._outbox:
                self._outbox = self._outbox[self._control.send(self._outbox) :]
        events = select.EPOLLIN | (select.EPOLLOUT if self._outbox else 0)
        self._poll.modify(self._control, events)
