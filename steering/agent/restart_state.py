"""The file in `state` that holds what the next agent has to know (`engine/carry_over.py`).

It is written when something of it has changed, before the change is acted on: who dies in
between has counted a move that was not made, and never made one that is not counted. And it
is written anew each hour, and when the clock was set, so that its age is the time since there
was an agent at all.

The disk may be slow, or hang. So it is written by a thread, and a move waits for that no longer
than WAITED: then it is made, and what is wrong is told.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from steering.decide.state import State
from steering.engine.carry_over import remember
from steering.journal.codec import Codec
from steering.model import Memory, Seconds
from steering.system.files import read_regular, write_atomically
from steering.system.side_thread import Latest, within

NAME = "memory.json"
ANEW: Seconds = 3600.0
SET: Seconds = 1.0
"""A clock that has gone by so much more or less than time has was set, as a rule."""
WAITED: Seconds = 0.2
"""How long a move waits until it is written down; more than a sync takes on most disks."""
READ_WITHIN: Seconds = 2.0
"""How long an agent that starts waits for what was left. A lease may be running meanwhile."""
_LARGEST = 64 << 20  # bytes: a hundred times what ten thousand addresses take

_CODEC = Codec(Memory)


class RestartState:
    """What is remembered, and the file it stands in."""

    def __init__(self, state: Path) -> None:
        """Reads what an agent before left. A damaged file is set aside: it holds nothing."""
        self._file = state / NAME
        self.memory: Memory | None = None
        """What there is to take up; None: nothing."""
        self.found = ""
        """What was wrong with it at the start; empty if nothing was."""
        self._wrong = ""
        """What was wrong with the file when it was last read or written."""
        self._late = False
        """A move was made that is not written down yet."""
        self._aside = Latest("memory")
        self._handed: tuple[object, ...] | None = None
        """What of a world was given to be written last; None: that was not written."""
        self._offset: Seconds = 0.0
        """By how much wall time was ahead of the world's when it was."""
        try:
            self.memory = _parsed(within(READ_WITHIN, self._read, "memory"))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._wrong = f"{self._file} can't be read: {error.strerror}: {_FORGOTTEN}"
        except (ValueError, RecursionError) as error:
            self._set_aside(error)
        self.found = self.found or self._wrong

    @property
    def trouble(self) -> str:
        """What is wrong with the file now; empty if nothing is."""
        since = self._aside.since
        if since is None:
            self._late = False
        elif self._late:
            silent = time.monotonic() - since
            return f"{self._file} is not written for {silent:.0f} s: {_UNCOUNTED}"
        return self._wrong

    def keep(
        self, state: State, *, moved: bool = False, spent: frozenset[str] = frozenset()
    ) -> None:
        """Have the file say what of this world is to be remembered, and which words are `spent`.

        `moved`: something of it is about to be done, and waits for that; WAITED at most, for all
        that comes while one and the same writing hangs. What can't be written is a trouble, and
        tried again.
        """
        worn, since = state.worn.tobytes(), state.since.tobytes()
        counted = (worn, state.ledger.holds, state.moves)
        parts = (state.frozen, *counted, state.plan.tobytes(), since, spent)
        if parts != self._handed or not self._recent(state):
            if self.memory is None and not (self._wrong or spent or _anything(state)):
                return  # there is no file, and never was anything to put in it
            self.memory = memory = replace(remember(state), spent=spent)
            self._handed, self._offset = parts, state.wall - state.now
            self._aside.put(lambda: self._write(memory))
        waits = self._aside.since
        if moved and waits is not None:
            self._late |= not self._aside.wait(waits + WAITED - time.monotonic())

    def settle(self, seconds: Seconds) -> bool:
        """Wait until all is written, or so long; whether it is."""
        return self._aside.wait(seconds)

    def _write(self, memory: Memory) -> None:
        try:
            text = json.dumps(_CODEC.write(memory), allow_nan=False)
            write_atomically(self._file, text, durable=True)
        except OSError as error:
            self._wrong = f"{self._file} can't be written: {error.strerror}: {_FORGOTTEN}"
            self._handed = None
        else:
            self._wrong = ""

    def _read(self) -> bytes:
        return read_regular(self._file, _LARGEST)

    def _recent(self, state: State) -> bool:
        """Whether it was written within the hour, by a clock that was not set since."""
        if self.memory is None:
            return False
        set_by = (state.wall - state.now) - self._offset
        return state.wall - self.memory.at < ANEW and abs(set_by) <= SET

    def _set_aside(self, error: Exception) -> None:
        aside = self._file.with_name(f"{NAME}.damaged")
        what = f"{self._file} is damaged ({str(error)[:200]})"
        try:
            within(READ_WITHIN, lambda: self._file.replace(aside), "memory")
        except OSError as worse:
            self._wrong = f"{what}, and can't be moved away: {worse.strerror}: {_FORGOTTEN}"
        else:
            self.found = f"{what} and set aside as {aside.name}: {_FORGOTTEN}"


_UNCOUNTED = "a move was made before it was written down, and a restart would not count it"
_FORGOTTEN = "a restart would lose freezes and the history of moves and breaches"


def _anything(state: State) -> bool:
    """Whether there is something to remember."""
    counted = state.worn.any() or state.ledger.holds or state.moves
    return bool(state.frozen or counted or state.plan.any())


def _parsed(data: bytes) -> Memory:
    """Raises ValueError where it is not what `keep` writes."""
    return _CODEC.read(json.loads(data))
