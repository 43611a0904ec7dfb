"""Messages between the agent and its dnstap reader: a length and JSON, over one socket pair.

The agent sends what to count, and a message each time it has taken a tally; only then the reader
sends the next one. Both ends are of the same version. But the reader handles untrusted bytes, so
the agent accepts only values of the types that a tally has.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any, Final, TypeVar, cast

from steering.model import Evidence, Failure, Outcome
from steering.observe.dnstap.tally import (
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
"""From the agent: it has taken the last tally."""

_LENGTH: Final = struct.Struct("!I")
_LIMIT: Final = 1 << 63
T = TypeVar("T")


class IpcError(ValueError):
    """A message that a reader never writes."""


class IpcMessages:
    """Splits received bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete by now."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield message


def interest_message(interest: Interest) -> bytes:
    """From the agent: what to count from now on."""
    return _message({a: [sorted(w.zones), w.skew, w.since] for a, w in interest.items()})


def read_interest(message: bytes) -> Interest | None:
    """What to count; None if the message means that a tally was taken."""
    values = json.loads(message)
    if values is None:
        return None
    return {
        a: Watched(zones=frozenset(zones), skew=skew, since=since)
        for a, (zones, skew, since) in values.items()
    }


def tally_message(tally: Tally) -> bytes:
    """From the reader: one tally."""
    values = asdict(tally)
    for sample in values["samples"]:
        sample["message"] = base64.b64encode(sample["message"]).decode()
    return _message(values)


def read_tally(message: bytes) -> Tally:
    """The tally in a message. Raises IpcError if it is none or has wrong values."""
    try:
        values: dict[str, Any] = json.loads(message)
        return _value(
            Tally,
            values,
            frames={Frames(name): _count(number) for name, number in values["frames"].items()},
            traffic=tuple(map(_traffic, values["traffic"])),
            signed=tuple(
                _value(Signed, s, failing=tuple(map(_failure, s["failing"])))
                for s in values["signed"]
            ),
            samples=tuple(map(_sample, values["samples"])),
            notices=tuple(_value(Notice, notice) for notice in values["notices"]),
            unreadable=tuple(
                _value(Unread, u, where=Where(u["where"])) for u in values["unreadable"]
            ),
        )
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise IpcError(f"no tally: {error}") from error


def _traffic(values: dict[str, Any]) -> Traffic:
    rcodes = {int(code): _count(number) for code, number in values["rcodes"].items()}
    return _value(Traffic, values, rcodes=rcodes)


def _failure(values: dict[str, Any]) -> Failure:
    evidence = _value(Evidence, values["evidence"])
    return _value(Failure, values, outcome=Outcome(values["outcome"]), evidence=evidence)


def _sample(values: dict[str, Any]) -> Sample:
    message = base64.b64decode(values["message"])
    return _value(Sample, values, reason=Reason(values["reason"]), message=message)


def _value(kind: type[T], values: dict[str, Any], **given: object) -> T:
    """A value of this kind; `given` has the fields that are not plain numbers or text.

    Raises LookupError and ValueError.
    """
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in given:
            given[field.name] = value = values[field.name]
            if not any(_is(value, name) for name in str(field.type).split(" | ")):
                raise ValueError(f"{kind.__name__}.{field.name} is no {field.type}")
    return kind(**given)


def _is(value: object, name: str) -> bool:
    """Whether a value is of the type with this name in an annotation."""
    match name:
        case "None":
            return value is None
        case "str":
            return type(value) is str
        case "bool":
            return type(value) is bool
        case "int":
            return type(value) is int and abs(value) < _LIMIT
        case _:  # a duration, or an instant
            return type(value) in {int, float} and -_LIMIT < cast("float", value) < _LIMIT


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < _LIMIT:
        raise ValueError(f"{str(value)[:60]} is not a count")
    return value


def _message(values: object) -> bytes:
    body = json.dumps(values, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body
