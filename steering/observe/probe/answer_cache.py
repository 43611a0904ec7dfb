"""Answers that differ only in who gives them.

One question over several paths mostly brings the same octets back, but for the query's id
and the NSID. Reading the second like the first saves most of the prober's work. Equal octets
up to and with the OPT record's fixed part (RFC 6891 6.1.2) parse equally, the extended
rcode among them; of what is left only the NSID (RFC 5001) is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from steering.model import Verdict
from steering.observe.dnssec.response import Classified, nsid_text
from steering.observe.dnssec.trust import Trust

_OPT: Final = b"\x00\x00\x29"  # the root's name, type 41
_NSID: Final = 3
_MOST: Final = 1024  # octets of options: for more it is not worth while
_SAME: Final = frozenset({Verdict.GOOD, Verdict.BOGUS})


@dataclass(slots=True)
class AnswerCache:
    """The readings of one question's answers so far, by what they share."""

    _held: dict[bytes, tuple[Trust, Classified]] = field(default_factory=dict)

    def find(self, wire: bytes, trust: Trust) -> Classified | None:
        """The reading of an answer like this one, with this one's NSID."""
        parts = _parts(wire)
        if parts is None:
            return None
        shared, nsid = parts
        believed, reading = self._held.get(shared, (None, None))
        return replace(reading, nsid=nsid) if reading and believed is trust else None

    def keep(self, wire: bytes, trust: Trust, reading: Classified) -> None:
        """Remembers a reading that rests on the shared part alone."""
        parts = _parts(wire)
        if parts is not None and reading.outcome.verdict in _SAME:
            self._held[parts[0]] = (trust, reading)


def _parts(wire: bytes) -> tuple[bytes, str | None] | None:
    """All but the id and the options, and the NSID; None unless options end the message."""
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
