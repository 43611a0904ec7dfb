"""Which key set each server shows, and when a key that is in none proves a signature bad.

A server here is an address over a path. A new key signs before everybody has the set that holds
it: a zone's servers get it one after the other, and caches keep the old one for its TTL (RFC 7583
3.2). So a signature by a key that nobody showed is held against a server only after the server was
asked for its own set, then or later, and shows none that holds the key. If its set is not signed by
a key that we trust, it may be the DS set that is old here (.nz in 2023): then the parent has to
have said it since the first server of the zone did so; or others show a trusted set so long after
that it is no change under way.

That asks nothing more of a server than one question in ten seconds, whatever it answers. Pure: time
is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import dns.rdata

from steering.model import Instant, Seconds, WallTime
from steering.observe.dnssec.signatures import FRESH
from steering.observe.dnssec.trust import digest_of, named

Server = tuple[str, str]
"""An address, and the path to it."""

PATIENCE: Final[Seconds] = 60.0
"""For a server to show its key set, after which it is judged without."""

PARENT: Final[Seconds] = 60.0
"""Between two questions to a parent, and for so long its word holds: servers change one after the
other, and each would have to wait for a question of its own."""

AGAIN: Final[Seconds] = 10.0
"""Between two questions for a zone's keys that are put to an address out of turn."""

_TOLD: Final = 3
"""Sets, and servers of each, that are named."""

LASTS: Final[Seconds] = 60.0
"""For which a server shows a set that can't be verified while others do not, before it is told of,
and held against it where the parent can't be asked: a change reaches all of them sooner."""


@dataclass(slots=True)
class _Record:
    """What one server showed of one zone."""

    missed: Instant = math.inf
    """When it began to sign by keys that nobody had shown; infinity: it does not."""
    met: Instant = -math.inf
    """When it did so last."""
    looked: Instant = -math.inf
    """When it showed its set last, whatever that was."""
    asked: Instant = -math.inf
    """When it was asked for it out of turn."""
    good: bool = False
    """Whether the set that it showed is signed by a trusted key."""
    digest: bytes = b""
    text: str = ""
    since: Instant = -math.inf
    since_wall: WallTime = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """A server that shows another set than the zone's."""

    server: Server
    good: bool
    """Whether it is signed by a trusted key all the same."""
    text: str
    """Its keys, for people."""
    since: WallTime


@dataclass(slots=True)
class ServerKeys:
    """What all servers showed. Bounded by those that are asked at all."""

    _records: dict[str, dict[str, dict[str, _Record]]] = field(default_factory=dict)
    """By zone, address and path."""
    _opened: dict[str, Instant] = field(default_factory=dict)
    """When the first of a zone's servers began to sign by unknown keys."""
    _met: dict[str, Instant] = field(default_factory=dict)
    """When one of them did so last."""
    _good: dict[str, Instant] = field(default_factory=dict)
    """When somebody last showed a zone's set that verified."""

    def take(
        self,
        zone: str,
        server: Server,
        *,
        keys: Iterable[dns.rdata.Rdata],
        good: bool,
        now: Instant,
        wall: WallTime,
    ) -> None:
        """A server showed a key set just now."""
        record, digest = self._record(zone, server), digest_of(keys)
        if (record.digest, record.good) != (digest, good):
            record.digest, record.good, record.text = digest, good, named(keys)
            record.since, record.since_wall = now, wall
        record.looked = now
        if good:
            self._good[zone] = now

    def miss(self, zone: str, server: Server, now: Instant) -> None:
        """A server signed by a key that is in no set."""
        record = self._record(zone, server)
        if record.missed == math.inf or _lapsed(record, now):
            record.missed = now
        if now - self._met.get(zone, -math.inf) > FRESH:
            self._opened[zone] = now
        record.met = self._met[zone] = now

    def proves(self, zone: str, server: Server, now: Instant, said: Instant) -> bool:
        """Whether a signature of this server by a key in no set is bad for certain.

        `said` is when the parent said the zone's DS set.
        """
        record = self._at(zone, server[0]).get(server[1])
        if record is None or record.missed == math.inf or _lapsed(record, now):
            return False
        if record.looked >= record.missed and record.good:
            return True
        shown = record.looked >= record.missed or now - record.missed >= PATIENCE
        others = self._good.get(zone, -math.inf) >= record.missed + LASTS
        return shown and (said >= self._needed(zone, record) or others)

    def _needed(self, zone: str, record: _Record) -> Instant:
        """Since when the parent must have said the DS set, for a server's keys to be foreign."""
        return max(self._opened[zone], record.missed - PARENT)

    def wanted(self, zone: str, address: str, now: Instant) -> bool:
        """Whether an address is to be asked for a zone's keys before anything else."""
        return any(_open(record, now) for record in self._at(zone, address).values())

    def asked(self, zone: str, address: str, now: Instant) -> None:
        """An address is asked for a zone's keys just now, out of turn."""
        for record in self._at(zone, address).values():
            record.asked = now

    def reconsider(self, zone: str) -> None:
        """What the zone's sets are verified against has changed: those that failed may be good."""
        for paths in self._records.get(zone, {}).values():
            for record in paths.values():
                if not record.good:
                    record.missed, record.looked, record.asked = math.inf, -math.inf, -math.inf

    def doubts(self, zone: str, now: Instant, said: Instant) -> bool:
        """Whether a server signs by unknown keys and has shown no trusted set, and what the parent
        said, at `said`, is too old to tell. It is after a minute: the parent may name them by then.
        """
        return any(
            said < max(self._needed(zone, record), now - PARENT)
            for paths in self._records.get(zone, {}).values()
            for record in paths.values()
            if record.missed != math.inf
            and not (record.good and record.looked >= record.missed)
            and not _lapsed(record, now)
        )

    def differing(
        self, zone: str, believed: Collection[bytes], newest: bytes, now: Instant
    ) -> list[Differing]:
        """The servers that show other keys than the zone's newest set, for long enough to tell.

        A change reaches them one after the other: a set that can be verified may last as long as
        ours counts as fresh. `believed` are the digests of the sets that are.
        """
        found = [
            Differing(
                server=(address, path),
                good=record.digest in believed,
                text=record.text,
                since=record.since_wall,
            )
            for address, paths in self._records.get(zone, {}).items()
            for path, record in paths.items()
            if record.digest
            and record.digest != newest
            and now - record.looked <= FRESH
            and now - record.since >= (FRESH if record.digest in believed else LASTS)
        ]
        return sorted(found, key=lambda differing: differing.server)

    def _at(self, zone: str, address: str) -> Mapping[str, _Record]:
        return self._records.get(zone, {}).get(address, {})

    def _record(self, zone: str, server: Server) -> _Record:
        address, path = server
        paths = self._records.setdefault(zone, {}).setdefault(address, {})
        return paths.setdefault(path, _Record())


def told(servers: Iterable[Differing]) -> str:
    """Which servers show which keys, those with the same in one breath."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for one in servers:
        names = groups.setdefault((one.text, one.good), [])
        names.append(f"{one.server[0]} over {one.server[1]}")
    said = []
    for (text, good), names in list(groups.items())[:_TOLD]:
        more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
        signed = "signed by a key that is trusted" if good else "signed by no key that is trusted"
        said.append(f"{text}, {signed}, at {', '.join(names[:_TOLD])}{more}")
    if len(groups) > _TOLD:
        said.append(f"and {len(groups) - _TOLD} sets more")
    return "; ".join(said)


def _open(record: _Record, now: Instant) -> bool:
    """Whether a server is still to show its set."""
    return (
        record.missed != math.inf
        and record.looked < record.missed
        and now - record.missed < PATIENCE
        and now - record.asked >= AGAIN
    )


def _lapsed(record: _Record, now: Instant) -> bool:
    """Whether it is over that a server signs by unknown keys, so that the next one is a new matter.

    Who once had a key before its set was seen would be judged at once at its next rollover.
    """
    return now - record.met > FRESH
