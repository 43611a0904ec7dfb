"""BIND's named.conf(5): the `mirror` zone of a copy, or another zone that stands in its place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from steering.config.types import duration_text
from steering.resolver_settings.dangers import Findings, Place, same_zone

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|\#[^\n]*|/\*.*?\*/)|"(?P<text>[^"\n]*)"|(?P<mark>[{};])
    |(?P<word>(?:(?!//|/\*)[^\s{};"\#])+)""",
    re.VERBOSE | re.DOTALL,
)
_NESTED: Final = 64
"""Blocks in blocks; named's own grammar has a handful."""
_LONG: Final = 86_400
"""Seconds between two looks for a new serial. The root's SOA asks for one every 1800 s."""
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement: its words before, between and after the blocks, and what is in them."""

    words: tuple[str, ...]
    block: tuple[Statement, ...]
    place: Place


@dataclass(slots=True, kw_only=True)
class _Open:
    """A block whose end has not come yet, and the statement that it stands in."""

    done: list[Statement] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    inside: list[Statement] = field(default_factory=list)
    place: Place | None = None

    def end(self) -> None:
        if self.place:
            place, words = self.place, tuple(self.words)
            self.done.append(Statement(words=words, block=tuple(self.inside), place=place))
        self.words, self.inside, self.place = [], [], None


def look(file: Path, zone: str, findings: Findings) -> None:
    """Adds the dangers of this zone's copy, in any view."""
    top = tuple(_file(file, file.parent, findings, None))
    options = [s for one in top if one.words[:1] == ("options",) for s in one.block]
    views = [one for one in top if one.words[:1] == ("view",)]
    scopes: list[tuple[Sequence[Statement], Sequence[Statement]]] = [(top, options)]
    scopes += [(view.block, [*options, *view.block]) for view in views]
    copies = 0
    for statements, settings in scopes:
        for one in statements:
            if one.words[:1] == ("zone",) and len(one.words) > 1 and same_zone(one.words[1], zone):
                copies += _of_zone(one, zone, settings, file.parent, findings)
    if not copies:
        findings.add(
            Place(file=file, line=1), f'has no mirror zone "{zone}": no copy is in use now'
        )


def _of_zone(
    one: Statement, zone: str, options: Sequence[Statement], folder: Path, findings: Findings
) -> bool:
    """Whether the zone is a copy at all; adds its dangers."""
    kind = _value(one.block, "type")
    word = kind.words[1] if kind else ""
    if word not in {"mirror", "primary", "master", "secondary", "slave"}:
        return False
    where = kind.place if kind else one.place
    if word in {"primary", "master"}:
        file = _value(one.block, "file")
        if file:
            folder = Path(named.words[1]) if (named := _value(options, "directory")) else folder
            findings.unrenewed(file.place, file.words[1], folder, f'zone "{zone}"')
        findings.add(
            where,
            f'zone "{zone}": type is {word}: clients get its data without validation, and nothing'
            " falls back to the real servers; wanted mirror",
        )
    elif word != "mirror":
        findings.add(
            where,
            f'zone "{zone}": type is {word}: every name fails when the copy expires, and its data'
            " are not validated; wanted mirror",
        )
    _of_settings(one, zone, options, findings)
    return True


def _of_settings(
    one: Statement, zone: str, options: Sequence[Statement], findings: Findings
) -> None:
    for key, wrong, follows in (
        ("dnssec-validation", {"no"}, "no copy is verified; wanted auto"),
        ("dnssec-accept-expired", _YES, "answers with expired signatures are good; wanted no"),
    ):
        if (found := _value(options, key)) and found.words[1].lower() in wrong:
            findings.add(found.place, f"{key} is {found.words[1]}: {follows}")
    if (found := _value(one.block, "request-expire") or _value(options, "request-expire")) and (
        found.words[1].lower() in _NO
    ):
        findings.add(
            found.place,
            f'zone "{zone}": request-expire is {found.words[1]}: it counts its age from the'
            " transfer, however old the primary's copy is (RFC 7314); wanted yes",
        )
    for key in ("min-refresh-time", "min-retry-time"):
        found = _value(one.block, key) or _value(options, key)
        if found and (length := _seconds(found.words[1])) is not None and length > _LONG:
            findings.add(
                found.place,
                f'zone "{zone}": {key} is {found.words[1]}: a new serial is looked for less often'
                f" than every {duration_text(_LONG)}; wanted less, or the SOA's own times",
            )
    found = _value(one.block, "dialup") or _value(options, "dialup")
    if found and found.words[1].lower() not in {*_NO, "notify"}:
        findings.add(found.place, f'zone "{zone}": dialup holds back its refresh; wanted no dialup')


_NO: Final = frozenset({"no", "false", "0"})
_YES: Final = frozenset({"yes", "true", "1"})


def _value(statements: Sequence[Statement], key: str) -> Statement | None:
    """The statement that sets a key, with at least one value."""
    found = [one for one in statements if one.words[:1] == (key,) and len(one.words) > 1]
    return found[-1] if found else None


def _seconds(text: str) -> int | None:
    """A number of seconds, or a length such as 2d; None for anything else."""
    found = re.fullmatch(r"(\d{1,9})([smhdw]?)", text.lower())
    return int(found[1]) * _UNITS[found[2]] if found else None


def _file(file: Path, folder: Path, findings: Findings, named: Place | None) -> Iterator[Statement]:
    with findings.reading(file, named) as text:
        yield from _with_included(_statements(text or "", file, findings), folder, findings)


def _with_included(
    statements: Sequence[Statement], folder: Path, findings: Findings
) -> Iterator[Statement]:
    """Includes replaced by the statements of their files, at any level."""
    for one in statements:
        if one.words[:1] == ("include",) and len(one.words) == 2:
            for file in findings.included(one.words[1], folder, one.place):
                yield from _file(file, folder, findings, one.place)
        elif one.block:
            block = tuple(_with_included(one.block, folder, findings))
            yield Statement(words=one.words, block=block, place=one.place)
        else:
            yield one


def _statements(text: str, file: Path, findings: Findings) -> tuple[Statement, ...]:
    """The statements of one file; those before the first mistake."""
    line, at = 1, 0
    open_ = [_Open()]
    while at < len(text):
        found = _TOKEN.match(text, at)
        place = Place(file=file, line=line)
        if found is None:
            findings.add(place, "a quote or a comment that begins here is not closed")
            break
        at, line = found.end(), line + found[0].count("\n")
        group = found.lastgroup or ""
        if group == "skip":
            continue
        here = open_[-1]
        if found[0] == "}":
            if len(open_) == 1:
                findings.add(place, "a '}' closes nothing")
                break
            here.end()
            open_.pop()
            open_[-1].inside += here.done
        elif found[0] == ";":
            here.end()
        else:
            here.place = here.place or place
            if found[0] != "{":
                here.words.append(found[group])
            elif len(open_) > _NESTED:
                findings.add(place, f"more than {_NESTED} blocks lie in each other")
                break
            else:
                open_.append(_Open())
    else:
        if len(open_) > 1:
            place = open_[-2].place or Place(file=file, line=line)
            findings.add(place, "a '{' is not closed")
        elif open_[0].words:
            findings.add(open_[0].place or Place(file=file, line=line), "a ';' is missing")
    open_[0].end()
    return tuple(open_[0].done)
