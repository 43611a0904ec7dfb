"""The process that reads dnstap: sockets in, one bounded tally at a time out.

Started by ``tap`` as ``python -m steering.dnstap.reader CONTROL [DESCRIPTOR NAME]…``. It only
reads, counts and hands over; it ends when the agent's end of the control socket closes, so
however the agent ends. What is read is never held up by who takes the tallies: counts go on
adding up until the last tally was taken.

A resolver's queue lasts for about 0.2 s. A reader that has found something to read at every
look for half of that has fallen behind: then frames are only split and counted as lost, which
is several times quicker, until all sockets are empty, at most for half as long again. Where little
comes at once it waits a little for more: a resolver writes frame by frame, and to wake up for
each of them costs ten times what the frame does.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from steering.dnstap.handover import hand_over, upstreams
from steering.dnstap.stream import GarbageError, Phase, Stream, TooLargeError
from steering.dnstap.tally import Notice
from steering.dnstap.walk import Walker
from steering.dnstap.wire import Letters, read_interest, tally_letter
from steering.model import Instant, Seconds

INTERVAL: Seconds = 0.2
"""Between two tallies, if the agent takes them."""

BEHIND: Seconds = 0.1
"""Busy without a pause for so long is too slow."""

_DROPPING: Seconds = 0.05
_LITTLE = 1 << 14  # bytes: a tenth of what a unix socket holds
_GATHER: Seconds = 0.002
_CHUNK = 1 << 18
_WRITERS = 64  # connections at once, on all sockets
_NOTICES = 16  # in one tally


class Reader:
    """The loop, and what it knows of its sockets."""

    def __init__(
        self,
        control: socket.socket,
        listeners: Mapping[str, socket.socket],
        *,
        behind: Seconds = BEHIND,
    ) -> None:
        """Listeners by the name they have in notices. `behind`: see the module."""
        self._control = control
        self._letters = Letters()
        self._outbox = b""
        self._owed = False
        """A tally was handed over and is not taken yet."""
        self._listeners = {made.fileno(): (name, made) for name, made in listeners.items()}
        self._writers: dict[int, _Writer] = {}
        self._walker = Walker({}, int.from_bytes(os.urandom(8), "big"))
        self._behind = behind
        self._poll = select.epoll()
        self._poll.register(control, select.EPOLLIN)
        for descriptor in self._listeners:
            self._poll.register(descriptor, select.EPOLLIN)
        self._began: Instant = time.monotonic()
        self._idle: Instant = self._began
        self._gap: Seconds = 0.0
        self._too_large = 0
        self._notices: list[Notice] = []
        self._unnoticed = 0

    def run(self) -> None:
        """Read until the agent is gone."""
        while True:
            ready = self._poll.poll(0)
            if not ready:
                self._idle = time.monotonic()
                ready = self._poll.poll(max(0.0, self._began + INTERVAL - self._idle))
                self._idle = time.monotonic()  # to wait is not to be busy
            woken = time.monotonic()
            busy = woken - self._idle
            drop = self._behind < busy
            if busy > self._behind + _DROPPING:
                self._idle = woken
            came = 0
            for descriptor, _ in ready:
                if descriptor in self._writers:
                    came += self._read(self._writers[descriptor], drop=drop)
                elif descriptor in self._listeners:
                    self._accept(*self._listeners[descriptor])
                elif not self._listen():
                    return
            now = time.monotonic()
            self._gap = max(self._gap, now - woken)
            if now - self._began >= INTERVAL and not self._owed and not self._outbox:
                self._hand_over(now)
            if came < _LITTLE:
                self._idle = time.monotonic()
                time.sleep(_GATHER)

    def close(self) -> None:
        """Close what was accepted and made here."""
        for writer in self._writers.values():
            writer.socket.close()
        self._poll.close()

    def _accept(self, name: str, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # gone again, or no descriptor left
            made, _ = listener.accept()
            if len(self._writers) >= _WRITERS:
                self._notice(name, f"refused a writer: there are {_WRITERS} already")
                made.close()
                return
            made.setblocking(False)
            self._writers[made.fileno()] = _Writer(made, name, Stream(self._walker))
            self._poll.register(made, select.EPOLLIN)

    def _read(self, writer: _Writer, *, drop: bool) -> int:
        """Count what has come from a writer; how many bytes it was."""
        try:
            data = writer.socket.recv(_CHUNK)
            reply = writer.stream.receive(data, int(time.time()), drop=drop)
        except BlockingIOError:
            return 0
        except OSError:
            data, reply = b"", b""
        except GarbageError as error:
            self._too_large += isinstance(error, TooLargeError)
            self._notice(writer.name, f"closed a connection: {error}")
            data, reply = b"", b""
        if reply:
            # A few bytes into an empty buffer. Unbound does not wait for them (EPIPE).
            with contextlib.suppress(OSError):
                writer.socket.send(reply, socket.MSG_NOSIGNAL)
        if not data or writer.stream.phase is Phase.DONE:
            del self._writers[writer.socket.fileno()]
            writer.socket.close()
        return len(data)

    def _listen(self) -> bool:
        """Hear the agent, and go on writing to it; False when it is gone."""
        with contextlib.suppress(BlockingIOError):
            self._post()
            data = self._control.recv(_CHUNK)
            if not data:
                return False
            for letter in self._letters.receive(data):
                interest = read_interest(letter)
                if interest is None:
                    self._owed = False
                else:
                    known = self._walker.upstreams.values()
                    self._walker.upstreams = upstreams(interest, known)
        return True

    def _hand_over(self, now: Instant) -> None:
        tally = hand_over(
            self._walker,
            began=self._began,
            ended=now,
            too_large=self._too_large,
            writers=sum(w.stream.phase is Phase.DATA for w in self._writers.values()),
            longest_gap=self._gap,
            notices=self._notices,
            unnoticed=self._unnoticed,
        )
        self._began, self._gap = now, 0.0
        self._too_large, self._notices, self._unnoticed = 0, [], 0
        self._outbox, self._owed = tally_letter(tally), True
        with contextlib.suppress(BlockingIOError):
            self._post()

    def _post(self) -> None:
        """Write what the agent can take now. Raises BlockingIOError when that is not all."""
        try:
            while self._outbox:
                sent = self._control.send(self._outbox, socket.MSG_NOSIGNAL)
                self._outbox = self._outbox[sent:]
        finally:
            events = select.EPOLLIN | (select.EPOLLOUT if self._outbox else 0)
            self._poll.modify(self._control, events)

    def _notice(self, name: str, because: str) -> None:
        if len(self._notices) < _NOTICES:
            self._notices.append(Notice(listener=name, because=because))
        else:
            self._unnoticed += 1


class _Writer:
    """One connection."""

    def __init__(self, made: socket.socket, name: str, stream: Stream) -> None:
        self.socket = made
        self.name = name
        self.stream = stream


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, socket.socket]]:
    for descriptor, name in zip(words[::2], words[1::2], strict=True):
        yield name, socket.socket(fileno=int(descriptor))


def main(words: Sequence[str]) -> None:
    """Read until the agent is gone."""
    # The agent's terminal and its service manager's reload are not for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    control = socket.socket(fileno=int(words[0]))
    control.setblocking(False)
    reader = Reader(control, dict(_pairs(words[1:])))
    with contextlib.suppress(ConnectionError):
        reader.run()


if __name__ == "__main__":
    main(sys.argv[1:])
