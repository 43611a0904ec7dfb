"""The page on connecting a site: each of its blocks says where it is typed, and a lab types it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from page import LANGUAGES, MACHINES, PAGE, TIMES, Block, blocks, examples, says

FOUND = blocks(PAGE.read_text())


def test_every_fence_of_the_page_is_found() -> None:
    assert 2 * len(FOUND) == sum(line.startswith("```") for line in PAGE.read_text().splitlines())


@pytest.mark.parametrize("block", FOUND, ids=lambda block: f"line-{block.line}")
def test_every_block_is_a_drawing_or_says_where_it_is_typed(block: Block) -> None:
    if block.language == "text":
        assert not block.machine
        return
    assert block.machine in MACHINES
    assert block.time in TIMES
    assert block.language in LANGUAGES
    assert block.example in examples()
    assert (block.language == "console") is (block.time in {"calm", "steered"})


def test_every_example_is_typed_by_a_lab() -> None:
    """`play(N)` types all of an example, and fails if it left a block out."""
    tree = ast.parse(Path(__file__).with_name("test_connecting.py").read_text())
    played = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "play"
        and isinstance(node.args[0], ast.Constant)
    }
    assert played == set(examples())


@pytest.mark.parametrize("number", examples())
def test_every_example_is_seen_to_work_and_taken_back(number: int) -> None:
    assert {b.time for b in FOUND if b.example == number and b.machine} == set(TIMES)


@pytest.mark.parametrize(
    ("said", "wanted", "is_so"),
    [
        ("a  b\nc\n", "a b\nc\n", True),
        ("a x b\n", "a ... b\n", True),
        ("a x b\n", "a b\n", False),
        ("first\na b\nlast\n", "...\na b\n...\n", True),
        ("first\na b\nlast\n", "a b\n...\n", False),
        ("", "", True),
        ("something\n", "", False),
    ],
)
def test_what_is_printed_is_compared_but_for_spaces_and_dots(
    said: str, wanted: str, is_so: bool
) -> None:
    assert says(said, wanted) is is_so
