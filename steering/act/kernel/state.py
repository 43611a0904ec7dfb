"""Reads routes, rules and addresses from the kernel. Nothing here writes.

`KernelReader` has a query socket and a notification socket. It is all that `mode: observe` uses. It
remembers nothing but what it decoded: every call gives the present state of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from steering import next_hop
from steering.act.kernel import decoding, framing, rtnetlink
from steering.act.kernel.bypass import Bypasses, by_source, bypasses, concerning, named
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import is_our_rule
from steering.act.kernel.gateways import links, pinned, routes_for
from steering.act.kernel.marks import collision
from steering.act.kernel.netlink import NoticeSocket
from steering.act.kernel.problem import KernelProblem
from steering.act.kernel.removal import ClaimQueries
from steering.act.kernel.rtnetlink import Numbers, Route, RouteKind
from steering.act.kernel.rules import Action, Flow, Rule
from steering.model import Family

_LOCAL = 255  # RT_TABLE_LOCAL

MANY = 256
"""Routes of a table, besides ours, that are checked for foreign ones: there should be none, and a
hundred thousand of them took four seconds to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The routes of one family in one table."""

    ours: tuple[Route, ...]
    others: tuple[Route, ...]
    more: bool
    """There are more foreign routes, which were not read."""


_FIRST_FEW = 8
"""Addresses of a family that are looked up to find whether there is any route for it."""


class KernelReader(ClaimQueries):
    """What the kernel has, by the numbers of a claim. It has no socket that writes.

    Every method raises OSError when the kernel can't be read.
    """

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim)
        hops = (to for both in claim.next_hops.values() for to in both.values())
        self._by_name = any(next_hop.parts(to)[1] is not None for to in hops)
        """Some next hops name an interface."""
        self._tables: dict[tuple[Family, int], tuple[list[bytes], Table]] = {}
        # What was in the last dump, decoded.
        self._known_routes: dict[tuple[Family, int], dict[bytes, Route | None]] = {}
        self._known_rules: dict[Family, dict[bytes, Rule | None]] = {f: {} for f in Family}
        self._known_addresses: dict[bytes, str | None] = {}
        self._notices = NoticeSocket()
        self._notices.ignore_system_tables()
        self.others_alone = False
        """The last change that `changed` reported is of foreign rules outside our block only."""
        self.others_changed = False
        """The last change includes foreign rules outside our block."""
        self.pins_changed = False
        """The last change includes rules of ours: meanwhile any mark may have led to another path,
        even if everything is now as before."""
        self.sites_changed: set[str] = set()
        """Sites with changed tables in the last change: their marks may have led elsewhere."""
        self.links_changed: set[int] = set()
        """Interfaces in the last change."""

    def close(self) -> None:
        self._notices.close()
        super().close()

    def installed(self) -> Mapping[str, str]:
        """Address to site, for our host routes that are in the kernel now.

        A route of ours that leads to no site of the claim is left out; `apply` removes or replaces
        it.
        """
        return {
            route.destination: site
            for route in self._ours(self.claim.table)
            if route.length == route.family.bits
            and route.kind is RouteKind.UNICAST
            and route.plain
            and (site := self.claim.site_of(route.hop)) is not None
        }

    def foreign(self, *, besides: Collection[Claim] = ()) -> tuple[KernelProblem, ...]:
        """Foreign routes and rules within the numbers of the claim.

        What `besides`, our former claims, own is ours as well, and will be removed.
        """
        claim = self.claim
        known = (claim, *besides)
        tables = {(t, f): self._table(f, t) for t in claim.tables for f in Family}
        foreign_routes = [route for table in tables.values() for route in table.others]
        many = (
            KernelProblem(
                what=f"table {number} ({family})",
                because=f"it has so many foreign routes that only {MANY} are checked",
            )
            for (number, family), table in tables.items()
            if table.more and table.others
        )
        routes = (
            KernelProblem(
                what=f"route {route.prefix} in table {route.table} ({route.family})",
                because=f"it has protocol {route.protocol}, ours is {claim.protocol}",
            )
            for route in foreign_routes
            if not any(route.protocol == c.protocol and route.table in c.tables for c in known)
        )
        rules = (
            KernelProblem(
                what=f"rule {rule.priority} ({rule.family}) of protocol {rule.protocol}",
                because=because,
            )
            for rule in self._rules()
            if not any(is_our_rule(rule, c) for c in known) and (because := _overlap(rule, claim))
        )
        return (*many, *routes, *rules)

    def foreign_rules_within(self) -> tuple[KernelProblem, ...]:
        """Foreign rules at preferences of our block that no rule of ours uses: they may stay."""
        claim = self.claim
        return tuple(
            KernelProblem(
                what=f"rule {rule.priority} ({rule.family}) of protocol {rule.protocol}",
                because="its preference is in our block, but no rule of ours uses it now",
            )
            for rule in self._rules()
            if rule.priority in claim.preferences
            and not is_our_rule(rule, claim)
            and _spare(rule, claim)
        )

    def own_addresses(self) -> frozenset[str]:
        """All addresses of this host, on all interfaces."""
        bodies = self._query.dump(rtnetlink.GETADDR, bytes(8))
        found = _decoded(self._known_addresses, bodies, decoding.address_from)
        return frozenset(address for address in found if address is not None)

    def pinned(
        self, addresses: Mapping[str, Family], sources: Collection[str] = ()
    ) -> Mapping[tuple[str, str], int | None]:
        """The (path, address) pairs whose mark leads over the path now, and by which interface.

        It has to be so for probes from these sources too.
        """
        before = self._before_ours()
        own = self.own_addresses() if before else ()
        rules = concerning(before, addresses, own) if before else ()
        return pinned(
            self._query,
            self.claim,
            addresses,
            sources=[source for source in sources if not source or source in own],
            beside_others=bool(rules),
            named=frozenset(named(rules, addresses)),
            chosen=by_source(rules),
        )

    def bypasses(self, addresses: Collection[str], sources: Collection[str] = ()) -> Bypasses:
        """Which packets and probes to these addresses foreign rules catch before ours.

        `sources` are those that the resolvers send from; the kernel's choice if left out.
        """
        rules = self._before_ours()
        own = self.own_addresses() if rules else ()
        return bypasses(self._query, self.claim, rules, addresses, own=own, sources=sources)

    def routeless(self, addresses: Mapping[str, Family]) -> frozenset[Family]:
        """The families for which this host has no route: to the first few of these addresses."""
        some = {
            family: list(islice((a for a, of in addresses.items() if of is family), _FIRST_FEW))
            for family in Family
        }
        return frozenset(
            family
            for family, few in some.items()
            if few and not any(routes_for(self._query, map(self._unsteered, few)))
        )

    def _unsteered(self, address: str) -> Flow:
        return Flow(destination=address, mark=self.claim.mark)

    def links(self, targets: Mapping[tuple[str, Family], str]) -> Mapping[tuple[str, Family], int]:
        """The interface by which answers over a site arrive, if it is unambiguous.

        `witnesses` are addresses for the look-up that are probed through the site, by
        (site, family).
        """
        return links(self._query, self.claim, targets)

    def fileno(self) -> int:
        """Readable when `changed` has something to report."""
        return self._notices.fileno()

    def changed(self) -> bool:
        """Whether links, rules or our tables changed since the last call, by us or others.

        Also true when the kernel's messages overran the buffer. Never blocks.
        """
        self.others_changed = self.pins_changed = False
        self.links_changed.clear()
        self.sites_changed.clear()
        ours = self._notices.changed(self._concerns)
        self.others_alone = self.others_changed and not ours
        self.pins_changed |= self._notices.overrun
        if self._by_name and (self.links_changed or self._notices.overrun):
            self._tables.clear()  # an interface may have another name
            self._known_routes.clear()
        return ours or self.others_changed

    def _concerns(self, message: framing.Message) -> bool:
        if message.kind in {rtnetlink.NEWROUTE, rtnetlink.DELROUTE}:
            route = rtnetlink.route_numbers(message.body)
            if route is None or route.table not in self.claim.tables:
                return False
            if route.table != self.claim.table:
                self.sites_changed.add(self.claim.sites[route.table - self.claim.table - 1])
            return True
        if message.kind in {rtnetlink.NEWRULE, rtnetlink.DELRULE}:
            rule = rtnetlink.rule_numbers(message.body)
            if rule is not None and not self._touches(rule):
                self.others_changed = True
                return False
            self.pins_changed = True
        if message.kind in {rtnetlink.NEWLINK, rtnetlink.DELLINK}:
            self.links_changed.add(rtnetlink.link_from(message.body))
        return True

    def _touches(self, rule: Numbers) -> bool:
        """Whether a rule is ours or in our block of preferences."""
        return rule.protocol == self.claim.protocol or rule.priority in self.claim.preferences

    def _ours(self, table: int) -> list[Route]:
        """Our routes, of both families."""
        return [route for family in Family for route in self._ours_of(family, table)]

    def _ours_of(self, family: Family, table: int) -> list[Route]:
        """Our routes. The kernel filters out the others: there may be a hundred thousand."""
        number = self.claim.protocol
        bodies = self._query.dump(rtnetlink.GETROUTE, rtnetlink.routes_of(family, table, number))
        return [route for route in self._read(family, table, bodies) if route.protocol == number]

    def _table(self, family: Family, number: int) -> Table:
        """The content of one of our tables; the same object while it does not change."""
        read, known = self._tables.get((family, number), ([], None))
        mine, ours = rtnetlink.routes_of(family, number), len(known.ours) if known else 0
        bodies, whole = self._query.first(rtnetlink.GETROUTE, mine, MANY + ours)
        if known is not None and whole and not known.more and bodies == read:
            return known
        own = None if whole else self._ours_of(family, number)
        if own is not None and len(own) > ours:
            bodies, whole = self._query.first(rtnetlink.GETROUTE, mine, MANY + len(own))
        found, protocol = self._read(family, number, bodies), self.claim.protocol
        table = Table(
            ours=tuple(r for r in (found if own is None else own) if r.protocol == protocol),
            others=tuple(route for route in found if route.protocol != protocol),
            more=not whole,
        )
        self._tables[family, number] = bodies, table
        return table

    def _read(self, family: Family, table: int, bodies: Sequence[bytes]) -> list[Route]:
        known = self._known_routes.setdefault((family, table), {})
        # A kernel without IPv6 answers with all families that it has.
        return [
            route
            for route in _decoded(known, bodies, decoding.route_from)
            if route is not None and (route.family, route.table) == (family, table)
        ]

    def _rules(self) -> list[Rule]:
        rules: list[Rule] = []
        for family in Family:
            bodies = self._query.dump(rtnetlink.GETRULE, rtnetlink.rules_of(family))
            found = _decoded(self._known_rules[family], bodies, decoding.rule_from)
            rules += [rule for rule in found if rule is not None and rule.family is family]
        return rules

    def _before_ours(self) -> list[Rule]:
        """The foreign rules that packets meet before ours, in order.

        The look-up of the local table, the first rule of every host, is left out: that table has
        this host's own addresses, and those are never steered.
        """
        claim = self.claim
        return [
            rule
            for rule in self._rules()
            if rule.priority <= claim.priority and rule.protocol != claim.protocol
            if rule.action is not Action.LOOKUP or rule.table != _LOCAL
        ]


_Value = TypeVar("_Value")


def _decoded(
    known: dict[bytes, _Value], bodies: Sequence[bytes], decode: Callable[[bytes], _Value]
) -> list[_Value]:
    """What each of these bodies is. `known` is what those of the last dump are, then of this."""
    now = {body: known[body] if body in known else decode(body) for body in bodies}
    known.clear()
    known.update(now)
    return [now[body] for body in bodies]


def _spare(rule: Rule, claim: Claim) -> bool:
    """Whether no rule of ours has this preference in this family.

    With `ip rule add from ADDRESS lookup main` the kernel chooses the preference: one less than
    that of the second rule (fib_default_rule_pref in net/core/fib_rules.c). If only the rule of the
    local table is before our first one, that is P-3 without `transit_interfaces`.
    """
    needed = claim.rules(rule.family) if rule.family in claim.families else ()
    return all(rule.priority != ours.priority for ours in needed)


def _overlap(rule: Rule, claim: Claim) -> str | None:
    if rule.priority in claim.preferences and not _spare(rule, claim):
        return "its preference is in our block"
    if rule.action is Action.LOOKUP and rule.table in claim.tables:
        return f"it looks up our table {rule.table}"
    if rule.mark and rule.mask and not rule.inverted:
        return collision(rule.mark, rule.mask, claim)
    return None
