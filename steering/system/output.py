"""Writes lines to a descriptor whose reader may have stopped reading.

A full pipe, socket or terminal, and a file on a disk that hangs, block the process that writes.
O_NONBLOCK helps with some of them, but changes them for every process that shares them. So a thread
writes, and only that thread may block. The queue in front of it is bounded; lines that do not fit
are counted and dropped.
"""

from __future__ import annotations

import atexit
import io
import math
import os
import select
import threading
import time
from collections import deque

from steering.model import Instant, Seconds

LONGEST = select.PIPE_BUF
"""Bytes of a line with its end: up to so many are written as one piece (pipe(7))."""
ROOM = 1 << 20
"""Bytes that may wait: some thousands of lines."""
_AT_THE_END: Seconds = 1.0


class Output:
    """Writes lines to a descriptor and never blocks its caller.

    A line that is too long is cut, with a note. At the end of the process the lines that wait have
    one second.
    """

    def __init__(self, descriptor: int, *, room: int = ROOM) -> None:
        self.lost = 0
        """Lines that were dropped."""
        self.descriptor, self._room = descriptor, room
        self._lines: deque[bytes] = deque()
        self._held = 0
        self._torn = False
        self._since: Instant = math.inf
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Queues text to be written as one line. Never raises, never blocks."""
        line = _cut(text.replace("\n", " ").encode(errors="backslashreplace")) + b"\n"
        with self._changed:
            if self._held + len(line) > self._room or not self._started():
                self.lost += 1
                return
            self._lines.append(line)
            self._held += len(line)
            self._changed.notify_all()

    def stalled(self) -> Seconds:
        """How long the line that is being written has been blocked."""
        return max(0.0, time.monotonic() - self._since)

    def drain(self, within: Seconds = _AT_THE_END) -> bool:
        """Waits until all lines are written, at most so long; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lines, within)

    def stream(self) -> Stream:
        """A text file for code that prints to one: tracebacks, warnings, libraries."""
        return Stream(self)

    def _started(self) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="output", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # there is no thread left; the next line tries again
                return False
            self._thread = thread
            atexit.register(self.drain)
        return True

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines)
                line = self._lines[0]
                self._since = time.monotonic()
            written = self._put(line)
            with self._changed:
                self._lines.popleft()
                self._held -= len(line)
                self._since = math.inf
                self.lost += not written
                self._changed.notify_all()

    def _put(self, line: bytes) -> bool:
        # After a line that a full disk cut off, the next one begins on a new line.
        left = b"\n" + line if self._torn else line
        whole = len(left)
        while left:
            try:
                left = left[os.write(self.descriptor, left) :]
            except BlockingIOError:  # a process that shares it has set O_NONBLOCK
                self._wait()
            except OSError:
                self._torn = self._torn if len(left) == whole else True
                return False
        self._torn = False
        return True

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        poll.poll()


class Stream(io.TextIOBase):
    """A text file in front of an output."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, output: Output) -> None:
        self._output = output
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._output.write(line)
        return len(text)


def _cut(line: bytes) -> bytes:
    if len(line) < LONGEST:
        return line
    note = f"... ({len(line)} bytes in all)".encode()
    # Cut between two characters, not within one.
    kept = line[: LONGEST - 1 - len(note)].decode(errors="ignore").encode()
    return kept + note
