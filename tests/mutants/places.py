"""Where a mutant can be: every place of the mutated folders that one of the operators changes.

The operators are those of Cosmic Ray, without the ones that say little: what another operator
already shows (`+` for `**`), what is the same in most places (`is` for `==`), what fails at
import (a decorator less). One is added, because the worst fault here is something not done: a
call whose result nobody uses is left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cosmic_ray.ast
import cosmic_ray.mutating
import cosmic_ray.operators.operator
from cosmic_ray.operators.provider import OperatorProvider

FOLDERS: Final = ("decide", "judge", "act", "observe", "agent", "engine")

_SWAPS: Final = {
    "ReplaceBinaryOperator": (
        "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Add LShift_RShift RShift_LShift "
        "BitOr_BitAnd BitAnd_BitOr BitXor_BitOr"
    ),
    "ReplaceComparisonOperator": (
        "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt "
        "Is_IsNot IsNot_Is"
    ),
    "ReplaceUnaryOperator": "USub_UAdd Delete_Not Delete_Invert",
}
_SINGLE: Final = (
    "AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd "
    "ReplaceBreakWithContinue ReplaceContinueWithBreak ExceptionReplacer NumberReplacer "
    "ZeroIterationForLoop"
)

_ALIAS: Final = re.compile(r"[A-Z]\w*[a-z]\w*\s*=\s*[\w.\[\],\s|\"]+$")
"""`Rows = Sequence[Row] | None`: a name for a type."""

_STARRED: Final = frozenset({"parameters", "param", "lambdef", "argument", "star_expr"})
"""Where `*` multiplies nothing: `/` in its place is no code, or code that is called alike."""

_UNCHANGED: Final = frozenset({"name", "string", "newline", "endmarker"})
"""Nodes that are most of a file, and no operator changes."""


class LeaveOutCall(cosmic_ray.operators.operator.Operator):  # type: ignore[misc]
    """A statement that is a call alone becomes `pass`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
        if node.type == "simple_stmt" and _is_call(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, _index: int) -> Any:  # noqa: ANN401
        first = node.children[0]
        ahead = first.get_first_leaf().prefix
        (statement,) = cosmic_ray.ast.get_ast("pass\n").children[:1]
        put = statement.children[0]
        put.prefix = ahead
        put.parent = node
        node.children[0] = put
        return node

    @classmethod
    def examples(cls) -> Sequence[Any]:
        return ()


def _is_call(node: Any) -> bool:  # noqa: ANN401
    if node.type == "await":
        node = node.children[-1]
    if node.type not in {"atom_expr", "power"}:
        return False
    last = node.children[-1]
    return bool(last.type == "trailer" and last.children[0].value == "(")


def operators() -> dict[str, Any]:
    """By name."""
    provider = OperatorProvider()
    names = _SINGLE.split()
    names += [f"{kind}_{swap}" for kind, swaps in _SWAPS.items() for swap in swaps.split()]
    return {name: provider[name]() for name in names} | {"LeaveOutCall": LeaveOutCall()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One fault: an operator's n-th chance in one file."""

    file: str
    """Relative to the top of the tree."""
    operator: str
    occurrence: int
    line: int
    column: int

    @property
    def folder(self) -> str:
        return self.file.split("/")[1]

    @property
    def name(self) -> str:
        """Which `--alone` takes."""
        return f"{self.file}:{self.operator}:{self.occurrence}"

    def source(self, original: str) -> str:
        """The file's text with the fault in it."""
        mutated = cosmic_ray.mutating.mutate_code(
            original, operators()[self.operator], self.occurrence
        )
        assert isinstance(mutated, str)
        return mutated


def find(root: Path, folder: str) -> list[Mutant]:
    """Every mutant of one of `FOLDERS`, or of a folder or a file below it."""
    place = root / "steering" / folder
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    return [
        mutant
        for file in files
        for mutant in mutants(str(file.relative_to(root)), file.read_text(encoding="utf-8"))
    ]


def mutants(file: str, source: str) -> list[Mutant]:
    """Every mutant of one file's text."""
    found = []
    using = operators()
    counts = dict.fromkeys(using, 0)
    for node, left_out in _nodes(cosmic_ray.ast.get_ast(source), left_out=False):
        if node.type in _UNCHANGED:
            continue
        for name, operator in using.items():
            for (line, column), _ in operator.mutation_positions(node):
                if not left_out:
                    found.append(
                        Mutant(
                            file=file,
                            operator=name,
                            occurrence=counts[name],
                            line=line,
                            column=column,
                        )
                    )
                counts[name] += 1
    return found


def _nodes(node: Any, *, left_out: bool) -> Iterator[tuple[Any, bool]]:  # noqa: ANN401
    """Each node, in the order in which Cosmic Ray counts, and whether it is left out."""
    yield node, left_out
    children = getattr(node, "children", ())
    for number, child in enumerate(children):
        yield from _nodes(child, left_out=left_out or _no_place(node, number, child))


def _no_place(node: Any, number: int, child: Any) -> bool:  # noqa: ANN401
    """Annotations, decorators, imports, names for types, text for people, stars of arguments."""
    if child.type == "operator" and node.type in _STARRED:
        return True
    if child.type in {"decorator", "decorators", "import_name", "import_from", "fstring"}:
        return True
    if node.type == "annassign":
        return number == 1
    if node.type in {"tfpdef", "param"}:
        return bool(child.type == "tfpdef") or (node.type == "tfpdef" and number == 2)
    if node.type == "funcdef":
        before = node.children[number - 1]
        return bool(number and getattr(before, "value", "") == "->")
    if node.type == "if_stmt":
        return bool(node.children[1].get_code().strip() == "TYPE_CHECKING" and number > 1)
    if child.type == "expr_stmt" and child.parent.parent.type == "file_input":
        return _ALIAS.match(child.get_code().strip()) is not None
    return False


def sample(found: Mapping[str, Sequence[Mutant]], number: int, seed: int) -> list[Mutant]:
    """So many mutants, evenly by folder; the same for the same seed and sources.

    A place is drawn first and one of its mutants then: a place with many operators counts no
    more than one with few.
    """
    draw = random.Random(seed)
    drawn: dict[str, list[Mutant]] = {}
    for folder, all_there in found.items():
        places: dict[tuple[str, int, int], list[Mutant]] = {}
        for mutant in all_there:
            places.setdefault((mutant.file, mutant.line, mutant.column), []).append(mutant)
        order = sorted(places)
        draw.shuffle(order)
        drawn[folder] = [draw.choice(places[place]) for place in order]
    chosen: list[Mutant] = []
    while len(chosen) < number and any(drawn.values()):
        for waiting in drawn.values():
            if waiting and len(chosen) < number:
                chosen.append(waiting.pop(0))
    return chosen
