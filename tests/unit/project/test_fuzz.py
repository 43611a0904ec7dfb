"""Some hundred hostile messages for each parser, the same each time; `make fuzz` has millions."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz.campaign import Result, keep, run, take
from fuzz.driver import Driver, Wrong
from fuzz.parsers import PARSERS

_PART = 2_500
"""Of what `make fuzz` gives a parser."""


@pytest.mark.parametrize("name", PARSERS)
def test_no_hostile_message_is_more_than_a_message(name: str, tmp_path: Path) -> None:
    make, messages = PARSERS[name]
    result = run(name, make, messages=messages // _PART, seed=1)
    assert result.messages == messages // _PART
    found = [finding.what for _, finding in keep(result, tmp_path)]
    assert not found, f"kept as the seed 1 makes them: make fuzz FUZZ='--only {name}'"


@pytest.mark.parametrize("name", PARSERS)
def test_messages_are_the_same_for_the_same_seed(name: str) -> None:
    made = []
    for _ in range(2):
        with PARSERS[name][0](3) as driver:
            draw = random.Random(5)
            made.append([driver.message(draw) for _ in range(40)])
    assert made[0] == made[1]
    assert len(set(made[0])) > 20


class _Breaking(Driver):
    """A parser that breaks over some messages."""

    def seeds(self) -> list[bytes]:
        return [b"fine", b"wrong and long", b"wrong", b"worse"]

    def message(self, _draw: random.Random) -> bytes:
        return b"fine"

    def take(self, message: bytes) -> None:
        if message.startswith(b"wrong"):
            raise Wrong("a finding")
        if message == b"worse":
            message.index(b"?")


def test_each_kind_of_finding_is_kept_once_by_its_shortest_message(tmp_path: Path) -> None:
    result = run("breaking", lambda _seed: _Breaking(), messages=9, seed=1)
    assert (result.messages, result.left) == (9, 3)
    kept = {file.read_bytes(): file for file, _ in keep(result, tmp_path)}
    assert kept.keys() == {b"wrong", b"worse"}
    assert "Wrong: a finding" in kept[b"wrong"].with_suffix(".txt").read_text()
    again = Result(parser="breaking")
    take(_Breaking(), b"wrong", again)
    assert not again.clean
