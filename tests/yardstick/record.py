"""Stories played with the engine hooked, and written down with what it makes of them."""

from __future__ import annotations

import json
import lzma
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

from yardstick.compare import RECORDED, SHARE, changes, compare
from yardstick.form import STATE, Engine, Words, Writer, rounded, setup_words
from yardstick.kinds import Kinds, of_lines
from yardstick.stories import Story, stories

from steering import engine
from steering.config import Setup
from steering.layout import Layout
from steering.model import Event, Facts, Instant, Seconds, Step, WallTime
from steering.world import World

TURNS: Final = 4000
"""Of the share that the unit tests run, about."""


class EnoughError(Exception):
    """A story has had all its turns."""


class Recorder:
    """Stands in the engine's place, and writes down what it was asked and made of it.

    It gives the engine what a comparison will give it: the words that were written, read again.
    """

    def __init__(self, most: int | None = None, grid: Seconds | None = None) -> None:
        self.lines: list[Words] = []
        self.turns = 0
        self._most = most
        self._engine, self._writer = Engine(), Writer(grid)
        self._setups: list[tuple[Layout, Setup]] = []
        self._words: Words | None = None
        """The setup in force; None: the next agent knows of none before it."""
        self._state: dict[str, dict[str, Any]] = {part: {} for part in STATE}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While this lasts, whoever calls the engine calls this."""
        made_of = Layout.of

        def of(setup: Setup) -> Layout:
            layout = made_of(setup)
            self._setups.append((layout, setup))
            return layout

        with (
            mock.patch.object(Layout, "of", of),
            mock.patch.object(engine, "turn", self._hooked(engine.turn)),
            mock.patch("chaos.relay", self.reload),
        ):
            yield

    def _hooked(self, real: Any) -> Any:  # noqa: ANN401 - the engine's
        def turn(
            world: World, facts: Facts, now: Instant
        ) -> tuple[World, tuple[Step, ...], tuple[Event, ...]]:
            with mock.patch.object(engine, "turn", real):
                return self.turn(world, facts, now)

        return turn

    def anew(self) -> None:
        """The next agent knows of none before it."""
        self._words = None

    def turn(
        self, world: World, facts: Facts, now: Instant
    ) -> tuple[World, tuple[Step, ...], tuple[Event, ...]]:
        """A turn, written down."""
        if self.turns == self._most:
            raise EnoughError
        self.turns += 1
        now = rounded(now)
        self._meet(world)
        assert facts.memory is None or facts.memory == self._engine.memory
        line = {"now": now, "facts": self._writer.facts(facts, now)}
        self._write(line, self._engine.turn(_as_read(line)))
        return self._engine.world, self._engine.steps, self._engine.events

    def reload(
        self,
        world: World,
        layout: Layout,
        now: Instant,
        wall: WallTime,
        *,
        rerouted: Collection[str] = (),
    ) -> tuple[World, tuple[Event, ...]]:
        """Other files taken, written down."""
        self._meet(world)
        self._words = self._setup_of(layout)
        line = {
            "do": "reload",
            "setup": self._words,
            "now": rounded(now),
            "wall": wall,
            "rerouted": sorted(rerouted),
        }
        self._write(line, self._engine.reload(_as_read(line)))
        return self._engine.world, self._engine.events

    def _meet(self, world: World) -> None:
        """Note that an agent began, if this is not the one that went on."""
        if self.lines and world is self._engine.world:
            return
        assert not world.started
        line: Words = {"now": rounded(world.begun), "wall": world.wall}
        words = self._setup_of(world.layout)
        if self._words is None:
            self._state = {part: {} for part in STATE}
            line = {"do": "begin", **line, "setup": words}
        elif words == self._words:
            line = {"do": "restart", **line}
        else:
            line = {"do": "restart", **line, "setup": words}
        self._words = words
        self._writer.begin()
        self.lines.append(line)
        (self._engine.begin if line["do"] == "begin" else self._engine.restart)(_as_read(line))

    def _setup_of(self, layout: Layout) -> Words:
        return setup_words(next(setup for made, setup in self._setups if made is layout))

    def _write(self, line: Words, made: Words) -> None:
        written = {part: made[part] for part in ("steps", "events") if made[part]}
        for part in STATE:
            if changed := changes(self._state[part], made[part]):
                written[part] = changed
            self._state[part] = made[part]
        self.lines.append({**line, "made": written})


def _as_read(line: Words) -> Words:
    read: Words = json.loads(json.dumps(line))
    return read


def record(story: Story) -> list[Words]:
    """Play a story; its lines."""
    recorder = Recorder(story.most, story.grid)
    with tempfile.TemporaryDirectory() as tmp, recorder.listening():
        try:
            story.play(Path(tmp), recorder.anew)
        except EnoughError:
            pass
    return recorder.lines


def write(name: str, lines: list[Words]) -> None:
    """Keep a recording; first it is run once more. Raises ValueError if it gives other turns."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    read = (json.loads(line) for line in text.splitlines())
    if found := compare(name, read):
        raise ValueError(f"recorded, and not the same at once: {found}")
    RECORDED.mkdir(exist_ok=True)
    packed = lzma.compress(text.encode(), preset=9)
    (RECORDED / f"{name}.xz").write_bytes(packed)
