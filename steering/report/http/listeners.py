"""The listening sockets: a TCP port, and a socket in `runtime` that no other user can provide.

Both are opened as soon as possible and checked while the agent runs: a port in use is tried again,
a socket whose file is gone is made again. The agent runs on without them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import Final

from steering.config import Listen
from steering.model import Instant, Seconds
from steering.observe.dnstap.listeners import Listener, Place

AGAIN: Final[Seconds] = 2.0
"""Between two tries to open a socket."""
NAME: Final = "status.sock"
"""In `runtime`."""
_MODE: Final = 0o666
"""Any local user may connect, as at the port: the answers are no secret. The socket makes sure that
only root or the agent's user can answer."""
_BACKLOG: Final = 512


class PortListener:
    """The TCP port."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.trouble = ""
        self._at: Listen | None = None
        self._due: Instant = float("-inf")

    def tend(self, at: Listen, now: Instant) -> bool:
        """Listen there only; True if the socket has changed."""
        was = self.socket
        if at != self._at:
            self.close()
            self._at, self._due = at, now
        if self.socket is None and now >= self._due:
            self._due = now + AGAIN
            self.trouble = ""
            try:
                self.socket = _listening(at)
            except OSError as error:
                self.trouble = (
                    f"status: {at.host} port {at.port} can't be listened on: "
                    f"{error.strerror or error}; tried again every {AGAIN:g} s"
                )
        return self.socket is not was

    def close(self) -> None:
        """Close the port."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class LocalListener:
    """The socket in `runtime`."""

    def __init__(self, runtime: Path) -> None:
        self.trouble = ""
        self._path = runtime / NAME
        self._listener: Listener | None = None
        self._due: Instant = float("-inf")

    @property
    def socket(self) -> socket.socket | None:
        return self._listener.socket if self._listener else None

    def tend(self, now: Instant) -> bool:
        """Make sure that the file leads here; True if the socket has changed."""
        was = self._listener
        if was is not None and not was.in_place():
            was.close()
            self._listener, self._due = None, now
        if self._listener is None and now >= self._due:
            self._due = now + AGAIN
            try:
                self._listener = self._made()
            except OSError as error:
                self.trouble = f"{self._path} can't be listened on: {error.strerror or error}"
            else:
                self.trouble = ""
        return self._listener is not was

    def close(self) -> None:
        """Stop listening, and remove the file."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _made(self) -> Listener:
        place = Place(at=str(self._path), mode=_MODE)
        try:
            return Listener(place)
        except FileExistsError:
            # Another agent of this directory keeps its socket. Another user's socket is removed.
            if _owner(self._path) in (0, os.geteuid(), None):
                raise
            self._path.unlink()
            return Listener(place)


def _owner(path: Path) -> int | None:
    """The user of the process that listens there; None: no process, or unknown."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as trial:
        trial.setblocking(False)
        trial.connect(str(path))
        return peer(trial)
    return None


def peer(connected: socket.socket) -> int:
    """The user of the process at the other end, as it was when it began to listen (unix(7))."""
    size = struct.calcsize("3i")
    uid: int = struct.unpack(
        "3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )[1]
    return uid


def _listening(at: Listen) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in at.host else socket.AF_INET)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((at.host, at.port))
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made
