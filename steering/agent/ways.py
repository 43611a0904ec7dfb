"""The ways out of this host, as the kernel has them: what is steered, which mark leads where.

A mark is believed from the moment it was seen to lead over its path: whoever took a rule away,
an answer to an earlier question came over some other path, and counting it for this one would
be a lie. An agent that may only observe uses the rules it finds (`steering check --rules`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping
from dataclasses import replace

from steering.act import gateways
from steering.act.bypass import Bypasses
from steering.act.reader import KernelReader
from steering.agent.hands import COMPARE
from steering.model import LOCAL, Family, Instant, Observation, Outcome, Round, Seconds

_GATEWAYS_LAST: Seconds = 1.0
UNASKED: Seconds = 10.0
"""A family without a remote path that can be asked for so long is worth an alarm; a link that comes
back sooner is not."""
REST = 20
"""What goes past our rules is looked up once a second, and less often where that takes long: it may
take a twentieth of the time."""
_NAMED = 3
"""Rules of others that the alarm speaks of."""


class Ways:
    """What the kernel says of the paths, read through a reader; without one, nothing."""

    def __init__(
        self,
        reader: KernelReader | None,
        *,
        acting: bool,
        watched: Collection[str] = (),
        sources: Collection[str] = (),
    ) -> None:
        """`acting`: the rules are put in by this agent, so each path has its mark.

        `watched` are the addresses that may be steered, `sources` the addresses of this host that
        its resolvers send from, if that is known.
        """
        self._reader = reader
        self.watched, self.sources = watched, sources
        self.marked = acting or (
            reader is not None and any(path != LOCAL for path, _ in reader.pinned())
        )
        """Whether the paths are told apart by marks; if not, only the local one is asked."""
        self._pinned: dict[tuple[str, Family], Instant] = {}
        self._links: Mapping[tuple[str, Family], int] = {}
        self._looked_at: Instant = float("-inf")
        self._installed: Mapping[str, str] = {}
        self._gateways: dict[tuple[str, int], tuple[Instant, bool]] = {}
        self._bypasses: Bypasses | None = None
        self._next_look: Instant = float("-inf")
        """When it is to be looked up again what goes past our rules."""
        self._unasked: dict[Family, Instant] = {}
        """Families without a remote path that can be asked, and since when."""

    def changed(self) -> bool:
        """Whether the kernel told of a change. Sees which marks lead where they say, since when."""
        if self._reader is None:
            return False
        now = time.monotonic()
        changed = self._reader.changed()
        due = now - self._looked_at >= COMPARE
        if changed and self._reader.others_alone and not due:
            # Somebody may change his own rules all the time: no reason to do nothing else.
            changed = False
        if changed:
            self._gateways.clear()
        if changed or due:
            self._look(self._reader, now)
        return changed

    def _look(self, reader: KernelReader, now: Instant) -> None:
        self._looked_at = now
        try:
            found = reader.pinned(self.sources)
            self._links = reader.links()
            if now >= self._next_look:
                self._bypasses = reader.bypasses(self.watched, self.sources)
                took = time.monotonic() - now
                self._next_look = now + max(COMPARE, REST * took)
        except OSError:
            return  # rules that change while they are read: what was so is gone by until they rest
        self._pinned = {pair: self._pinned.get(pair, now) for pair in found}
        asked = {f for f in Family if any(self._leads_to(s, f) for s in reader.claim.sites)}
        self._unasked = {
            family: self._unasked.get(family, now)
            for family in reader.claim.families
            if self.marked and family not in asked
        }

    @property
    def bypassed(self) -> str:
        """Which rules of others take packets or questions past ours; empty if none do."""
        return "; ".join(self._bypasses.texts()[:_NAMED]) if self._bypasses is not None else ""

    def unasked(self, now: Instant) -> str:
        """The families in which no site can be asked, and why; empty if there are none."""
        return "; ".join(
            f"no site can be asked over {family}, so nothing can be compared or moved: "
            f"{self._why_unasked(family)}"
            for family, since in self._unasked.items()
            if now - since >= UNASKED
        )

    def _why_unasked(self, family: Family) -> str:
        assert self._reader is not None
        claim, why = self._reader.claim, dict[str, list[str]]()
        for site in claim.sites:
            if claim.next_hop(site, family) is None:
                continue
            rule = self._bypasses.asking(site, family) if self._bypasses is not None else None
            because = (
                "its link is down, or its rule or route is missing"
                if rule is None
                else f"the rule `{rule}` of somebody else comes first"
            )
            why.setdefault(because, []).append(site)
        return "; ".join(f"{', '.join(sites)}: {because}" for because, sites in why.items())

    def installed(self) -> Mapping[str, str]:
        """Address to site, as it is now; where that can't be read, as it was when last read.

        Without those whose packets a rule of somebody else takes past the steers: a route that
        nothing goes by helps nobody, so it proves nothing either.
        """
        past, there = self._bypasses, self.routes()
        if past is None:
            return there
        return {a: site for a, site in there.items() if past.of(a) is None}

    def routes(self) -> Mapping[str, str]:
        """Address to site, for all routes of ours that are there, whatever goes by them."""
        if self._reader is not None:
            with contextlib.suppress(OSError):
                self._installed = self._reader.installed()
        return self._installed

    def past(self) -> frozenset[str]:
        """The addresses to which this host's packets go past any steer."""
        past = self._bypasses
        if past is None or not past.traffic:
            return frozenset()
        return frozenset(a for a in self.watched if past.of(a) is not None)

    def leads(self, path: str, family: Family) -> bool:
        """Whether a question with this path's mark would go over this path."""
        return not self.marked or self._leads_to(path, family)

    def _leads_to(self, path: str, family: Family) -> bool:
        caught = self._bypasses.asking(path, family) if self._bypasses is not None else None
        return (path, family) in self._pinned and caught is None

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
        if self._bypasses is not None and (seen.address, seen.path) in self._bypasses.questions:
            return False
        return at >= self._pinned.get((seen.path, family), float("inf"))
