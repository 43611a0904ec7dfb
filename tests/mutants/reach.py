"""Which tests reach which line: the unit tests, run once with coverage and kept by file.

What is kept in `build/mutants` of a file of tests holds as long as that file, the mutated files
that it reaches, the rest of the code and the tests' helpers are the same: a change has only those
run again that it concerns, and a run that was interrupted goes on.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import coverage

from mutants.places import FOLDERS, Mutant
from mutants.trial import Copy

QUICKEST: Final = 40
"""So many tests are tried first, of those that reach a line: most mutants end there.
They are those of files that import the module, by time."""
PATIENCE: Final = 60.0
"""Seconds of CPU: of the others as many as take no more together."""

_ENDED: Final = (0, 1, 5)
"""pytest's: all passed; some failed; there were none."""

_SETTINGS: Final = """[run]
relative_files = true
data_file = {data}
include =
{include}
"""


@dataclass(slots=True)
class Reach:
    """Tests and the lines that they reach."""

    times: dict[str, float] = field(default_factory=dict)
    """Seconds of CPU that a test took."""
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    importers: dict[str, set[str]] = field(default_factory=dict)
    """Of a file: which of the others import it, files of tests among them."""

    def tests(self, mutant: Mutant, source: str) -> list[str]:
        """Those that could notice this mutant: those of files that import it first, by time."""
        lines = self.lines.get(mutant.file, {})
        at_import, first, last = _statement(source, mutant.line)
        if at_import:  # the value is used in the module, or where that is imported
            near = self._whole(mutant.file)
            far = {
                test for file in self.importers.get(mutant.file, ()) for test in self._whole(file)
            }
            return [*self._sorted(near, mutant.file), *self._sorted(far - near, mutant.file)]
        found = lines.get(mutant.line, set())
        if not found:  # a line of a longer statement has no event of its own
            found = {test for line in range(first, last + 1) for test in lines.get(line, ())}
        if not found:  # it may run in a process that a test starts
            files = self.importers.get(mutant.file, set())
            found = {test for test in self.times if _file(test) in files}
        return self._sorted(found, mutant.file)

    def _whole(self, file: str) -> set[str]:
        return {test for tests in self.lines.get(file, {}).values() for test in tests}

    def _sorted(self, tests: Iterable[str], file: str) -> list[str]:
        """Tests of files that import the mutated one come first: others only pass by."""
        direct = self.importers.get(file, set())

        def worth(test: str) -> tuple[bool, float, str]:
            return _file(test) not in direct, self.times[test], test

        return sorted(tests, key=worth)

    def batches(self, tests: Sequence[str], patience: float) -> Iterator[list[str]]:
        """The first ones, then what patience is left for: one of each parametrised test first, and
        of each file of tests in turn.

        The twentieth parameter of a test, or the twentieth test of one file, shows less than a test
        that costs a little more: a file is about one subject.
        """
        if tests:
            yield list(tests[:QUICKEST])
        variants = Counter(_function(test) for test in tests[:QUICKEST])
        files = Counter(_file(test) for test in tests[:QUICKEST])
        ranked: list[tuple[int, int, str]] = []
        for test in tests[QUICKEST:]:
            ranked.append((variants[_function(test)], files[_file(test)], test))
            variants[_function(test)] += 1
            files[_file(test)] += 1
        rest = []
        for *_, test in sorted(ranked, key=lambda each: each[:2]):
            if self.times[test] <= patience:
                patience -= self.times[test]
                rest.append(test)
        if rest:
            yield rest

    def usual(self, tests: Iterable[str]) -> float:
        return sum(self.times[test] for test in tests)


def _function(test: str) -> str:
    return test.split("[", 1)[0]


def _file(test: str) -> str:
    return test.split("::", 1)[0]


def _statement(source: str, line: int) -> tuple[bool, int, int]:
    """Whether a line runs at import, and the first and last line of its statement's head."""
    best = (True, line, line)
    size = len(source)

    def look(node: ast.AST, *, at_import: bool) -> None:
        nonlocal best, size
        for child in ast.iter_child_nodes(node):
            inside = at_import
            if isinstance(child, ast.stmt):
                last = child.end_lineno or child.lineno
                body = getattr(child, "body", None)
                if body:
                    last = max(child.lineno, body[0].lineno - 1)
                if child.lineno <= line <= last and last - child.lineno <= size:
                    size = last - child.lineno
                    best = (at_import, child.lineno, last)
                inside = at_import and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            look(child, at_import=inside)

    look(ast.parse(source), at_import=True)
    return best


def digest(files: Iterable[Path], root: Path) -> str:
    value = hashlib.sha256()
    for file in sorted(files):
        value.update(f"{file.relative_to(root)}\n".encode() + file.read_bytes())
    return value.hexdigest()


def _imports(source: str) -> Iterator[str]:
    """The files that a module may import: `from a.b import c` is of a/b.py or of a/b/c.py."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            place = node.module.replace(".", "/")
            yield f"{place}.py"
            yield from (f"{place}/{alias.name}.py" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (f"{alias.name.replace('.', '/')}.py" for alias in node.names)


def _helpers(tests: Path) -> dict[str, Path]:
    """What tests may import of `tests`, as `_imports` names it."""
    files = [file for file in tests.rglob("*.py") if not file.name.startswith("test_")]
    return {
        str(file.relative_to(top)): file
        for top in (tests, tests / "unit")
        for file in files
        if file.is_relative_to(top)
    }


def _imported(file: Path, helpers: Mapping[str, Path]) -> set[Path]:
    """The helpers that a file of tests imports, and what those import; `conftest` always."""
    found = {helpers[name] for name in ("conftest.py",) if name in helpers}
    waiting = [file]
    while waiting:
        names = set(_imports(waiting.pop().read_text(encoding="utf-8")))
        more = {helpers[name] for name in names & helpers.keys()} - found
        found |= more
        waiting += more
    return found


class Kept:
    """What is kept of one checkout."""

    def __init__(self, root: Path, place: Path, only: Sequence[str] | None = None) -> None:
        self._root = root
        self._place = place.absolute()
        steering = sorted((root / "steering").rglob("*.py"))
        mutated = {file for file in steering if file.relative_to(root).parts[1] in FOLDERS}
        self._common = digest([file for file in steering if file not in mutated], root)
        self._helpers = _helpers(root / "tests")
        self._mutated = {str(file.relative_to(root)): digest([file], root) for file in mutated}
        every = sorted(
            file for file in (root / "tests/unit").rglob("test_*.py") if file.stem != "test_mutants"
        )
        self._files = every if only is None else [root / file for file in only]

    def missing(self) -> list[str]:
        """Files of tests that are to be run."""
        return [
            str(file.relative_to(self._root)) for file in self._files if self._read(file) is None
        ]

    def learn(self, copy: Copy, file: str) -> tuple[str, ...]:
        """Runs one file of tests with coverage, and keeps what it reaches; what failed."""
        place = self._kept(self._root / file)
        data, settings = copy.tree.with_name("reach"), copy.tree.with_name("reach.rc")
        place.parent.mkdir(parents=True, exist_ok=True)
        include = "\n".join(f"    {copy.tree}/steering/{name}/*" for name in FOLDERS)
        settings.write_text(_SETTINGS.format(data=data, include=include), encoding="utf-8")
        data.unlink(missing_ok=True)
        options = ("--cov", f"--cov-config={settings}", "--cov-context=test", "--cov-report=")
        told = copy.run([file], *options, "-p", "no:xdist", "--timeout=1800")
        if told.code not in _ENDED:
            return (f"all of {file}, which did not end: {told.text[-500:]}",)
        lines = _lines(data, copy.tree, told.times) if told.times else {}
        state = self._state(copy.tree / file, lines, copy.tree)  # who edits it has it run again
        value = {"state": state, "times": told.times, "lines": lines}
        place.write_text(json.dumps(value), encoding="utf-8")
        return told.failed

    def reach(self) -> Reach:
        whole = Reach()
        for file in self._files:
            kept = self._read(file)
            if kept is None:
                continue
            whole.times |= kept["times"]
            for source, lines in kept["lines"].items():
                there = whole.lines.setdefault(source, {})
                for line, tests in lines.items():
                    there.setdefault(int(line), set()).update(tests)
        for file in (*(self._root / "steering").rglob("*.py"), *self._files):
            for imported in _imports(file.read_text(encoding="utf-8")):
                whole.importers.setdefault(imported, set()).add(str(file.relative_to(self._root)))
        return whole

    def _kept(self, file: Path) -> Path:
        return self._place / f"{file.stem}.json"

    def _state(
        self, file: Path, reached: Iterable[str], root: Path | None = None
    ) -> list[str | None]:
        there = (self._mutated.get(source) for source in sorted(reached))
        helpers = digest(_imported(file, self._helpers), self._root)
        return [self._common, helpers, digest([file], root or self._root), *there]

    def _read(self, file: Path) -> dict[str, Any] | None:
        """None where it has to be learned."""
        kept = self._kept(file)
        if not kept.exists():
            return None
        value: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return value if value["state"] == self._state(file, value["lines"]) else None


def _lines(data: Path, tree: Path, times: Mapping[str, float]) -> dict[str, dict[str, list[str]]]:
    read = coverage.CoverageData(str(data))
    read.read()
    lines: dict[str, dict[str, list[str]]] = {}
    for measured in read.measured_files():
        name = str(Path(measured).relative_to(tree)) if measured.startswith("/") else measured
        by_line = {
            str(line): sorted({context.split("|", 1)[0] for context in contexts} & times.keys())
            for line, contexts in read.contexts_by_lineno(measured).items()
        }
        lines[name] = {line: tests for line, tests in by_line.items() if tests}
    return lines
