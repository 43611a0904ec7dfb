"""Which path an answer came over that somebody else asked for: by what was installed then.

What the kernel has is looked at again and again; an address belongs to a path from the first
look that showed it there. Answers count for that path only if it was the same for a while
before the first of them, so that none was asked over the path before it; the rest belong to
nobody. Sooner than that where the reader of dnstap says that all it counted was asked since the
address was first seen there (`since`): resolvers write down when they asked.
"""

from __future__ import annotations

from collections.abc import Mapping

from steering.model import LOCAL, Instant, Seconds, WallTime

GRACE: Seconds = 3.0
"""Answers take no longer than this: resolvers ask another server sooner."""
LATELY: Seconds = 60.0
"""How long the reader looks at when something was asked: clocks may be set, and it costs time."""


class Attribution:
    """Since when each address has been reached over which path."""

    def __init__(self) -> None:
        self._first: Instant = float("inf")
        self._moved: dict[str, tuple[str, Instant]] = {}
        """Path, and when it was first seen there, of addresses that were ever elsewhere."""
        self.since: dict[str, int] = {}
        """Microseconds of UNIX time when those that moved lately were first seen there."""
        self._dated: dict[str, Instant] = {}
        self._certain: set[str] = set()
        """Of whom the reader counts nothing else any more."""

    def see(self, installed: Mapping[str, str], now: Instant, wall: WallTime = 0.0) -> bool:
        """What the kernel has now: address -> site, all others are reached locally.

        Whether `since` has changed. Without a wall time nobody is in it.
        """
        beginning = self._first > now
        self._first = min(self._first, now)
        for address in self._moved.keys() | installed.keys():
            path = installed.get(address, LOCAL)
            was = self._moved.get(address)
            if was is None or was[0] != path:
                self._moved[address] = (path, now)
                self._certain.discard(address)
                if wall:
                    self.since[address], self._dated[address] = int(wall * 1e6), now
        changed = bool(wall) and now in self._dated.values()
        for address, at in list(self._dated.items()):
            if now - at > LATELY:
                del self._dated[address], self.since[address]
                self._certain.discard(address)
                changed = True
        if beginning:
            return changed
        for address, (path, since) in list(self._moved.items()):
            if path == LOCAL and now - since > 2 * GRACE:
                del self._moved[address]
        return changed

    def counted(self, address: str, since: int) -> None:
        """The reader counts from then on alone, as it says with what it has counted."""
        if since and since == self.since.get(address):
            self._certain.add(address)

    def path(self, address: str, began: Instant) -> str | None:
        """The path of answers seen between `began` and the last look; None: can't be told."""
        path, since = self._moved.get(address, (LOCAL, self._first))
        return path if since + GRACE <= began or address in self._certain else None
