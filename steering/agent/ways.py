"""The ways out of this host, as the kernel has them: what is steered, which mark leads where.

A mark is believed from the moment it was seen to lead over its path: whoever took a rule away,
an answer to an earlier question came over some other path, and counting it for this one would
be a lie. An agent that may only observe uses the rules it finds (`steering check --rules`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from steering.act import gateways
from steering.act.reader import KernelReader
from steering.agent.hands import COMPARE
from steering.model import LOCAL, Family, Instant, Observation, Outcome, Round, Seconds

_GATEWAYS_LAST: Seconds = 1.0


class Ways:
    """What the kernel says of the paths, read through a reader; without one, nothing."""

    def __init__(self, reader: KernelReader | None, *, acting: bool) -> None:
        """`acting`: the rules are put in by this agent, so each path has its mark."""
        self._reader = reader
        self.marked = acting or (
            reader is not None and any(path != LOCAL for path, _ in reader.pinned())
        )
        """Whether the paths are told apart by marks; if not, only the local one is asked."""
        self._pinned: dict[tuple[str, Family], Instant] = {}
        self._links: Mapping[tuple[str, Family], int] = {}
        self._looked_at: Instant = float("-inf")
        self._installed: Mapping[str, str] = {}
        self._gateways: dict[tuple[str, int], tuple[Instant, bool]] = {}

    def changed(self) -> bool:
        """Whether the kernel told of a change. Sees which marks lead where they say, since when."""
        if self._reader is None:
            return False
        now = time.monotonic()
        changed = self._reader.changed()
        if changed:
            self._gateways.clear()
        if changed or now - self._looked_at >= COMPARE:
            self._looked_at = now
            self._pinned = {pair: self._pinned.get(pair, now) for pair in self._reader.pinned()}
            self._links = self._reader.links()
        return changed

    def installed(self) -> Mapping[str, str]:
        """Address to site, as it is now; where that can't be read, as it was when last read."""
        if self._reader is not None:
            try:
                self._installed = self._reader.installed()
            except OSError:
                return self._installed
        return self._installed

    def leads(self, path: str, family: Family) -> bool:
        """Whether a question with this path's mark would go over this path."""
        return not self.marked or (path, family) in self._pinned

    def link(self, path: str, family: Family) -> int | None:
        """By which interface answers over a path have to come in; None: that can't be told.

        The local path's may come in by any uplink, and where paths are told apart by pins alone,
        routers send them as they like.
        """
        return self._links.get((path, family)) if self.marked else None

    def gateway_dead(self, address: str, mark: int | None) -> bool:
        """Whether the gateway to an address, for a question of this mark, can't carry a packet.

        Looked up at most once a second: while much is silent, much is asked for.
        """
        key, now = (address, mark or 0), time.monotonic()
        at, dead = self._gateways.get(key, (float("-inf"), False))
        if now - at >= _GATEWAYS_LAST:
            try:
                dead = gateways.gateway_dead(*key)
            except OSError:
                dead = False  # what can't be read accuses nobody; the timeout stands
            self._gateways[key] = now, dead
        return dead

    def over_their_paths(self, item: Round) -> Round:
        """The round without what a mark that pinned nothing has brought."""
        family = Family.of(item.address)
        seen = tuple(o for o in item.observations if self._came_over_its_path(o, family, item.at))
        return replace(item, observations=seen)

    def _came_over_its_path(self, seen: Observation, family: Family, at: Instant) -> bool:
        never_left = seen.outcome is Outcome.LOCAL_ERROR and not seen.reached
        if seen.live or not self.marked or never_left:
            return True
        return at >= self._pinned.get((seen.path, family), float("inf"))
