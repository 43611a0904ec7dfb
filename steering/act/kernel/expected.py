"""What of ours should be in the kernel, because it was installed or found there. Pure.

If the same route or rule has to be installed again, another program removed it, or a link went
down. The agent reinstalls it within a second; without this record nobody would notice a conflict
between two programs.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable

from steering.act.kernel.diff import Change, ChangeKind
from steering.act.kernel.rtnetlink import Route
from steering.act.kernel.rules import Rule


class Expected:
    """The routes and rules that were there at the last comparison."""

    def __init__(self) -> None:
        self._there: dict[Hashable, Route | Rule] = {}
        self._lost: list[Route | Rule] = []

    def found(self, right: Iterable[Route | Rule]) -> None:
        """These are there as they should be."""
        self._there |= {_key(what): what for what in right}

    def carried_out(self, change: Change) -> None:
        """This change was made."""
        key = _key(change.what)
        if change.act is ChangeKind.REMOVE:
            self._there.pop(key, None)
            return
        if self._there.get(key) == change.what:
            self._lost.append(change.what)
        self._there[key] = change.what

    def keep_routes(self, table: int, wanted: Collection[Route]) -> None:
        """Forgets all routes of this table but these: they are not wanted any more."""
        keys = {_key(route) for route in wanted}
        self._there = {
            key: what
            for key, what in self._there.items()
            if not isinstance(what, Route) or what.table != table or key in keys
        }

    def forget(self) -> None:
        """We removed everything."""
        self._there.clear()

    def lost(self) -> tuple[Route | Rule, ...]:
        """What was lost and installed again since the last call."""
        lost, self._lost = tuple(self._lost), []
        return lost


def _key(what: Route | Rule) -> Hashable:
    return what.place if isinstance(what, Route) else what
