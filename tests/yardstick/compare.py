"""Recordings run again, and held against what was recorded."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from yardstick.form import STATE, Engine, Words

RECORDED: Final = Path(__file__).parent / "recorded"
SHARE: Final = RECORDED / "share.json"
"""Names of those that the unit tests run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first turn that is not as it was."""

    story: str
    turn: int
    """The number of the turn, from 1; of a reload that of the turn before."""
    now: float
    what: str

    def __str__(self) -> str:
        return f"{self.story}: turn {self.turn} (at {self.now:.3f}): {self.what}"


def names() -> list[str]:
    """All recordings."""
    return sorted(file.stem for file in RECORDED.glob("*.xz"))


def share() -> list[str]:
    """Those that the unit tests run."""
    named: list[str] = json.loads(SHARE.read_text(encoding="utf-8"))
    return named


def read(name: str) -> Iterator[Words]:
    """The lines of a recording."""
    with lzma.open(RECORDED / f"{name}.xz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def compare(name: str, lines: Iterable[Words]) -> Difference | None:
    """Run them; the first difference, or None."""
    engine, turn = Engine(), 0
    state: dict[str, dict[str, Any]] = {part: {} for part in STATE}
    for line in lines:
        match line.get("do", "turn"):
            case "begin":
                engine.begin(line)
                state = {part: {} for part in STATE}
                continue
            case "restart":
                engine.restart(line)
                continue
            case "reload":
                made = engine.reload(line)
            case _:
                made, turn = engine.turn(line), turn + 1
        wanted = line["made"]
        for part in STATE:
            if part in wanted:
                state[part] = went_on(state[part], wanted[part])
        said = [
            *_of_lists("steps", wanted.get("steps", []), made["steps"]),
            *_of_lists("events", wanted.get("events", []), made["events"]),
            *(
                text
                for part in STATE
                if part in made
                for text in _of_mappings(part, state[part], made[part])
            ),
        ]
        if said:
            return Difference(story=name, turn=turn, now=line["now"], what="; ".join(said))
    return None


def went_on(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping after these changes: None takes out."""
    return {key: what for key, what in {**before, **changes}.items() if what is not None}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the one of the other."""
    gone = {key: None for key in before if key not in after}
    return gone | {key: what for key, what in after.items() if before.get(key) != what}


def _of_lists(part: str, wanted: list[Words], made: list[Words]) -> Iterator[str]:
    for number, (one, other) in enumerate(zip(wanted, made, strict=False), 1):
        if one != other:
            yield f"{part}, number {number}: recorded {_shown(one)}, now {_shown(other)}"
            return
    if len(wanted) > len(made):
        yield f"{part}: recorded {_shown(wanted[len(made)])} as well"
    if len(made) > len(wanted):
        yield f"{part}: now {_shown(made[len(wanted)])} as well"


def _of_mappings(part: str, wanted: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[str]:
    if wanted == made:
        return
    key = next(key for key in (*wanted, *made) if wanted.get(key) != made.get(key))
    one, other = (_shown(what[key]) if key in what else "nothing" for what in (wanted, made))
    yield f"{part} of {key}: recorded {one}, now {other}"


def _shown(words: object) -> str:
    return json.dumps(words, ensure_ascii=False)
