"""The files of the overrides, in their order, and whether they fit the other files.

First `overrides.yaml`, then `overrides.d/*.yaml` by name. A site that is named must exist. An
override that matches no address is only reported: its policy may be added later, and an error
would keep all other overrides from being applied.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steering.config.configuration import Config
from steering.config.matching import Matching
from steering.config.overrides import Overrides
from steering.config.problems import Problem, shown, suggestion
from steering.config.validate import Validation
from steering.config.yaml_file import Document
from steering.model import Family, Target
from steering.override import Action, Override
from steering.remedies import EVERY_ALARM, OF_ADDRESSES
from steering.system.files import names_in

FILE, FOLDER = "overrides.yaml", "overrides.d"
MANY = 10_000
"""Overrides in all files, and files in the directory. Far more than people can oversee."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenOverride:
    """One override, and its place in the files."""

    override: Override
    document: Document
    at: int
    """Its index in the file's list, from 0."""

    @property
    def file(self) -> Path:
        """Its file."""
        return self.document.file

    def problem(self, message: str, *key: str) -> Problem:
        """A problem with it, or with one of its keys."""
        return self.document.problem(("overrides", self.at, *key), message)


def read_overrides(directory: Path, reading: Validation) -> tuple[WrittenOverride, ...]:
    """Every override below the directory of the policies, in order; problems go to `reading`."""
    found: list[WrittenOverride] = []
    counted, folder = 0, directory / FOLDER
    for file in _files(directory, reading):
        # A user who may write there must not have other users' files read and quoted by a link.
        within = folder if file.parent == folder else None
        if (document := reading.document(file, within=within)) is None:
            continue
        listed = document.values.get("overrides")
        counted += len(listed) if isinstance(listed, list) else 0
        if counted > MANY:
            message = f"with those before it makes {counted} overrides, wanted at most {MANY}"
            reading.problems.append(document.problem(("overrides",), message))
            break
        if checked := reading.checked(Overrides, document):
            found += (
                WrittenOverride(override=entry.override(), document=document, at=at)
                for at, entry in enumerate(checked.overrides)
            )
    return tuple(found)


def wrong_overrides(
    every: Sequence[WrittenOverride], site: str | None, sites: tuple[str, ...]
) -> Iterator[Problem]:
    """Names that are used twice, and sites that do not exist.

    An override for the agent of another site may send its traffic anywhere, also to this site.
    """
    first: dict[str, WrittenOverride] = {}
    for one in every:
        override = one.override
        before = first.setdefault(override.name, one)
        if before is not one:
            where = f"{before.file.name}:{before.document.line(('overrides', before.at))}"
            yield one.problem(f"{override.name} is there already in {where}, wanted once", "name")
        if site is None:
            continue
        of_site = override.match.site
        if of_site is not None and of_site not in (site, *sites):
            message = f"{of_site} is no site, {suggestion(of_site, (site, *sites))}"
            yield one.problem(message, "match", "site")
        if override.to is not None and of_site in (None, site) and override.to not in sites:
            if override.to == site:
                message = f"{site} is this site itself, wanted a remote one (or match.site)"
            else:
                message = f"{override.to} is no remote site, {suggestion(override.to, sites)}"
            yield one.problem(message, "to")


def remarks_on(
    every: Sequence[WrittenOverride], config: Config, targets: Sequence[Target]
) -> Iterator[Problem]:
    """Valid overrides that have no effect, which may be a mistake."""
    if not every:
        return
    matching, known = Matching(targets, config.site), _Names.of(targets)
    families = {target.address: target.family for target in targets}
    for one in every:
        match = one.override.match
        if match.site not in (None, config.site):
            continue
        covered = matching.addresses(match)
        alarm = one.override.alarm
        if alarm is not None and alarm not in EVERY_ALARM:
            hint = suggestion(alarm, tuple(sorted(EVERY_ALARM)))
            yield one.problem(f"matches nothing: {shown(alarm)} is no alarm, {hint}", "alarm")
        elif alarm is not None and match.narrow and alarm not in OF_ADDRESSES:
            message = f"matches nothing: {alarm} is not about addresses, wanted {{}} or a site"
            yield one.problem(message, "match")
        elif not covered and (alarm is None or match.narrow):
            yield _matches_nothing(one, known)
        elif one.override.action is Action.STEER and one.override.to is not None:
            hops = config.sites[one.override.to].next_hop
            for family in Family:
                stay = sum(families[address] is family for address in covered)
                if stay and family not in hops:
                    message = (
                        f"{one.override.to} has no next hop for {family}: {stay} of"
                        f" {len(covered)} addresses can't be steered there"
                    )
                    yield one.problem(message, "to")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """The upstreams, nameservers and addresses of the policies."""

    upstreams: frozenset[str]
    nameservers: frozenset[str]
    addresses: frozenset[str]

    @classmethod
    def of(cls, targets: Sequence[Target]) -> _Names:
        return cls(
            upstreams=frozenset(t.upstream for t in targets),
            nameservers=frozenset(t.nameserver for t in targets),
            addresses=frozenset(t.address for t in targets),
        )


def _matches_nothing(one: WrittenOverride, policies: _Names) -> Problem:
    match = one.override.match
    for key, word, known in (
        ("upstream", match.upstream, policies.upstreams),
        ("nameserver", match.nameserver, policies.nameservers),
        ("address", match.address, policies.addresses),
    ):
        if word is not None and word not in known:
            hint = suggestion(word, tuple(sorted(known)))
            if len(hint) > 80:
                hint = f"wanted one of their {len(known)}"
            message = f"matches nothing: {shown(word)} is in no policy, {hint}"
            return one.problem(message, "match", key)
    return one.problem("matches nothing: no address fits all its keys at once", "match")


def _files(directory: Path, reading: Validation) -> Iterator[Path]:
    file, folder = directory / FILE, directory / FOLDER
    if _may_exist(file):
        yield file
    drafts = {f.name: text for f, text in reading.instead.items() if f.parent == folder}
    try:
        names = set(names_in(folder, MANY)) if _may_exist(folder) else set()
    except OSError as error:
        message = f"cannot be listed ({error.strerror}), wanted a directory of overrides"
        if error.errno == errno.E2BIG:
            message = f"{error.strerror}, wanted fewer"
        reading.problems.append(Problem(file=folder, line=1, path="", message=message))
        return
    names = {name for name in names | drafts.keys() if drafts.get(name, "") is not None}
    for name in sorted(name for name in names if not name.startswith(".")):
        if name.endswith(".yaml"):
            yield folder / name
        elif name.endswith(".yml"):
            message = "is not read by this name, wanted .yaml"
            reading.problems.append(Problem(file=folder / name, line=1, path="", message=message))


def _may_exist(path: Path) -> bool:
    """False if it surely does not exist. A file that can't be looked at may exist."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
