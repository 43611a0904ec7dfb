"""The files of one load: each against its model, and what is wrong with any of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from steering.config.base import MisfitError, Section, section_at
from steering.config.problems import ConfigError, Location, Problem, shown, suggestion
from steering.config.scalars import Place
from steering.config.yaml_file import Allowance, Document, decoded, parse, read

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

S = TypeVar("S", bound=Section)

MOST = 200
"""Problems that are told of one kind in one file, and in all. Nobody reads more, and whoever
writes the files could make a message of any length."""

Instead = Mapping[Path, str | None]
"""Texts that stand for what is on the disk, to try a change before it is made; None: no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Every file of one load passes through here, and leaves its problems."""

    instead: Instead = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    allowance: Allowance = field(default_factory=Allowance)
    digests: dict[Path, tuple[Path | None, int]] = field(default_factory=dict)
    """What was read, by a hash of its bytes, and within which directory."""

    def document(self, file: Path, *, within: Path | None = None) -> Document | None:
        """One file as values, or None where nothing in it can be checked further.

        `within`: links are followed within this directory alone.
        """
        try:
            text = self.instead.get(file)
            if text is None:
                raw = read(file, within=within, allowance=self.allowance)
                self.digests[file] = (within, hash(raw))
                document = parse(decoded(raw, file), file, self.allowance)
            else:
                document = parse(text, file, self.allowance)
        except ConfigError as error:
            self.problems.extend(error.problems)
            return None
        self.problems.extend(document.problems)
        return document

    def unchanged(self) -> bool:
        """Whether each file holds what it held when it was read."""
        try:
            return all(
                hash(read(file, within=within)) == digest
                for file, (within, digest) in self.digests.items()
            )
        except ConfigError:
            return False

    def checked(self, model: type[S], document: Document) -> S | None:
        """The document as a model, or None with the problems added."""
        try:
            return model.model_validate(document.values, context=Place(file=document.file))
        except ValidationError as error:
            for detail in islice(error.errors(include_url=False), MOST + 1):
                location = tuple(part for part in detail["loc"] if part != "[key]")
                if isinstance(misfit := detail.get("ctx", {}).get("error"), MisfitError):
                    location += (misfit.key,)
                problem = document.problem(location, _explained(model, location, detail))
                if problem.path not in document.unread:
                    self.problems.append(problem)
            return None

    def refusal(self) -> ConfigError:
        """What was wrong, each problem once, by file and line: the first `MOST` of them."""
        problems = sorted(set(self.problems), key=_order)
        if len(problems) > MOST:
            message = "there are more problems: correct these first"
            problems[MOST:] = [replace(problems[MOST], path="", message=message)]
        return ConfigError(tuple(problems))


def check(model: type[S], document: Document) -> S:
    """The values of one document as the model wants them, by themselves.

    Raises:
        ConfigError: with all problems of the document.
    """
    reading = Validation()
    checked = reading.checked(model, document)
    if checked is None or reading.problems:
        raise reading.refusal()
    return checked


def _explained(model: type[Section], location: Location, detail: ErrorDetails) -> str:
    """One of pydantic's errors in the words of these files."""
    value = detail.get("input")
    section = section_at(model, location[:-1])
    match detail["type"]:
        case "value_error":
            return str(detail["ctx"]["error"])
        case "missing":
            about = section.field(str(location[-1])).description if section else None
            return f"is missing, wanted: {about or 'a value'}".rstrip(".")
        case "extra_forbidden":
            known = section.known() if section else ()
            return f"unknown key, {suggestion(str(location[-1]), known)}"
        case "enum":
            return f"is {shown(value)}, wanted {detail['ctx']['expected']}".replace("'", "")
        case "model_type" | "dict_type" | "mapping_type" | "model_attributes_type":
            return f"is {shown(value)}, wanted a mapping of keys"
        case "tuple_type":
            return f"is {shown(value)}, wanted a list"
        case _:
            return f"is {shown(value)}: {detail['msg']}"


def _order(problem: Problem) -> tuple[str, int, str, str]:
    return (str(problem.file), problem.line, problem.path, problem.message)
