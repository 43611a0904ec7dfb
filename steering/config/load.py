"""Reads and checks all files. The result is complete, or there is none.

All problems of all files are found at once: first each value by its schema, then what only shows
between files. A file with problems takes no part in the second step, except that the sites that a
policy names are looked up.
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
    WrittenOverride,
    read_overrides,
    remarks_on,
    wrong_overrides,
)
from steering.config.policy import Policy
from steering.config.problems import ConfigError, Location, Problem
from steering.config.validate import MOST, Instead, Validation
from steering.config.yaml_file import LARGEST, Document, decoded, parse, read
from steering.config.zone_copy import ZoneCopy
from steering.override import Override
from steering.system.files import names_in, read_regular

NOT_POLICIES = frozenset({FILE})
"""Files in the directory of the policies that are no policies."""

ENTRIES = 10_000
"""Files of any kind that a directory may hold. The agent looks at all of them twice a second."""

Fingerprint = tuple[tuple[str, int, int, int], ...]
"""(path, modification time in ns, size, inode) of each file; zeros where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A configuration, its policies and the overrides, checked against each other."""

    config: Config
    policies: tuple[Policy, ...]
    copies: tuple[ZoneCopy, ...] = ()
    """Zones of which resolvers of this site serve their own copy."""
    overrides: tuple[Override, ...] = ()
    """In order: where two match, the later one applies. Ended ones are included."""
    override_files: Mapping[str, Path] = field(default_factory=dict)
    """Override -> its file."""
    remarks: tuple[Problem, ...] = ()
    """What is valid but may be a mistake: an override that matches nothing."""


def load(path: Path, *, instead: Instead | None = None, reading: Validation | None = None) -> Setup:
    """Read the configuration, the policies it names, and the overrides beside them.

    Args:
        path: the configuration.
        instead: texts used instead of files of overrides, to try a change before it is made.
        reading: the validation to use, if the caller will ask it later whether the files changed.

    Raises:
        ConfigError: with all problems of all files, by file and line.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  (of a link its own directory counts)
    reading = reading or Validation(instead=instead or {})
    problems = reading.problems
    document = reading.document(path)
    config = reading.checked(Config, document) if document else None
    directory = config.policies if config else _path_at(document, path, "policies", "policies")
    documents: dict[Path, Document] = {}
    policies: list[Policy] = []
    copies: list[ZoneCopy] = []
    overrides: tuple[WrittenOverride, ...] = ()
    if directory is not None and document is not None:
        for file in _policy_files(directory, document, problems):
            if (found := reading.document(file)) is None:
                continue
            documents[file] = found
            if "zone_copy" in found.values:
                if copy := reading.checked(ZoneCopy, found):
                    copies.append(copy)
            elif policy := reading.checked(Policy, found):
                policies.append(policy)
        overrides = read_overrides(directory, reading)
    anchors = config.trust_anchors if config else _path_at(document, path, "trust_anchors", None)
    if anchors and document and (because := _unreadable(anchors)):
        message = f"{anchors} {because}, wanted a file of DS or DNSKEY records"
        problems.append(document.problem(("trust_anchors",), message))
    problems += _mismatches(config, document, tuple(policies), documents)
    for copy, finding in cross_checks.wrong_copies(copies, policies):
        problems.append(documents[copy.file].problem(*finding))
    problems += islice(wrong_overrides(overrides, *_site_names(document)), MOST + 1)
    if config is None or problems:
        raise reading.refusal()
    asked = tuple(cross_checks.within(policy, config.families) for policy in policies)
    targets = tuple(target for policy in asked for target in policy.targets)
    return Setup(
        config=config,
        policies=asked,
        copies=tuple(copies),
        overrides=tuple(one.override for one in overrides),
        override_files={one.override.name: one.file for one in overrides},
        remarks=tuple(islice(remarks_on(overrides, config, targets), MOST)),
    )


def fingerprint(path: Path) -> Fingerprint:
    """A value that changes when a file that `load` would read changes. Take it before loading.

    It costs a few stat calls. The configuration is parsed again only when it has changed.
    Raises nothing: a file without a stat has zeros.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100
    own = _stat(path)
    directory, anchors = _other_places(path, own)
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
        for finding in cross_checks.wrong_in(config):
            yield document.problem(*finding)
        for finding in cross_checks.wrong_hops(config, policies):
            yield document.problem(*finding)
        for finding in cross_checks.left_empty(config, policies):
            yield document.problem(*finding)
    site, sites = _site_names(document)
    if site is not None:
        for found in documents.values():
            for finding in cross_checks.wrong_sites(_steered_to(found), sites):
                yield found.problem(*finding)
    for policy, (location, message) in cross_checks.wrong_between(policies):
        found = documents[policy.file]
        yield found.problem(_as_typed(location, policy, found), message)


def _steered_to(policy: Document) -> Sequence[object]:
    """The sites in a policy's file, known even if the rest of the file is wrong."""
    steer = policy.values.get("steer")
    to = steer.get("to") if isinstance(steer, dict) else None
    return to if isinstance(to, list) else ()


def _site_names(document: Document | None) -> tuple[str | None, tuple[str, ...]]:
    """The names of this site and of the remote ones, known even if the rest is wrong.

    None: the file does not show which sites there are.
    """
    values = document.values if document else {}
    sites = values.get("sites")
    return (str(values.get("site")), tuple(sites)) if isinstance(sites, dict) else (None, ())


def _as_typed(location: Location, policy: Policy, document: Document) -> Location:
    """A location in a policy, with the nameserver's name as it was typed."""
    typed = document.values.get("nameservers")
    if location[0] != "nameservers" or not isinstance(typed, dict):
        return location
    names = dict(zip(policy.nameservers, typed, strict=True))
    return ("nameservers", names[str(location[1])], *location[2:])


def _path_at(document: Document | None, path: Path, key: str, default: str | None) -> Path | None:
    """A path in the configuration, known even if the rest of the file is wrong."""
    value = document.values.get(key, default) if document else default
    usable = isinstance(value, str) and value and value.isprintable()
    return Path(os.path.abspath(path.parent / str(value))) if usable else None  # noqa: PTH100


def _unreadable(file: Path) -> str | None:
    try:
        read_regular(file, LARGEST)
    except FileNotFoundError:
        return "is not there"
    except (OSError, ValueError) as error:
        explained = isinstance(error, OSError) and error.errno in (errno.EINVAL, errno.EFBIG)
        return str(error.strerror) if explained else "cannot be read"  # type: ignore[union-attr]
    return None


def _stat(path: Path | str) -> tuple[str, int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - faster, for ten thousand files twice a second
    except (OSError, ValueError):
        return (str(path), 0, 0, 0)
    return (str(path), found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=4)
def _other_places(path: Path, _seen: tuple[str, int, int, int]) -> tuple[Path, Path | None]:
    """The directory of the policies and the file of the trust anchors, by the configuration."""
    try:
        document = parse(decoded(read(path), path), path)
    except ConfigError:
        document = None
    directory = _path_at(document, path, "policies", "policies") or path.parent / "policies"
    return directory, _path_at(document, path, "trust_anchors", None)


def _entries(directory: Path) -> list[tuple[str, int, int, int]]:
    """The stats of the files to read in a directory; of the directory if it has too many files."""
    try:
        names = names_in(directory, ENTRIES)
    except (OSError, ValueError) as error:
        too_many = isinstance(error, OSError) and error.errno == errno.E2BIG
        return [_stat(directory)] if too_many else []
    return [_stat(f"{directory}/{name}") for name in names if name.endswith(".yaml")]
