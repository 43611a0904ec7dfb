"""The import law: what may import what, read from the source; and how long a file may be."""

from __future__ import annotations

import ast
import functools
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3] / "steering"
MODULES = sorted(ROOT.rglob("*.py"))

PURE = (
    *(
        "judge/",
        "decide/",
        "engine/",
        "copies.py",
        "index.py",
        "model.py",
        "facts.py",
        "override.py",
        "bounds.py",
    ),
)
IMPURE = {
    "asyncio",
    "datetime",
    "exabgp",
    "logging",
    "os",
    "pyroute2",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
}
STAGES = ("observe", "judge", "decide", "act")
ABOVE = ("steering.engine", "steering.agent", "steering.cli", "steering.report", "steering.lab")


def _name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@functools.cache
def _imports(file: Path) -> frozenset[str]:
    """Every module imported anywhere in the file, in full."""
    return frozenset(_imported(file))


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(file)}: imports are written in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _within(module: str, *packages: str) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in packages)


def test_the_law_sees_the_code() -> None:
    names = {_name(file) for file in MODULES}
    assert {
        "engine/engine.py",
        "judge/known/ledger.py",
        "decide/rules.py",
        "act/kernel/actuator.py",
    } <= names


@pytest.mark.parametrize("file", [f for f in MODULES if _name(f).startswith(PURE)], ids=_name)
def test_the_pure_part_knows_no_clock_socket_thread_or_chance(file: Path) -> None:
    assert not {m for m in _imports(file) if _within(m, *IMPURE)}


@pytest.mark.parametrize(
    ("package", "places"),
    [("pyroute2", ("act/kernel/messages.py",)), ("dns", ("observe/", "lab/"))],
)
def test_a_protocol_is_spoken_in_its_own_place(package: str, places: tuple[str, ...]) -> None:
    users = {_name(f) for f in MODULES if any(_within(m, package) for m in _imports(f))}
    assert users
    assert not {user for user in users if not user.startswith(places)}


@pytest.mark.parametrize("first", ["steering.act.guard", "steering.cli.off"])
def test_what_removes_everything_never_loads_pyroute2(first: str) -> None:
    """Not later either, by an import in a function: it has to be small, and quick."""
    files = {_dotted(file): file for file in MODULES}
    loaded, new = set[str](), {first}
    while new:
        loaded |= new
        new = {module for one in new for module in _modules(files[one])} - loaded
    assert "steering.act.kernel.removal" in loaded
    assert "steering.act.kernel.messages" not in loaded


def test_only_benchmarks_calculate_in_arrays() -> None:
    """An agent knows few things of many names, and a library of arrays is most of its memory."""
    assert not [_name(f) for f in MODULES if any(_within(m, "numpy") for m in _imports(f))]


def test_nothing_imports_the_command_line() -> None:
    users = {_name(f) for f in MODULES if any(_within(m, "steering.cli") for m in _imports(f))}
    assert {u for u in users if not u.startswith("cli")} <= {"__main__.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_other_stage(stage: str) -> None:
    allowed = {"decide": {"judge"}}.get(stage, set())
    others = [f"steering.{s}" for s in STAGES if s != stage and s not in allowed]
    for file in MODULES:
        if _name(file).startswith(f"{stage}/"):
            found = {m for m in _imports(file) if _within(m, *others, *ABOVE)}
            assert not found, _name(file)


LAYERS = 9
"""From `model` to `cli`."""


def test_nothing_imports_in_a_circle() -> None:
    """Not for type checking alone either."""
    _sorted({_dotted(file): _modules(file) for file in MODULES})


def test_folders_stand_in_few_layers_and_none_in_a_circle() -> None:
    folders: dict[str, set[str]] = {}
    for file in MODULES:
        of = {_top(m) for m in _modules(file)}
        folders.setdefault(_top(_dotted(file)), set()).update(of)
    del folders["__main__"]
    graph = {folder: of - {folder} for folder, of in folders.items()}
    height: dict[str, int] = {}
    for folder in _sorted(graph):
        height[folder] = 1 + max((height[below] for below in graph[folder]), default=0)
    assert height["model"] == 1
    assert max(height.values()) == height["cli"] == LAYERS, height


def _sorted(graph: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """What is imported before what imports it. Raises CycleError."""
    return tuple(TopologicalSorter(graph).static_order())


def _dotted(file: Path) -> str:
    name = file.relative_to(ROOT.parent).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


@functools.cache
def _modules(file: Path) -> frozenset[str]:
    """The modules of ours that a file imports: of a package's names each that is a module."""
    known, found = {_dotted(other) for other in MODULES}, set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found.update(name if name in known else str(node.module) for name in names)
    return frozenset((found & known) - {_dotted(file), "steering"})


def _top(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_the_reader_of_dnstap_knows_only_values_and_the_standard_library() -> None:
    """It reads what strangers sent, in a process of its own, and is started without site."""
    values = ("steering.observe.dnstap", "steering.model", "steering.system")
    for file in MODULES:
        if _name(file).startswith("observe/dnstap/"):
            ours = {m for m in _imports(file) if _within(m, "steering")}
            assert not {m for m in ours if not _within(m, *values)} - {"steering"}
            others = {m.split(".")[0] for m in _imports(file)} - sys.stdlib_module_names
            assert others <= {"steering", "mypy_extensions"}


SERVING = (
    *("process", "connection", "rendering", "ipc", "request", "routes", "static", "watchers"),
)
"""What of `report/http` runs in the process that meets the strangers."""


@pytest.mark.parametrize("name", SERVING)
def test_the_process_that_serves_http_knows_only_values_and_the_standard_library(name: str) -> None:
    file = ROOT / "report/http" / f"{name}.py"
    ours = {m for m in _imports(file) if _within(m, "steering")} - {"steering.report.http"}
    mine = tuple(f"steering.report.http.{other}" for other in SERVING)
    assert not {m for m in ours if not _within(m, "steering.model", *mine)}
    assert {m.split(".")[0] for m in _imports(file)} - sys.stdlib_module_names <= {"steering"}


def test_what_everybody_may_use_uses_the_standard_library_alone() -> None:
    for file in MODULES:
        if _name(file).startswith("system/"):
            others = {
                m for m in _imports(file) if not _within(m, "steering.model", "steering.system")
            }
            roots = {m.split(".")[0] for m in others - {"steering"}}
            assert roots <= sys.stdlib_module_names, _name(file)


@pytest.mark.parametrize("name", ["model.py", "bounds.py"])
def test_values_import_no_stage(name: str) -> None:
    found = {m for m in _imports(ROOT / name) if _within(m, "steering")}
    assert not found


SWALLOWING = {
    "act/guard.py": 1,  # what outlives every bug takes the routes back
    "agent/reload.py": 1,  # reads anybody's text, and nothing has been changed yet
    "agent/runtime.py": 1,  # the same of what follows from such a text
    "report/http/process.py": 1,  # what a stranger sent costs him his connection alone
    "system/unreadable.py": 1,  # bytes of others: a message costs itself, and never the process
    "cli/off_paths.py": 4,  # whatever a broken configuration brings about, the switch is thrown
    "system/side_thread.py": 1,  # raised again where the result is waited for
}


def test_a_bug_ends_the_process_but_where_that_would_be_worse() -> None:
    found = Counter(
        _name(file)
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or _catches_all(node.type))
        and not _raises_again(node)
    )
    assert found == SWALLOWING


def _catches_all(caught: ast.expr) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(n, ast.Name) and n.id in ("Exception", "BaseException") for n in names)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    """Only tidies up and lets the error pass."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_what_a_stranger_would_have_to_guess_is_never_drawn_from_a_state() -> None:
    """Ids, names and letters of questions show on the wire, and so the state of what drew them."""
    stateless = {"SystemRandom"}
    drawn: dict[str, set[str]] = {}
    for file in MODULES:
        if _name(file).startswith("observe/dnstap/"):
            continue  # the reader sends nothing to strangers: what it draws is a sample
        if _name(file).startswith(("observe/", "agent/", "act/", "system/")):
            assert not {m for m in _imports(file) if m.startswith("random.")}, _name(file)
            called = {
                node.func.attr
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "random"
            }
            if called:
                drawn[_name(file)] = called
    assert drawn == {"observe/nonce.py": stateless}


LINES = 400
LONGER = {"observe/dnstap/counter.py"}
"""It runs in a process of its own for every message, in one loop."""


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    long = {_name(file) for file in MODULES if len(file.read_text().splitlines()) > LINES}
    assert long == LONGER
