"""What a Lua file says literally: calls and assignments whose values stand there as they are.

PowerDNS Recursor and Knot Resolver are configured by Lua programs. They are not run here. A value
that has to be computed by more than a product is unknown, and what is said of it is nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from steering.resolver_settings.dangers import Findings, Place

UNKNOWN: Final = object()
"""A value that the text does not show."""

Table = Mapping[str | int, object]
"""A table: text, numbers, true and false, None for nil, tables, or `UNKNOWN`; by key or by place
from 1."""

CONSTANTS: Final = {
    "true": True,
    "false": False,
    "nil": None,
    "ms": 1,
    "sec": 1000,
    "second": 1000,
    "minute": 60_000,
    "min": 60_000,
    "hour": 3_600_000,
    "day": 86_400_000,
}
"""Names with a value. Knot Resolver's units of time are milliseconds."""

_TOKEN = re.compile(
    r"""(?P<skip>\s+|--\[(?P<level>=*)\[.*?\](?P=level)\]|--(?!\[=*\[)[^\n]*)
    |\[(?P<equals>=*)\[(?P<long>.*?)\](?P=equals)\]
    |"(?P<double>(?:[^"\\\n]|\\.)*)"|'(?P<single>(?:[^'\\\n]|\\.)*)'
    |(?P<number>0[xX][0-9a-fA-F]{1,16}|[0-9]{1,18}(?:\.[0-9]{1,18})?)
    |(?P<name>[A-Za-z_]\w*)|(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_NESTED: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A call (`modules.load('x')`) or an assignment (`modules = {...}`), with its values."""

    name: str
    """Dots for colons, too."""
    values: tuple[object, ...]
    place: Place
    call: bool


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def said(file: Path, findings: Findings, named: Place | None = None) -> Iterator[Said]:
    """What a file and those that it runs (`dofile`) say, in order."""
    with findings.reading(file, named) as text:
        for one in _said(_tokens(text or "", file, findings), file):
            match one:
                case Said(name="dofile", values=(str(other), *_), call=True):
                    yield from said(file.parent / other, findings, one.place)
                case _:
                    yield one


def _tokens(text: str, file: Path, findings: Findings) -> list[_Token]:
    made: list[_Token] = []
    line = 1
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or ""
        if found["skip"] is None:
            for quoted in ("long", "double", "single"):
                if found[quoted] is not None:
                    made.append(_Token("text", re.sub(r"\\(.)", r"\1", found[quoted]), line))
                    break
            else:
                made.append(_Token(kind, found[0], line))
                if found[0] in "\"'":
                    findings.add(Place(file=file, line=line), "a quote is not closed in this line")
                    return made
        line += found[0].count("\n")
    return made


def _said(tokens: list[_Token], file: Path) -> Iterator[Said]:
    at = 0
    while at < len(tokens):
        if tokens[at].kind != "name":
            at += 1
            continue
        place = Place(file=file, line=tokens[at].line)
        name, at = tokens[at].text, at + 1
        while (
            at + 1 < len(tokens)
            and tokens[at].text in (".", ":")
            and tokens[at].kind == "mark"
            and tokens[at + 1].kind == "name"
        ):
            name, at = f"{name}.{tokens[at + 1].text}", at + 2
        reading = _Values(tokens, at)
        if reading.sees("("):
            values = reading.listed(")")
        elif reading.sees("=") and not _Values(tokens, at + 1).sees("="):
            reading.at += 1
            values = (reading.value(),)
        elif at < len(tokens) and (tokens[at].kind == "text" or tokens[at].text == "{"):
            values = (reading.value(),)  # f{...} and f'...' are calls as well
        else:
            continue
        call = tokens[at].text != "=" or tokens[at].kind == "text"
        yield Said(name=name, values=values, place=place, call=call)
        # What stands inside a call may say more: `pcall(dofile, ...)`, a function's body.
        at = reading.at if call or reading.at > at + 1 else at + 1


class _Values:
    """Reads values from a place in the tokens onwards. What it does not know, it skips."""

    def __init__(self, tokens: list[_Token], at: int) -> None:
        self.at = at
        self._tokens = tokens
        self._depth = 0

    def sees(self, mark: str) -> bool:
        return (
            self.at < len(self._tokens)
            and self._tokens[self.at].kind == "mark"
            and self._tokens[self.at].text == mark
        )

    def listed(self, end: str) -> tuple[object, ...]:
        """The values up to the closing mark, which is passed."""
        values: list[object] = []
        self.at += 1
        while self.at < len(self._tokens) and not self.sees(end):
            before = self.at
            values.append(self.value())
            if self.sees(",") or self.at == before:
                self.at += 1
        self.at += 1
        return tuple(values)

    def value(self) -> object:
        """One value: literal, product of numbers, or `UNKNOWN`."""
        result = self._single()
        while self.sees("*"):
            self.at += 1
            other = self._single()
            numbers = isinstance(result, int | float) and isinstance(other, int | float)
            result = result * other if numbers else UNKNOWN  # type: ignore[operator]
        if self.at < len(self._tokens) and not any(map(self.sees, ",;)}")):
            following = self._tokens[self.at]
            if following.kind == "mark" and following.text in ".:([+-/%^<>=~":
                self._skip()
                return UNKNOWN
        return result

    def _single(self) -> object:
        if self.at >= len(self._tokens):
            return UNKNOWN
        token = self._tokens[self.at]
        if token.kind == "mark" and token.text == "{":
            return self._table()
        if token.kind == "mark":
            if token.text not in ",;)}":
                self._skip()
            return UNKNOWN
        self.at += 1
        if token.kind == "text":
            return token.text
        if token.kind == "number":
            if "." in token.text:
                return float(token.text)
            return int(token.text, 16 if token.text[:2] in {"0x", "0X"} else 10)
        return CONSTANTS.get(token.text, UNKNOWN)

    def _table(self) -> object:
        if self._depth == _NESTED:
            self._skip()
            return UNKNOWN
        self._depth += 1
        made: dict[str | int, object] = {}
        number = 0
        self.at += 1
        while self.at < len(self._tokens) and not self.sees("}"):
            before = self.at
            key = self._key()
            value = self.value()
            if key is None:
                number += 1
                made[number] = value
            elif isinstance(key, str | int):
                made[key] = value
            if self.sees(",") or self.sees(";") or self.at == before:
                self.at += 1
        self.at += 1
        self._depth -= 1
        return made

    def _key(self) -> object:
        """The key of an entry, passed with its `=`; None for an entry by place."""
        if self.sees("["):
            self.at += 1
            key = self.value()
            self.at += 1 if self.sees("]") else 0
            if self.sees("="):
                self.at += 1
            return key
        after = _Values(self._tokens, self.at + 1)
        if self._tokens[self.at].kind == "name" and after.sees("="):
            key = self._tokens[self.at].text
            self.at += 2
            return key
        return None

    def _skip(self) -> None:
        """Past what can't be read, up to the end of this value."""
        depth = 0
        while self.at < len(self._tokens):
            token = self._tokens[self.at]
            if token.kind == "mark":
                if token.text in "({[":
                    depth += 1
                elif token.text in ")}]":
                    if not depth:
                        return
                    depth -= 1
                elif token.text in ",;" and not depth:
                    return
            self.at += 1
