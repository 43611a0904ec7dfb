"""Which path the answers to resolvers came over: determined by the routes installed at the time.

The kernel's routes are read repeatedly. An address belongs to a path from the first reading that
shows it there. Answers count for that path only if it was the same for GRACE before the first of
them, so that no question went over the earlier path; other answers count for no path. The wait is
not needed if the dnstap reader counts only questions since the address was first seen there
(`since`): resolvers record the time of each question.
"""

from __future__ import annotations

from collections.abc import Mapping

from steering.model import LOCAL, Instant, Seconds, WallTime

GRACE: Seconds = 3.0
"""Longer than an answer takes: resolvers ask another server sooner."""
LATELY: Seconds = 60.0
"""How long the reader checks the times of questions: clocks may be set, and it costs time."""


class Attribution:
    """The path of each address, and since when."""

    def __init__(self) -> None:
        self._first_look: Instant = float("inf")
        self._path_since: dict[str, tuple[str, Instant]] = {}
        """Path, and when it was first seen, of the addresses that were on another path before."""
        self.since: dict[str, int] = {}
        """Recently moved addresses: UNIX time in microseconds of the first reading there."""
        self._since_at: dict[str, Instant] = {}
        self._certain: set[str] = set()
        """Addresses of which the reader counts only questions since then."""

    def note_installed(
        self, installed: Mapping[str, str], now: Instant, wall: WallTime = 0.0
    ) -> bool:
        """Note the installed routes: address -> site; all others use the local path.

        Returns whether `since` has changed. Without a wall time nothing is added to it.
        """
        beginning = self._first_look > now
        self._first_look = min(self._first_look, now)
        for address in self._path_since.keys() | installed.keys():
            path = installed.get(address, LOCAL)
            was = self._path_since.get(address)
            if was is None or was[0] != path:
                self._path_since[address] = (path, now)
                self._certain.discard(address)
                if wall:
                    self.since[address], self._since_at[address] = int(wall * 1e6), now
        changed = bool(wall) and now in self._since_at.values()
        for address, at in list(self._since_at.items()):
            if now - at > LATELY:
                del self._since_at[address], self.since[address]
                self._certain.discard(address)
                changed = True
        if beginning:
            return changed
        for address, (path, since) in list(self._path_since.items()):
            if path == LOCAL and now - since > 2 * GRACE:
                del self._path_since[address]
        return changed

    def reader_counts_since(self, address: str, since: int) -> None:
        """The reader reports that its counts of an address begin at `since`."""
        if since and since == self.since.get(address):
            self._certain.add(address)

    def path(self, address: str, began: Instant) -> str | None:
        """The path of answers between `began` and the last reading; None: not known."""
        path, since = self._path_since.get(address, (LOCAL, self._first_look))
        return path if since + GRACE <= began or address in self._certain else None
