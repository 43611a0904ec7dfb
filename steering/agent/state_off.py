"""The off switch in `state`, which lasts over a restart of the host: looked at from the side.

A disk that hangs may hold up whoever looks there for ever, so neither the loop nor the guard does.
A thread looks each second, and what it finds it throws in `runtime`, where both of them look.

Until the first answer nobody knows whether this host was switched off before it was restarted.
A lease in force says that an agent of this boot knew; without one, no answer means off.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

from steering.act.bgp.process import SWITCH
from steering.model import Instant, Seconds
from steering.system.files import read_regular, write_atomically

EVERY: Seconds = 1.0
SILENT: Seconds = 5.0
"""A look that takes longer than this is worth an alarm."""
_LARGEST = 65536  # bytes: more than anybody gives as a reason


class StateOff:
    """Whether `state` says off, as far as it has answered."""

    def __init__(self, *, state: Path, runtime: Path, leased: bool) -> None:
        """Begins to look. `leased`: an agent of this boot was steering here until just now."""
        self._kept, self._in_force = state / SWITCH, runtime / SWITCH
        self._leased = leased
        self._found: bool | None = None
        self._refused = ""
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._since: Instant = time.monotonic()
        threading.Thread(target=self._run, name="off switch", daemon=True).start()

    def wait(self, seconds: Seconds) -> None:
        """Until the first answer, or so long."""
        self._answered.wait(seconds)

    @property
    def off(self) -> bool:
        """Whether nothing may be installed, by what `state` says or does not say."""
        return (not self._leased) if self._found is None else self._found

    @property
    def unknown(self) -> str:
        """Why it counts as off without a word; empty if there is one, or it does not."""
        if self._found is not None or self._leased:
            return ""
        return (
            f"{self._kept.parent} does not say whether this host was switched off: "
            "nothing is installed until it does"
        )

    def trouble(self, now: Instant) -> str:
        """Why `state` says nothing new now; empty if it does."""
        silent = now - self._since
        if silent > SILENT:
            return f"{self._kept.parent} has not answered for {silent:.0f} s{_WITHOUT}"
        return self._refused

    def close(self) -> None:
        """Look no more. A look that hangs is left to itself."""
        self._ended.set()

    def _run(self) -> None:
        while True:
            self._look()
            self._answered.set()
            if self._ended.wait(EVERY):
                return
            self._since = time.monotonic()

    def _look(self) -> None:
        """What can't be looked at is no answer: what was found before stands."""
        try:
            found = _there(self._kept)
        except OSError as error:
            self._refused = f"{self._kept} can't be looked at: {error.strerror}{_WITHOUT}"
            return
        if found and not self._thrown():
            self._throw()
        self._found, self._refused = found, ""

    def _thrown(self) -> bool:
        try:
            return _there(self._in_force)
        except OSError:
            return True  # as whoever looks there takes it

    def _throw(self) -> None:
        """Have it in force, in the words of who switched off."""
        try:
            text = read_regular(self._kept, _LARGEST).decode(errors="replace")
        except OSError:
            text = ""  # it is off, and nobody can tell why
        with contextlib.suppress(OSError):  # then it is what was found that counts
            write_atomically(self._in_force, text)
            mine = self._in_force.stat()
            # `steering on` takes the kept one away first: one that went meanwhile is on again.
            if not _there(self._kept) and os.path.samestat(mine, self._in_force.stat()):
                self._in_force.unlink()


_WITHOUT = ": an off switch set there by hand is not noticed"


def _there(place: Path) -> bool:
    """Raises OSError where nobody can tell."""
    try:
        place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
