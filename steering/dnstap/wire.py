"""What the agent and its reader write to each other: JSON behind a length, on one socket pair.

The agent says what it is interested in, and each time it has taken a tally; only then comes
the next. Both ends are ours, of the same version, so what does not parse is a bug.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from steering.dnstap.tally import (
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
from steering.model import Outcome
from steering.system.unreadable import Unread, Where

TAKEN: Final = b"\0\0\0\x04null"
"""From the agent: the last tally was taken."""

_LENGTH: Final = struct.Struct("!I")


class Letters:
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
    return _letter({a: [sorted(w.zones), w.skew] for a, w in interest.items()})


def read_interest(letter: bytes) -> Interest | None:
    """What to count; None if the letter says that a tally was taken."""
    said = json.loads(letter)
    if said is None:
        return None
    return {a: Watched(zones=frozenset(zones), skew=skew) for a, (zones, skew) in said.items()}


def tally_letter(tally: Tally) -> bytes:
    """From the reader: one tally."""
    said = asdict(tally)
    for sample in said["samples"]:
        sample["message"] = base64.b64encode(sample["message"]).decode()
    return _letter(said)


def read_tally(letter: bytes) -> Tally:
    """The tally in a letter."""
    said: dict[str, Any] = json.loads(letter)
    return Tally(
        began=said["began"],
        ended=said["ended"],
        frames={Frames(result): count for result, count in said["frames"].items()},
        lost=said["lost"],
        writers=said["writers"],
        longest_gap=said["longest_gap"],
        traffic=tuple(
            Traffic(**{**t, "rcodes": {int(code): n for code, n in t["rcodes"].items()}})
            for t in said["traffic"]
        ),
        signed=tuple(
            Signed(**{**s, "failing": tuple(map(_failing, s["failing"]))}) for s in said["signed"]
        ),
        samples=tuple(
            Sample(
                address=s["address"],
                reason=Reason(s["reason"]),
                message=base64.b64decode(s["message"]),
            )
            for s in said["samples"]
        ),
        notices=tuple(Notice(**notice) for notice in said["notices"]),
        unnoticed=said["unnoticed"],
        unreadable=tuple(Unread(**{**u, "where": Where(u["where"])}) for u in said["unreadable"]),
    )


def _failing(said: dict[str, Any]) -> Failing:
    return Failing(**{**said, "outcome": Outcome(said["outcome"])})


def _letter(said: object) -> bytes:
    body = json.dumps(said, separators=(",", ":")).encode()
    return _LENGTH.pack(len(body)) + body
