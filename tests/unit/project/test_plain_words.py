"""Words that were retired stay retired: in the code's names, and in what people read."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "steering").rglob("*.py"))
READ = [*SOURCES, ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

RETIRED = frozenset(
    word
    for line in (
        "arouse bequeath bury convict convicted crew doomed ears farewell gloves graves haste",
        "hearsay herd herds household hungry meddling notebook outfit overheard owes regime senses",
        "vouch whereabouts",
    )
    for word in line.split()
)
"""Parts of names. A program has no body, no clothes and no household, and it is no judge of men."""

PHRASES = (
    "is anything else said than now",
    "is not gone by",
    "what a lost lease covered would not go",
    "and let them pass",
    "SO FAR SAID BY",
    "That somebody was started anew",
    "A word that was given",
    "and takes nobody along",
    "is one of the ears",
    "tell a story",
    "moves not worn off",
    "more moves soon",
    "waits for a word",
)


def names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """What is given a name in it, and where."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.arg():
                yield node.arg, node.lineno
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr, node.lineno


def parts(name: str) -> set[str]:
    """The words of a name, be it snake_case or CamelCase."""
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().split("_"))


def retired(text: str) -> list[str]:
    return [f"{line}: {name}" for name, line in names(ast.parse(text)) if parts(name) & RETIRED]


def test_no_name_is_a_word_of_our_own() -> None:
    found = {
        str(file.relative_to(ROOT)): said for file in SOURCES if (said := retired(file.read_text()))
    }
    assert not found


def test_no_file_or_folder_is_named_by_one() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this is no checkout")
    found = [
        path
        for path in listed.stdout.split("\n")
        if path.startswith("steering/") and set(re.split(r"[/_.]", path)) & RETIRED
    ]
    assert not found


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_text_speaks_in_riddles_again(phrase: str) -> None:
    found = [str(file.relative_to(ROOT)) for file in READ if phrase in file.read_text()]
    assert not found


def test_a_retired_word_would_be_seen() -> None:
    text = "class TheEars:\n    def so(self, herd):\n        self._owes = 1\n        near = 1\n"
    assert retired(text) == ["1: TheEars", "2: herd", "3: _owes"]
