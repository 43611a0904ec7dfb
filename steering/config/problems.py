"""Problems of the files, with all that is needed to correct them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from steering.errors import WRONG_INPUT, CommandError

Location = tuple[str | int, ...]
"""The way from a document's top to one of its values: keys and list indexes."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_KEY = 280
"""Letters of a key in a message: a domain name has 253 at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem in one place."""

    file: Path
    line: int  # from 1
    path: str  # sites.pao.next_hop.ipv6; empty for the document as a whole
    message: str  # what is wrong, what is wanted

    def __str__(self) -> str:
        parts = (f"{printable(str(self.file))}:{self.line}", self.path, self.message)
        return ": ".join(part for part in parts if part)


class ConfigError(CommandError):
    """The configuration cannot be used. `problems` has every reason, by file and line."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__(WRONG_INPUT, *map(str, problems))

    @property
    def lines(self) -> tuple[str, ...]:
        """One line for each problem, in the form that editors can jump to."""
        return self.reasons


def path_of(location: Location) -> str:
    """A location as it is printed: `nameservers["a.nic.example."][0]`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif len(part) <= _LONGEST_KEY and _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            quoted = json.dumps(part)
            text += (
                f"[{quoted if len(quoted) <= _LONGEST_KEY else quoted[: _LONGEST_KEY - 3] + '...'}]"
            )
    return text


def printable(text: str) -> str:
    """A text for a terminal: control characters, and bytes that are no text, are escaped. The name
    of a file may contain any of them.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """A value as messages quote it: short, printable, with its type visible."""
    match value:
        case None:
            return "empty"
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case str() | bool():
            text = json.dumps(value)
        case _:
            text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}..."


def suggestion(word: str, known: tuple[str, ...]) -> str:
    """The end of a message about an unknown word."""
    if close := get_close_matches(word, known, n=1):
        return f"did you mean {close[0]}?"
    return f"wanted one of: {', '.join(known)}" if known else "wanted none"
