"""What the agent owns in the kernel: table, protocol number, rules, marks, next hops.

A claim is enough to remove everything without the configuration: the guard and `steering off` read
it from the lease file. It says which rules and probe tables there should be; `actuator` installs
them.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from steering import bounds, next_hop
from steering.act.kernel.rtnetlink import Route, RouteKind
from steering.act.kernel.rules import Action, Rule
from steering.model import Family

LAST_RESORT = 2**31
"""Metric of the unreachable routes behind those of the sites' tables."""


class ClaimError(ValueError):
    """An invalid claim: the message says which part, and what is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One agent's table, protocol number, rules and next hops.

    Site number i (1, 2, …, in the order of `sites`) has the probe table `table + i` and the
    i-th probe mark after `mark`, counted in the lowest bit of `mask`. Raises ClaimError if two
    owned numbers collide or are out of the kernel's range, or a next hop is not one of its family
    (`steering.next_hop`).
    """

    table: int
    protocol: int
    priority: int
    mark: int
    sites: tuple[str, ...]
    next_hops: Mapping[str, Mapping[Family, str]] = field(hash=False)
    transit_interfaces: tuple[str, ...] = ()
    mask: int = bounds.U32
    """The bits of a packet's mark that our rules match; all of them in version 0.1.0."""

    def __post_init__(self) -> None:
        n = len(self.sites)
        if len(set(self.sites)) != n or not set(self.next_hops) <= set(self.sites):
            raise ClaimError("sites: wanted each name once, and next hops for these names only")
        self._check("table", self.table, bounds.TABLES, more=n)
        if bounds.SYSTEM_TABLES.keys() & set(self.tables):
            raise ClaimError(f"table: {self.table} to {self.table + n} includes system tables")
        self._check("mark", self.mark, bounds.MARKS)
        self._check("mask", self.mask, bounds.MASKS)
        if because := bounds.unfit_mark(self.mark, self.mask, n):
            raise ClaimError(f"mark: {because}")
        self._check("protocol", self.protocol, bounds.PROTOCOLS)
        self._check("priority", self.priority, bounds.PRIORITIES)
        if any(not 0 < len(name.encode()) <= bounds.INTERFACE for name in self.transit_interfaces):
            raise ClaimError(f"transit_interfaces: a name has 1 to {bounds.INTERFACE} bytes")
        self._check_next_hops()

    @staticmethod
    def _check(name: str, number: int, allowed: range, *, more: int = 0) -> None:
        """Raises ClaimError unless the number, and `more` after it, are in bounds."""
        if number not in allowed or number + more not in allowed:
            wanted = f"{allowed[0]} to {allowed[-1] - more}"
            raise ClaimError(f"{name}: {number} is out of range, wanted {wanted}")

    def _check_next_hops(self) -> None:
        seen: dict[str, str] = {}
        for site, hops in self.next_hops.items():
            for family, text in hops.items():
                where = f"next hop {text} of {site}"
                try:
                    because = _unfit(text, family)
                except ValueError as error:
                    raise ClaimError(f"{where}: {error}") from None
                if because:
                    raise ClaimError(f"{where}: {because}")
                if (other := seen.setdefault(text, site)) != site:
                    raise ClaimError(f"{where}: it is also the next hop of {other}")

    @property
    def tables(self) -> range:
        """The table of the steers, then one probe table for each site."""
        return range(self.table, self.table + len(self.sites) + 1)

    @property
    def preferences(self) -> range:
        """The block of rule preferences that is ours."""
        first, last = self.priority - bounds.RULES_BEFORE, self.priority + bounds.RULES_AFTER
        return range(first, last + 1)

    @property
    def marks(self) -> range:
        """The mark of the local path's probes, then one for each site."""
        return bounds.marks(self.mark, self.mask, len(self.sites))

    @property
    def families(self) -> tuple[Family, ...]:
        """The families in which at least one site can be reached."""
        return tuple(f for f in Family if any(f in hops for hops in self.next_hops.values()))

    def number(self, site: str) -> int:
        """1 for the first site, 2 for the second. Raises ValueError for an unknown site."""
        return self.sites.index(site) + 1

    def next_hop(self, site: str, family: Family) -> str | None:
        return self.next_hops.get(site, {}).get(family)

    def site_of(self, hop: str | None) -> str | None:
        """The site with this next hop; None if there is none."""
        for site, hops in self.next_hops.items():
            if hop is not None and hop in hops.values():
                return site
        return None

    def mark_of(self, path: str) -> int:
        """The mark (SO_MARK) of a probe's socket over this path."""
        return self.marks[self.number(path) if path in self.sites else 0]

    def steer(self, address: str, site: str) -> Route:
        """The host route for one steer. Raises KeyError if the site lacks the family."""
        family = Family.of(address)
        return self._route(family, self.table, address, self.next_hops[site][family])

    def rules(self, family: Family) -> tuple[Rule, ...]:
        """The rules of one family, in an order in which any prefix of them is safe.

        Transit packets and the local path's probes *jump over* the steers to the rule behind them.
        To send them to the main table would do the same only while that has a route: when the
        uplink's default route goes, the look-up would go on to the steers, and the local path would
        look healthy because its probes took the detour.
        """
        beyond = self.priority + 1
        return (
            self._rule(family, beyond, action=Action.NOP),
            *(
                self._rule(family, self.priority - 3, action=Action.GOTO, goto=beyond, iif=name)
                for name in self.transit_interfaces
            ),
            self._rule(family, self.priority - 2, action=Action.GOTO, goto=beyond, mark=self.mark),
            *(
                self._rule(family, self.priority - 1, mark=self.marks[i], table=self.table + i)
                for i in range(1, len(self.sites) + 1)
            ),
            self._rule(family, self.priority, table=self.table),
        )

    def questions(self, family: Family) -> tuple[Rule, ...]:
        """The rules for marked probes over the sites.

        They catch only packets with our marks. They, and the sites' tables that they look up, don't
        affect any other packets.
        """
        sites = self.marks[1:]
        return tuple(rule for rule in self.rules(family) if rule.mark in sites)

    def probe_routes(self, addresses: Iterable[str]) -> tuple[Route, ...]:
        """The routes of the sites' tables for the probes to these addresses.

        Host routes and no default route, since a mark survives encapsulation: the outer packets of
        a tunnel to a site that ends on this host carry it too. They match nothing here and take the
        host's own routes. Behind each host route is an unreachable one: if the site's link is down
        a probe fails, and does not take another path unnoticed. If the site has no next hop of the
        family there is only the unreachable one.
        """
        routes: list[Route] = []
        families = self.families
        for address in addresses:
            family = Family.of(address)
            for table, site in enumerate(self.sites if family in families else (), self.table + 1):
                routes.append(self._end(family, table, address))
                if to := self.next_hop(site, family):
                    routes.append(self._route(family, table, address, to))
        return tuple(routes)

    def _end(self, family: Family, table: int, address: str) -> Route:
        return Route(
            family=family,
            table=table,
            protocol=self.protocol,
            destination=address,
            length=family.bits,
            kind=RouteKind.UNREACHABLE,
            metric=LAST_RESORT,
        )

    def _route(self, family: Family, table: int, address: str, to: str) -> Route:
        via, dev = next_hop.parts(to)
        return Route(
            family=family,
            table=table,
            protocol=self.protocol,
            destination=address,
            length=family.bits,
            gateway=via,
            dev=dev,
            # The kernel's default for IPv6 (IP6_RT_PRIO_USER in net/ip6_route.h).
            metric=0 if family is Family.IPV4 else 1024,
        )

    def _rule(
        self,
        family: Family,
        priority: int,
        *,
        action: Action = Action.LOOKUP,
        table: int = 0,
        goto: int | None = None,
        mark: int = 0,
        iif: str | None = None,
    ) -> Rule:
        return Rule(
            family=family,
            priority=priority,
            protocol=self.protocol,
            action=action,
            table=table,
            goto=goto,
            mark=mark,
            mask=self.mask if mark else 0,
            iif=iif,
        )

    def to_json(self) -> str:
        """The text for `from_json`; with a mask of all bits it is the format of version 0.1.0."""
        return json.dumps(
            {
                "table": self.table,
                "protocol": self.protocol,
                "priority": self.priority,
                "mark": self.mark,
                "sites": list(self.sites),
                "next_hops": {
                    site: {family.value: address for family, address in hops.items()}
                    for site, hops in self.next_hops.items()
                },
                "transit_interfaces": list(self.transit_interfaces),
                **({} if self.mask == bounds.U32 else {"mask": self.mask}),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Claim:
        """The claim in a text that `to_json` wrote. Raises ClaimError for any other text."""
        try:
            value = json.loads(text)
            claim = cls(
                table=_number(value["table"]),
                protocol=_number(value["protocol"]),
                priority=_number(value["priority"]),
                mark=_number(value["mark"]),
                sites=_texts(value["sites"]),
                next_hops={
                    _text(site): {Family(family): _text(at) for family, at in hops.items()}
                    for site, hops in value["next_hops"].items()
                },
                transit_interfaces=_texts(value["transit_interfaces"]),
                mask=_number(value.get("mask", bounds.U32)),
            )
        except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
            raise ClaimError(f"not a claim: {error!r}") from error
        if len(value) != (8 if "mask" in value else 7):
            raise ClaimError("not a claim: it has unknown keys")
        return claim


def _unfit(text: str, family: Family) -> str | None:
    """Why this is no next hop of this family. Raises ValueError if it is no next hop at all."""
    via, dev = next_hop.parts(text)
    if dev is not None and len(dev.encode()) > bounds.INTERFACE:
        return f"an interface's name has 1 to {bounds.INTERFACE} bytes"
    if via is None:
        return None
    ip = ipaddress.ip_address(via)
    if str(ip) != via or Family.of(via) is not family:
        return f"wanted one {family} address in its usual form"
    if dev is not None and not (ip.version == 6 and ip.is_link_local):
        return "an address that is not link-local needs no interface"
    return bounds.unfit(ip, link_local=dev is not None)


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is not an integer")
    return value


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not a string")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if type(value) is not list:
        raise TypeError(f"{value!r} is not a list")
    return tuple(map(_text, value))
