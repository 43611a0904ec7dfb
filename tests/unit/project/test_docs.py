"""The pages are tried, not believed: commands run, links lead somewhere, words are the code's."""

from __future__ import annotations

import ast
import functools
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import generate
import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("policies/*.md")])
OVERRIDES = ROOT / "docs/overrides.md"
NEEDS_NO_AGENT = ("--help", "--version", "check", "completion")


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def trees() -> Iterator[ast.Module]:
    for source in sorted((ROOT / "steering").rglob("*.py")):
        if "lab" not in source.parts:
            yield ast.parse(source.read_text())


@functools.cache
def texts() -> frozenset[str]:
    return frozenset(
        node.value
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


# --- generated parts ------------------------------------------------------------------------


def test_every_generated_part_is_on_some_page() -> None:
    found = {
        part[1] for page in generate.pages() for part in generate.PART.findall(page.read_text())
    }
    assert found == set(generate.PARTS)


@pytest.mark.parametrize("page", list(generate.pages()), ids=page_name)
def test_generated_parts_are_what_the_code_says(page: Path) -> None:
    assert page.read_text() == generate.rendered(page), "run make docs"


# --- words of the code ----------------------------------------------------------------------


def constants(node: ast.expr) -> Iterator[str]:
    """The texts that an expression may be: one, or both sides of a condition."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from constants(one)
            yield from constants(other)


def events() -> set[str]:
    """The names in `Event(event="...")`, and in calls of `event`, `tell` and `add_event`."""
    named: set[str] = set()
    for node in (n for tree in trees() for n in ast.walk(tree) if isinstance(n, ast.Call)):
        match node:
            case ast.Call(func=ast.Name(id="Event")):
                for keyword in node.keywords:
                    if keyword.arg == "event":
                        named.update(constants(keyword.value))
            case ast.Call(
                func=ast.Attribute(attr="event" | "tell" | "add_event"), args=[first, *_]
            ):
                named.update(constants(first))
    return named


def alarms() -> set[str]:
    """The names under which alarms are collected: by the thinking part, and the agent's own."""
    return {
        name
        for tree in trees()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and function.name in ("_now", "_problems", "component_problems")
        for node in ast.walk(function)
        for name in stored_under(node)
    }


def stored_under(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Subscript(ctx=ast.Store(), slice=name):
            yield from constants(name)
        case ast.Dict(keys=keys):
            for key in filter(None, keys):
                yield from constants(key)
        case ast.Tuple(elts=[name, _, *_]):
            yield from constants(name)


def first_column(page: str, heading: str) -> list[str]:
    """The code words that begin the rows of the table below a heading."""
    text = (ROOT / page).read_text().split(f"\n{heading}\n", 1)[1]
    text = re.split(r"(?m)^#", text, maxsplit=1)[0]
    return re.findall(r"(?m)^\| `([^`]+)` \|", text)


def test_every_event_is_written_down_and_none_that_never_comes() -> None:
    assert sorted(first_column("docs/operations.md", "### Events")) == sorted(events())


def test_every_alarm_is_written_down_and_none_that_never_comes() -> None:
    assert sorted(first_column("docs/operations.md", "### Alarms")) == sorted(alarms())


@pytest.mark.parametrize("message", first_column("docs/troubleshooting.md", "## Messages"))
def test_a_message_in_the_remedies_is_one_the_code_has(message: str) -> None:
    for fragment in filter(None, (part.strip(" .") for part in message.split("…"))):
        assert any(fragment in text for text in texts()), fragment


# --- what is claimed of strangers -----------------------------------------------------------


def claims() -> Iterator[tuple[str, list[str]]]:
    """Who, and the tests named behind what they can do."""
    page = (ROOT / "docs/security.md").read_text()
    for line in page.partition("## Who can do what")[2].partition("\nFor ")[0].splitlines():
        cells = line.strip("|").split(" | ")
        if line.startswith("| ") and cells[0].strip() != "who":
            yield cells[0].strip(), re.findall(r"`(test_\w+\.py(?:::\w+)?)`", cells[2])


def test_what_is_claimed_of_strangers_is_a_table_of_some_length() -> None:
    assert len(list(claims())) > 20


@pytest.mark.parametrize(("who", "tests"), list(claims()), ids=lambda value: str(value)[:40])
def test_what_is_claimed_of_strangers_is_tried(who: str, tests: list[str]) -> None:
    assert tests, f"{who}: no test is named"
    for test in tests:
        file, _, name = test.partition("::")
        (found,) = (ROOT / "tests").rglob(file)
        assert f"def {name or 'test_'}" in found.read_text(), test


# --- links ----------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as they are made on code hosting sites."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```", "", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:", target):
            continue
        path, _, fragment = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if fragment:
            assert fragment in anchors(there), target


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index


# --- commands -------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, str, list[str], int]]:
    """Page, command, the lines printed below it, and its exit code, of those to be tried."""
    for page in PAGES:
        for block in re.findall(r"(?ms)^```console\n(.*?)^```", page.read_text()):
            steps = [step.splitlines() for step in re.split(r"(?m)^\$ ", block) if step]
            for (line, *printed), (then, *said) in zip(steps, [*steps[1:], [""]], strict=True):
                words = shlex.split(line)
                if words[0] == "steering" and words[1] in NEEDS_NO_AGENT and "|" not in words:
                    code = int(said[0]) if then == "echo $?" else 0
                    yield page_name(page), line, printed, code


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """What `cp -r share/steering /etc/steering` makes, with directories of our own."""
    shutil.copytree(ROOT / "policies", tmp_path / "policies")
    text = (ROOT / "policies/steering.yaml.example").read_text()
    for directory in ("/var/lib/steering", "/run/steering"):
        assert directory in text
        text = text.replace(directory, str(tmp_path / Path(directory).parts[1]))
    (tmp_path / "steering.yaml").write_text(text)
    return tmp_path


@pytest.mark.parametrize(("page", "line", "printed", "code"), list(commands()))
def test_a_command_in_the_docs_does_what_stands_below_it(
    page: str, line: str, printed: list[str], code: int, etc: Path
) -> None:
    typed(shlex.split(line)[1:], printed, etc, code=code)


@pytest.mark.long
def test_the_page_on_overrides_can_be_typed_from_top_to_bottom(etc: Path) -> None:
    for block in re.findall(r"(?ms)^```console\n(.*?)^```", OVERRIDES.read_text()):
        for step in re.split(r"(?m)^\$ ", block)[1:]:
            line, *printed = step.splitlines()
            typed(shlex.split(line.removeprefix("sudo "))[1:], printed, etc)


def typed(words: list[str], printed: list[str], etc: Path, code: int = 0) -> None:
    """Run a command; it prints what stands below it, in this order, `...` being anything."""
    if words[0] in ("check", "override") and "--config" not in words:
        words += ["--config", str(etc / "steering.yaml")]
    ran = subprocess.run(
        [sys.executable, "-m", "steering", *words], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == code, ran.stderr
    said = " ".join((ran.stdout + ran.stderr).replace(str(etc), "/etc/steering").split())
    at = 0
    for wanted in filter(None, (" ".join(p.split()) for p in "\n".join(printed).split("..."))):
        assert wanted in said[at:], f"{wanted!r} is not printed by {words}"
        at = said.index(wanted, at) + len(wanted)
