"""The file in which an agent leaves what the next one has to know (`memory`): one, under `state`.

It is written when something of it has changed, before the change is acted on: who dies in
between has counted a move that was not made, and never made one that is not counted. And it
is written anew each hour, and when the clock was set, so that its age is the time since there
was an agent at all.
"""

from __future__ import annotations

import json
from pathlib import Path

from steering.memory import remember
from steering.model import Memory, Seconds
from steering.replay.codec import Codec
from steering.system.files import write_atomically
from steering.world import World

NAME = "memory.json"
ANEW: Seconds = 3600.0
SET: Seconds = 1.0
"""A clock that has gone by so much more or less than time has was set, as a rule."""

_CODEC = Codec(Memory)


class Notebook:
    """What is remembered, and the file it stands in."""

    def __init__(self, state: Path) -> None:
        """Reads what an agent before left. A damaged file is set aside: it holds nothing."""
        self._file = state / NAME
        self.memory: Memory | None = None
        """What there is to take up; None: nothing."""
        self.trouble = ""
        """What is wrong with the file now; empty if nothing is."""
        self.found = ""
        """What was wrong with it at the start; empty if nothing was."""
        self._written: tuple[object, ...] | None = None
        """What of a world was written down last; None: nobody knows."""
        self._offset: Seconds = 0.0
        """By how much wall time was ahead of the world's when it was."""
        try:
            self.memory = _read(self._file)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.trouble = f"{self._file} can't be read: {error.strerror}: {_FORGOTTEN}"
        except (ValueError, RecursionError) as error:
            self._set_aside(error)
        self.found = self.found or self.trouble

    def keep(self, world: World) -> None:
        """Have the file say what of this world is to be remembered.

        What can't be written is a trouble, and tried again.
        """
        parts = (world.frozen, world.worn.tobytes(), world.ledger.holds, world.moves)
        if parts == self._written and self._recent(world):
            return
        if self.memory is None and not (self.trouble or _anything(world)):
            return  # there is no file, and never was anything to put in it
        self.memory = remember(world)
        try:
            write_atomically(self._file, json.dumps(_CODEC.write(self.memory), allow_nan=False))
        except OSError as error:
            self.trouble = f"{self._file} can't be written: {error.strerror}: {_FORGOTTEN}"
            self._written = None
        else:
            self.trouble, self._written = "", parts
            self._offset = world.wall - world.now

    def _recent(self, world: World) -> bool:
        """Whether it was written within the hour, by a clock that was not set since."""
        if self.memory is None:
            return False
        set_by = (world.wall - world.now) - self._offset
        return world.wall - self.memory.at < ANEW and abs(set_by) <= SET

    def _set_aside(self, error: Exception) -> None:
        aside = self._file.with_name(f"{NAME}.damaged")
        what = f"{self._file} is damaged ({str(error)[:200]})"
        try:
            self._file.replace(aside)
        except OSError as worse:
            self.trouble = f"{what}, and can't be moved away: {worse.strerror}: {_FORGOTTEN}"
        else:
            self.found = f"{what} and set aside as {aside.name}: {_FORGOTTEN}"


_FORGOTTEN = "a restart forgets freezes, and who moved or was breached how often"


def _anything(world: World) -> bool:
    """Whether there is something to remember."""
    return bool(world.frozen or world.worn.any() or world.ledger.holds or world.moves)


def _read(file: Path) -> Memory:
    """Raises OSError, or ValueError where it is not what `keep` writes."""
    return _CODEC.read(json.loads(file.read_bytes()))
