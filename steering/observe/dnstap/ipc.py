"""What the agent and its reader write to each other: JSON behind a length, on one socket pair.

The agent says what it is interested in, and each time it has taken a tally; only then comes
the next. Both ends are ours, of the same version. Still the reader is who meets the bytes of
strangers, so the agent takes nothing from it but values of the types that a tally has.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any, Final, TypeVar, cast

from steering.model import Outcome
from steering.observe.dnstap.tally import (
    Failing,
    Frames,
    Interest,
    Notice,
    Reason,
    Sample,
    Signed,
    Tally,
    Traffic,
    Watched,
)
from steering.system.unreadable import Unread, Where

TAKEN: Final = b"\0\0\0\x04null"
"""From the agent: the last tally was taken."""

_LENGTH: Final = struct.Struct("!I")
_MOST: Final = 1 << 63
T = TypeVar("T")


class IpcError(ValueError):
    """A letter that the reader does not write."""


class IpcMessages:
    """Takes apart what comes in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The letters that are whole by now."""
        self._held += data
        while len(self._held) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._held)
            end = _LENGTH.size + length
            if len(self._held) < end:
                return
            letter = bytes(self._held[_LENGTH.size : end])
            del self._held[:end]
            yield letter


def interest_letter(interest: Interest) -> bytes:
    """From the agent: what to count from now on."""
    return _letter({a: [sorted(w.zones), w.skew, w.since] for a, w in interest.items()})


def read_interest(letter: bytes) -> Interest | None:
    """What to count; None if the letter says that a tally was taken."""
    said = json.loads(letter)
    if said is None:
        return None
    return {
        a: Watched(zones=frozenset(zones), skew=skew, since=since)
        for a, (zones, skew, since) in said.items()
    }


def tally_letter(tally: Tally) -> bytes:
    """From the reader: one tally."""
    said = asdict(tally)
    for sample in said["samples"]:
        sample["message"] = base64.b64encode(sample["message"]).decode()
    return _letter(said)


def read_tally(letter: bytes) -> Tally:
    """The tally in a letter. Raises LetterError where there is none, or one of wrong values."""
    try:
        said: dict[str, Any] = json.loads(letter)
        return _made(
            Tally,
            said,
            frames={Frames(name): _count(number) for name, number in said["frames"].items()},
            traffic=tuple(map(_traffic, said["traffic"])),
            signed=tuple(
                _made(Signed, s, failing=tuple(map(_failing, s["failing"]))) for s in said["signed"]
            ),
            samples=tuple(map(_sample, said["samples"])),
            notices=tuple(_made(Notice, notice) for notice in said["notices"]),
            unreadable=tuple(_made(Unread, u, where=Where(u["where"])) for u in said["unreadable"]),
        )
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise IpcError(f"no tally: {error}") from error


def _traffic(said: dict[str, Any]) -> Traffic:
    rcodes = {int(code): _count(number) for code, number in said["rcodes"].items()}
    return _made(Traffic, said, rcodes=rcodes)


def _failing(said: dict[str, Any]) -> Failing:
    return _made(Failing, said, outcome=Outcome(said["outcome"]))


def _sample(said: dict[str, Any]) -> Sample:
    message = base64.b64decode(said["message"])
    return _made(Sample, said, reason=Reason(said["reason"]), message=message)


def _made(kind: type[T], said: dict[str, Any], **made: object) -> T:
    """A value of this kind; `made` are the fields that are more than a number or a text.

    Raises LookupError and ValueError.
    """
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in made:
            made[field.name] = value = said[field.name]
            if not any(_is(value, name) for name in str(field.type).split(" | ")):
                raise ValueError(f"{kind.__name__}.{field.name} is no {field.type}")
    return kind(**made)


def _is(value: object, name: str) -> bool:
    """Whether a value is of a type that is called so in an annotation."""
    match name:
        case "None":
            return value is None
        case "str":
            return type(value) is str
        case "bool":
            return type(value) is bool
        case "int":
            return type(value) is int and abs(value) < _MOST
        case _:  # a length of time, or an instant
            return type(value) in {int, float} and -_MOST < cast("float", value) < _MOST


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MOST:
        raise ValueError(f"{str(value)[:60]} is no number of anything")
    return value


def _letter(said: object) -> bytes:
    body = json.dumps(said, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body
