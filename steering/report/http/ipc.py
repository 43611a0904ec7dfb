"""Messages between the agent and the process that serves HTTP, and the framing of answers.

Each message is one packet of JSON on a SOCK_SEQPACKET socket, with descriptors attached. Of the
other process, which talks to any client, the agent accepts only which answers are wanted. Answers
do not pass through the agent: they come through a pipe from the process that renders them.
"""

from __future__ import annotations

import functools
import gzip
import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from steering.model import Instant

LARGEST: Final = 1 << 14
"""Bytes of a message."""
MOST_KEYS: Final = 64
"""Answers that one rendering makes."""
JSON: Final = "application/json"
TCP, UNIX = "tcp", "unix"
"""Names of listening sockets."""
TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"
STATUS, FRONT, LIVE, METRICS, OPENMETRICS = "status", "front", "live", "metrics", "openmetrics"
PAGE: Final = "page:"
"""Keys of answers; all others are addresses to explain, with PAGE before them as a page."""
_FIXED: Final = (STATUS, FRONT, LIVE, METRICS, OPENMETRICS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """The latest turn, by number and instant (CLOCK_MONOTONIC is the same in all processes)."""

    number: int
    at: Instant | None
    """None: no turn yet."""
    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Comes with the socket to accept at from now on; without one, no connection is accepted."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names by which clients may ask for this server, in lower case."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """Comes with the pipe for the wanted answers; without one, the reason."""

    lane: str
    number: int
    """The turn that is shown."""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Answers that are wanted, to be rendered at once."""

    lane: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Errors while requests were handled: their number and one example."""

    number: int
    example: str


Letter = Turned | Door | Names | Rendering | Wanted | Failed
_KINDS: Final = {kind.__name__: kind for kind in (Turned, Door, Names, Rendering, Wanted, Failed)}


def written(letter: Letter) -> bytes:
    """The bytes of a message."""
    fields = {name: getattr(letter, name) for name in type(letter).__slots__}
    return json.dumps({"letter": type(letter).__name__, **fields}).encode()


def read(data: bytes) -> Letter:
    """The message in these bytes. Raises ValueError."""
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
    text = text.removeprefix(PAGE)
    try:
        # An address with a zone index is in no policy, and may be of any length.
        return "%" not in text and str(ipaddress.ip_address(text)) == text
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """A rendered answer."""

    code: HTTPStatus
    kind: str
    body: bytes

    @property
    def compressed(self) -> bytes:
        """The body as gzip; made once, since all who ask in a turn share an answer."""
        return _compressed(self)


@functools.lru_cache(maxsize=16)
def _compressed(answer: Answer) -> bytes:
    return gzip.compress(answer.body, 6, mtime=0)


def framed(key: str, answer: Answer) -> bytes:
    """The bytes of an answer in a pipe."""
    line = json.dumps([key, answer.code.value, answer.kind, len(answer.body)])
    return line.encode() + b"\n" + answer.body


def unframed(data: bytearray) -> Iterator[tuple[str, Answer]]:
    """Takes complete answers out of the buffer. Raises ValueError for other bytes."""
    while (end := data.find(b"\n")) >= 0:
        key, code, kind, length = json.loads(data[:end])
        if len(data) < end + 1 + length:
            return
        body = bytes(memoryview(data)[end + 1 : end + 1 + length])
        del data[: end + 1 + length]
        yield key, Answer(code=HTTPStatus(code), kind=kind, body=body)
