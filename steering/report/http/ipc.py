"""What the agent and the process that serves HTTP tell each other, and how answers are framed.

Each letter is one packet of JSON on a socket that keeps packets apart; descriptors come along.
The agent believes nothing that the other one says but which answers are asked for: it meets the
strangers. Answers go past the agent, through a pipe from the process that renders them.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from steering.model import Instant

LARGEST: Final = 1 << 14
"""Bytes of a letter."""
MOST_KEYS: Final = 64
"""Answers that one rendering makes."""
JSON: Final = "application/json"
TCP, UNIX = "tcp", "unix"
"""Names of doors."""
TEXT: Final = "text/plain; charset=utf-8"
STATUS, FRONT, METRICS, OPENMETRICS = "status", "front", "metrics", "openmetrics"
"""Keys of answers; the others are addresses, to be explained."""
_FIXED: Final = (STATUS, FRONT, METRICS, OPENMETRICS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """A turn was done: the latest, by number and instant (CLOCK_MONOTONIC is every process's)."""

    number: int
    at: Instant | None
    """None: there was none yet."""
    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A socket to accept at from now on comes along; with none, nobody is accepted there."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """The pipe from which the answers wanted can be read comes along; with none, why not."""

    lane: str
    number: int
    """Of the turn that is shown."""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Answers that are asked for, to be rendered at once."""

    lane: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Errors while requests were handled: they are counted, and one is shown."""

    number: int
    example: str


Letter = Turned | Door | Rendering | Wanted | Failed
_KINDS: Final = {kind.__name__: kind for kind in (Turned, Door, Rendering, Wanted, Failed)}


def written(letter: Letter) -> bytes:
    """A letter as it is sent."""
    fields = {name: getattr(letter, name) for name in type(letter).__slots__}
    return json.dumps({"letter": type(letter).__name__, **fields}).encode()


def read(data: bytes) -> Letter:
    """A letter as it came. Raises ValueError for what is none."""
    try:
        fields = json.loads(data)
        kind = _KINDS[fields.pop("letter")]
        if kind is Wanted:
            fields["keys"] = tuple(key for key in map(str, fields["keys"]) if is_key(key))
            fields["keys"] = fields["keys"][:MOST_KEYS]
        letter: Letter = kind(**fields)
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no letter: {data[:100]!r}") from error
    return letter


def is_key(text: str) -> bool:
    """Whether it is the key of an answer: one of the fixed ones, or an address as we write it."""
    if text in _FIXED:
        return True
    try:
        # One with a zone behind it is no upstream's, and as long as somebody likes.
        return "%" not in text and str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered, rendered."""

    code: HTTPStatus
    kind: str
    body: bytes


def framed(key: str, answer: Answer) -> bytes:
    """An answer on its way through a pipe."""
    line = json.dumps([key, answer.code.value, answer.kind, len(answer.body)])
    return line.encode() + b"\n" + answer.body


def unframed(data: bytearray) -> Iterator[tuple[str, Answer]]:
    """The answers that are all there, which are taken out. Raises ValueError for other bytes."""
    while (end := data.find(b"\n")) >= 0:
        key, code, kind, length = json.loads(data[:end])
        if len(data) < end + 1 + length:
            return
        body = bytes(memoryview(data)[end + 1 : end + 1 + length])
        del data[: end + 1 + length]
        yield key, Answer(code=HTTPStatus(code), kind=kind, body=body)
