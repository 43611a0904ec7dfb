"""The key sets of zones that are believed: the newest, and those that others show beside it.

In the midst of a change servers show different sets, and each is right for who holds it (RFC 7583
3). So one that verifies is believed for as long as somebody shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import dns.rdataset

from steering.model import Seconds, WallTime
from steering.observe.signatures import FRESH
from steering.observe.trust import Keys

_MOST_SETS: Final = 3
"""Sets of one zone that are believed at once: before, after, and that of a second operator."""
RECHECK: Final[Seconds] = 60.0
"""An unchanged set is noted as seen this often."""


@dataclass(slots=True)
class Sets:
    """All sets, by zone."""

    wall: Callable[[], WallTime]
    skew: Seconds
    newest: dict[str, Keys] = field(default_factory=dict)
    _others: dict[str, list[Keys]] = field(default_factory=dict)

    def inherit(self, other: Sets) -> None:
        """Hold what another one holds."""
        self.newest = dict(other.newest)
        self._others = {zone: list(sets) for zone, sets in other._others.items()}

    def forget(self, zone: str) -> None:
        """The zone has no keys."""
        self.newest.pop(zone, None)
        self._others.pop(zone, None)

    def leads(self, keys: Keys, again: Seconds) -> bool:
        """Whether a set becomes the newest; one that is so is noted once in `again` seconds."""
        held = self.newest.get(keys.zone)
        return held is None or (
            keys.inception >= held.inception
            and (
                keys.digest != held.digest
                or keys.inception > held.inception
                or keys.checked - held.checked >= again
            )
        )

    def lead(self, keys: Keys) -> None:
        """Take a set for the newest; the one of before stays beside it."""
        held = self.newest.get(keys.zone)
        self.newest[keys.zone] = keys
        if held is not None:
            self._put_beside(held)

    def put_beside(self, keys: Keys) -> bool:
        """Believe a set beside the newest one. Whether that was news."""
        if keys.digest == self.newest[keys.zone].digest:
            return False
        held = (o.checked for o in self._others.get(keys.zone, ()) if o.digest == keys.digest)
        if keys.checked - max(held, default=-math.inf) < RECHECK:
            return False
        self._put_beside(keys)
        return True

    def digests(self, zone: str) -> frozenset[bytes]:
        """Of all sets of a zone that are believed."""
        return frozenset(keys.digest for keys in (self.newest[zone], *self._others.get(zone, ())))

    def believed(self, zone: str) -> Keys:
        """The keys of a zone's newest set, and of those that others showed lately."""
        newest, wall = self.newest[zone], self.wall()
        others = [
            keys
            for keys in self._others.get(zone, ())
            if abs(wall - keys.checked) <= FRESH and keys.expiration >= wall - self.skew
        ]
        self._others[zone] = others
        if not others:
            return newest
        keys = dict.fromkeys(key for one in (newest, *others) for key in one.rdataset)
        union = dns.rdataset.from_rdata_list(newest.rdataset.ttl, list(keys))
        return newest if len(union) == len(newest.rdataset) else replace(newest, rdataset=union)

    def _put_beside(self, keys: Keys) -> None:
        sets = [keys, *(o for o in self._others.get(keys.zone, ()) if o.digest != keys.digest)]
        newest = self.newest[keys.zone].digest
        self._others[keys.zone] = [o for o in sets if o.digest != newest][: _MOST_SETS - 1]
