"""The process that reads dnstap: sockets in, one bounded tally at a time out.

Started by ``reader_client`` as
``python -m steering.observe.dnstap.reader CONTROL [DESCRIPTOR NAME]…``. It only reads, counts and
hands over; it ends when the agent's end of the control socket closes, however the agent ends. What
is read is never held up by who takes the tallies: counts go on
adding up until the last tally was taken.

It reads ahead of its counting, so that a writer's queue, which lasts for about 0.2 s, is always
emptied: up to `HELD` bytes over all writers. When more is held it has fallen behind. Then half of
what the greediest writer has waiting is only split and counted as lost, many times quicker: what
was a moment's rush is over by that, and what lasts costs the same in more bites. No clock decides
that: a reader that was not run for a second loses nothing by it. Where little comes
at once it waits a little for more: a resolver writes frame by frame, and to wake up for each of
them costs ten times what the frame does.
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
from steering.observe.dnstap.ipc import IpcMessages, read_interest, tally_letter
from steering.observe.dnstap.tally import Notice, Tally
from steering.observe.dnstap.tally_builder import forget, hand_over, upstreams
from steering.system.output import Output
from steering.system.unreadable import HERE, Where

INTERVAL: Seconds = 0.2
"""Between two tallies, if the agent takes them."""

HELD = 1 << 24
"""Bytes read and not counted yet: what sixteen workers of Unbound queue (1 MiB each)."""

AHEAD = 4
"""Pieces read of each writer while one is counted."""

_LITTLE = 1 << 14  # bytes: a tenth of what a unix socket holds
_GATHER: Seconds = 0.002
_WRITERS = 64  # connections at once, on all sockets
_NOTICES = 16  # in one tally
_IDLE = 60  # seconds of silence before a writer far away is asked whether it is still there
_ASK_AGAIN = 15  # seconds


def _watch(writer: socket.socket) -> None:
    """Has the kernel end the connection of a host that vanished: it would keep its place for ever.

    The timeout is RFC 5482's; with keepalive it takes the place of the number of probes (tcp(7)).
    """
    if writer.family == socket.AF_UNIX:
        return
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE)
    writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASK_AGAIN)
    writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2000 * _IDLE)


class Reader:
    """The loop, and what it knows of its sockets."""

    def __init__(
        self,
        control: socket.socket,
        listeners: Mapping[str, socket.socket],
        *,
        held: int = HELD,
        ahead: int = AHEAD,
    ) -> None:
        """Listeners by the name they have in notices. `held` and `ahead`: see `HELD`, `AHEAD`.

        Where one piece is read for one that is counted, a lone writer waits and loses nothing.
        """
        self._control = control
        self._letters = IpcMessages()
        self._outbox = b""
        self._owed = False
        """A tally was handed over and is not taken yet."""
        self._listeners = {made.fileno(): (name, made) for name, made in listeners.items()}
        self._writers: dict[int, WriterConnection] = {}
        self._waiting: deque[WriterConnection] = deque()
        """Those of whom something is held, by whose turn it is."""
        self._walker = FrameCounter({}, int.from_bytes(os.urandom(8), "big"))
        self._limit, self._ahead = held, ahead
        self._poll = select.epoll()
        self._poll.register(control, select.EPOLLIN)
        for descriptor in self._listeners:
            self._poll.register(descriptor, select.EPOLLIN)
        self._began = self._ended = self._clear = time.monotonic()
        """Of the tally to come, of the last one, and when all that had come was counted."""
        self._gap: Seconds = 0.0
        self._too_large = 0
        self._notices: list[Notice] = []
        self._unnoticed = 0

    def run(self) -> None:
        """Read until the agent is gone."""
        while True:
            self._poll.poll(self._pause())
            looked = time.monotonic()
            came = 0
            for descriptor, _ in self._poll.poll(0):
                if descriptor in self._writers:
                    came += self._read(self._writers[descriptor])
                elif descriptor in self._listeners:
                    self._accept(*self._listeners[descriptor])
                    came += PIECE  # who knows what it has written already
                elif not self._listen():
                    return
            self._work()
            if came < PIECE and not self._waiting:
                self._clear = looked
            now = time.monotonic()
            self._gap = max(self._gap, now - looked)
            if now - self._ended >= INTERVAL and not self._owed and not self._outbox:
                self._hand_over(now)
            if 0 < came < _LITTLE and not self._waiting:
                time.sleep(_GATHER)

    def _pause(self) -> Seconds | None:
        """How long to wait for news; None: until there are some."""
        if self._waiting:
            return 0.0
        if self._owed or self._outbox:
            return None
        return max(0.0, self._ended + INTERVAL - time.monotonic())

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
            _watch(made)
            self._writers[made.fileno()] = WriterConnection(made, name, FrameStream(self._walker))
            self._poll.register(made, select.EPOLLIN)

    def _read(self, writer: WriterConnection) -> int:
        """Hold what has come from a writer, and see whether it has gone; how many bytes it was."""
        came = 0
        for _ in range(self._ahead):
            try:
                data = writer.socket.recv(PIECE)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                writer.gone = True
                self._poll.unregister(writer.socket)
                if not writer.size:
                    self._close(writer)
                break
            if not writer.size:
                self._waiting.append(writer)
            writer.hold(data)
            came += len(data)
            if len(data) < PIECE:
                break
        return came

    def _work(self) -> None:
        """Count one piece, of each writer in turn; or lose half of one if too much is held."""
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
        """Count the next piece of a writer, and close its connection where it ends."""
        reply, piece, because = None, writer.next(), "what came can't be read"
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
            # A few bytes into an empty buffer. Unbound does not wait for them (EPIPE).
            with contextlib.suppress(OSError):
                writer.socket.send(reply, socket.MSG_NOSIGNAL)
        if writer.stream.phase is Phase.DONE or (writer.gone and not writer.size):
            self._close(writer)

    def _close(self, writer: WriterConnection) -> None:
        writer.forget()
        del self._writers[writer.socket.fileno()]
        writer.socket.close()

    def _listen(self) -> bool:
        """Hear the agent, and go on writing to it; False when it is gone."""
        with contextlib.suppress(BlockingIOError):
            self._post()
            data = self._control.recv(PIECE)
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
        letter = b""
        with HERE.reading(Where.DNSTAP, b""):
            letter = tally_letter(self._tally(now))
        if not letter:  # with the same counts it would fail again, and nothing be told ever more
            forget(self._walker)
            tally = Tally(began=self._began, ended=now, unreadable=HERE.news(now, quiet=0.0))
            letter = tally_letter(tally)
        self._began, self._ended, self._gap = self._clear, now, 0.0
        self._too_large, self._notices, self._unnoticed = 0, [], 0
        self._outbox, self._owed = letter, True
        with contextlib.suppress(BlockingIOError):
            self._post()

    def _tally(self, now: Instant) -> Tally:
        return hand_over(
            self._walker,
            began=self._began,
            ended=now,
            too_large=self._too_large,
            writers=sum(w.stream.phase is Phase.DATA for w in self._writers.values()),
            longest_gap=self._gap,
            notices=self._notices,
            unnoticed=self._unnoticed,
            unreadable=HERE.news(now, quiet=0.0),
        )

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


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, socket.socket]]:
    for descriptor, name in zip(words[::2], words[1::2], strict=True):
        yield name, socket.socket(fileno=int(descriptor))


def main(words: Sequence[str]) -> None:
    """Read until the agent is gone."""
    # The agent's terminal and its service manager's reload are not for us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # The agent's standard error is this one's too, and may have no reader: a reader that ends by
    # a bug has to end.
    sys.stderr = Output(2).stream()
    control = socket.socket(fileno=int(words[0]))
    control.setblocking(False)
    reader = Reader(control, dict(_pairs(words[1:])))
    with contextlib.suppress(ConnectionError):
        reader.run()


if __name__ == "__main__":
    main(sys.argv[1:])
