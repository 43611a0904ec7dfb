"""The process that reads dnstap from sockets and hands bounded tallies to the agent.

``reader_client`` starts it as
``python -m steering.observe.dnstap.reader CONTROL [DESCRIPTOR NAME]…``. It only reads, counts and
hands over. It ends when the agent's end of the control socket closes, however the agent ends. A
slow agent does not delay the reading: counts add up until the last tally was taken.

It reads ahead of its counting, up to `HELD` bytes over all writers, so that a writer's queue, which
lasts for about 0.2 s, is always emptied. If more is held, it has fallen behind. Then half of what
the writer with the most bytes has waiting is only split into frames and counted as lost, which is
many times faster. A short burst is over after that; a lasting overload repeats it. The decision
depends on no clock, so a reader that was not scheduled for a second loses nothing. If little comes
at once, it waits a little for more: a resolver writes single frames, and to wake up for each costs
ten times as much as the frame.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from steering.model import Instant, Seconds
from steering.observe.dnstap.connection import PIECE, WriterConnection
from steering.observe.dnstap.counter import FrameCounter
from steering.observe.dnstap.framestream import FrameStream, GarbageError, Phase, TooLargeError
from steering.observe.dnstap.ipc import IpcMessages, read_interest, tally_message
from steering.observe.dnstap.tally import Notice, Tally
from steering.observe.dnstap.tally_builder import build_tally, reset, upstreams
from steering.system.output import Output
from steering.system.unreadable import HERE, Where

INTERVAL: Seconds = 0.2
"""Seconds between two tallies, if the agent takes them."""

HELD = 1 << 24
"""The most bytes that are read and not counted yet: the queues of sixteen Unbound workers (1 MiB
each)."""

AHEAD = 4
"""Pieces that are read from each writer while one is counted."""

_LITTLE = 1 << 14  # bytes: a tenth of what a unix socket holds
_GATHER: Seconds = 0.002
_WRITERS = 64  # connections at once, on all sockets
_NOTICES = 16  # in one tally
_IDLE = 60  # seconds of silence before the first keepalive packet to a remote writer
_ASK_AGAIN = 15  # seconds between keepalive packets


def _enable_keepalive(writer: socket.socket) -> None:
    """Let the kernel close the connection of a host that has vanished: it would stay for ever.

    The timeout is that of RFC 5482; with keepalive it replaces the number of probes (tcp(7)).
    """
    if writer.family == socket.AF_UNIX:
        return
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE)
    writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASK_AGAIN)
    writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2000 * _IDLE)


class Reader:
    """The loop, with the state of its sockets."""

    def __init__(
        self,
        control: socket.socket,
        listeners: Mapping[str, socket.socket],
        *,
        held: int = HELD,
        ahead: int = AHEAD,
    ) -> None:
        """`listeners` by their name in notices. `held` and `ahead`: see `HELD`, `AHEAD`.

        With `ahead` 1, a single writer waits and loses nothing.
        """
        self._control = control
        self._messages = IpcMessages()
        self._outbox = b""
        self._awaiting_taken = False
        """A tally was sent, and the agent has not taken it yet."""
        self._listeners = {made.fileno(): (name, made) for name, made in listeners.items()}
        self._writers: dict[int, WriterConnection] = {}
        self._waiting: deque[WriterConnection] = deque()
        """Writers with held bytes, in the order of their turns."""
        self._counter = FrameCounter({}, int.from_bytes(os.urandom(8), "big"))
        self._limit, self._ahead = held, ahead
        self._poll = select.epoll()
        self._poll.register(control, select.EPOLLIN)
        for descriptor in self._listeners:
            self._poll.register(descriptor, select.EPOLLIN)
        self._began = self._ended = self._all_counted_at = time.monotonic()
        """Begin of the next tally, end of the last one, and when all received was counted."""
        self._gap: Seconds = 0.0
        self._too_large = 0
        self._notices: list[Notice] = []
        self._notices_dropped = 0

    def run(self) -> None:
        """Read until the agent closes the control socket."""
        while True:
            self._poll.poll(self._pause())
            polled_at = time.monotonic()
            received = 0
            for descriptor, _ in self._poll.poll(0):
                if descriptor in self._writers:
                    received += self._read(self._writers[descriptor])
                elif descriptor in self._listeners:
                    self._accept(*self._listeners[descriptor])
                    received += PIECE  # it may have written something already
                elif not self._read_control():
                    return
            self._count_next()
            if received < PIECE and not self._waiting:
                self._all_counted_at = polled_at
            now = time.monotonic()
            self._gap = max(self._gap, now - polled_at)
            if now - self._ended >= INTERVAL and not self._awaiting_taken and not self._outbox:
                self._send_tally(now)
            if 0 < received < _LITTLE and not self._waiting:
                time.sleep(_GATHER)

    def _pause(self) -> Seconds | None:
        """How long to wait for an event; None: without limit."""
        if self._waiting:
            return 0.0
        if self._awaiting_taken or self._outbox:
            return None
        return max(0.0, self._ended + INTERVAL - time.monotonic())

    def close(self) -> None:
        """Close the accepted connections."""
        for writer in self._writers.values():
            writer.socket.close()
        self._poll.close()

    def _accept(self, name: str, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the writer has closed again, or no descriptor is left
            made, _ = listener.accept()
            if len(self._writers) >= _WRITERS:
                self._notice(name, f"refused a writer: there are {_WRITERS} already")
                made.close()
                return
            made.setblocking(False)
            _enable_keepalive(made)
            self._writers[made.fileno()] = WriterConnection(made, name, FrameStream(self._counter))
            self._poll.register(made, select.EPOLLIN)

    def _read(self, writer: WriterConnection) -> int:
        """Hold what came from a writer, and note if it has closed. Returns the number of bytes."""
        received = 0
        for _ in range(self._ahead):
            try:
                data = writer.socket.recv(PIECE)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                writer.closed = True
                self._poll.unregister(writer.socket)
                if not writer.size:
                    self._close(writer)
                break
            if not writer.size:
                self._waiting.append(writer)
            writer.hold(data)
            received += len(data)
            if len(data) < PIECE:
                break
        return received

    def _count_next(self) -> None:
        """Count one piece of the next writer; or drop half of one's bytes if too many are held."""
        if sum(writer.size for writer in self._waiting) > self._limit:
            writer = max(self._waiting, key=lambda writer: writer.size)
            self._waiting.remove(writer)
            half = writer.size // 2
            while writer.size > half:
                self._count(writer, drop=True)
        elif self._waiting:
            writer = self._waiting.popleft()
            self._count(writer, drop=False)
        else:
            return
        if writer.size:
            self._waiting.append(writer)

    def _count(self, writer: WriterConnection, *, drop: bool) -> None:
        """Count the next piece of a writer, and close its connection at its end."""
        reply, piece, because = None, writer.next(), "the data can't be read"
        with HERE.reading(Where.DNSTAP, piece):
            try:
                reply = writer.stream.receive(piece, int(time.time()), drop=drop)
            except GarbageError as error:
                self._too_large += isinstance(error, TooLargeError)
                because = str(error)
        if reply is None:
            self._notice(writer.name, f"closed a connection: {because}")
            self._close(writer)
            return
        if reply:
            # A few bytes into an empty buffer. Unbound may have closed already (EPIPE).
            with contextlib.suppress(OSError):
                writer.socket.send(reply, socket.MSG_NOSIGNAL)
        if writer.stream.phase is Phase.DONE or (writer.closed and not writer.size):
            self._close(writer)

    def _close(self, writer: WriterConnection) -> None:
        writer.clear()
        del self._writers[writer.socket.fileno()]
        writer.socket.close()

    def _read_control(self) -> bool:
        """Read the agent's messages and continue writing to it; False if it has closed."""
        with contextlib.suppress(BlockingIOError):
            self._flush()
            data = self._control.recv(PIECE)
            if not data:
                return False
            for message in self._messages.receive(data):
                interest = read_interest(message)
                if interest is None:
                    self._awaiting_taken = False
                else:
                    known = self._counter.upstreams.values()
                    self._counter.upstreams = upstreams(interest, known)
        return True

    def _send_tally(self, now: Instant) -> None:
        message = b""
        with HERE.reading(Where.DNSTAP, b""):
            message = tally_message(self._tally(now))
        if not message:  # with the same counts each later tally would fail too
            reset(self._counter)
            tally = Tally(began=self._began, ended=now, unreadable=HERE.news(now, quiet=0.0))
            message = tally_message(tally)
        self._began, self._ended, self._gap = self._all_counted_at, now, 0.0
        self._too_large, self._notices, self._notices_dropped = 0, [], 0
        self._outbox, self._awaiting_taken = message, True
        with contextlib.suppress(BlockingIOError):
            self._flush()

    def _tally(self, now: Instant) -> Tally:
        return build_tally(
            self._counter,
            began=self._began,
            ended=now,
            too_large=self._too_large,
            writers=sum(w.stream.phase is Phase.DATA for w in self._writers.values()),
            longest_gap=self._gap,
            notices=self._notices,
            unnoticed=self._notices_dropped,
            unreadable=HERE.news(now, quiet=0.0),
        )

    def _flush(self) -> None:
        """Write what the agent can take now. Raises BlockingIOError if that is not all."""
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
            self._notices_dropped += 1


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, socket.socket]]:
    for descriptor, name in zip(words[::2], words[1::2], strict=True):
        yield name, socket.socket(fileno=int(descriptor))


def main(words: Sequence[str]) -> None:
    """Read until the agent closes the control socket."""
    # Signals for the agent, from its terminal or its service manager, also reach this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Standard error is shared with the agent, and it may block if nothing reads it. A bug must
    # still end this process.
    sys.stderr = Output(2).stream()
    control = socket.socket(fileno=int(words[0]))
    control.setblocking(False)
    reader = Reader(control, dict(_pairs(words[1:])))
    with contextlib.suppress(ConnectionError):
        reader.run()


if __name__ == "__main__":
    main(sys.argv[1:])
