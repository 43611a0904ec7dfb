"""The ways out of this host, as the kernel has them: what is steered, which mark leads where.

A mark is believed from the moment it was seen to lead over its path to an address, and that is
looked up for each of them. A site's table has no default route: where a route is missing, the
question takes the local path or a detour. Whoever took the route or a rule away, an answer to an
earlier question came over some other path, and counting it for this one would be a lie. An agent
that may only observe has no marks: it asks over the local path, and where pins lead.
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
from steering.act.kernel.foreign_rules import ForeignRule
from steering.act.kernel.state import KernelReader
from steering.agent.actuators import COMPARE
from steering.model import LOCAL, Family, Instant, Observation, Outcome, Round, Seconds

_GATEWAYS_LAST: Seconds = 1.0
COMING_BACK: Seconds = 3.0
UNASKED: Seconds = 10.0
"""A family without a remote path that can be asked for so long is worth an alarm; a link that comes
back sooner is not."""
REST = 20
"""What goes past our rules is looked up once a second, and less often where that takes long: it may
take a twentieth of the time."""
_NAMED = 3
"""Rules of others, or addresses, that an alarm speaks of."""
AT_ONCE = 512
"""So many paths and addresses are looked up in one look, and others in the next, where the kernel
told of nothing that may be the way of a question."""


class KernelPaths:
    """What the kernel says of the paths, read through a reader; without one, nothing."""

    def __init__(
        self,
        reader: KernelReader | None,
        *,
        acting: bool,
        watched: Collection[str] = (),
        sources: Collection[str] = (),
    ) -> None:
        """`acting_agents`: the rules are put in by this agent, so each path has its mark.

        `watched` are the addresses that may be steered, `sources` the addresses of this host that
        its resolvers send from, if that is known.
        """
        self._reader, self.sources = reader, sources
        self._families: Mapping[str, Family] = {}
        self._every = True
        """The next look is at all addresses."""
        self._next = 0
        self._pinned: dict[tuple[str, str], Instant] = {}
        """(path, address) whose mark leads over the path, and since when."""
        self._unasked: dict[str, Instant] = {}
        """Addresses that can't be asked through any site, and since when."""
        self.watch(watched)
        self.marked = acting
        """Whether the paths are told apart by marks; if not, only the local one is asked."""
        self._routeless: dict[Family, Instant] = {}
        """Families that this host had no route for, and when that was last so."""
        self._links: Mapping[tuple[str, Family], int] = {}
        self._leave_by: dict[tuple[str, str], int | None] = {}
        """The interface that they leave by, of what is in `_pinned`."""
        self._looked_at: Instant = float("-inf")
        self._installed: Mapping[str, str] = {}
        self._gateways: dict[tuple[str, int], tuple[Instant, bool]] = {}
        self._bypasses: Bypasses | None = None
        self._next_look: Instant = float("-inf")
        """When it is to be looked up again what goes past our rules."""
        self._barred: Mapping[tuple[str, Family], ForeignRule] = {}
        """(site, family) whose questions all go by a rule of somebody else."""

    def watch(self, addresses: Collection[str]) -> None:
        """From now on these may be steered; of the others nothing is known any more.

        The next look is due: a question that has no way before it looks like a fault of this host.
        """
        if addresses != self._families.keys():
            self._families = {address: Family.of(address) for address in sorted(addresses)}
            self._pinned = {p: since for p, since in self._pinned.items() if p[1] in addresses}
            self._unasked = {a: since for a, since in self._unasked.items() if a in addresses}
            self._every = True
            self._looked_at = float("-inf")

    def changed(self) -> bool:
        """Whether the kernel told of a change. Sees which marks lead where they say, since when."""
        if self._reader is None:
            return False
        now = time.monotonic()
        changed = self._reader.changed()
        if self._may_lead_elsewhere(self._reader):
            self._every = True
        due = now - self._looked_at >= COMPARE
        if changed and self._reader.others_alone and not due:
            # Somebody may change his own rules all the time: no reason to do nothing else.
            changed = False
        if changed:
            self._gateways.clear()
            self._forget(self._reader)
        if changed or due:
            self._look(self._reader, now)
        return changed

    def _may_lead_elsewhere(self, reader: KernelReader) -> bool:
        """Whether what changed may be the way of any question."""
        if reader.pins_changed or reader.sites_changed or reader.others_changed:
            return True
        links = reader.links_changed
        return bool(links) and any(
            by in links for pair, by in self._leave_by.items() if pair[0] != LOCAL
        )

    def _forget(self, reader: KernelReader) -> None:
        """Whichever marks may have led elsewhere meanwhile are believed from now on.

        Of a site whose table is changed all the time the other paths' answers count all the same.
        """
        if reader.pins_changed:
            self._pinned.clear()
        elif gone := reader.sites_changed:
            self._pinned = {pair: at for pair, at in self._pinned.items() if pair[0] not in gone}

    def _look(self, reader: KernelReader, now: Instant) -> None:
        self._looked_at = now
        some, claim = self._some(reader.claim), reader.claim
        try:
            self._keep(some, reader.pinned(some, self.sources), claim, now)
            self._links = reader.links(self._witnesses(claim))
            self._routeless.update(dict.fromkeys(reader.routeless(self._families), now))
            if now >= self._next_look:
                self._bypasses = reader.bypasses(self._families, self.sources)
                took = time.monotonic() - now
                self._next_look = now + max(COMPARE, REST * took)
        except OSError:
            return  # rules that change while they are read: what was so is gone by until they rest
        self._every = False
        if (past := self._bypasses) is not None:
            self._barred = {
                pair: rule
                for pair in product(claim.sites, claim.families)
                if (rule := past.asking(*pair)) is not None
            }
        self._unasked = {
            address: self._unasked.get(address, now)
            for address, family in self._families.items()
            if self.marked and family in claim.families
            if self._routeless.get(family) != now
            if not any(self._leads_to(site, address) for site in claim.sites)
        }

    def _some(self, claim: Claim) -> Mapping[str, Family]:
        """The addresses of this look: all, or others each time."""
        at_once = max(1, AT_ONCE // (1 + len(claim.sites)))
        if self._every or len(self._families) <= at_once:
            return self._families
        begin = self._next if self._next < len(self._families) else 0
        self._next = begin + at_once
        return dict(islice(self._families.items(), begin, self._next))

    def _keep(
        self,
        some: Mapping[str, Family],
        found: Mapping[tuple[str, str], int | None],
        claim: Claim,
        now: Instant,
    ) -> None:
        """Note which marks were found to lead over their paths, of questions to some addresses."""
        if some is self._families:
            self._pinned = {pair: self._pinned.get(pair, now) for pair in found}
            self._leave_by = dict(found)
            return
        for pair in product((LOCAL, *claim.sites), some):
            if pair in found:
                self._pinned.setdefault(pair, now)
                self._leave_by[pair] = found[pair]
            else:
                self._pinned.pop(pair, None)

    def _witnesses(self, claim: Claim) -> Mapping[tuple[str, Family], str]:
        """For each site an address of each family that is asked through it."""
        found: dict[tuple[str, Family], str] = {}
        for site, (address, family) in product(claim.sites, self._families.items()):
            if (site, address) in self._pinned:
                found.setdefault((site, family), address)
        return found

    def routeless(self, now: Instant) -> frozenset[Family]:
        """Families that this host has no route for, or had none for until just now.

        When one comes back its routes come one after the other, and ours after these.
        """
        return frozenset(f for f, last in self._routeless.items() if now - last < COMING_BACK)

    @property
    def bypassed(self) -> str:
        """Which rules of others take packets or questions past ours; empty if none do."""
        return "; ".join(self._bypasses.texts()[:_NAMED]) if self._bypasses is not None else ""

    def unasked(self, now: Instant, besides: Collection[Family] = ()) -> str:
        """What can't be asked through any site, and why; empty if all can.

        `besides`: families of which nothing is said.
        """
        long = [address for address, since in self._unasked.items() if now - since >= UNASKED]
        told: list[str] = []
        for family in (f for f in Family if f not in besides):
            of = sum(other is family for other in self._families.values())
            mine = [address for address in long if self._families[address] is family]
            if mine and len(mine) == of:
                told.append(
                    f"no site can be asked over {family}, so nothing can be compared or moved: "
                    f"{self._why_unasked(family)}"
                )
            elif mine:
                more = f" and {len(mine) - _NAMED} more" if len(mine) > _NAMED else ""
                told.append(
                    f"no site can be asked for {', '.join(mine[:_NAMED])}{more}: the routes for it "
                    "in the sites' tables are missing or belong to another program"
                )
        return "; ".join(told)

    def _why_unasked(self, family: Family) -> str:
        assert self._reader is not None
        claim, why = self._reader.claim, dict[str, list[str]]()
        for site in claim.sites:
            if claim.next_hop(site, family) is None:
                continue
            rule = self._barred.get((site, family))
            because = (
                "its link is down, or its rule or routes are missing"
                if rule is None
                else f"another program's rule `{rule}` comes first"
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
        return frozenset(a for a in self._families if past.of(a) is not None)

    def leads(self, path: str, address: str, interface: str | None = None) -> bool:
        """Whether a question to this address with this path's mark would go over this path.

        One that is bound to an interface leaves by that, whatever route there is: where none is by
        it, the kernel takes the address for one on that link.
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
        return (path, address) in self._pinned and (path, family) not in self._barred

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
        seen = tuple(o for o in item.observations if self._came_over_its_path(o, item.at))
        return replace(item, observations=seen)

    def _came_over_its_path(self, seen: Observation, at: Instant) -> bool:
        never_left = seen.outcome is Outcome.LOCAL_ERROR and not seen.reached
        if seen.live or not self.marked or never_left:
            return True
        if self._bypasses is not None and (seen.address, seen.path) in self._bypasses.questions:
            return False
        return at >= self._pinned.get((seen.path, seen.address), float("inf"))
