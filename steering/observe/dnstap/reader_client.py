"""The agent's side of the reader: starts it, keeps it running, takes its tallies.

Nothing here blocks. One descriptor stands for all readers to come: it is readable when there
is something to take, or when the reader has ended. A reader that ends is started again, after
a pause that doubles; the sockets that resolvers connect to stay meanwhile.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Self

from steering.model import Instant, Seconds
from steering.observe.dnstap.ipc import TAKEN, IpcMessages, interest_letter, read_tally
from steering.observe.dnstap.listeners import Listener, Place
from steering.observe.dnstap.tally import Interest, Tally
from steering.system.kept_process import KeptProcess
from steering.system.unreadable import HERE, Where

_BACK_OFF: tuple[Seconds, Seconds] = (0.1, 10.0)
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
        self._interest = interest
        self._outbox = b""
        self._letters = IpcMessages()
        self.lost = ""
        """What of the sockets is gone and can't be made again; empty if nothing is."""
        self._look_at: Instant = float("-inf")
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
        """Where it listens."""
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
            self._process.stop()
            self._process.due = now

    def take(self, now: Instant) -> tuple[Tally, ...]:
        """What was handed over since the last call; starts a reader where none is and one is due.

        To be called when the descriptor is readable, and at `wake_at`.
        """
        control = self._process.socket
        if control is None:
            if now >= self._process.due:
                self._start(now)
            return ()
        tallies: list[Tally] = []
        try:
            self._post(b"")
            while data := control.recv(_CHUNK):
                for letter in self._letters.receive(data):
                    with HERE.reading(Where.DNSTAP, letter):
                        tallies.append(read_tally(letter))
                    self._post(TAKEN)
        except BlockingIOError:
            return tuple(tallies)
        except OSError:
            pass
        self.restarts += 1
        self._process.ended(now, f"ended with status {self._process.stop()}")
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
        self._process.stop()
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, now: Instant) -> None:
        pair = socket.socketpair()
        words: list[str] = []
        for listener in self.listeners:
            words += [str(listener.socket.fileno()), listener.name]
        passed = [listener.socket.fileno() for listener in self.listeners]
        if self._process.start(now, pair, words, passed):
            self._letters, self._outbox = IpcMessages(), b""
            self._post(interest_letter(self._interest))

    def _post(self, letter: bytes) -> None:
        """Write to the reader what it can take now; the rest goes with the next call."""
        self._outbox += letter
        control = self._process.socket
        if control is None:
            return
        with suppress(BlockingIOError, ConnectionError):
            while self._outbox:
                self._outbox = self._outbox[control.send(self._outbox) :]
        events = select.EPOLLIN | (select.EPOLLOUT if self._outbox else 0)
        self._process.poll.modify(control, events)
