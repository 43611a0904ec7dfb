"""The talk with one speaker: lines to the bridge inside it, and what comes back.

A socket of ours that the bridge connects to, and `sync` that knows what to say. Nothing here
waits: each call moves what can be moved. A link that breaks costs the link alone; the bridge
comes again, and is asked everything anew.
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
from steering.act.bgp.output import hear
from steering.act.bgp.settings import Peer
from steering.act.bgp.sync import Sync
from steering.model import Instant, Seconds
from steering.system.unreadable import HERE, Where

_CHUNK = 1 << 16
_CHUNKS = 16
_LONGEST = 1 << 22
"""Octets of a line: an UPDATE of ten thousand routes, as ExaBGP tells of it, is half of that."""
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
        """`welcome` says whether a process is the bridge; `may_speak` is asked before each line."""
        self.sync = Sync(peers)
        self.met = False
        """Whether the bridge of the present speaker ever came."""
        self.apart_since: Instant = float("-inf")
        """Since when a bridge is waited for, where there is none."""
        self._welcome, self._may_speak = welcome, may_speak
        self._epoll = select.epoll()
        self._listener: socket.socket | None = None
        self._link: socket.socket | None = None
        self._out = b""
        self._in = b""

    @property
    def linked(self) -> bool:
        """Whether there is a bridge."""
        return self._link is not None

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        """Hangs up, and listens no more. The bridge waits for another agent for the lease."""
        if self._link is not None:
            self._link.close()
        self._link = None
        self._close_listener()
        self._epoll.close()

    def await_bridge(self, place: Path, user: str, now: Instant) -> None:
        """Listens for the bridge of a speaker that has just been started, or found.

        `user` may connect, besides our own. The socket is another one each time: the last one may
        have been another user's, or somebody removed it. Raises OSError where none can be had.
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

    def wait(self, patience: Seconds) -> None:
        """Until there is something to `pump`, so long at most."""
        self._epoll.poll(patience)

    def pump(self) -> None:
        """Takes what was said, and answers."""
        for descriptor, event in self._epoll.poll(0):
            if self._link is not None and descriptor == self._link.fileno():
                self._converse(event)
            else:
                self._accept()
        self.say(self.sync.tick(time.monotonic()))

    def say(self, lines: Sequence[str]) -> None:
        """Writes as much as the link takes; the rest goes with the next call."""
        if self._link is None:
            return
        if lines and not self._may_speak():
            return  # the turn that follows ends the speaker; nothing more is said to it
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
        """Says that we are still here, with the next line."""
        if self._link is not None and len(self._out) < _CHUNK:
            self._out += BEAT + b"\n"

    def hang_up(self, because: str) -> None:
        """Lets go of the link; nothing is known from now on."""
        if self._link is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(self._link)
            self._link.close()
            self.apart_since = time.monotonic()
        self._link, self._in, self._out = None, b"", b""
        self.sync.apart(because)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None

    def _lose_link(self, error: OSError) -> None:
        self.hang_up(f"the speaker is out of reach: {error}")

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
        self.hang_up("another bridge came")  # the newer one is the one that ExaBGP has
        self._link, self.met = link, True
        self._epoll.register(link, select.EPOLLIN)
        self.beat()
        self.say(self.sync.connected(time.monotonic()))

    def _converse(self, event: int) -> None:
        link = self._link
        assert link is not None
        try:
            if event & select.EPOLLOUT:
                self.say([])
            for _ in range(_CHUNKS):
                if self._link is not link:
                    return  # it was found dead while we wrote to it
                said = link.recv(_CHUNK)
                if not said:
                    raise ConnectionResetError("the helper closed the connection")
                *lines, self._in = (self._in + said).split(b"\n")
                if len(self._in) > _LONGEST:
                    raise ConnectionResetError(f"a line of more than {_LONGEST} octets")
                for line in lines:
                    self._take_in(line)
                    if self._link is not link:
                        return
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose_link(error)

    def _take_in(self, line: bytes) -> None:
        """One line. One that can't be read says nothing.

        Where it was read and can't be taken in, nobody knows how far that got: all is asked anew.
        """
        message, answer = None, None
        with HERE.reading(Where.BGP, line):
            message = hear(line.decode("utf-8", "replace"))
        if message is None:
            return
        with HERE.reading(Where.BGP, line):
            answer = self.sync.heard(message, time.monotonic())
        if answer is None:
            self.hang_up("what the speaker said can't be taken in")
        else:
            self.say(answer)
