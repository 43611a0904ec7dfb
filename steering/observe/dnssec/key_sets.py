"""The key sets of zones that are believed: the newest, and those that others show beside it.

In the midst of a change servers show different sets, and each is right for who holds it (RFC 7583
3). So one that verifies is believed for as long as somebody shows it, but when the newest has been
there for an hour, only those of its keys that the parent names: a zone's operators may each have
such a key of their own (RFC 8901 2.1.2), and what else is not in the newest set was removed.
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
"""Sets of one zone that are believed at once: before, after, and that of a second operator. The
newest ones, so that those of long ago drive out none when they are played back."""
BESIDE: Final[Seconds] = 3600.0
"""For which a server may be late with a zone's newest set. Its signature over the one of before may
be good for weeks after a key was removed, and resolvers that have the newest take what that key
signs for bogus."""
RECHECK: Final[Seconds] = 60.0
"""An unchanged set is noted as seen this often."""


@dataclass(slots=True)
class KeySets:
    """All sets, by zone."""

    wall: Callable[[], WallTime]
    monotonic: Callable[[], Instant]
    skew: Seconds
    newest: dict[str, Keys] = field(default_factory=dict)
    _others: dict[str, list[Keys]] = field(default_factory=dict)
    _since: dict[str, Instant] = field(default_factory=dict)
    """When the newest set of a zone became that."""
    _outdated: set[str] = field(default_factory=set)
    """Zones whose newest set was verified against a DS set that is not the present one."""

    def inherit(self, other: KeySets) -> None:
        """Hold what another one holds."""
        self.newest = dict(other.newest)
        self._others = {zone: list(sets) for zone, sets in other._others.items()}
        self._since, self._outdated = dict(other._since), set(other._outdated)

    def forget(self, zone: str) -> None:
        """The zone has no keys."""
        self.newest.pop(zone, None)
        self._others.pop(zone, None)
        self._since.pop(zone, None)
        self._outdated.discard(zone)

    def outdate(self, zone: str) -> None:
        """What the zone's sets are verified against is another: whichever verifies next leads."""
        self._outdated.add(zone)

    def leads(self, keys: Keys, again: Seconds, *, by_server: bool) -> bool:
        """Whether a set becomes the newest; one that is so is noted once in `again` seconds.

        One that no server has shown for a while gives way to one that is shown `by_server`: a zone
        may have gone back to its set of before, with the signature of then.
        """
        held = self.newest.get(keys.zone)
        if held is None or keys.zone in self._outdated:
            return True
        if by_server and abs(keys.checked - held.checked) > FRESH:
            return True
        return keys.inception >= held.inception and (
            keys.digest != held.digest
            or keys.inception > held.inception
            or abs(keys.checked - held.checked) >= again  # the clock may have been set back
        )

    def lead(self, keys: Keys) -> None:
        """Take a set for the newest; the one of before stays beside it."""
        held = self.newest.get(keys.zone)
        self.newest[keys.zone] = keys
        self._outdated.discard(keys.zone)
        if held is None or held.digest != keys.digest:
            self._since[keys.zone] = self.monotonic()
        if held is not None:
            self._put_beside(held)

    def put_beside(self, keys: Keys) -> bool:
        """Believe a set beside the newest one. Whether that was news."""
        if keys.digest == self.newest[keys.zone].digest:
            return False
        others = self._others.get(keys.zone, ())
        held = next((o.checked for o in others if o.digest == keys.digest), -math.inf)
        if abs(keys.checked - held) < RECHECK:
            return False
        self._put_beside(keys)
        return True

    def digests(self, zone: str) -> frozenset[bytes]:
        """Of all sets of a zone that are believed."""
        return frozenset(keys.digest for keys in (self.newest[zone], *self._others.get(zone, ())))

    def believed(self, zone: str) -> Keys:
        """The keys of a zone's newest set, and what still counts of those that others showed
        lately.
        """
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
