"""The trusted key sets of zones: the newest one, and others that servers still show.

During a rollover servers show different sets, and each set is right for its holder (RFC 7583 3). So
every set that verifies is trusted as long as some server shows it. Once the newest set is an hour
old, only those keys of the other sets remain trusted that the parent names: each operator of a
zone may have such a key of its own (RFC 8901 2.1.2). All other keys that are not in the newest set
were removed from the zone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import dns.rdataset

from steering.model import Instant, Seconds, WallTime
from steering.observe.dnssec.signatures import FRESH
from steering.observe.dnssec.trust import Keys

_MOST_SETS: Final = 3
"""Sets of one zone that are trusted at once: that before a rollover, that after it, and that of a
second operator. The newest ones are kept, so that a replay of old sets displaces none."""
BESIDE: Final[Seconds] = 3600.0
"""How long a server may be late with a zone's newest set. Its signature over the earlier set may be
valid for weeks after a key was removed, and resolvers that have the newest set take signatures by
that key for bogus."""
RECHECK: Final[Seconds] = 60.0
"""The least interval between two updates of the time at which an unchanged set was seen."""


@dataclass(slots=True)
class KeySets:
    """All sets, by zone."""

    wall: Callable[[], WallTime]
    monotonic: Callable[[], Instant]
    skew: Seconds
    newest: dict[str, Keys] = field(default_factory=dict)
    _others: dict[str, list[Keys]] = field(default_factory=dict)
    _since: dict[str, Instant] = field(default_factory=dict)
    """When the newest set of a zone became the newest."""
    _outdated: set[str] = field(default_factory=set)
    """Zones whose newest set was verified against an earlier DS set."""

    def copy_from(self, other: KeySets) -> None:
        self.newest = dict(other.newest)
        self._others = {zone: list(sets) for zone, sets in other._others.items()}
        self._since, self._outdated = dict(other._since), set(other._outdated)

    def forget(self, zone: str) -> None:
        """Drop all sets of a zone that has no keys."""
        self.newest.pop(zone, None)
        self._others.pop(zone, None)
        self._since.pop(zone, None)
        self._outdated.discard(zone)

    def outdate(self, zone: str) -> None:
        """The zone's DS set has changed: the next set that verifies becomes the newest."""
        self._outdated.add(zone)

    def leads(self, keys: Keys, interval: Seconds, *, by_server: bool) -> bool:
        """Whether a set becomes the newest. The newest counts again after `interval` seconds.

        If no server has shown the newest set for a while, one that is shown `by_server` replaces
        it: a zone may have gone back to an earlier set with its earlier signature.
        """
        held = self.newest.get(keys.zone)
        if held is None or keys.zone in self._outdated:
            return True
        if by_server and abs(keys.checked - held.checked) > FRESH:
            return True
        return keys.inception >= held.inception and (
            keys.digest != held.digest
            or keys.inception > held.inception
            or abs(keys.checked - held.checked) >= interval  # the clock may have been set back
        )

    def lead(self, keys: Keys) -> None:
        """Make a set the newest; the one before it stays trusted beside it."""
        held = self.newest.get(keys.zone)
        self.newest[keys.zone] = keys
        self._outdated.discard(keys.zone)
        if held is None or held.digest != keys.digest:
            self._since[keys.zone] = self.monotonic()
        if held is not None:
            self._put_beside(held)

    def put_beside(self, keys: Keys) -> bool:
        """Trust a set beside the newest one. Returns whether that changed anything."""
        if keys.digest == self.newest[keys.zone].digest:
            return False
        others = self._others.get(keys.zone, ())
        held = next((o.checked for o in others if o.digest == keys.digest), -math.inf)
        if abs(keys.checked - held) < RECHECK:
            return False
        self._put_beside(keys)
        return True

    def digests(self, zone: str) -> frozenset[bytes]:
        """The digests of all trusted sets of a zone."""
        return frozenset(keys.digest for keys in (self.newest[zone], *self._others.get(zone, ())))

    def trusted_keys(self, zone: str) -> Keys:
        """The keys of a zone's newest set, with the keys of other recent sets that still count."""
        newest, wall = self.newest[zone], self.wall()
        others = [
            keys
            for keys in self._others.get(zone, ())
            if abs(wall - keys.checked) <= FRESH and keys.expiration >= wall - self.skew
        ]
        self._others[zone] = others
        if not others:
            return newest
        late = self.monotonic() - self._since[zone] < BESIDE
        more = (key for one in others for key in (one.rdataset if late else one.trusted))
        keys = dict.fromkeys([*newest.rdataset, *more])
        union = dns.rdataset.from_rdata_list(newest.rdataset.ttl, list(keys))
        return newest if len(union) == len(newest.rdataset) else replace(newest, rdataset=union)

    def _put_beside(self, keys: Keys) -> None:
        sets = [keys, *(o for o in self._others.get(keys.zone, ()) if o.digest != keys.digest)]
        newest = self.newest[keys.zone].digest
        sets = [one for one in sets if one.digest != newest]
        sets.sort(key=lambda one: one.inception, reverse=True)
        self._others[keys.zone] = sets[: _MOST_SETS - 1]
