"""The files of the overrides, in their order, and whether what they say fits all else.

First `overrides.yaml`, then `overrides.d/*.yaml` by name. What refers to a site must refer to
one that is there. What matches no address is only remarked on: its policy may come later, and
a refusal would keep every other override from being heard.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steering.config.configuration import Config
from steering.config.overrides import Overrides
from steering.config.problems import Problem, shown, suggestion
from steering.config.validate import Validation
from steering.config.yaml_file import Document
from steering.model import Action, Family, Override, Target
from steering.system.files import names_in

FILE, FOLDER = "overrides.yaml", "overrides.d"
MANY = 10_000
"""Overrides in all files, and files in the directory: far beyond what people keep an eye on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One override, and where it stands."""

    override: Override
    document: Document
    at: int
    """Its place in the file's list, from 0."""

    @property
    def file(self) -> Path:
        """The file it stands in."""
        return self.document.file

    def problem(self, message: str, *key: str) -> Problem:
        """A problem with it, or with one of its keys."""
        return self.document.problem(("overrides", self.at, *key), message)


def written(directory: Path, reading: Validation) -> tuple[Written, ...]:
    """Every override below the directory of the policies, in order; problems go to `validate`."""
    found: list[Written] = []
    counted, folder = 0, directory / FOLDER
    for file in _files(directory, reading):
        # Who may write there shall not have files read, and quoted, that others keep to themselves.
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
                Written(override=entry.override(), document=document, at=at)
                for at, entry in enumerate(checked.overrides)
            )
    return tuple(found)


def wrong_overrides(
    every: Sequence[Written], site: str | None, sites: tuple[str, ...]
) -> Iterator[Problem]:
    """Names that are there twice, and sites that are not there at all.

    An override for another site's agent may send its traffic anywhere: to here as well.
    """
    first: dict[str, Written] = {}
    for one in every:
        override = one.override
        before = first.setdefault(override.name, one)
        if before is not one:
            where = f"{before.file.name}:{before.document.line(('overrides', before.at))}"
            yield one.problem(f"{override.name} is there already in {where}, wanted once", "name")
        if site is None:
            continue
        whose = override.match.site
        if whose is not None and whose not in (site, *sites):
            message = f"{whose} is no site, {suggestion(whose, (site, *sites))}"
            yield one.problem(message, "match", "site")
        if override.to is not None and whose in (None, site) and override.to not in sites:
            if override.to == site:
                message = f"{site} is this site itself, wanted a remote one (or match.site)"
            else:
                message = f"{override.to} is no remote site, {suggestion(override.to, sites)}"
            yield one.problem(message, "to")


def remarks_on(
    every: Sequence[Written], config: Config, targets: Sequence[Target]
) -> Iterator[Problem]:
    """What of valid overrides comes to nothing, and may be a slip."""
    if not every:
        return
    from steering.decide.remedies import EVERY_ALARM, OF_ADDRESSES
    from steering.matching import Matching  # it needs numpy, which `off` and the guard do without

    matching, known = Matching(targets, config.site), _Known.of(targets)
    for one in every:
        match = one.override.match
        if match.site not in (None, config.site):
            continue
        covered = [targets[row] for row in matching.rows(match)]
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
                stay = sum(t.family is family for t in covered)
                if stay and family not in hops:
                    message = (
                        f"{one.override.to} has no next hop for {family}: {stay} of"
                        f" {len(covered)} addresses can't be steered there"
                    )
                    yield one.problem(message, "to")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The words by which the policies' addresses are known."""

    upstreams: frozenset[str]
    nameservers: frozenset[str]
    addresses: frozenset[str]

    @classmethod
    def of(cls, targets: Sequence[Target]) -> _Known:
        return cls(
            upstreams=frozenset(t.upstream for t in targets),
            nameservers=frozenset(t.nameserver for t in targets),
            addresses=frozenset(t.address for t in targets),
        )


def _matches_nothing(one: Written, policies: _Known) -> Problem:
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
    """What can't be looked at counts as there: unheard is not the same as unsaid."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
