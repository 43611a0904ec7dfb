"""The agent's side of the dnstap reader: starts it, keeps it running, takes its tallies.

It never blocks. One descriptor serves for all readers in succession: it is readable if there is a
tally to take, or if the reader has ended. A reader that ends is started again after a pause that
doubles; the sockets that resolvers connect to stay open meanwhile.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Self

from steering.model import Instant, Seconds
from steering.observe.dnstap.ipc import TAKEN, IpcMessages, interest_message, read_tally
from steering.observe.dnstap.listeners import Listener, Place
from steering.observe.dnstap.tally import Interest, Tally
from steering.system.kept_process import KeptProcess
from steering.system.unreadable import HERE, Where

_BACK_OFF: tuple[Seconds, Seconds] = (0.1, 10.0)
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
        self._interest = interest
        self._outbox = b""
        self._messages = IpcMessages()
        self.lost = ""
        """Sockets whose files are missing and can't be created again; empty if there are none."""
        self._next_check: Instant = float("-inf")
        with ExitStack() as stack:
            self._process = KeptProcess(
                "the reader", "steering.observe.dnstap.reader", back_off=_BACK_OFF
            )
            stack.callback(self._process.close)
            there = {made.place: made for made in beside.listeners} if beside else {}
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
    def because(self) -> str:
        """Why there is no reader now; empty if there is one."""
        return self._process.because

    @property
    def pid(self) -> int | None:
        """Process id of the reader."""
        return self._process.pid

    def fileno(self) -> int:
        """The descriptor to wait on: the same for all readers to come."""
        return self._process.poll.fileno()

    def wake_at(self) -> Instant | None:
        """When `take` is to be called though nothing is readable; None while a reader runs."""
        return None if self._process.socket else self._process.due

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
            self._process.stop()
            self._process.due = now

    def take(self, now: Instant) -> tuple[Tally, ...]:
        """The tallies since the last call. Starts a reader if none runs and one is due.

        Call it when the descriptor is readable, and at `wake_at`.
        """
        control = self._process.socket
        if control is None:
            if now >= self._process.due:
                self._start(now)
            return ()
        tallies: list[Tally] = []
        try:
            self._send(b"")
            while data := control.recv(_CHUNK):
                for message in self._messages.receive(data):
                    with HERE.reading(Where.DNSTAP, message):
                        tallies.append(read_tally(message))
                    self._send(TAKEN)
        except BlockingIOError:
            return tuple(tallies)
        except OSError:
            pass
        self.restarts += 1
        self._process.ended(now, f"ended with status {self._process.stop()}")
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
        self._process.stop()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, now: Instant) -> None:
        try:
            pair = socket.socketpair()
        except OSError as error:  # no descriptor is left: tried again
            self._process.failed(now, f"does not start: {error}")
            return
        words: list[str] = []
        for listener in self.listeners:
            words += [str(listener.socket.fileno()), listener.name]
        passed = [listener.socket.fileno() for listener in self.listeners]
        if self._process.start(now, pair, words, passed):
            self._messages, self._outbox = IpcMessages(), b""
            self._send(interest_message(self._interest))

    def _send(self, message: bytes) -> None:
        """Write to the reader what it can take now; the rest goes with the next call."""
        self._outbox += message
        control = self._process.socket
        if control is None:
            return
        with suppress(BlockingIOError, ConnectionError):
            while self._outbox:
                self._outbox = self._outbox[control.send(self._outbox) :]
        events = select.EPOLLIN | (select.EPOLLOUT if self._outbox else 0)
        self._process.poll.modify(control, events)
