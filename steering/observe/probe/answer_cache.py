"""Reuses the classification of answers that differ only in the query id and the NSID.

One question over several paths mostly brings back the same octets, except for these two. Reusing
the first classification saves most of the prober's work. Octets that are equal up to and including
the OPT record's fixed part (RFC 6891 6.1.2) parse equally, extended rcode included. From the
options only the NSID (RFC 5001) is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from steering.model import Classified, Verdict
from steering.observe.dnssec.response import nsid_text
from steering.observe.dnssec.trust import Trust

_OPT: Final = b"\x00\x00\x29"  # the root's name, type 41
_NSID: Final = 3
_MOST: Final = 1024  # octets of options; a longer answer is not cached
_CACHED: Final = frozenset({Verdict.GOOD, Verdict.BOGUS})


@dataclass(slots=True)
class AnswerCache:
    """The classified answers to one question so far, by the octets that answers share."""

    _readings: dict[bytes, tuple[Trust, Classified]] = field(default_factory=dict)

    def find(self, wire: bytes, trust: Trust) -> Classified | None:
        """The classification of an equal answer, with this one's NSID; None if there is none."""
        parts = _parts(wire)
        if parts is None:
            return None
        shared, nsid = parts
        believed, reading = self._readings.get(shared, (None, None))
        return replace(reading, nsid=nsid) if reading and believed is trust else None

    def keep(self, wire: bytes, trust: Trust, reading: Classified) -> None:
        """Remember a classification that depends on the shared part alone."""
        parts = _parts(wire)
        if parts is not None and reading.outcome.verdict in _CACHED:
            self._readings[parts[0]] = (trust, reading)


def _parts(wire: bytes) -> tuple[bytes, str | None] | None:
    """The octets without id and options, and the NSID; None unless options end the message."""
    at = wire.rfind(_OPT)
    if at < 0 or at + 11 + int.from_bytes(wire[at + 9 : at + 11], "big") != len(wire):
        return None
    shared, nsid, left = wire[2 : at + 9], None, wire[at + 11 :]
    if len(left) > _MOST:
        return None
    while left:
        code, size = int.from_bytes(left[:2], "big"), int.from_bytes(left[2:4], "big")
        if len(left) < 4 + size:
            return None
        if code == _NSID:
            nsid = nsid_text(left[4 : 4 + size])
        left = left[4 + size :]
    return shared, nsid
