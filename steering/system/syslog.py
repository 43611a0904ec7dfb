"""Lines to the system log of this host (/dev/log), for a process that has no output of its own.

The socket does not block: a line that the log does not take at once is lost. Each line opens it
anew, so a log that is started or restarted later gets the lines from then on.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

_NOTICE = 3 << 3 | 5  # RFC 5424, 6.2.1: facility daemon, severity notice
_LONGEST = 2000  # bytes: every log daemon takes datagrams of so many


class Syslog:
    """Writes lines under one name."""

    def __init__(self, name: str, place: Path = Path("/dev/log")) -> None:
        self._name, self._place = name, place

    def write(self, text: str) -> None:
        """Writes one line, cut where it is too long. Never raises, never blocks."""
        line = f"<{_NOTICE}>{self._name}[{os.getpid()}]: {text}".replace("\n", " ")
        data = line.encode(errors="backslashreplace")[:_LONGEST]
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as log,
        ):
            log.sendto(data, str(self._place))
