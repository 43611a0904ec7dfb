"""The agent's side of HTTP: the sockets, the process that serves them, and the wanted answers.

Nothing here blocks, and no error here ends the agent: it becomes a `trouble`, and is tried again.
One descriptor, the same for all later processes, is readable when there is something to handle.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from steering.config import Listen
from steering.model import Instant, Seconds
from steering.report.http import ipc
from steering.report.http.fork import Copy, fork
from steering.report.http.ipc import (
    TCP,
    UNIX,
    Answer,
    Door,
    Failed,
    Names,
    Rendering,
    Turned,
    Wanted,
)
from steering.report.http.listeners import LocalListener, PortListener
from steering.system.kept_process import KeptProcess
from steering.system.processes import has_ended
from steering.system.unreadable import HERE, Unread, Where

_BACK_OFF: Final[tuple[Seconds, Seconds]] = (0.25, 10.0)
_DEAF: Final[Seconds] = 10.0  # one that takes no letter for so long is ended
_NAMES: Final = "names"
_COPIES: Final = 4  # renderings at once: one in each lane, and those of a process that ended


class Service:
    """HTTP as the agent sees it."""

    def __init__(self, runtime: Path, state: Path, answer: Callable[[str], Answer]) -> None:
        """`answer` is called in a copy of this process, with a key of `ipc`.

        Files in `state` may be on a disk that hangs (`fork`).
        """
        self._answer = answer
        self._state = state.parent.resolve() / state.name  # the directory itself may hang
        self._thread: threading.Thread | None = None
        """Renders while no copy can end."""
        self._port, self._local = PortListener(), LocalListener(runtime)
        self._turned = Turned(number=0, at=None, ready=False)
        self._process = KeptProcess(
            "the process that serves HTTP", "steering.report.http.process", back_off=_BACK_OFF
        )
        self._deaf_since: Instant | None = None
        self._names = Names(names=())
        self._unsent: set[str] = set()
        """Doors of which the process has to be told, and whether of the names."""
        self._copies: list[Copy] = []

    @property
    def trouble(self) -> str:
        """What is wrong; empty if nothing is."""
        return "; ".join(
            filter(None, (self._process.because, self._port.trouble, self._local.trouble))
        )

    @property
    def port(self) -> int | None:
        """The TCP port; None: it is not open."""
        return self._port.socket.getsockname()[1] if self._port.socket else None

    @property
    def pid(self) -> int | None:
        """Process id of the one that serves."""
        return self._process.pid

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._process.poll.fileno()

    def tend(self, at: Listen, now: Instant, names: Collection[str] = ()) -> None:
        """Open or start what is missing. To be called about once a second.

        `names`: those by which clients may ask for this host, beside its own and its addresses.
        """
        host = socket.gethostname().lower()
        known = Names(names=tuple(sorted({*names, "localhost", host, host.partition(".")[0]})))
        if known != self._names:
            self._names = known
            self._unsent.add(_NAMES)
        if self._port.tend(at, now):
            self._unsent.add(TCP)
        if self._local.tend(now):
            self._unsent.add(UNIX)
        self._reap(now)
        if self._deaf_since is not None and now - self._deaf_since > _DEAF:
            self._ended(now, f"took no letter for {_DEAF:g} s")
        if self._process.socket is None and now >= self._process.due:
            self._start(now)
        self._tell_doors()

    def turned(self, now: Instant, *, ready: bool) -> None:
        """After a turn: later answers show its state."""
        self._turned = Turned(number=self._turned.number + 1, at=now, ready=ready)
        if self._post(self._turned):
            self._deaf_since = None
        elif self._deaf_since is None and self._process.socket is not None:
            self._deaf_since = now

    def pump(self, now: Instant) -> None:
        """Deal with what the process has to say. To be called when the descriptor is readable."""
        control = self._process.socket
        if control is None:
            return
        for _ in range(_COPIES):
            try:
                data = control.recv(ipc.LARGEST)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._ended(now, "ended")
                return
            letter = None
            with HERE.reading(Where.HTTP, data):
                try:
                    letter = ipc.read(data)
                except ValueError as error:
                    _dropped(1, str(error))
            match letter:
                case Wanted():
                    self._render(letter, now)
                case Failed():
                    _dropped(letter.number, letter.example)

    def close(self) -> None:
        """Stop serving, and give port and socket back."""
        self._process.stop()
        self._port.close()
        self._local.close()
        for copy in self._copies:
            copy.kill()
            has_ended(copy.pid)  # or not: a disk that hangs may hold it
        self._copies.clear()
        self._process.close()

    def _render(self, wanted: Wanted, now: Instant) -> None:
        self._reap(now)
        number, because, reading = self._turned.number, "", None
        try:
            if len(self._copies) < _COPIES:
                work = functools.partial(self._write, wanted)
                copy, reading = fork(work, now, leave=self._state)
                self._copies.append(copy)
            elif all(copy.ending for copy in self._copies):
                reading = self._in_thread(wanted)
        except OSError as error:
            because = str(error.strerror or error)
        if reading is None:
            because = because or "earlier answers are not finished"
        try:
            self._post(Rendering(lane=wanted.lane, number=number, because=because), reading)
        finally:
            if reading is not None:
                os.close(reading)

    def _in_thread(self, wanted: Wanted) -> int | None:
        """Render in a thread: this slows the loop, so only while a disk blocks the copies.

        None if the thread is busy. Raises OSError without a pipe or thread.
        """
        if self._thread is not None and self._thread.is_alive():
            return None
        reading, writing = os.pipe2(os.O_CLOEXEC)

        def work() -> None:
            # The reader may be gone by then; an error here only costs the answer.
            with HERE.reading(Where.HTTP, b""), suppress(OSError):
                self._write(wanted, writing)

        thread = threading.Thread(target=work, name="answers", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            os.close(reading)
            os.close(writing)
            raise OSError(errno.EAGAIN, str(error)) from error
        self._thread = thread
        return reading

    def _write(self, wanted: Wanted, writing: int) -> None:
        """In a copy of this process, or in a thread."""
        with os.fdopen(writing, "wb") as pipe:
            for key in wanted.keys:
                pipe.write(ipc.framed(key, self._answer(key)))
                pipe.flush()

    def _reap(self, now: Instant) -> None:
        for copy in [one for one in self._copies if one.over(now)]:
            self._copies.remove(copy)
            if copy.status:
                _dropped(1, f"an answer could not be rendered: status {copy.status}")

    def _start(self, now: Instant) -> None:
        try:
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._process.failed(now, f"does not start: {error}")
            return
        if self._process.start(now, pair):
            self._post(self._turned)
            self._unsent |= {TCP, UNIX, _NAMES}

    def _tell_doors(self) -> None:
        for name, door in ((TCP, self._port.socket), (UNIX, self._local.socket)):
            if name in self._unsent and self._post(Door(name=name), door):
                self._unsent.discard(name)
        if _NAMES in self._unsent and self._post(self._names):
            self._unsent.discard(_NAMES)

    def _ended(self, now: Instant, how: str) -> None:
        self._deaf_since = None
        self._process.ended(now, how)

    def _post(self, letter: ipc.Letter, given: socket.socket | int | None = None) -> bool:
        """Whether the process has been sent this; it never is waited for."""
        if self._process.socket is None:
            return False
        descriptor = given.fileno() if isinstance(given, socket.socket) else given
        descriptors = [] if descriptor is None else [descriptor]
        data = ipc.written(letter)
        try:
            socket.send_fds(self._process.socket, [data], descriptors, socket.MSG_NOSIGNAL)
        except OSError:  # it has too many already, or is gone, which `pump` will see
            return False
        return True


def _dropped(times: int, error: str) -> None:
    """Count requests that caused an error: only their answers are lost."""
    HERE.add(Unread(where=Where.HTTP, times=times, error=error, size=0, octets=""))
