"""Reads the speaker's log: its standard error is a file.

The log is short: messages that ExaBGP calls critical, and the error that ended it. A pipe to the
agent would not do: it would end with the agent, which the speaker outlives, and a reader of the
agent's output would wait for the speaker. So the speaker writes to a file. The agent reports from
it while it runs (event `bgp_speaker`); after that the guard does, to the system log.

This module loads nothing but the standard library: the guard imports it.
"""

from __future__ import annotations

import os
from pathlib import Path

from steering.model import Instant, Seconds
from steering.system.files import open_regular

LOG = "log"
EVERY: Seconds = 10.0
"""At most one report in this time."""
_LAST = 4096
"""Bytes at the end of the log in which the last line is searched: it may be long."""
_LONGEST = 200


class SpeakerLog:
    """One log, and how much of it is reported."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / LOG
        self._reported = 0
        """Octets."""
        self._reported_at: Instant = float("-inf")

    def skip(self) -> None:
        """Takes the present content as already reported."""
        self._reported = self._size()

    def new(self, now: Instant) -> str:
        """The last of the new lines, if one may be reported now; else empty."""
        size = self._size()
        if size < self._reported:  # a new speaker has emptied it
            self._reported = 0
        if size == self._reported or now - self._reported_at < EVERY:
            return ""
        line = last(self._file.parent, since=self._reported)
        self._reported, self._reported_at = size, now
        return line

    def _size(self) -> int:
        try:
            return self._file.stat().st_size
        except OSError:
            return 0


def last(folder: Path, since: int = 0) -> str:
    """The last line written from this octet on; empty if there is none."""
    try:
        with open_regular(folder / LOG) as file:
            file.seek(max(since, os.fstat(file.fileno()).st_size - _LAST))
            lines = file.read(_LAST).decode(errors="replace").split("\n")
    except OSError:
        return ""
    texts = [text for line in lines if (text := _printable(line))]
    return texts[-1][:_LONGEST] if texts else ""


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else " " for c in line).strip()
