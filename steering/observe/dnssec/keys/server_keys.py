"""Which key set each server shows, and when a signature by an unknown key counts as bad.

A server here is an address over a path. A new key signs before all servers and caches have the set
with it: the servers of a zone get the set one after the other, and caches keep the old one for its
TTL (RFC 7583 3.2). So a signature by an unknown key counts against a server only after that server
was asked for its own set, at that time or later, and its set lacks the key. If its set is not
signed by a trusted key, the DS set on this side may be old (.nz in 2023). Then it counts only if
the parent has given the DS set since the first server of the zone signed so; or if other servers
still show a trusted set after so long a time that no rollover can be under way.

This costs a server at most one question in ten seconds, whatever it answers. Pure: time is an
argument.
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
"""Seconds that a server has to show its key set; afterwards it is judged without it."""

PARENT: Final[Seconds] = 60.0
"""Seconds between two questions to a parent, and how long its answer holds: servers change one
after the other, and each of them would otherwise need a question to the parent."""

AGAIN: Final[Seconds] = 10.0
"""Seconds between two questions out of turn for a zone's keys, to one address."""

_MOST_LISTED: Final = 3
"""Sets that a text lists, and servers of each."""

LASTS: Final[Seconds] = 60.0
"""Seconds for which a server shows a set that can't be verified while others show good ones, before
it is reported, and counts against it if the parent can't be asked. A rollover reaches all servers
sooner."""


@dataclass(slots=True)
class _Record:
    """What one server showed of one zone."""

    unknown_since: Instant = math.inf
    """When it began to sign by keys that are in no known set; infinity: it does not."""
    unknown_last: Instant = -math.inf
    """When it did so last."""
    shown_at: Instant = -math.inf
    """When it last showed a set."""
    asked: Instant = -math.inf
    """When it was last asked for its set out of turn."""
    good: bool = False
    """Whether the set that it showed is signed by a trusted key."""
    digest: bytes = b""
    text: str = ""
    since: Instant = -math.inf
    since_wall: WallTime = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """A server that shows another set than the zone's newest."""

    server: Server
    good: bool
    """Whether that set is signed by a trusted key too."""
    text: str
    """Its keys, for people."""
    since: WallTime


@dataclass(slots=True)
class ServerKeys:
    """The key sets of all servers. Its size is bounded by the addresses that are probed."""

    _records: dict[str, dict[str, dict[str, _Record]]] = field(default_factory=dict)
    """By zone, address and path."""
    _unknown_first: dict[str, Instant] = field(default_factory=dict)
    """By zone: when the first of its servers began to sign by unknown keys."""
    _unknown_last: dict[str, Instant] = field(default_factory=dict)
    """By zone: when one of its servers did so last."""
    _good: dict[str, Instant] = field(default_factory=dict)
    """By zone: when a server last showed a set that verified."""

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
        """Note that a server showed a key set now."""
        record, digest = self._record(zone, server), digest_of(keys)
        if (record.digest, record.good) != (digest, good):
            record.digest, record.good, record.text = digest, good, named(keys)
            record.since, record.since_wall = now, wall
        record.shown_at = now
        if good:
            self._good[zone] = now

    def miss(self, zone: str, server: Server, now: Instant) -> None:
        """Note that a server signed by a key that is in no known set."""
        record = self._record(zone, server)
        if record.unknown_since == math.inf or _lapsed(record, now):
            record.unknown_since = now
        if now - self._unknown_last.get(zone, -math.inf) > FRESH:
            self._unknown_first[zone] = now
        record.unknown_last = self._unknown_last[zone] = now

    def proves(self, zone: str, server: Server, now: Instant, parent_said: Instant) -> bool:
        """Whether this server's signature by an unknown key is certainly bad.

        `parent_said` is when the parent gave the zone's DS set.
        """
        record = self._at(zone, server[0]).get(server[1])
        if record is None or record.unknown_since == math.inf or _lapsed(record, now):
            return False
        if record.shown_at >= record.unknown_since and record.good:
            return True
        shown = record.shown_at >= record.unknown_since or now - record.unknown_since >= PATIENCE
        others = self._good.get(zone, -math.inf) >= record.unknown_since + LASTS
        return shown and (parent_said >= self._needed(zone, record) or others)

    def _needed(self, zone: str, record: _Record) -> Instant:
        """The time since which the parent must have given the DS set, to judge a server by it."""
        return max(self._unknown_first[zone], record.unknown_since - PARENT)

    def wanted(self, zone: str, address: str, now: Instant) -> bool:
        """Whether an address must be asked for a zone's keys before anything else."""
        return any(_key_set_due(record, now) for record in self._at(zone, address).values())

    def asked(self, zone: str, address: str, now: Instant) -> None:
        """Note that an address is asked for a zone's keys now, out of turn."""
        for record in self._at(zone, address).values():
            record.asked = now

    def reconsider(self, zone: str) -> None:
        """The zone's DS set has changed: sets that failed before may be good now."""
        for paths in self._records.get(zone, {}).values():
            for record in paths.values():
                if not record.good:
                    record.unknown_since, record.shown_at, record.asked = (
                        math.inf,
                        -math.inf,
                        -math.inf,
                    )

    def is_undecided(self, zone: str, now: Instant, parent_said: Instant) -> bool:
        """Whether a server signs by unknown keys and has shown no trusted set, and the parent's DS
        set, given at `parent_said`, is too old to decide. It is too old after a minute: the parent
        may name the keys by then.
        """
        return any(
            parent_said < max(self._needed(zone, record), now - PARENT)
            for paths in self._records.get(zone, {}).values()
            for record in paths.values()
            if record.unknown_since != math.inf
            and not (record.good and record.shown_at >= record.unknown_since)
            and not _lapsed(record, now)
        )

    def differing(
        self, zone: str, trusted: Collection[bytes], newest: bytes, now: Instant
    ) -> list[Differing]:
        """The servers that have long shown other keys than the zone's newest set.

        A rollover reaches servers one after the other, so a set that verifies may differ for FRESH
        seconds. `trusted` are the digests of the trusted sets.
        """
        found = [
            Differing(
                server=(address, path),
                good=record.digest in trusted,
                text=record.text,
                since=record.since_wall,
            )
            for address, paths in self._records.get(zone, {}).items()
            for path, record in paths.items()
            if record.digest
            and record.digest != newest
            and now - record.shown_at <= FRESH
            and now - record.since >= (FRESH if record.digest in trusted else LASTS)
        ]
        return sorted(found, key=lambda differing: differing.server)

    def _at(self, zone: str, address: str) -> Mapping[str, _Record]:
        return self._records.get(zone, {}).get(address, {})

    def _record(self, zone: str, server: Server) -> _Record:
        address, path = server
        paths = self._records.setdefault(zone, {}).setdefault(address, {})
        return paths.setdefault(path, _Record())


def describe(servers: Iterable[Differing]) -> str:
    """Text: which servers show which keys; servers with the same keys are grouped."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for one in servers:
        names = groups.setdefault((one.text, one.good), [])
        names.append(f"{one.server[0]} over {one.server[1]}")
    texts = []
    for (text, good), names in list(groups.items())[:_MOST_LISTED]:
        more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        signed = "signed by a key that is trusted" if good else "signed by no key that is trusted"
        texts.append(f"{text}, {signed}, at {', '.join(names[:_MOST_LISTED])}{more}")
    if len(groups) > _MOST_LISTED:
        texts.append(f"and {len(groups) - _MOST_LISTED} more sets")
    return "; ".join(texts)


def _key_set_due(record: _Record, now: Instant) -> bool:
    """Whether a server must still show its set."""
    return (
        record.unknown_since != math.inf
        and record.shown_at < record.unknown_since
        and now - record.unknown_since < PATIENCE
        and now - record.asked >= AGAIN
    )


def _lapsed(record: _Record, now: Instant) -> bool:
    """Whether a server has not signed by unknown keys for a while, so that the next one is new.

    Otherwise a server that once had a key before its set was known would be judged at once at its
    next rollover.
    """
    return now - record.unknown_last > FRESH
