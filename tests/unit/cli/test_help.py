"""Help texts: each command has examples, and each example can be typed."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

import pytest

from steering import cli
from steering.cli.examples import EXAMPLES
from steering.cli.parser import parser


def commands(of: argparse.ArgumentParser, words: str = "") -> Iterator[str]:
    """The words of every command."""
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield f"{words} {name}".strip()
                yield from commands(below, f"{words} {name}".strip())


def test_every_command_has_examples_and_none_is_of_another_command() -> None:
    assert set(commands(parser())) == set(EXAMPLES)


@pytest.mark.parametrize("example", sorted({line for of in EXAMPLES.values() for line in of}))
def test_each_example_can_be_typed(example: str) -> None:
    words = shlex.split(example.partition(" > ")[0])
    assert words[0] == "steering"
    options = parser().parse_args(words[1:])
    assert options.command == words[1]


@pytest.mark.parametrize("words", sorted(EXAMPLES))
def test_help_shows_the_same_as_its_option_with_the_examples(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for typed in (["help", *words.split()], [*words.split(), "--help"]):
        with pytest.raises(SystemExit) as ended:
            cli.main(typed)
        assert ended.value.code == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    for example in EXAMPLES[words]:
        assert f"  {example}\n" in shown[0]


def test_help_alone_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["help"])
    assert "override" in capsys.readouterr().out
