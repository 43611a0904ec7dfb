"""Foreign rules that come before ours, and which packets they keep from our rules.

Packets that a rule of a lower preference catches never reach ours: the resolvers' packets miss the
detour in our table, or our marked probes take another path than intended. What a rule selects is
read from the rule. Whether it has an effect is found by a look-up in the kernel for such a packet:
its table may have no route for the address, and then the kernel goes on with the next rule. A rule
counts only if both agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from steering.act.kernel import decoding, rtnetlink
from steering.act.kernel.claim import Claim
from steering.act.kernel.gateways import chosen_source, leads, route_for, variants
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.rtnetlink import Route, RouteKind
from steering.act.kernel.rules import Action, Address, Flow, Rule
from steering.bounds import PRIORITIES, RULES_AFTER
from steering.model import Family

SAMPLE = 64
"""Addresses of a family that are looked up; what holds for all of these holds for the others."""
LOOKED_UP = 512
"""Look-ups for probes through sites, at most: number of addresses times sites."""
_ROUTES = 256
"""Routes of a foreign table that are searched for one that rejects packets."""
_UNPRIVILEGED = 1024
"""Resolvers send from no lower port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """Packets that a foreign rule catches before ours."""

    rule: Rule
    flow: Flow
    site: str | None = None
    """The site whose marked probes they are; None: unmarked packets, as the resolvers' are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypasses:
    """All packets that bypass our rules at one time."""

    claim: Claim
    traffic: Mapping[str, Bypass] = field(default_factory=dict)
    """Address -> what lets this host's packets to it bypass the steers."""
    all_traffic: Mapping[Family, Bypass] = field(default_factory=dict)
    """The same for all addresses of a family, also those that were not looked up."""
    perhaps: tuple[Bypass, ...] = ()
    """The same for packets from one address, port or user of this host: it is not known whether
    resolvers send such packets."""
    questions: Mapping[tuple[str, str], Bypass] = field(default_factory=dict)
    """(address, site) -> what sends the probes to it through a site over another path."""
    watched: Mapping[Family, int] = field(default_factory=dict)
    """How many addresses were looked up."""

    def of(self, address: str) -> Bypass | None:
        """What lets this host's packets to this address bypass the steers; None: nothing."""
        return self.traffic.get(address) or self.all_traffic.get(Family.of(address))

    def asking(self, site: str, family: Family) -> Rule | None:
        """The rule that sends all probes through a site over another path; None: there is none."""
        caught = [
            one.rule
            for (address, through), one in self.questions.items()
            if through == site and Family.of(address) is family
        ]
        looked_up = self.watched.get(family, 0)
        return caught[0] if caught and len(caught) >= looked_up else None

    def texts(self) -> tuple[str, ...]:
        """One sentence for each rule, by preference: its effect and the remedy.

        A rule that selects one of our marks is left out: `KernelReader.foreign` reports it.
        """
        every = (
            *self.traffic.values(),
            *(one for one in self.questions.values() if one.rule.inverted or not one.rule.mask),
            *self.perhaps,
        )
        rules = dict.fromkeys(
            one.rule for one in sorted(every, key=lambda b: (b.rule.priority, b.rule.family))
        )
        return tuple(self._text(rule) for rule in rules)

    def _text(self, rule: Rule) -> str:
        parts: list[str] = []
        traffic = {a: one for a, one in self.traffic.items() if one.rule == rule}
        if traffic:
            some = next(iter(traffic.values()))
            parts.append(
                f"packets to {self._targets(traffic, rule.family)} ({some.flow}) bypass the "
                "steers, so a detour has no effect on them and does not count as installed"
            )
        asked = {(a, s): one for (a, s), one in self.questions.items() if one.rule == rule}
        if asked:
            sites = sorted({site for _, site in asked})
            whom = self._targets(dict.fromkeys(a for a, _ in asked), rule.family)
            parts.append(
                f"probes through {', '.join(sites)} to {whom} take another path, "
                "so these paths are not measured"
            )
        perhaps = next((one for one in self.perhaps if one.rule == rule), None)
        if perhaps is not None and not traffic:
            parts.append(
                f"packets {_selectors(perhaps)} bypass the steers: if resolvers send such packets, "
                "a detour has no effect on them"
            )
        return (
            f"the rule `{rule}` ({rule.family}) comes before ours: {'; '.join(parts)}; "
            f"wanted {self._remedy()}"
        )

    def _targets(self, addresses: Collection[str], family: Family) -> str:
        of = self.watched.get(family, 0)
        if len(addresses) >= of > 1:
            return f"every {family} address"
        first = ", ".join(sorted(addresses)[:2])
        return first if len(addresses) <= 2 else f"{first} and {len(addresses) - 2} more"

    def _remedy(self) -> str:
        first = min(
            one.rule.priority
            for one in (*self.traffic.values(), *self.questions.values(), *self.perhaps)
        )
        behind = f"a preference after ours for it ({self.claim.preferences[-1] + 1} or more)"
        ours = first - RULES_AFTER - 1
        if ours in PRIORITIES:
            return f"`act.kernel.priority: {ours}` or less, or {behind}"
        return behind


def bypasses(
    query: QuerySocket,
    claim: Claim,
    rules: Sequence[Rule],
    addresses: Collection[str],
    *,
    own: Collection[str] = (),
    sources: Collection[str] = (),
) -> Bypasses:
    """Which packets to these addresses the foreign rules catch before ours.

    `rules` are all that come before ours, in order; `own` all addresses of this host; `sources`
    those of them that the resolvers send from, the kernel's choice if left out. Raises OSError if
    the kernel can't be queried.
    """
    lookup = _Lookup(query, claim, own, sources)
    concern = concerning(rules, addresses, own)
    for family in claim.families:
        mine = [rule for rule in concern if rule.family is family]
        if mine:
            lookup.at(family, mine, _sample(addresses, family, mine))
    return lookup.found()


def concerning(
    rules: Iterable[Rule], addresses: Iterable[str], own: Iterable[str]
) -> tuple[Rule, ...]:
    """The rules that could catch packets from this host to these addresses.

    If each pod has its own rules there are hundreds, and none of those is returned.
    """
    there, here = _by_family(addresses), _by_family(own)
    return tuple(
        rule
        for rule in rules
        if _does_something(rule) and rule.may_catch(there[rule.family], here[rule.family])
    )


def named(rules: Iterable[Rule], addresses: Iterable[str]) -> tuple[str, ...]:
    """The addresses that a rule selects by their prefix."""
    prefixes = [r.destination for r in rules if r.destination and r.destination.prefixlen]
    if not prefixes:
        return ()
    return tuple(a for a in addresses if any(ip_address(a) in prefix for prefix in prefixes))


def _by_family(addresses: Iterable[str]) -> Mapping[Family, list[Address]]:
    found: dict[Family, list[Address]] = {family: [] for family in Family}
    for address in addresses:
        found[Family.of(address)].append(ip_address(address))
    return found


def _does_something(rule: Rule) -> bool:
    return rule.action not in {Action.NOP, Action.OTHER} and (
        rule.action is not Action.GOTO or rule.resolved
    )


def _sample(addresses: Iterable[str], family: Family, rules: Sequence[Rule]) -> tuple[str, ...]:
    """At most SAMPLE addresses of a family; first those that a rule selects by prefix."""
    mine = sorted(a for a in addresses if Family.of(a) is family)
    return tuple(dict.fromkeys([*named(rules, mine), *mine]))[:SAMPLE]


class _Lookup:
    """One check of all rules."""

    def __init__(
        self, query: QuerySocket, claim: Claim, own: Collection[str], sources: Collection[str]
    ) -> None:
        self._query, self._claim = query, claim
        self._own = sorted(own)
        self._sources = [source for source in sources if not source or source in own]
        self._refusing: dict[tuple[Family, int], list[Route]] = {}
        self._traffic: dict[str, Bypass] = {}
        self._all: dict[Family, Bypass] = {}
        self._perhaps: dict[Rule, Bypass] = {}
        self._questions: dict[tuple[str, str], Bypass] = {}
        self._watched: dict[Family, int] = {}

    def found(self) -> Bypasses:
        return Bypasses(
            claim=self._claim,
            traffic=self._traffic,
            all_traffic=self._all,
            perhaps=tuple(self._perhaps.values()),
            questions=self._questions,
            watched=self._watched,
        )

    def at(self, family: Family, rules: Sequence[Rule], sample: Sequence[str]) -> None:
        """Looks up which packets of a family these rules catch."""
        self._watched[family] = len(sample)
        sites = [s for s in self._claim.sites if self._claim.next_hop(s, family) is not None]
        for number, address in enumerate(sample):
            if one := self._first(rules, self._traffic_to(rules, address)):
                self._traffic[address] = one
            elif not self._named(family):
                self._suspect(rules, address)
            if number * len(sites) >= LOOKED_UP:
                continue
            for site in sites:
                asked = Flow(destination=address, mark=self._claim.mark_of(site))
                flows = variants(self._query, asked, self._sources, chosen=by_source(rules))
                if one := self._first(rules, flows, site=site):
                    self._questions[address, site] = one
        if sample and all(address in self._traffic for address in sample):
            self._all[family] = self._traffic[sample[0]]

    def _named(self, family: Family) -> bool:
        """Whether the resolvers' sources are known."""
        return any(source and Family.of(source) is family for source in self._sources)

    def _traffic_to(self, rules: Sequence[Rule], address: str) -> Iterator[Flow]:
        """The packets that the resolvers send to an address.

        If their sources are not known, their sockets may be unbound. On a detour the kernel then
        chooses the source by the route to the site. For an address without a detour, the probes
        through a site show which source that would be.
        """
        flow = Flow(destination=address)
        if self._named(Family.of(address)):
            yield from variants(self._query, flow, self._sources)
            return
        for one in variants(self._query, flow, chosen=False):
            yield one
            if not by_source(rules):
                continue
            route = route_for(self._query, one)
            if route is not None and route.table in self._claim.tables:
                yield replace(one, source=chosen_source(self._query, one))

    def _suspect(self, rules: Sequence[Rule], address: str) -> None:
        """Rules for one source, port or user: it is not known whether a resolver uses it."""
        for rule in rules:
            if rule in self._perhaps or rule.inverted:
                continue
            flow = self._caught_by(rule, address)
            if flow is None:
                continue
            flows = variants(self._query, flow, () if flow.source is None else (flow.source,))
            one = self._first(rules, flows)
            if one is not None and one.rule == rule:
                self._perhaps[rule] = one

    def _caught_by(self, rule: Rule, address: str) -> Flow | None:
        """Packets with the source, port or user that this rule selects; None: it selects none."""
        flow = Flow(destination=address)
        if rule.source is not None:
            inside = (a for a in self._own if _is_in(a, rule))
            source = next(inside, None)
            if source is None:
                return None
            flow = replace(flow, source=source)
        if rule.uids is not None:
            flow = replace(flow, uid=rule.uids[0])
        ports = rule.source_ports
        if ports is not None and ports.last >= _UNPRIVILEGED:
            flow = replace(flow, source_port=max(ports.first, _UNPRIVILEGED))
        return None if flow == Flow(destination=address) else flow

    def _first(
        self, rules: Sequence[Rule], flows: Iterable[Flow], *, site: str | None = None
    ) -> Bypass | None:
        """The first of these packets that miss our rules, with the foreign rule that catches it."""
        for flow in flows:
            caught = [rule for rule in rules if rule.catches(flow)]
            if caught and (rule := self._decides(caught, flow, site)) is not None:
                return Bypass(rule=rule, flow=flow, site=site)
        return None

    def _decides(self, caught: Sequence[Rule], flow: Flow, site: str | None) -> Rule | None:
        """The rule by which the kernel routes these packets; None: a rule of ours."""
        claim, family = self._claim, Family.of(flow.destination)
        route = route_for(self._query, flow)
        if route is not None and (
            route.table in claim.tables if site is None else leads(route, claim, site, family)
        ):
            return None
        ours, at = claim.priority - (site is not None), 0
        for rule in caught:
            if rule.priority < at:
                continue
            if rule.action is Action.GOTO:
                at = rule.goto or 0
                if at > ours:
                    return rule
            elif rule.action is not Action.LOOKUP:
                if route is None:
                    return rule
            elif route is None:
                if self._refuses(rule, flow.destination):
                    return rule
            elif route.table == rule.table and not self._passed_over(rule, flow):
                return rule
        return None

    def _passed_over(self, rule: Rule, flow: Flow) -> bool:
        if rule.suppress_length is None and rule.suppress_group is None:
            return False
        whole = route_for(self._query, flow, whole=True)
        return whole is not None and rule.suppresses(whole.length)

    def _refuses(self, rule: Rule, address: str) -> bool:
        """Whether the table that a rule looks up has a route that rejects these packets."""
        key = rule.family, rule.table
        if key not in self._refusing:
            body = rtnetlink.routes_of(rule.family, rule.table)
            routes = map(decoding.route_from, self._query.some(rtnetlink.GETROUTE, body, _ROUTES))
            self._refusing[key] = [
                route
                for route in routes
                if route is not None
                and (route.family, route.table) == key
                and route.kind in {RouteKind.UNREACHABLE, RouteKind.OTHER}
            ]
        return any(ip_address(address) in ip_network(r.prefix) for r in self._refusing[key])


def by_source(rules: Iterable[Rule]) -> bool:
    """Whether any of them selects packets by their source."""
    return any(rule.source is not None for rule in rules)


def _is_in(address: str, rule: Rule) -> bool:
    return rule.source is not None and ip_address(address) in rule.source


def _selectors(one: Bypass) -> str:
    """The source, user and port that a rule selects, as text."""
    parts: Iterator[str] = iter(
        (
            *([f"from {one.flow.source}"] if one.rule.source is not None else []),
            *([f"of user {one.flow.uid}"] if one.rule.uids is not None else []),
            *([f"from port {one.rule.source_ports}"] if one.rule.source_ports is not None else []),
        )
    )
    return " ".join(parts)
