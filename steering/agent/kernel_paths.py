"""The paths as the kernel has them: which addresses are steered, which mark leads over which path.

An answer counts for a path only if the probe was sent after a look-up showed that the path's mark
leads over it to that address. A site's table has no default route: if a route is missing, a probe
takes the local path or a detour. Whatever removed a route or a rule, an earlier probe may have
taken another path, and its answer is no evidence for this one. An agent in `mode: observe` has no
marks: it probes over the local path, and by pins.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import islice, product

from steering.act.kernel import gateways
from steering.act.kernel.bypass import Bypasses
from steering.act.kernel.claim import Claim
from steering.act.kernel.rules import Rule
from steering.act.kernel.state import KernelReader
from steering.agent.actuators import COMPARE
from steering.model import LOCAL, Family, Instant, Observation, Outcome, Round, Seconds

_GATEWAYS_LAST: Seconds = 1.0
"""How long the result for a gateway is used."""
RETURNING: Seconds = 3.0
"""How long a family counts as without a route after one has come back."""
UNPROBED: Seconds = 10.0
"""An alarm is raised when no site could be probed for this long; a link that comes back sooner
raises none."""
PAUSE_FACTOR = 20
"""What bypasses our rules is looked up once a second, and less often where that takes long: it may
take a twentieth of the time."""
_MOST = 3
"""Foreign rules, or addresses, that an alarm names."""
BATCH = 512
"""Pairs of path and address that are looked up at once. The others follow in the next look-ups,
unless the kernel reported a change that may concern any probe."""


class KernelPaths:
    """What the kernel has of the paths, read through a reader; without one, nothing."""

    def __init__(
        self,
        reader: KernelReader | None,
        *,
        acting: bool,
        watched: Collection[str] = (),
        sources: Collection[str] = (),
    ) -> None:
        """`acting`: this agent installs the rules, so each path has its mark.

        `watched` are the addresses that may be steered. `sources` are the addresses of this host
        that its resolvers send from, if known.
        """
        self._reader, self.sources = reader, sources
        self._families: Mapping[str, Family] = {}
        self._look_at_all = True
        """The next look-up is of all addresses."""
        self._next = 0
        """Where the next batch begins."""
        self._pinned: dict[tuple[str, str], Instant] = {}
        """(path, address) whose mark leads over the path, and since when."""
        self._unprobed_since: dict[str, Instant] = {}
        """Addresses that can't be probed through any site, and since when."""
        self.watch(watched)
        self.marked = acting
        """Whether marks select the path of a probe; if not, only the local path is looked up."""
        self._routeless: dict[Family, Instant] = {}
        """Families that this host had no route for, and when that was last so."""
        self._links: Mapping[tuple[str, Family], int] = {}
        self._leave_by: dict[tuple[str, str], int | None] = {}
        """The outgoing interface for what is in `_pinned`."""
        self._looked_at: Instant = float("-inf")
        self._installed: Mapping[str, str] = {}
        self._gateways: dict[tuple[str, int], tuple[Instant, bool]] = {}
        self._bypasses: Bypasses | None = None
        self._next_look: Instant = float("-inf")
        """When to look up again what bypasses our rules."""
        self._blocked: Mapping[tuple[str, Family], Rule] = {}
        """(site, family) whose probes all go by another program's rule."""

    def watch(self, addresses: Collection[str]) -> None:
        """Take the addresses that may be steered; what is known of others is dropped.

        The next look-up is due at once: a probe without a route looks like a fault of this host.
        """
        if addresses != self._families.keys():
            self._families = {address: Family.of(address) for address in sorted(addresses)}
            self._pinned = {p: since for p, since in self._pinned.items() if p[1] in addresses}
            self._unprobed_since = {
                a: since for a, since in self._unprobed_since.items() if a in addresses
            }
            self._look_at_all = True
            self._looked_at = float("-inf")

    def changed(self) -> bool:
        """Whether the kernel reported a change. Looks up which marks lead over their paths."""
        if self._reader is None:
            return False
        now = time.monotonic()
        changed = self._reader.changed()
        if self._may_lead_elsewhere(self._reader):
            self._look_at_all = True
        due = now - self._looked_at >= COMPARE
        if changed and self._reader.others_alone and not due:
            # Another program may change its rules all the time. Those wait for the next second.
            changed = False
        if changed:
            self._gateways.clear()
            self._forget(self._reader)
        if changed or due:
            self._look(self._reader, now)
        return changed

    def _may_lead_elsewhere(self, reader: KernelReader) -> bool:
        """Whether the change may concern the route of any probe."""
        if reader.pins_changed or reader.sites_changed or reader.others_changed:
            return True
        links = reader.links_changed
        return bool(links) and any(
            by in links for pair, by in self._leave_by.items() if pair[0] != LOCAL
        )

    def _forget(self, reader: KernelReader) -> None:
        """Forget since when marks lead over paths that the change may concern.

        If one site's table changes all the time, the answers over other paths still count.
        """
        if reader.pins_changed:
            self._pinned.clear()
        elif gone := reader.sites_changed:
            self._pinned = {pair: at for pair, at in self._pinned.items() if pair[0] not in gone}

    def _look(self, reader: KernelReader, now: Instant) -> None:
        self._looked_at = now
        batch, claim = self._batch(reader.claim), reader.claim
        try:
            self._keep(batch, reader.pinned(batch, self.sources), claim, now)
            self._links = reader.links(self._lookup_targets(claim))
            self._routeless.update(dict.fromkeys(reader.routeless(self._families), now))
            if now >= self._next_look:
                self._bypasses = reader.bypasses(self._families, self.sources)
                took = time.monotonic() - now
                self._next_look = now + max(COMPARE, PAUSE_FACTOR * took)
        except OSError:
            return  # the rules change while they are read: the last result is used until they rest
        self._look_at_all = False
        if (past := self._bypasses) is not None:
            self._blocked = {
                pair: rule
                for pair in product(claim.sites, claim.families)
                if (rule := past.asking(*pair)) is not None
            }
        self._unprobed_since = {
            address: self._unprobed_since.get(address, now)
            for address, family in self._families.items()
            if self.marked and family in claim.families
            if self._routeless.get(family) != now
            if not any(self._leads_to(site, address) for site in claim.sites)
        }

    def _batch(self, claim: Claim) -> Mapping[str, Family]:
        """The addresses of this look-up: all, or the next batch."""
        at_once = max(1, BATCH // (1 + len(claim.sites)))
        if self._look_at_all or len(self._families) <= at_once:
            return self._families
        begin = self._next if self._next < len(self._families) else 0
        self._next = begin + at_once
        return dict(islice(self._families.items(), begin, self._next))

    def _keep(
        self,
        batch: Mapping[str, Family],
        found: Mapping[tuple[str, str], int | None],
        claim: Claim,
        now: Instant,
    ) -> None:
        """Note which marks were found to lead over their paths, for probes to this batch."""
        if batch is self._families:
            self._pinned = {pair: self._pinned.get(pair, now) for pair in found}
            self._leave_by = dict(found)
            return
        for pair in product((LOCAL, *claim.sites), batch):
            if pair in found:
                self._pinned.setdefault(pair, now)
                self._leave_by[pair] = found[pair]
            else:
                self._pinned.pop(pair, None)

    def _lookup_targets(self, claim: Claim) -> Mapping[tuple[str, Family], str]:
        """For each site and family one address that is probed through it."""
        found: dict[tuple[str, Family], str] = {}
        for site, (address, family) in product(claim.sites, self._families.items()):
            if (site, address) in self._pinned:
                found.setdefault((site, family), address)
        return found

    def routeless(self, now: Instant) -> frozenset[Family]:
        """Families that this host has no route for, or had none until just now.

        When a link comes back, its routes come one after the other, and ours after them.
        """
        return frozenset(f for f, last in self._routeless.items() if now - last < RETURNING)

    @property
    def bypassed(self) -> str:
        """Which foreign rules take packets or probes past ours; empty if none do."""
        return "; ".join(self._bypasses.texts()[:_MOST]) if self._bypasses is not None else ""

    def unasked(self, now: Instant, besides: Collection[Family] = ()) -> str:
        """What can't be probed through any site, and why; empty if all can.

        `besides`: families that are left out.
        """
        long = [
            address for address, since in self._unprobed_since.items() if now - since >= UNPROBED
        ]
        texts: list[str] = []
        for family in (f for f in Family if f not in besides):
            of = sum(other is family for other in self._families.values())
            mine = [address for address in long if self._families[address] is family]
            if mine and len(mine) == of:
                texts.append(
                    f"no site can be probed over {family}, so nothing can be compared or moved: "
                    f"{self._why_unasked(family)}"
                )
            elif mine:
                more = f" and {len(mine) - _MOST} more" if len(mine) > _MOST else ""
                texts.append(
                    f"no site can be probed for {', '.join(mine[:_MOST])}{more}: the routes for "
                    "it in the sites' tables are missing or belong to another program"
                )
        return "; ".join(texts)

    def _why_unasked(self, family: Family) -> str:
        assert self._reader is not None
        claim, why = self._reader.claim, dict[str, list[str]]()
        for site in claim.sites:
            if claim.next_hop(site, family) is None:
                continue
            rule = self._blocked.get((site, family))
            because = (
                "its link is down, or its rule or routes are missing"
                if rule is None
                else f"another program's rule `{rule}` comes first"
            )
            why.setdefault(because, []).append(site)
        return "; ".join(f"{', '.join(sites)}: {because}" for because, sites in why.items())

    def installed(self) -> Mapping[str, str]:
        """Address to site, as it is now; if that can't be read, as it was when last read.

        Without those whose packets a foreign rule takes past the steers: a route that no packet
        uses can't be verified.
        """
        bypasses, routes = self._bypasses, self.routes()
        if bypasses is None:
            return routes
        return {a: site for a, site in routes.items() if bypasses.of(a) is None}

    def routes(self) -> Mapping[str, str]:
        """Address to site, for all our routes that are installed, used by packets or not."""
        if self._reader is not None:
            with contextlib.suppress(OSError):
                self._installed = self._reader.installed()
        return self._installed

    def past_steers(self) -> frozenset[str]:
        """The addresses to which this host's packets go past any steer."""
        bypasses = self._bypasses
        if bypasses is None or not bypasses.traffic:
            return frozenset()
        return frozenset(a for a in self._families if bypasses.of(a) is not None)

    def leads(self, path: str, address: str, interface: str | None = None) -> bool:
        """Whether a probe to this address with this path's mark would go over this path.

        A probe that is bound to an interface leaves by that, whatever the routes are. If none
        leads there, the kernel takes the address for one on that link.
        """
        if not self.marked:
            return True
        if not self._leads_to(path, address):
            return False
        return path == LOCAL or interface is None or self._leaves_by(path, address, interface)

    def _leaves_by(self, path: str, address: str, interface: str) -> bool:
        with contextlib.suppress(OSError):
            return socket.if_nametoindex(interface) == self._leave_by.get((path, address))
        return False

    def _leads_to(self, path: str, address: str) -> bool:
        family = self._families.get(address)
        return (path, address) in self._pinned and (path, family) not in self._blocked

    def link(self, path: str, family: Family) -> int | None:
        """The interface by which answers over a path have to come in; None: not known.

        Those over the local path may come in by any uplink. Where pins alone select the path, the
        routers decide.
        """
        return self._links.get((path, family)) if self.marked else None

    def gateway_dead(self, address: str, mark: int | None) -> bool:
        """Whether the gateway to an address, for a probe with this mark, can't carry a packet.

        Looked up at most once a second: many silent addresses ask for the same.
        """
        key, now = (address, mark or 0), time.monotonic()
        at, dead = self._gateways.get(key, (float("-inf"), False))
        if now - at >= _GATEWAYS_LAST:
            try:
                dead = gateways.gateway_dead(*key)
            except OSError:
                dead = False  # not known to be dead: the timeout counts
            self._gateways[key] = now, dead
        return dead

    def over_their_paths(self, item: Round) -> Round:
        """The round without answers of probes whose mark did not lead over their path."""
        seen = tuple(o for o in item.observations if self._came_over_its_path(o, item.at))
        return replace(item, observations=seen)

    def _came_over_its_path(self, seen: Observation, at: Instant) -> bool:
        never_left = seen.outcome is Outcome.LOCAL_ERROR and not seen.reached
        if seen.live or not self.marked or never_left:
            return True
        if self._bypasses is not None and (seen.address, seen.path) in self._bypasses.questions:
            return False
        return at >= self._pinned.get((seen.path, seen.address), float("inf"))
