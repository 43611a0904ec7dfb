"""The agent's end of the link to one speaker: lines to the bridge inside it, and its lines.

The agent listens on a Unix socket, and the bridge connects to it. `sync` decides which lines to
send. No call waits, except `wait`. If the link breaks, the bridge connects again, and everything is
asked again.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from steering.act.bgp.bridge import BEAT
from steering.act.bgp.output import parse
from steering.act.bgp.settings import Peer
from steering.act.bgp.sync import Sync
from steering.model import Instant, Seconds
from steering.system.unreadable import HERE, Where

_CHUNK = 1 << 16
_CHUNKS = 16
_LONGEST = 1 << 22
"""Octets of a line: ExaBGP's report of an UPDATE of ten thousand routes is half of that."""
_PEER = struct.Struct("=iII")  # struct ucred of unix(7): process, user, group


class Link:
    """One link at a time. `fileno` is readable when `pump` has something to do."""

    def __init__(
        self,
        peers: tuple[Peer, ...],
        *,
        welcome: Callable[[int], bool],
        may_speak: Callable[[], bool],
    ) -> None:
        """`welcome`: whether a process is the bridge. `may_speak` is called before each line."""
        self.sync = Sync(peers)
        self.met = False
        """Whether the bridge of the present speaker has connected at least once."""
        self.apart_since: Instant = float("-inf")
        """Since when there is no bridge, while there is none."""
        self._welcome, self._may_speak = welcome, may_speak
        self._epoll = select.epoll()
        self._listener: socket.socket | None = None
        self._link: socket.socket | None = None
        self._out = b""
        self._in = b""

    @property
    def linked(self) -> bool:
        """Whether a bridge is connected."""
        return self._link is not None

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        """Closes the link and the listener. The bridge waits a lease long for another agent."""
        if self._link is not None:
            self._link.close()
        self._link = None
        self._close_listener()
        self._epoll.close()

    def await_bridge(self, place: Path, user: str, now: Instant) -> None:
        """Listens for the bridge of a speaker that has just been started, or found.

        `user` may connect, besides our own. A new socket is made each time: the last one may belong
        to another user, or may have been removed. Raises OSError if none can be made.
        """
        self.met, self.apart_since = False, now
        self._close_listener()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(str(place))
            place.chmod(0o600)
            if os.geteuid() == 0:
                with contextlib.suppress(KeyError):
                    os.chown(place, pwd.getpwnam(user).pw_uid, -1)
            listener.listen(1)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._epoll.register(listener, select.EPOLLIN)

    def wait(self, timeout: Seconds) -> None:
        """Waits until there is something to `pump`, at most this long."""
        self._epoll.poll(timeout)

    def pump(self) -> None:
        """Reads what has come, and answers."""
        for descriptor, event in self._epoll.poll(0):
            if self._link is not None and descriptor == self._link.fileno():
                self._exchange(event)
            else:
                self._accept()
        self.send_lines(self.sync.tick(time.monotonic()))

    def send_lines(self, lines: Sequence[str]) -> None:
        """Writes as much as the link takes; the rest is written by the next call."""
        if self._link is None:
            return
        if lines and not self._may_speak():
            return  # the next turn ends the speaker, so it gets no more commands
        self._out += "".join(f"{line}\n" for line in lines).encode("ascii")
        try:
            if self._out:
                self._out = self._out[self._link.send(self._out) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose_link(error)
            return
        self._epoll.modify(self._link, select.EPOLLIN | (select.EPOLLOUT if self._out else 0))

    def beat(self) -> None:
        """Adds a heartbeat, which is sent with the next line."""
        if self._link is not None and len(self._out) < _CHUNK:
            self._out += BEAT + b"\n"

    def hang_up(self, because: str) -> None:
        """Closes the link; nothing is known from now on."""
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(self._link)
            self._link.close()
            self.apart_since = time.monotonic()
        self._link, self._in, self._out = None, b"", b""
        self.sync.disconnected(because)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None

    def _lose_link(self, error: OSError) -> None:
        self.hang_up(f"lost the link to the speaker: {error}")

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            link, _ = self._listener.accept()
        except OSError:
            return
        pid = _PEER.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
        if not self._welcome(pid):
            link.close()
            return
        link.setblocking(False)
        self.hang_up("another helper connected")  # ExaBGP uses the newer one
        self._link, self.met = link, True
        self._epoll.register(link, select.EPOLLIN)
        self.beat()
        self.send_lines(self.sync.connected(time.monotonic()))

    def _exchange(self, event: int) -> None:
        link = self._link
        assert link is not None
        try:
            if event & select.EPOLLOUT:
                self.send_lines([])
            for _ in range(_CHUNKS):
                if self._link is not link:
                    return  # writing found it closed
                data = link.recv(_CHUNK)
                if not data:
                    raise ConnectionResetError("the helper closed the connection")
                *lines, self._in = (self._in + data).split(b"\n")
                if len(self._in) > _LONGEST:
                    raise ConnectionResetError(f"a line of more than {_LONGEST} octets")
                for line in lines:
                    self._handle_line(line)
                    if self._link is not link:
                        return
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose_link(error)

    def _handle_line(self, line: bytes) -> None:
        """One line. One that can't be parsed is ignored.

        If handling a parsed line fails, the state may be half changed: everything is asked again.
        """
        message, answer = None, None
        with HERE.reading(Where.BGP, line):
            message = parse(line.decode("utf-8", "replace"))
        if message is None:
            return
        with HERE.reading(Where.BGP, line):
            answer = self.sync.receive(message, time.monotonic())
        if answer is None:
            self.hang_up("an error while handling a line of the speaker")
        else:
            self.send_lines(answer)
