"""Unbound's unbound.conf(5): the `auth-zone` of a copy, or a `stub-zone` that leads to one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from steering.resolver_settings.dangers import Findings, Place, same_zone

CLAUSES: Final = frozenset(
    {
        *("server", "stub-zone", "forward-zone", "auth-zone", "view", "remote-control", "python"),
        *("dynlib", "dnscrypt", "cachedb", "dnstap", "rpz", "ipset"),
    }
)
"""Keywords that begin a clause and have no value."""

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r]+|\#[^\n]*)|(?P<line>\n)
    |"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'
    |(?P<key>[a-z][a-z0-9-]*):(?=[\s"'#]|$)|(?P<word>[^\s"'#]+)""",
    re.VERBOSE,
)
_LENGTHY: Final = 3
"""Values of one key; none that is read here has more than one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One clause with its settings in their order; a key may come more than once."""

    name: str
    place: Place
    settings: list[tuple[str, str, Place]] = field(default_factory=list)

    def last(self, key: str, default: str) -> tuple[str, Place]:
        """The value in force, and its place; the clause's place for the default."""
        found = [(value, place) for name, value, place in self.settings if name == key]
        return found[-1] if found else (default, self.place)

    def has(self, *keys: str) -> bool:
        return any(name in keys for name, _, _ in self.settings)


def look(file: Path, zone: str, findings: Findings) -> None:
    """Adds the dangers of this zone's copy."""
    read = _Reader(file.parent, findings)
    read.file(file)
    copies = [c for c in read.clauses if c.name == "auth-zone" and _is(c, zone)]
    stubs = [c for c in read.clauses if c.name == "stub-zone" and _is(c, zone)]
    for copy in copies:
        _of_copy(copy, zone, read, findings)
    for stub in stubs:
        value, place = stub.last("stub-first", "no")
        if value != "yes":
            findings.add(
                place,
                f'stub-zone "{zone}": stub-first is {value}: every name below fails when its'
                " servers fail; wanted yes",
            )
    if not copies and not stubs:
        findings.add(Place(file=file, line=1), f'has no auth-zone "{zone}": no copy is in use now')


def _is(clause: Clause, zone: str) -> bool:
    return same_zone(clause.last("name", "?")[0], zone)


def _of_copy(copy: Clause, zone: str, read: _Reader, findings: Findings) -> None:
    def say(key: str, default: str, wanted: str, follows: str) -> None:
        value, place = copy.last(key, default)
        if value != wanted:
            how = f"{value} (the default)" if not copy.has(key) else value
            findings.add(place, f'auth-zone "{zone}": {key} is {how}: {follows}; wanted {wanted}')

    say("fallback-enabled", "no", "yes", "every uncached name fails when the copy expires")
    say("zonemd-check", "no", "yes", "a copy with a wrong digest is served")
    say("for-downstream", "yes", "no", "clients get its data without validation")
    say("for-upstream", "yes", "yes", "resolution does not use it")
    say(
        "zonemd-reject-absence",
        "no",
        "no",
        "the first transfer is refused (Unbound issue 557), and only unsigned zones need it",
    )
    if not copy.has("primary", "master", "url"):
        value, place = copy.last("zonefile", "")
        if value:
            findings.unrenewed(place, value, read.folder, f'auth-zone "{zone}"')
        else:
            findings.add(place, f'auth-zone "{zone}": has no primary, no url and no zonefile')
    for clause in (c for c in read.clauses if c.name == "server" and c.has("module-config")):
        modules, place = clause.last("module-config", "")
        if "validator" not in modules.split():
            findings.add(
                place, "module-config has no validator: neither the copy nor its ZONEMD is verified"
            )


class _Reader:
    """Reads the files into clauses. An include stands for the text of its file."""

    def __init__(self, folder: Path, findings: Findings) -> None:
        self.folder = folder
        """What relative names of files start from: `directory`, else that of the main file."""
        self.clauses: list[Clause] = []
        self._findings = findings

    def file(self, file: Path, named: Place | None = None) -> None:
        with self._findings.reading(file, named) as text:
            for key, values, place in _settings(text or "", file, self._findings):
                self._setting(key, values[0] if values else "", place)

    def _setting(self, key: str, value: str, place: Place) -> None:
        if key in CLAUSES:
            self.clauses.append(Clause(name=key, place=place))
        elif key in ("include", "include-toplevel"):
            for included in self._findings.included(value, self.folder, place):
                self.file(included, place)
        elif not self.clauses:
            self._findings.add(place, f"{key}: stands in no clause, wanted `server:` before it")
            self.clauses.append(Clause(name="", place=place))
        else:
            if key == "directory" and value:
                self.folder = Path(value)
            self.clauses[-1].settings.append((key, value, place))


def _settings(text: str, file: Path, findings: Findings) -> Iterator[tuple[str, list[str], Place]]:
    """Each key with its values. What follows a key is a value even where it looks like a key."""
    line, at = 1, 0
    key: tuple[str, list[str], Place] | None = None
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            findings.add(Place(file=file, line=line), "a quote is not closed in this line")
            return
        at = found.end()
        match found.lastgroup:
            case "line":
                line += 1
            case "skip":
                pass
            case "key" if key is None or key[1] or key[0] in CLAUSES:
                if key:
                    yield key
                key = (found["key"], [], Place(file=file, line=line))
            case group:
                value = found[group or 0] + ":" * (group == "key")
                if key is None:
                    findings.add(Place(file=file, line=line), "begins with a value, wanted a key")
                    return
                if len(key[1]) < _LENGTHY:
                    key[1].append(value)
    if key:
        yield key
