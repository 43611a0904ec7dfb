"""What the agent owns in the kernel, as a value that outlives the agent.

A claim is enough to take everything back without the configuration: the guard and
`steering off` read it from the lease file. It says which rules and probe tables belong
there; `actuator` makes them so, and `lease` keeps the text.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from steering import bounds, next_hop
from steering.act.kernel.rtnetlink import Action, Route, RouteKind, Rule
from steering.model import Family

LAST_RESORT = 2**31
"""Metric of the unreachable routes behind those of the sites' tables."""


class ClaimError(ValueError):
    """A claim that cannot be: says which part and what is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One agent's table, protocol number, rules and next hops.

    Site number i (1, 2, …, in the order of `sites`) has the probe table `table + i` and the
    i-th probe mark after `mark`, counted in the lowest bit of `mask`. Raises ClaimError where two
    owned numbers would collide or leave the kernel's range, or a next hop is none of its family
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
            raise ClaimError("sites: each name once, and next hops for these names only")
        self._check("table", self.table, bounds.TABLES, more=n)
        if bounds.SYSTEM_TABLES.keys() & set(self.tables):
            raise ClaimError(f"table: {self.table} to {self.table + n} takes in the system's own")
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
        """That a number, and so many after it, are within bounds."""
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
        """The table of the steers and, after it, one probe table a site."""
        return range(self.table, self.table + len(self.sites) + 1)

    @property
    def preferences(self) -> range:
        """The rules' preferences, all of which are ours."""
        first, last = self.priority - bounds.RULES_BEFORE, self.priority + bounds.RULES_AFTER
        return range(first, last + 1)

    @property
    def marks(self) -> range:
        """The mark of the local path's probes and, after it, one a site."""
        return bounds.marks(self.mark, self.mask, len(self.sites))

    @property
    def families(self) -> tuple[Family, ...]:
        """The families in which at least one site can be reached."""
        return tuple(f for f in Family if any(f in hops for hops in self.next_hops.values()))

    def number(self, site: str) -> int:
        """1 for the first site, 2 for the second. Raises ValueError for a stranger."""
        return self.sites.index(site) + 1

    def next_hop(self, site: str, family: Family) -> str | None:
        return self.next_hops.get(site, {}).get(family)

    def site_of(self, hop: str | None) -> str | None:
        """The site that this next hop leads to; None for a stranger."""
        for site, hops in self.next_hops.items():
            if hop is not None and hop in hops.values():
                return site
        return None

    def mark_of(self, path: str) -> int:
        """What a probe's socket over this path must carry (SO_MARK)."""
        return self.marks[self.number(path) if path in self.sites else 0]

    def steer(self, address: str, site: str) -> Route:
        """The host route for one steer. Raises KeyError where the site lacks the family."""
        family = Family.of(address)
        return self._route(family, self.table, address, self.next_hops[site][family])

    def rules(self, family: Family) -> tuple[Rule, ...]:
        """The rules of one family, in an order in which any beginning is safe.

        Transit and the local path's probes *jump over* the steers to the rule behind them.
        Sending them to the main table would do the same only while main has a route: when
        the uplink's default route goes, the lookup would fall through to the steers, and
        the local path would look well because its probes took the detour.
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
        """Those of the rules that carry marked questions over the sites.

        They catch packets with our marks and nothing else: beside them, and the sites' tables that
        they look up, all other packets go as they went.
        """
        sites = self.marks[1:]
        return tuple(rule for rule in self.rules(family) if rule.mark in sites)

    def probe_routes(self, addresses: Iterable[str]) -> tuple[Route, ...]:
        """What the sites' tables hold for the questions to these addresses.

        Host routes and no default, since a mark survives encapsulation: the outer packets of a
        tunnel to a site that ends on this host carry it as well, find nothing in here, and take
        the host's own ways. Behind each host route is an unreachable one, so that a question fails
        when the site's link is down instead of quietly going another way. It stands alone where
        the site has no next hop of the family.
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
            # What the kernel takes where none is given (IP6_RT_PRIO_USER in net/ip6_route.h).
            metric=0 if family is Family.IPV4 else 1024,
        )

    def _rule(
        self,
        family: Family,
        priority: int,
        *,
        action: Action = Action.TABLE,
        table: int = 0,
        goto: int | None = None,
        mark: int | None = None,
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
            mask=None if mark is None else self.mask,
            iif=iif,
        )

    def to_json(self) -> str:
        """A text for `from_json`; that of a full mask is as version 0.1.0 wrote and reads it."""
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
            raise ClaimError("not a claim: it says more than a claim does")
        return claim


def _unfit(text: str, family: Family) -> str | None:
    """Why this is no next hop of a family. Raises ValueError where it is none at all."""
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
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError(f"{value!r} is not a text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if type(value) is not list:
        raise TypeError(f"{value!r} is not a list")
    return tuple(map(_text, value))
