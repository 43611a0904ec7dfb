"""All files read and checked, whole or not at all.

Every problem of every file is found in one go: the schema first, value by value, then what
only shows between files. A file that has problems takes no part in the latter, except that
the sites a policy names are looked up.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

from steering.config import cross_checks
from steering.config.configuration import Config
from steering.config.override_files import (
    FILE,
    FOLDER,
    Written,
    remarks_on,
    written,
    wrong_overrides,
)
from steering.config.policy import Policy
from steering.config.problems import ConfigError, Location, Problem
from steering.config.validate import MOST, Instead, Validation
from steering.config.yaml_file import LARGEST, Document, decoded, parse, read
from steering.model import Override
from steering.system.files import names_in, read_regular

NOT_POLICIES = frozenset({FILE})
"""Files in the directory of the policies that are something else."""

ENTRIES = 10_000
"""Files that a directory may hold, whatever they are: so many are looked at twice a second."""

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""(path, modification time in ns, size, inode) of each file; zeros where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A configuration, its policies and the overrides, that fit each other."""

    config: Config
    policies: tuple[Policy, ...]
    overrides: tuple[Override, ...] = ()
    """In order: where two match, the later one has the word. Ended ones are among them."""
    override_files: Mapping[str, Path] = field(default_factory=dict)
    """Override -> the file it stands in."""
    remarks: tuple[Problem, ...] = ()
    """What is valid and may still be a slip: an override that matches nothing."""


def load(path: Path, *, instead: Instead | None = None, reading: Validation | None = None) -> Setup:
    """Read the configuration, the policies it names, and the overrides beside them.

    Args:
        path: the configuration.
        instead: texts that stand for files of overrides, to try a change before it is made.
        reading: through which the files pass, for whoever asks later whether they still say so.

    Raises:
        ConfigError: with all problems of all files, by file and line.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  (a link's own directory is what counts)
    reading = reading or Validation(instead=instead or {})
    problems = reading.problems
    document = reading.document(path)
    config = reading.checked(Config, document) if document else None
    directory = config.policies if config else _named(document, path, "policies", "policies")
    documents: dict[Path, Document] = {}
    policies: list[Policy] = []
    overrides: tuple[Written, ...] = ()
    if directory is not None and document is not None:
        for file in _policy_files(directory, document, problems):
            if (found := reading.document(file)) is None:
                continue
            documents[file] = found
            if policy := reading.checked(Policy, found):
                policies.append(policy)
        overrides = written(directory, reading)
    anchors = config.trust_anchors if config else _named(document, path, "trust_anchors", None)
    if anchors and document and (because := _unreadable(anchors)):
        message = f"{anchors} {because}, wanted a file of DS or DNSKEY records"
        problems.append(document.problem(("trust_anchors",), message))
    problems += _mismatches(config, document, tuple(policies), documents)
    problems += islice(wrong_overrides(overrides, *_site_names(document)), MOST + 1)
    if config is None or problems:
        raise reading.refusal()
    asked = tuple(cross_checks.within(policy, config.families) for policy in policies)
    targets = tuple(target for policy in asked for target in policy.targets)
    return Setup(
        config=config,
        policies=asked,
        overrides=tuple(one.override for one in overrides),
        override_files={one.override.name: one.file for one in overrides},
        remarks=tuple(islice(remarks_on(overrides, config, targets), MOST)),
    )


def fingerprint(path: Path) -> Fingerprint:
    """What changes when a file that `load` would read does. Take it before loading.

    It costs a few stat calls; the configuration is parsed again only when it changed itself.
    Raises nothing: a file that cannot be looked at has zeros.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100
    own = _stat(path)
    directory, anchors = _whereabouts(path, own)
    folder = directory / FOLDER
    inside = sorted({*_entries(directory), *_entries(folder)})
    return (own, _stat(directory), *inside, *([_stat(anchors)] if anchors else []))


def _policy_files(directory: Path, document: Document, problems: list[Problem]) -> Iterator[Path]:
    try:
        names = names_in(directory, ENTRIES)
    except (OSError, ValueError) as error:
        because = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be listed"
        if isinstance(error, OSError) and error.errno == errno.E2BIG:
            because = str(error.strerror)
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
        for wrong in cross_checks.wrong_in(config):
            yield document.problem(*wrong)
        for wrong in cross_checks.wrong_hops(config, policies):
            yield document.problem(*wrong)
        for wrong in cross_checks.left_empty(config, policies):
            yield document.problem(*wrong)
    site, sites = _site_names(document)
    if site is not None:
        for found in documents.values():
            for wrong in cross_checks.wrong_sites(_steered_to(found), sites):
                yield found.problem(*wrong)
    for policy, (location, message) in cross_checks.wrong_between(policies):
        found = documents[policy.file]
        yield found.problem(_as_typed(location, policy, found), message)


def _steered_to(policy: Document) -> Sequence[object]:
    """The sites that a policy's file names, which can be told where else about it is wrong."""
    steer = policy.values.get("steer")
    to = steer.get("to") if isinstance(steer, dict) else None
    return to if isinstance(to, list) else ()


def _site_names(document: Document | None) -> tuple[str | None, tuple[str, ...]]:
    """This site's name and the remote ones', which serve even where else about them is wrong.

    None: nobody can tell which sites there are.
    """
    values = document.values if document else {}
    sites = values.get("sites")
    return (str(values.get("site")), tuple(sites)) if isinstance(sites, dict) else (None, ())


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
        read_regular(file, LARGEST)
    except FileNotFoundError:
        return "is not there"
    except (OSError, ValueError) as error:
        told = isinstance(error, OSError) and error.errno in (errno.EINVAL, errno.EFBIG)
        return str(error.strerror) if told else "cannot be read"  # type: ignore[union-attr]
    return None


def _stat(path: Path | str) -> tuple[str, int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - ten thousand of them are looked at twice a second
    except (OSError, ValueError):
        return (str(path), 0, 0, 0)
    return (str(path), found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=4)
def _whereabouts(path: Path, _seen: tuple[str, int, int, int]) -> tuple[Path, Path | None]:
    """Where the configuration at `path`, as last seen, says that the other files are."""
    try:
        document = parse(decoded(read(path), path), path)
    except ConfigError:
        document = None
    directory = _named(document, path, "policies", "policies") or path.parent / "policies"
    return directory, _named(document, path, "trust_anchors", None)


def _entries(directory: Path) -> list[tuple[str, int, int, int]]:
    """The files of a directory that would be read; of one that holds too many, itself alone."""
    try:
        names = names_in(directory, ENTRIES)
    except (OSError, ValueError) as error:
        too_many = isinstance(error, OSError) and error.errno == errno.E2BIG
        return [_stat(directory)] if too_many else []
    return [_stat(f"{directory}/{name}") for name in names if name.endswith(".yaml")]
