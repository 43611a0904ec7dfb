"""Which path an answer came over that somebody else asked for: by what was installed then.

What the kernel has is looked at again and again; an address belongs to a path from the first
look that showed it there. Answers count for that path only if it was the same for a while
before the first of them, so that none was asked over the path before it; the rest belong to
nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

from steering.model import LOCAL, Instant, Seconds

GRACE: Seconds = 3.0
"""Answers take no longer than this: resolvers ask another server sooner."""


class Whereabouts:
    """Since when each address has been reached over which path."""

    def __init__(self) -> None:
        self._first: Instant = float("inf")
        self._moved: dict[str, tuple[str, Instant]] = {}
        """Path, and when it was first seen there, of addresses that were ever elsewhere."""

    def see(self, installed: Mapping[str, str], now: Instant) -> None:
        """What the kernel has now: address -> site, all others are reached locally."""
        beginning = self._first > now
        self._first = min(self._first, now)
        for address in self._moved.keys() | installed.keys():
            path = installed.get(address, LOCAL)
            was = self._moved.get(address)
            if was is None or was[0] != path:
                self._moved[address] = (path, now)
        if beginning:
            return
        for address, (path, since) in list(self._moved.items()):
            if path == LOCAL and now - since > 2 * GRACE:
                del self._moved[address]

    def path(self, address: str, began: Instant) -> str | None:
        """The path of answers seen between `began` and the last look; None: can't be told."""
        path, since = self._moved.get(address, (LOCAL, self._first))
        return path if since + GRACE <= began else None
