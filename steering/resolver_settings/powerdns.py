"""PowerDNS Recursor: `zoneToCache` in its Lua file or YAML, or an `auth-zones` in its place.

recursor.conf has one `key=value` a line; since version 5.0 the file may be YAML instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from steering.config.problems import ConfigError
from steering.config.types import duration_text
from steering.config.yaml_file import Document, Value, parse
from steering.resolver_settings import lua
from steering.resolver_settings.dangers import Findings, Place, same_zone

_REFRESH: Final = 86_400
"""`refreshPeriod` in seconds if it is left out, and the longest that is not said anything of."""
_OFF: Final = frozenset({"off", "process-no-validate"})
"""Values of `dnssec` with which nothing is validated."""


def look(file: Path, zone: str, findings: Findings) -> None:
    """Adds the dangers of this zone's copy."""
    before = len(findings.found)
    reader = _Reader(file, zone, findings)
    reader.file(file, None)
    if not reader.copies and len(findings.found) == before:
        findings.add(
            Place(file=file, line=1), f'has no zoneToCache of "{zone}": no copy is in use now'
        )


class _Reader:
    def __init__(self, main: Path, zone: str, findings: Findings) -> None:
        self.copies = 0
        self._main, self._zone, self._findings = main, zone, findings

    def file(self, file: Path, named: Place | None) -> None:
        with self._findings.reading(file, named) as text:
            if text is None:
                return
            if file.suffix in {".yml", ".yaml"} or _looks_like_yaml(text):
                self._yaml(text, file)
            else:
                self._lines(text, file)

    def _lines(self, text: str, file: Path) -> None:
        for key, value, place in _assignments(text, file, self._findings):
            match key:
                case "lua-config-file" if value:
                    self._lua(self._main.parent / value, place)
                case "include-dir" if value:
                    self._folder(value, "*.conf", place)
                case "auth-zones":
                    for entry in value.split(","):
                        name, _, source = entry.partition("=")
                        if same_zone(name, self._zone):
                            self._authoritative(source.strip(), place)
                case "dnssec" if value in _OFF:
                    self._unvalidated(value, place)

    def _yaml(self, text: str, file: Path) -> None:
        try:
            document = parse(text, file)
        except ConfigError as error:
            for problem in error.problems:
                place = Place(file=problem.file, line=problem.line)
                self._findings.add(place, problem.message)
            return
        values = document.values

        def at(*location: str | int) -> Place:
            return Place(file=file, line=document.line(location))

        recursor, cache = _mapping(values.get("recursor")), _mapping(values.get("recordcache"))
        validation = _mapping(values.get("dnssec")).get("validation")
        if isinstance(validation, str) and validation in _OFF:
            self._unvalidated(validation, at("dnssec", "validation"))
        for number, one in enumerate(_list(recursor.get("auth_zones"))):
            entry = _mapping(one)
            if same_zone(str(entry.get("zone")), self._zone):
                place = at("recursor", "auth_zones", number)
                self._authoritative(str(entry.get("file")), place)
        for number, one in enumerate(_list(cache.get("zonetocaches"))):
            entry = _mapping(one)
            if same_zone(str(entry.get("zone")), self._zone):
                sources = [str(source) for source in _list(entry.get("sources"))]
                place = at("recordcache", "zonetocaches", number)
                self._copy(str(entry.get("method")), sources, entry, place)
        self._named_in_yaml(recursor, document)

    def _named_in_yaml(self, recursor: Mapping[str, Value], document: Document) -> None:
        """Other files: one of Lua, and a folder of more YAML."""
        for key in ("lua_config_file", "include_dir"):
            if isinstance(name := recursor.get(key), str) and name:
                place = Place(file=document.file, line=document.line(("recursor", key)))
                if key == "include_dir":
                    self._folder(name, "*.yml", place)
                else:
                    self._lua(self._main.parent / name, place)

    def _folder(self, name: str, pattern: str, place: Place) -> None:
        for included in self._findings.included(f"{name}/{pattern}", self._main.parent, place):
            self.file(included, place)

    def _lua(self, file: Path, named: Place) -> None:
        for one in lua.said(file, self._findings, named):
            match one:
                case lua.Said(name="zoneToCache", values=(str(zone), str(method), source, *more)):
                    if same_zone(zone, self._zone):
                        settings = more[0] if more and isinstance(more[0], Mapping) else {}
                        self._copy(method, [str(source)], settings, one.place)

    def _copy(
        self, method: str, sources: list[str], settings: Mapping[str, object], place: Place
    ) -> None:
        self.copies += 1
        what = f'zoneToCache "{self._zone}"'
        for key, follows in (
            ("zonemd", "a copy with a wrong digest goes into the cache"),
            ("dnssec", "its keys and its ZONEMD are not verified"),
        ):
            if settings.get(key) == "ignore":
                self._findings.add(
                    place, f"{what}: {key} is ignore: {follows}; wanted validate or require"
                )
        period = settings.get("refreshPeriod", _REFRESH)
        if isinstance(period, int | float) and not 0 < period <= _REFRESH:
            often = "never" if period <= 0 else "seldom"
            self._findings.add(
                place,
                f"{what}: refreshPeriod is {period}: the zone is {often} loaded anew; wanted"
                f" seconds, up to {_REFRESH} ({duration_text(_REFRESH)})",
            )
        if method == "file":
            for source in sources:
                self._findings.unrenewed(place, source, self._main.parent, what)

    def _authoritative(self, file: str, place: Place) -> None:
        self.copies += 1
        what = f'auth-zones "{self._zone}"'
        self._findings.add(
            place,
            f"{what}: clients get its data without validation, and it never expires; wanted"
            " zoneToCache",
        )
        self._findings.unrenewed(place, file, self._main.parent, what)

    def _unvalidated(self, value: str, place: Place) -> None:
        self._findings.add(
            place, f"dnssec is {value}: neither a copy nor its ZONEMD is verified; wanted validate"
        )


def _assignments(text: str, file: Path, findings: Findings) -> Iterator[tuple[str, str, Place]]:
    """Keys and values; a backslash at its end continues a line."""
    kept, began = "", 0
    for number, written in enumerate(text.split("\n"), start=1):
        began = began or number
        line = kept + re.sub(r"(^|\s)#.*", "", written).strip()
        kept = ""
        if line.endswith("\\"):
            kept = line[:-1]
            continue
        place, began = Place(file=file, line=began), 0
        if not line:
            continue
        key, equals, value = line.partition("=")
        if not equals:
            findings.add(place, "is no setting, wanted key=value")
            continue
        yield key.removesuffix("+").strip().replace("_", "-"), value.strip(), place


def _looks_like_yaml(text: str) -> bool:
    """Whether the first line that says something ends a key by a colon, and has no `=`."""
    lines = (line.partition("#")[0].strip() for line in text.split("\n"))
    first = next(filter(None, lines), "")
    return first == "---" or bool(re.match(r"[a-z_]+:(\s|$)", first))


def _mapping(value: object) -> Mapping[str, Value]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Value]:
    return value if isinstance(value, list) else []
