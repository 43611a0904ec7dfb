"""The agent's side of HTTP: the sockets, the process that serves them, and the wanted answers.

Nothing here blocks, and no error here ends the agent: it becomes a `trouble`, and is tried again.
One descriptor, the same for all later processes, is readable when there is something to handle.
"""

from __future__ import annotations

import errno
import functools
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import steering
from steering.config import Listen
from steering.model import Instant, Seconds
from steering.report.http import ipc
from steering.report.http.fork import Copy, fork
from steering.report.http.ipc import TCP, UNIX, Answer, Door, Failed, Rendering, Turned, Wanted
from steering.report.http.listeners import LocalListener, PortListener
from steering.system.unreadable import HERE, Unread, Where

_BACK_OFF: Final[tuple[Seconds, Seconds]] = (0.25, 10.0)
_STEADY: Final[Seconds] = 30.0  # a process that ran so long is started again at once
_SILENT: Final[Seconds] = 10.0  # a process that reads no message for so long is killed
_COPIES: Final = 4  # renderings at once: one in each lane, and those for an earlier process


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
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._because = ""
        """Why there is no process; empty: there is one."""
        self._started: Instant = float("-inf")
        self._due: Instant = float("-inf")
        self._pause = _BACK_OFF[0]
        self._silent_since: Instant | None = None
        self._unsent: set[str] = set()
        """Names of sockets that the process has to get."""
        self._copies: list[Copy] = []
        self._poll = select.epoll()

    @property
    def trouble(self) -> str:
        """What is wrong; empty: nothing."""
        return "; ".join(filter(None, (self._because, self._port.trouble, self._local.trouble)))

    @property
    def port(self) -> int | None:
        """The TCP port; None: it is not open."""
        return self._port.socket.getsockname()[1] if self._port.socket else None

    @property
    def pid(self) -> int | None:
        """The id of the process that serves."""
        return self._process.pid if self._process else None

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._poll.fileno()

    def tend(self, at: Listen, now: Instant) -> None:
        """Open or start what is missing. To be called about once a second."""
        if self._port.tend(at, now):
            self._unsent.add(TCP)
        if self._local.tend(now):
            self._unsent.add(UNIX)
        self._reap(now)
        if self._silent_since is not None and now - self._silent_since > _SILENT:
            self._ended(now, f"read no message for {_SILENT:g} s")
        if self._process is None and now >= self._due:
            self._start(now)
        self._tell_doors()

    def turned(self, now: Instant, *, ready: bool) -> None:
        """After a turn: later answers show its state."""
        self._turned = Turned(number=self._turned.number + 1, at=now, ready=ready)
        if self._post(self._turned):
            self._silent_since = None
        elif self._silent_since is None and self._control is not None:
            self._silent_since = now

    def pump(self, now: Instant) -> None:
        """Handle messages of the process. To be called when the descriptor is readable."""
        if self._control is None:
            return
        for _ in range(_COPIES):
            try:
                data = self._control.recv(ipc.LARGEST)
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
        """Stop serving, and close port and socket."""
        self._let_go()
        self._port.close()
        self._local.close()
        for copy in self._copies:
            copy.kill()
            with suppress(ChildProcessError):
                os.waitpid(copy.pid, os.WNOHANG)  # a disk that hangs may hold it
        self._copies.clear()
        self._poll.close()

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
        with ExitStack() as made:
            try:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                made.callback(theirs.close)
                failed = made.enter_context(ExitStack())
                failed.callback(ours.close)
                ours.setblocking(False)
                self._process = _served(theirs)
                failed.pop_all()
            except OSError as error:
                self._later(now, f"the process that serves HTTP does not start: {error}")
                return
        self._control, self._started, self._because, self._silent_since = ours, now, "", None
        self._poll.register(ours, select.EPOLLIN)
        self._post(self._turned)
        self._unsent |= {TCP, UNIX}

    def _tell_doors(self) -> None:
        for name, door in ((TCP, self._port.socket), (UNIX, self._local.socket)):
            if name in self._unsent and self._post(Door(name=name), door):
                self._unsent.discard(name)

    def _ended(self, now: Instant, how: str) -> None:
        self._let_go()
        if now - self._started >= _STEADY:
            self._pause = _BACK_OFF[0]
        self._later(now, f"the process that serves HTTP {how}")

    def _later(self, now: Instant, because: str) -> None:
        self._because, self._due = because, now + self._pause
        self._pause = min(2 * self._pause, _BACK_OFF[1])

    def _let_go(self) -> None:
        self._silent_since = None
        if self._control is not None:
            self._poll.unregister(self._control)
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()  # it has no state that could be damaged
            self._process.wait()
            self._process = None

    def _post(self, letter: ipc.Letter, given: socket.socket | int | None = None) -> bool:
        """Send this to the process without waiting; whether that worked."""
        if self._control is None:
            return False
        descriptor = given.fileno() if isinstance(given, socket.socket) else given
        descriptors = [] if descriptor is None else [descriptor]
        data = ipc.written(letter)
        try:
            socket.send_fds(self._control, [data], descriptors, socket.MSG_NOSIGNAL)
        except OSError:  # its buffer is full, or it is gone, which `pump` will notice
            return False
        return True


def _served(control: socket.socket) -> subprocess.Popen[bytes]:
    """A process that serves. Raises OSError.

    As the reader of dnstap it loads only the standard library and this code.
    """
    root = str(Path(steering.__file__).resolve().parent.parent)
    number = control.fileno()
    return subprocess.Popen(
        [sys.executable, "-P", "-S", "-m", "steering.report.http.process", str(number)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[number],
        env={"PYTHONPATH": root, "PATH": os.defpath, "LANG": "C.UTF-8"},
        cwd="/",
    )


def _dropped(times: int, error: str) -> None:
    """Count requests that caused an error: only their answers are lost."""
    HERE.add(Unread(where=Where.HTTP, times=times, error=error, size=0, octets=""))
