"""Finds a name that reproduces a failing denial, without using a client's name.

An NSEC or NSEC3 record denies all names between its owner and the next one. A question for any of
these names returns that record with its signature. For NSEC such a name can be constructed. For
NSEC3 (RFC 5155) random names are hashed until one falls into a gap. A gap of com. is one of some
millions, so each name is tried on all gaps at once.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import dns.name

from steering.model import Instant, Seconds
from steering.observe.dnssec.denial import NSEC, NSEC3, unhashed
from steering.observe.dnssec.trust import LONGEST_NAME, name_of, octets
from steering.observe.nonce import LABEL, random_label

OPEN: Final = 64
"""Gaps of one zone that are searched at once; the oldest is dropped."""
LASTING: Final[Seconds] = 600.0
"""Seconds after which the search for a gap ends."""
_MOST_ITERATIONS: Final = 10
_LONGEST: Final = 63  # octets in a label (RFC 1035 2.3.4)
_TRIES: Final = 16


def within(owner: str, record: NSEC, zone: str, rng: random.Random) -> str | None:
    """A name just after the owner of an NSEC record, and before its next name (RFC 4034 6.1).

    None if there is hardly any, or if the owner is not in the zone.
    """
    first, apex, last = name_of(owner), name_of(zone), record.next
    if not first.is_subdomain(apex) or not first.labels[0].isascii():
        return None
    for _ in range(_TRIES):
        tail = random_label(rng)
        # After the apex comes a child of it, after another name a sibling.
        label, parent = (b"", apex) if first == apex else (first.labels[0], first.parent())
        label += tail.encode()
        if len(label) > _LONGEST or octets(parent) + 1 + len(label) > LONGEST_NAME:
            return None
        name = dns.name.Name((label, *parent.labels))
        if first < name and (name < last or last == apex):
            return name.to_text().lower()
    return None


@dataclass(slots=True)
class _Gap:
    last: bytes
    owner: str
    since: Instant


@dataclass(slots=True)
class DeniedNames:
    """The gaps in one zone's hash order for which a name is searched."""

    zone: str
    rng: random.Random
    _salt: bytes = b""
    _iterations: int = 0
    _open: dict[bytes, _Gap] = field(default_factory=dict)
    _order: list[bytes] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self._open)

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners of the open gaps."""
        return tuple(gap.owner for gap in self._open.values())

    def open(self, owner: str, record: NSEC3, now: Instant) -> None:
        """Begin to search a name in the gap after `owner`."""
        name = name_of(owner)
        if len(name) != len(name_of(self.zone)) + 1:
            return
        first = unhashed(name.labels[0])
        if not first or record.iterations > _MOST_ITERATIONS or first in self._open:
            return
        if (record.salt, record.iterations) != (self._salt, self._iterations):
            self._salt, self._iterations = record.salt, record.iterations
            self._open.clear()  # the zone has new NSEC3 parameters
        while len(self._open) >= OPEN:
            del self._open[next(iter(self._open))]
        self._open[first] = _Gap(record.next, owner, now)
        self._order = sorted(self._open)

    def search(self, attempts: int, now: Instant) -> Iterator[tuple[str, str]]:
        """Try a number of names; yields the owner of each gap that was hit, and the name."""
        for first in [f for f, gap in self._open.items() if now - gap.since > LASTING]:
            self._close(first)
        suffix = b"".join(bytes([len(x)]) + x.lower() for x in name_of(self.zone).labels)
        for _ in range(attempts):
            if not self._open:
                return
            label = random_label(self.rng)
            value = self._hash(bytes([LABEL]) + label.encode() + suffix)
            # A gap that wraps around the end is the last one.
            first = self._order[bisect_right(self._order, value) - 1]
            gap = self._open[first]
            inside = first < value < gap.last
            if gap.last <= first:
                inside = value > first or value < gap.last
            if inside:
                yield gap.owner, f"{label}." if self.zone == "." else f"{label}.{self.zone}"
                self._close(first)

    def _close(self, first: bytes) -> None:
        del self._open[first]
        self._order = sorted(self._open)

    def _hash(self, name: bytes) -> bytes:
        value = hashlib.sha1(name + self._salt, usedforsecurity=False).digest()
        for _ in range(self._iterations):
            value = hashlib.sha1(value + self._salt, usedforsecurity=False).digest()
        return value
