"""The file in `state` that holds what the next agent has to know (`engine/carry_over.py`).

It is written when its content has changed, before the change is carried out. An agent that
crashes in between has counted a move that was not made, and never made one that is not counted.
It is also written each hour, and after the clock was set. So its age is the time since an agent
last ran.

The disk may be slow, or hang. So a thread writes, and a move waits for it at most MOVE_WAITS.
After that the move is made, and an alarm reports the problem.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from steering.decide.state import State
from steering.engine.carry_over import remember
from steering.facts import Memory
from steering.journal.codec import Codec
from steering.judge.known.recovery import Hold
from steering.model import Seconds
from steering.system.files import read_regular, write_atomically
from steering.system.side_thread import Latest, within

NAME = "memory.json"
REWRITE_AFTER: Seconds = 3600.0
"""The file is written at least this often."""
CLOCK_STEP: Seconds = 1.0
"""If wall time moved by this much more or less than monotonic time, the clock was set."""
MOVE_WAITS: Seconds = 0.2
"""How long a move waits until it is written; more than a sync takes on most disks."""
READ_WITHIN: Seconds = 2.0
"""How long the start waits for the file. A lease may be running out meanwhile."""
_LARGEST = 64 << 20  # bytes: a hundred times what ten thousand addresses take

_CODEC = Codec(Memory)


class RestartState:
    """What is remembered over a restart, and its file."""

    def __init__(self, state: Path) -> None:
        """Reads the file of an earlier agent. A damaged file is moved aside and not used."""
        self._file = state / NAME
        self.memory: Memory | None = None
        """What the file holds; None: nothing."""
        self.start_problem = ""
        """What was wrong with the file at the start; empty if nothing was."""
        self._last_error = ""
        """What was wrong with the file when it was last read or written."""
        self._late = False
        """A move was made that is not written yet."""
        self._thread = Latest("memory")
        self._given: tuple[object, ...] | None = None
        """What was last given to the thread to be written; None: that was not written."""
        self._offset: Seconds = 0.0
        """Wall time minus monotonic time of that state."""
        try:
            self.memory = _parsed(within(READ_WITHIN, self._read, "memory"))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._last_error = f"{self._file} can't be read: {error.strerror}: {_LOST}"
        except (ValueError, RecursionError) as error:
            self._set_aside(error)
        self.start_problem = self.start_problem or self._last_error

    @property
    def problem(self) -> str:
        """What is wrong with the file now; empty if nothing is."""
        since = self._thread.since
        if since is None:
            self._late = False
        elif self._late:
            pending = time.monotonic() - since
            return f"{self._file} has not been written for {pending:.0f} s: {_UNCOUNTED}"
        return self._last_error

    def save(
        self, state: State, *, moved: bool = False, spent: frozenset[str] = frozenset()
    ) -> None:
        """Write what is to be remembered of this state, and which acknowledgements are `spent`.

        `moved`: a move is about to be made, and waits for the write at most MOVE_WAITS, counted
        once for all moves while the same write hangs. A failed write is an alarm and tried again.
        """
        counted = (state.worn, _holds(state), state.moves)
        parts = (state.frozen, *counted, state.plan, state.since, spent)
        if parts != self._given or not self._recent(state):
            if self.memory is None and not (self._last_error or spent or _anything(state)):
                return  # there is no file, and nothing to write yet
            self.memory = memory = replace(remember(state), spent=spent)
            self._given, self._offset = parts, state.wall - state.now
            self._thread.put(lambda: self._write(memory))
        waits = self._thread.since
        if moved and waits is not None:
            self._late |= not self._thread.wait(waits + MOVE_WAITS - time.monotonic())

    def flush(self, seconds: Seconds) -> bool:
        """Wait until all is written, or for so long. Returns whether it is."""
        return self._thread.wait(seconds)

    def _write(self, memory: Memory) -> None:
        try:
            text = json.dumps(_CODEC.write(memory), allow_nan=False)
            write_atomically(self._file, text, durable=True)
        except OSError as error:
            self._last_error = f"{self._file} can't be written: {error.strerror}: {_LOST}"
            self._given = None
        else:
            self._last_error = ""

    def _read(self) -> bytes:
        return read_regular(self._file, _LARGEST)

    def _recent(self, state: State) -> bool:
        """Whether it was written within the hour, and the clock was not set since."""
        if self.memory is None:
            return False
        step = (state.wall - state.now) - self._offset
        return state.wall - self.memory.at < REWRITE_AFTER and abs(step) <= CLOCK_STEP

    def _set_aside(self, error: Exception) -> None:
        aside = self._file.with_name(f"{NAME}.damaged")
        what = f"{self._file} is damaged ({str(error)[:200]})"
        try:
            within(READ_WITHIN, lambda: self._file.replace(aside), "memory")
        except OSError as worse:
            self._last_error = f"{what}, and can't be moved away: {worse.strerror}: {_LOST}"
        else:
            self.start_problem = f"{what} and set aside as {aside.name}: {_LOST}"


_UNCOUNTED = "a move was made before it was written, and a restart would not count it"
_LOST = "a restart loses freezes and the history of moves and breaches"


def _holds(state: State) -> Mapping[str, Hold]:
    known = ((address, state.ledger.address(address).hold) for address in state.ledger.held)
    return {address: hold for address, hold in known if hold is not None}


def _anything(state: State) -> bool:
    """Whether there is something to remember."""
    counted = any(state.worn.values()) or _holds(state) or state.moves
    return bool(state.frozen or counted or state.plan)


def _parsed(data: bytes) -> Memory:
    """Raises ValueError where it is not what `save` writes."""
    return _CODEC.read(json.loads(data))
