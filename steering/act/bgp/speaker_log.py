"""What the speaker says on its standard error, read from the file that is: nobody holds it up.

Its words are few: what ExaBGP takes for critical, and what ends it. A pipe to the agent would be a
worse place for them: it would end with the agent, whom the speaker outlives, and whoever reads the
agent's own output would wait for the speaker. So they go to a file, and are told from there: by the
agent while it lives (event `bgp_speaker`), by the guard to the system log after.

This module loads nothing but the standard library: the guard imports it.
"""

from __future__ import annotations

import os
from pathlib import Path

from steering.model import Instant, Seconds
from steering.system.files import open_regular

LOG = "log"
EVERY: Seconds = 10.0
"""One that says a lot is told of once in so long."""
_LAST = 4096
"""Bytes of the log in which its last words are looked for: it may have said a lot."""
_LONGEST = 200


class SpeakerLog:
    """What was told of one file already."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / LOG
        self._told = 0
        """Octets."""
        self._at: Instant = float("-inf")

    def skip(self) -> None:
        """What is there was told by somebody else."""
        self._told = self._size()

    def new(self, now: Instant) -> str:
        """The last line of what came since, where that is to be told now; else empty."""
        size = self._size()
        if size < self._told:  # another speaker began it anew
            self._told = 0
        if size == self._told or now - self._at < EVERY:
            return ""
        said = last(self._file.parent, since=self._told)
        self._told, self._at = size, now
        return said

    def _size(self) -> int:
        try:
            return self._file.stat().st_size
        except OSError:
            return 0


def last(folder: Path, since: int = 0) -> str:
    """The last line that was written from this octet on; empty where there is none."""
    try:
        with open_regular(folder / LOG) as file:
            file.seek(max(since, os.fstat(file.fileno()).st_size - _LAST))
            lines = file.read(_LAST).decode(errors="replace").split("\n")
    except OSError:
        return ""
    said = [text for line in lines if (text := _printable(line))]
    return said[-1][:_LONGEST] if said else ""


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else " " for c in line).strip()
