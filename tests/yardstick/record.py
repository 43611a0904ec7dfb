"""Stories played with the engine hooked, and written down with what it makes of them."""

from __future__ import annotations

import json
import lzma
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from unittest import mock

from steering.config import Setup
from steering.decide.state import State
from steering.engine import engine
from steering.facts import Facts
from steering.index import Index
from steering.journal.reader import Recording
from steering.journal.records import Turn
from steering.model import Event, Instant, Seconds, Step, WallTime
from yardstick import kinds
from yardstick.compare import RECORDED, SHARE, changes, names, read
from yardstick.form import STATE, Engine, Words, Writer, rounded, setup_words
from yardstick.stories import GRID, Story, stories

TURNS: Final = 5000
"""Most turns of the share that the unit tests run."""
WHOLE: Final = "scenario-"
LAB: Final = "lab-"
"""Begins the names of recordings that are no story, but the journal of an agent."""
PACKING: Final[Mapping[str, int]] = {
    "id": lzma.FILTER_LZMA2,
    "preset": 9 | lzma.PRESET_EXTREME,
    "lc": 4,
    "pb": 0,  # it is text
}


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
        self._setups: list[tuple[Index, Setup]] = []
        self._words: Words | None = None
        """The setup in force; None: the next agent knows of none before it."""
        self._state: dict[str, dict[str, Any]] = {part: {} for part in STATE}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While this lasts, whoever calls the engine calls this."""
        made_of = Index.of

        def of(setup: Setup) -> Index:
            index = made_of(setup)
            self._setups.append((index, setup))
            return index

        with (
            mock.patch.object(Index, "of", of),
            mock.patch.object(engine, "turn", self._hooked(engine.turn)),
            mock.patch("chaos.migrate", self.reload),
        ):
            yield

    def _hooked(self, real: Any) -> Any:  # noqa: ANN401 - the engine's
        def turn(
            state: State, facts: Facts, now: Instant
        ) -> tuple[State, tuple[Step, ...], tuple[Event, ...]]:
            with mock.patch.object(engine, "turn", real):
                return self.turn(state, facts, now)

        return turn

    def anew(self) -> None:
        """The next agent knows of none before it."""
        self._words = None

    def turn(
        self, state: State, facts: Facts, now: Instant
    ) -> tuple[State, tuple[Step, ...], tuple[Event, ...]]:
        """A turn, written down."""
        if self.turns == self._most:
            raise EnoughError
        self.turns += 1
        now = rounded(now)
        self._meet(state)
        assert facts.memory is None or facts.memory == self._engine.memory
        line = {"now": now, "facts": self._writer.facts(facts, now)}
        self._write(line, self._engine.turn(_as_read(line)))
        return self._engine.state, self._engine.steps, self._engine.events

    def reload(
        self,
        state: State,
        index: Index,
        now: Instant,
        wall: WallTime,
        *,
        rerouted: Collection[str] = (),
    ) -> tuple[State, tuple[Event, ...]]:
        """Other files taken, written down."""
        self._meet(state)
        self._words = self._setup_of(index)
        line = {
            "do": "reload",
            "setup": self._words,
            "now": rounded(now),
            "wall": wall,
            "rerouted": sorted(rerouted),
        }
        self._write(line, self._engine.reload(_as_read(line)))
        return self._engine.state, self._engine.events

    def _meet(self, state: State) -> None:
        """Note that an agent began, if this is not the one that went on."""
        if self.lines and state is self._engine.state:
            return
        assert not state.started
        line: Words = {"now": rounded(state.begun), "wall": state.wall}
        words = self._setup_of(state.index)
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

    def _setup_of(self, index: Index) -> Words:
        return setup_words(next(setup for made, setup in self._setups if made is index))

    def _write(self, line: Words, made: Words) -> None:
        written = {part: made[part] for part in ("steps", "events") if made[part]}
        for part in (part for part in STATE if part in made):
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
    with tempfile.TemporaryDirectory() as tmp, recorder.listening(), suppress(EnoughError):
        story.play(Path(tmp), recorder.anew)
    return recorder.lines


def journal(file: Path) -> list[Words]:
    """The lines of a real agent's journal, from its start on, without a restart or reload."""
    recorder = Recorder(grid=GRID)
    state: State | None = None
    with recorder.listening():
        for item in Recording(file).read():
            if isinstance(item, Turn):
                assert state is not None
                state, steps, _ = engine.turn(state, item.facts, item.now)  # hooked
                if [(s.address, s.now) for s in steps] != [(s.address, s.now) for s in item.steps]:
                    raise ValueError(f"rounded, the facts of {item.now} give other steps")
            elif state is None:
                index = Index.of(item.setup)
                state = State.blank(index, item.state.begun, item.state.wall)
                assert not item.state.started
            else:
                assert item.follows
    return recorder.lines


def write(name: str, lines: list[Words]) -> None:
    """Keep a recording."""
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    RECORDED.mkdir(exist_ok=True)
    (RECORDED / f"{name}.xz").write_bytes(lzma.compress(text.encode(), filters=[PACKING]))


def record_all(only: str, jobs: int, say: Callable[[str], object]) -> None:
    """Record the stories whose names begin so, and choose the share anew."""
    if not only:
        for file in RECORDED.glob("*.xz"):
            if not file.stem.startswith(LAB):  # that can't be played again
                file.unlink()
    wanted = [story for story in stories() if story.name.startswith(only)]
    with ProcessPoolExecutor(jobs) as pool:
        for name, lines, size in pool.map(_recorded, wanted):
            say(f"{name}: {lines:,} lines, {size:,} octets")
    SHARE.write_text(json.dumps(chosen(), indent=1) + "\n", encoding="utf-8")


def _recorded(story: Story) -> tuple[str, int, int]:
    lines = record(story)
    write(story.name, lines)
    return story.name, len(lines), (RECORDED / f"{story.name}.xz").stat().st_size


def chosen() -> list[str]:
    """Those for the unit tests: the shortest of each sort, and whose turns have the most kinds.

    Not the whole scenarios, of each of which there is a part.
    """
    all_ = {name: kinds.of_lines(read(name)) for name in names() if not name.startswith(WHOLE)}
    turns = {name: found["line"][kinds.TURNS] for name, found in all_.items()}
    left = {
        name: {(sort, kind) for sort, counted in found.items() for kind in counted}
        for name, found in all_.items()
    }
    share: list[str] = []

    def take(name: str) -> None:
        share.append(name)
        gained = left.pop(name)
        for others in left.values():
            others.difference_update(gained)

    for sort in sorted({name.partition("-")[0] for name in left}):
        take(min((name for name in left if name.startswith(f"{sort}-")), key=turns.__getitem__))
    while left:
        best = max(left, key=lambda name: (len(left[name]) / turns[name], name))
        if left[best] and turns[best] + sum(turns[name] for name in share) <= TURNS:
            take(best)
        else:
            del left[best]
    return sorted(share)
