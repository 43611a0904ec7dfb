"""All files read and checked, whole or not at all.

Every problem of every file is found in one go: the schema first, value by value, then what
only shows between files. A file that has problems takes no part in the latter.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from steering.config import references
from steering.config.configuration import Config
from steering.config.document import Document, read
from steering.config.policy import Policy
from steering.config.problems import ConfigError, Location, Problem, shown, suggestion
from steering.config.scalars import Place
from steering.config.section import MisfitError, Section, section_at

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

S = TypeVar("S", bound=Section)

NOT_POLICIES = frozenset({"overrides.yaml"})
"""Files in the directory of the policies that are something else."""

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""(path, modification time in ns, size, inode) of each file; zeros where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A configuration and its policies that fit each other."""

    config: Config
    policies: tuple[Policy, ...]


def load(path: Path) -> Setup:
    """Read the configuration and the policies it names.

    Raises:
        ConfigError: with all problems of all files, by file and line.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  (a link's own directory is what counts)
    problems: list[Problem] = []
    document = _read(path, problems)
    config = _checked(Config, document, problems) if document else None
    directory = config.policies if config else _named(document, path, "policies", "policies")
    documents: dict[Path, Document] = {}
    policies: list[Policy] = []
    if directory is not None and document is not None:
        for file in _policy_files(directory, document, problems):
            if (found := _read(file, problems)) is None:
                continue
            documents[file] = found
            if policy := _checked(Policy, found, problems):
                policies.append(policy)
    anchors = config.trust_anchors if config else _named(document, path, "trust_anchors", None)
    if anchors and document and (because := _unreadable(anchors)):
        message = f"{anchors} {because}, wanted a file of DS or DNSKEY records"
        problems.append(document.problem(("trust_anchors",), message))
    problems += _mismatches(config, document, tuple(policies), documents)
    if config is None or problems:
        raise ConfigError(tuple(sorted(set(problems), key=_order)))
    return Setup(config=config, policies=tuple(policies))


def check(model: type[S], document: Document) -> S:
    """The values of one document as the model wants them, by themselves.

    Raises:
        ConfigError: with all problems of the document.
    """
    problems: list[Problem] = []
    checked = _checked(model, document, problems)
    if checked is None or problems:
        raise ConfigError(tuple(sorted(problems, key=_order)))
    return checked


def fingerprint(path: Path) -> Fingerprint:
    """What changes when a file that `load` would read does. Take it before loading.

    It costs a few stat calls; the configuration is parsed again only when it changed itself.
    Raises nothing: a file that cannot be looked at has zeros.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100
    own = _stat(path)
    directory, anchors = _whereabouts(path, own)
    inside = sorted({*_entries(directory), *_entries(directory / "overrides.d")})
    files = [directory, *inside, *([anchors] if anchors else [])]
    return (own, *map(_stat, files))


def _read(file: Path, problems: list[Problem]) -> Document | None:
    try:
        document = read(file)
    except ConfigError as error:
        problems += error.problems
        return None
    problems += document.problems
    return document


def _checked(model: type[S], document: Document, problems: list[Problem]) -> S | None:
    """The document as a model, or None with the problems added."""
    try:
        return model.model_validate(document.values, context=Place(file=document.file))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            location = tuple(part for part in detail["loc"] if part != "[key]")
            if isinstance(misfit := detail.get("ctx", {}).get("error"), MisfitError):
                location += (misfit.key,)
            problem = document.problem(location, _explained(model, location, detail))
            if problem.path not in document.unread:
                problems.append(problem)
        return None


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


def _policy_files(directory: Path, document: Document, problems: list[Problem]) -> Iterator[Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(directory))
    except (OSError, ValueError) as error:
        because = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be listed"
        message = f"{directory} {because}, wanted a directory of policies"
        problems.append(document.problem(("policies",), message))
        return
    names = [name for name in names if not name.startswith(".") and name not in NOT_POLICIES]
    files = [directory / name for name in names if name.endswith(".yaml")]
    if not files:
        message = f"{directory} holds no policy, wanted at least one .yaml file"
        problems.append(document.problem(("policies",), message))
    for name in names:
        if name.endswith(".yml"):
            message = "is not read by this name, wanted .yaml"
            problems.append(Problem(file=directory / name, line=1, path="", message=message))
    yield from files


def _mismatches(
    config: Config | None,
    document: Document | None,
    policies: tuple[Policy, ...],
    documents: dict[Path, Document],
) -> Iterator[Problem]:
    if config and document:
        for wrong in references.wrong_in(config):
            yield document.problem(*wrong)
        for wrong in references.wrong_hops(config, policies):
            yield document.problem(*wrong)
    # The names of the sites serve even where something else about them is wrong.
    sites = document.values.get("sites") if document else None
    if isinstance(sites, dict):
        for policy in policies:
            for wrong in references.wrong_sites(policy, tuple(sites)):
                yield documents[policy.file].problem(*wrong)
    for policy, (location, message) in references.wrong_between(policies):
        found = documents[policy.file]
        yield found.problem(_as_typed(location, policy, found), message)


def _as_typed(location: Location, policy: Policy, document: Document) -> Location:
    """A location in a policy by the nameserver's name as it stands in the file."""
    typed = document.values.get("nameservers")
    if location[0] != "nameservers" or not isinstance(typed, dict):
        return location
    names = dict(zip(policy.nameservers, typed, strict=True))
    return ("nameservers", names[str(location[1])], *location[2:])


def _named(document: Document | None, path: Path, key: str, default: str | None) -> Path | None:
    """A path the configuration names, where the rest of it may be wrong."""
    value = document.values.get(key, default) if document else default
    usable = isinstance(value, str) and value and value.isprintable()
    return Path(os.path.abspath(path.parent / str(value))) if usable else None  # noqa: PTH100


def _unreadable(file: Path) -> str | None:
    try:
        if not file.is_file():
            return "is not there" if not file.exists() else "is not a regular file"
        with file.open("rb") as stream:
            stream.read(1)
    except (OSError, ValueError):
        return "cannot be read"
    return None


def _stat(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return (str(path), 0, 0, 0)
    return (str(path), found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=4)
def _whereabouts(path: Path, _seen: tuple[str, int, int, int]) -> tuple[Path, Path | None]:
    """Where the configuration at `path`, as last seen, says that the other files are."""
    try:
        document = read(path)
    except ConfigError:
        document = None
    directory = _named(document, path, "policies", "policies") or path.parent / "policies"
    return directory, _named(document, path, "trust_anchors", None)


def _entries(directory: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(directory) if entry.name.endswith(".yaml")]
    except (OSError, ValueError):
        return []


def _order(problem: Problem) -> tuple[str, int, str, str]:
    return (str(problem.file), problem.line, problem.path, problem.message)
