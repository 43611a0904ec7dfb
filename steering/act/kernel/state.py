"""What the kernel has, read and never written.

`KernelReader` owns an asking and a listening socket and nothing that could write; it is all
that `mode: observe` ever gets. It remembers nothing: every call looks at the kernel as it is
now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Final, Self

from steering import next_hop
from steering.act.kernel import rtnetlink
from steering.act.kernel.bypass import Bypasses, by_source, bypasses, concerning, named
from steering.act.kernel.claim import Claim
from steering.act.kernel.diff import is_our_rule
from steering.act.kernel.foreign_rules import Does, ForeignRule, foreign_rule_from
from steering.act.kernel.gateways import links, pinned, way_to
from steering.act.kernel.marks import collision
from steering.act.kernel.netlink import NoticeSocket, QuerySocket
from steering.act.kernel.rtnetlink import Action, Route, RouteKind, Rule
from steering.model import Family

_LOCAL = 255  # RT_TABLE_LOCAL

MANY = 256
"""Routes of a table, beside ours, that are looked through for those of others: nobody has any
business there, and a hundred thousand of them took four seconds to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What one table has of one family."""

    ours: tuple[Route, ...]
    others: tuple[Route, ...]
    more: bool
    """There are more, of which nobody looked at those of others."""


_SOME = 8
"""Addresses of a family that are looked up to see whether there is any route for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelProblem:
    """One thing in the kernel that is not as it should be, and why."""

    what: str
    because: str
    family: Family | None = None
    """Of the route or rule that it is about; None: it is about something else."""

    def __str__(self) -> str:
        return f"{self.what}: {self.because}"


class KernelReader:
    """What the kernel has, in the words of a claim. It has no socket that writes.

    Every method raises OSError when the kernel refuses to be read.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim: Final = claim
        hops = (to for both in claim.next_hops.values() for to in both.values())
        self._by_name = any(next_hop.parts(to)[1] is not None for to in hops)
        """Some next hops are known by their interface."""
        self._tables: dict[tuple[Family, int], tuple[list[bytes], Table]] = {}
        self._asking = QuerySocket()
        self._listening = NoticeSocket()
        self._listening.ignore_system_tables()
        self.others_alone = False
        """The change that `changed` told of last is of rules of others alone, beside ours."""
        self.others_changed = False
        """It is of rules of others as well."""
        self.pins_changed = False
        """It is of rules of ours: meanwhile any mark may have led elsewhere, also where all is now
        as it was before."""
        self.sites_changed: set[str] = set()
        """The sites whose tables it is of: meanwhile their marks may have."""
        self.links_changed: set[int] = set()
        """The interfaces that it is of."""

    def close(self) -> None:
        self._asking.close()
        self._listening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def installed(self) -> Mapping[str, str]:
        """Address to site, for our host routes as they are in the kernel now.

        A route of ours that leads to no site of the claim is not among them; `apply` takes
        it away or puts the right one in its place.
        """
        return {
            route.destination: site
            for route in self._routes(self.claim.table)
            if route.length == route.family.bits
            and route.kind is RouteKind.UNICAST
            and route.plain
            and (site := self.claim.site_of(route.hop)) is not None
        }

    def foreign(self, *, besides: Collection[Claim] = ()) -> tuple[KernelProblem, ...]:
        """Routes and rules of others where the claim says that all is ours.

        What `besides`, our former claims, own is ours as well, and on its way out.
        """
        claim = self.claim
        known = (claim, *besides)
        tables = {(t, f): self._table(f, t) for t in claim.tables for f in Family}
        strangers = [route for table in tables.values() for route in table.others]
        many = (
            KernelProblem(
                what=f"table {number} ({family})",
                because=f"others have so many routes in it that only {MANY} are looked through",
            )
            for (number, family), table in tables.items()
            if table.more and table.others
        )
        routes = (
            KernelProblem(
                what=f"route {route.prefix} in table {route.table} ({route.family})",
                because=f"it has protocol {route.protocol}, ours is {claim.protocol}",
            )
            for route in strangers
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
        """Rules of others at preferences of our block that no rule of ours has: they may stay."""
        claim = self.claim
        return tuple(
            KernelProblem(
                what=f"rule {rule.priority} ({rule.family}) of protocol {rule.protocol}",
                because="its preference is in our block, where no rule of ours needs it now",
            )
            for rule in self._rules()
            if rule.priority in claim.preferences
            and not is_our_rule(rule, claim)
            and _spare(rule, claim)
        )

    def own_addresses(self) -> frozenset[str]:
        """Every address of this host, on whichever interface."""
        bodies = self._asking.dump(rtnetlink.GETADDR, bytes(8))
        return frozenset(filter(None, map(rtnetlink.address_from, bodies)))

    def pinned(
        self, addresses: Mapping[str, Family], sources: Collection[str] = ()
    ) -> Mapping[tuple[str, str], int | None]:
        """The (path, address) pairs whose mark leads over the path now, and by which interface.

        Also for questions from these sources.
        """
        before = self._before_ours()
        own = self.own_addresses() if before else ()
        rules = concerning(before, addresses, own) if before else ()
        return pinned(
            self._asking,
            self.claim,
            addresses,
            sources=[source for source in sources if not source or source in own],
            beside_others=bool(rules),
            named=frozenset(named(rules, addresses)),
            chosen=by_source(rules),
        )

    def bypasses(self, addresses: Collection[str], sources: Collection[str] = ()) -> Bypasses:
        """What rules of others take past ours, of packets and questions to these addresses.

        `sources` are those that the resolvers send from; the kernel's choice if left out.
        """
        rules = self._before_ours()
        own = self.own_addresses() if rules else ()
        return bypasses(self._asking, self.claim, rules, addresses, own=own, sources=sources)

    def routeless(self, addresses: Mapping[str, Family]) -> frozenset[Family]:
        """The families for which this host has no route of its own: to the first few of these."""
        some = {
            family: list(islice((a for a, of in addresses.items() if of is family), _SOME))
            for family in Family
        }
        return frozenset(
            family
            for family, few in some.items()
            if few and all(way_to(self._asking, a, self.claim.mark) is None for a in few)
        )

    def links(
        self, witnesses: Mapping[tuple[str, Family], str]
    ) -> Mapping[tuple[str, Family], int]:
        """By which interface the answers over a site come in, where that can be told.

        `witnesses` are addresses that are asked through the site, by (site, family).
        """
        return links(self._asking, self.claim, witnesses)

    def fileno(self) -> int:
        """Readable when `changed` has something to say."""
        return self._listening.fileno()

    def changed(self) -> bool:
        """Whether links, rules or our tables changed since the last call, our doing or not.

        Also true when the kernel's messages overran their buffer. Never blocks.
        """
        self.others_changed = self.pins_changed = False
        self.links_changed.clear()
        self.sites_changed.clear()
        ours = self._listening.heard(self._concerns)
        self.others_alone = self.others_changed and not ours
        self.pins_changed |= self._listening.overrun
        if self.links_changed and self._by_name:
            self._tables.clear()  # an interface may have another name
        return ours or self.others_changed

    def _concerns(self, message: rtnetlink.Message) -> bool:
        if message.kind in {rtnetlink.NEWROUTE, rtnetlink.DELROUTE}:
            route = rtnetlink.route_from(message.body)
            if route is None or route.table not in self.claim.tables:
                return False
            if route.table != self.claim.table:
                self.sites_changed.add(self.claim.sites[route.table - self.claim.table - 1])
            return True
        if message.kind in {rtnetlink.NEWRULE, rtnetlink.DELRULE}:
            rule = rtnetlink.rule_from(message.body)
            if rule is not None and not self._touches(rule):
                self.others_changed = True
                return False
            self.pins_changed = True
        if message.kind in {rtnetlink.NEWLINK, rtnetlink.DELLINK}:
            self.links_changed.add(rtnetlink.link_from(message.body))
        return True

    def _touches(self, rule: Rule) -> bool:
        """Whether a rule is ours or stands among ours."""
        return rule.protocol == self.claim.protocol or rule.priority in self.claim.preferences

    def _routes(self, *tables: int) -> list[Route]:
        """Ours."""
        return [
            route for table in tables for family in Family for route in self._ours(family, table)
        ]

    def _ours(self, family: Family, table: int) -> list[Route]:
        """The kernel leaves out the others: there may be a hundred thousand of them."""
        number = self.claim.protocol
        request = rtnetlink.routes_of(family, table, number)
        bodies = self._asking.dump(rtnetlink.GETROUTE, request)
        return [r for r in self._read(family, table, bodies) if r.protocol == number]

    def _table(self, family: Family, number: int) -> Table:
        """What is in one of our tables; the same object for as long as it is the same."""
        read, known = self._tables.get((family, number), ([], None))
        mine, ours = rtnetlink.routes_of(family, number), len(known.ours) if known else 0
        bodies, whole = self._asking.first(rtnetlink.GETROUTE, mine, MANY + ours)
        if known is not None and whole and not known.more and bodies == read:
            return known
        own = None if whole else self._ours(family, number)
        if own is not None and len(own) > ours:
            bodies, whole = self._asking.first(rtnetlink.GETROUTE, mine, MANY + len(own))
        found, protocol = list(self._read(family, number, bodies)), self.claim.protocol
        table = Table(
            ours=tuple(r for r in (found if own is None else own) if r.protocol == protocol),
            others=tuple(route for route in found if route.protocol != protocol),
            more=not whole,
        )
        self._tables[family, number] = bodies, table
        return table

    def _read(self, family: Family, table: int, bodies: Iterable[bytes]) -> Iterator[Route]:
        for body in bodies:
            route = rtnetlink.route_from(body)
            # A kernel without IPv6 answers for all the families it has.
            if route is not None and (route.family, route.table) == (family, table):
                yield route

    def _rules(self) -> list[Rule]:
        return [
            rule
            for family in Family
            for body in self._asking.dump(rtnetlink.GETRULE, rtnetlink.rules_of(family))
            if (rule := rtnetlink.rule_from(body)) and rule.family is family
        ]

    def _before_ours(self) -> list[ForeignRule]:
        """The rules of others that packets meet before ours, in their order.

        The look-up of the local table, with which every host begins, is left out: it holds this
        host's own addresses, and those are steered nowhere.
        """
        claim = self.claim
        return [
            rule
            for family in Family
            for body in self._asking.dump(rtnetlink.GETRULE, rtnetlink.rules_of(family))
            if (rule := foreign_rule_from(body)) and rule.family is family
            if rule.priority <= claim.priority and rule.protocol != claim.protocol
            if rule.does is not Does.LOOKUP or rule.table != _LOCAL
        ]


def _spare(rule: Rule, claim: Claim) -> bool:
    """Whether no rule of ours has this preference in this family.

    `ip rule add from ADDRESS lookup main` leaves it to the kernel to choose one, which takes that
    before the second rule of all: before our first one, where the rule of the local table is first
    (fib_default_rule_pref in net/core/fib_rules.c). Without `transit_interfaces` that is P-3.
    """
    needed = claim.rules(rule.family) if rule.family in claim.families else ()
    return all(rule.priority != ours.priority for ours in needed)


def _overlap(rule: Rule, claim: Claim) -> str | None:
    if rule.priority in claim.preferences and not _spare(rule, claim):
        return "its preference is in our block"
    if rule.action is Action.TABLE and rule.table in claim.tables:
        return f"it looks up our table {rule.table}"
    if rule.mark and rule.mask and not _inverted(rule):
        return collision(rule.mark, rule.mask, claim)
    return None


def _inverted(rule: Rule) -> bool:
    """Whether it catches what it does *not* select: of those `bypasses` knows what comes of it."""
    read = foreign_rule_from(rule.body) if rule.body else None
    return read is not None and read.inverted
