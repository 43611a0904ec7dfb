"""The off switch in `state`, which lasts over a restart of the host, watched by a thread.

A disk that hangs can block a read for ever, so neither the loop nor the guard reads there. A
thread looks each second. If it finds the switch engaged, it engages the one in `runtime`, which
the loop and the guard read.

Until the thread's first result it is not known whether this host was switched off before it
restarted. A lease in force shows that an agent of this boot knew. Without a lease, no result
means off.
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
"""A look that takes longer than this raises an alarm."""
_LARGEST = 65536  # bytes: more than any reason is long


class StateOff:
    """Whether the switch in `state` is engaged, as far as it could be read."""

    def __init__(self, *, state: Path, runtime: Path, leased: bool) -> None:
        """Starts the thread. `leased`: an agent of this boot was steering here until just now."""
        self._in_state, self._in_runtime = state / SWITCH, runtime / SWITCH
        self._leased = leased
        self._found: bool | None = None
        self._last_error = ""
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._since: Instant = time.monotonic()
        threading.Thread(target=self._run, name="off switch", daemon=True).start()

    def wait(self, seconds: Seconds) -> None:
        """Wait for the first result, or for so long."""
        self._answered.wait(seconds)

    @property
    def off(self) -> bool:
        """Whether nothing may be installed, by what is or is not known of `state`."""
        return (not self._leased) if self._found is None else self._found

    @property
    def unknown(self) -> str:
        """Why it counts as off without a result; empty if there is one, or it does not."""
        if self._found is not None or self._leased:
            return ""
        return (
            f"{self._in_state.parent} has not been read yet, so it is not known whether this host "
            "was switched off: nothing is installed until it is"
        )

    def problem(self, now: Instant) -> str:
        """Why `state` can't be read now; empty if it can."""
        pending = now - self._since
        if pending > SILENT:
            return f"{self._in_state.parent} has not answered for {pending:.0f} s{_NOT_NOTICED}"
        return self._last_error

    def close(self) -> None:
        """End the thread, unless its read hangs."""
        self._ended.set()

    def _run(self) -> None:
        while True:
            self._look()
            self._answered.set()
            if self._ended.wait(EVERY):
                return
            self._since = time.monotonic()

    def _look(self) -> None:
        """If it can't be read, what was found before still holds."""
        try:
            found = _exists(self._in_state)
        except OSError as error:
            self._last_error = f"{self._in_state} can't be read: {error.strerror}{_NOT_NOTICED}"
            return
        if found and not self._is_engaged():
            self._engage()
        self._found, self._last_error = found, ""

    def _is_engaged(self) -> bool:
        try:
            return _exists(self._in_runtime)
        except OSError:
            return True  # the loop and the guard count such a switch as engaged

    def _engage(self) -> None:
        """Engage the switch in `runtime`, with the content of the one in `state`."""
        try:
            text = read_regular(self._in_state, _LARGEST).decode(errors="replace")
        except OSError:
            text = ""  # engaged, for a reason that can't be read
        with contextlib.suppress(OSError):  # then `off` counts
            write_atomically(self._in_runtime, text)
            mine = self._in_runtime.stat()
            # `steering on` removes the one in `state` first. If it is gone now, we are on again.
            if not _exists(self._in_state) and os.path.samestat(mine, self._in_runtime.stat()):
                self._in_runtime.unlink()


_NOT_NOTICED = ": an off switch set there by hand is not noticed"


def _exists(path: Path) -> bool:
    """Whether the file exists. Raises OSError where that can't be found out."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
