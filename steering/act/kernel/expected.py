"""What of ours should be in the kernel, since it was put there or found right: pure.

Who has to put the same thing in again was meddled with: somebody, or a link that went down, took
it out. It comes back within a second, and nobody would ever learn of a fight over it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable

from steering.act.kernel.diff import Change, ChangeKind
from steering.act.kernel.rtnetlink import Route, Rule


class Expected:
    """What was there when it was last compared."""

    def __init__(self) -> None:
        self._there: dict[Hashable, Route | Rule] = {}
        self._lost: list[Route | Rule] = []

    def found(self, right: Iterable[Route | Rule]) -> None:
        """These are there as they should be."""
        self._there |= {_key(what): what for what in right}

    def carried_out(self, change: Change) -> None:
        """This was done."""
        key = _key(change.what)
        if change.act is ChangeKind.REMOVE:
            self._there.pop(key, None)
            return
        if self._there.get(key) == change.what:
            self._lost.append(change.what)
        self._there[key] = change.what

    def keep_routes(self, table: int, wanted: Collection[Route]) -> None:
        """Others than these are not wanted in this table any more."""
        keys = {_key(route) for route in wanted}
        self._there = {
            key: what
            for key, what in self._there.items()
            if not isinstance(what, Route) or what.table != table or key in keys
        }

    def forget(self) -> None:
        """Nothing is there any more, by our own doing."""
        self._there.clear()

    def lost(self) -> tuple[Route | Rule, ...]:
        """What was gone and is back, since this was last asked for."""
        lost, self._lost = tuple(self._lost), []
        return lost


def _key(what: Route | Rule) -> Hashable:
    return what.place if isinstance(what, Route) else what
