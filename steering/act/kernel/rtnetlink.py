"""Encodes the routes and rules that the agent installs and removes. Pure functions over bytes.

After linux/rtnetlink.h and linux/fib_rules.h. The guard must have all of this in memory before
anything goes wrong, so it is small and uses only the standard library. How the host routes is read
by pyroute2 (`decoding`), the independent witness of what is encoded here; of a message that the
kernel sends, this module finds only whose route or rule it is, and the request that removes it.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, if_nametoindex

from steering import next_hop
from steering.act.kernel.framing import attribute, attributes, number, packed, text, u32
from steering.act.kernel.rules import Rule
from steering.model import Family

NEWLINK, NEWROUTE, DELROUTE, GETROUTE = 16, 24, 25, 26
GETLINK, GETADDR, GETNEIGH = 18, 22, 30
DELLINK, NEWRULE, DELRULE, GETRULE = 17, 32, 33, 34

_HEAD = struct.Struct("=8BI")
"""Of a route (struct rtmsg): family, dst_len, src_len, tos, table, protocol, scope, type, flags; of
a rule (struct fib_rule_hdr): the same up to the table, then two octets, action, flags."""
_LINK = struct.Struct("=4xi")  # family, -, device type, index

_FAMILIES = {Family.IPV4: int(AF_INET), Family.IPV6: int(AF_INET6)}
_TABLE_ABOVE_255 = 252  # RT_TABLE_COMPAT: the number is in the attribute
_ANY_SCOPE = 255  # RT_SCOPE_NOWHERE: in a removal, any scope
_LINK_SCOPE = 253  # RT_SCOPE_LINK: no router in between

# RTA_* and FRA_*: those of the priority and the table are the same.
_DST, _OIF, _GATEWAY, _PRIORITY, _TABLE = 1, 4, 5, 6, 15
_NOT_PLAIN = frozenset({2, 9, 22, 30})  # RTA_SRC, RTA_MULTIPATH, RTA_ENCAP, RTA_NH_ID
_IIFNAME, _GOTO, _FWMARK, _FWMASK, _PROTOCOL = 3, 4, 10, 16, 21


class RouteKind(enum.IntEnum):
    """What a route does with a packet: RTN_* of linux/rtnetlink.h."""

    UNICAST = 1
    LOCAL = 2
    UNREACHABLE = 7
    OTHER = 255

    @classmethod
    def _missing_(cls, _: object) -> RouteKind:
        return cls.OTHER


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route of one table. Two are equal when they differ in nothing that matters here."""

    family: Family
    table: int
    protocol: int
    destination: str
    length: int
    kind: RouteKind = RouteKind.UNICAST
    gateway: str | None = None
    metric: int = 0
    tos: int = 0
    plain: bool = True
    """False: several next hops, a next hop object, an encapsulation, a forced link, a source."""
    dev: str | None = None
    """The interface, if the route has no gateway or a link-local one: these need it."""
    oif: int | None = field(default=None, compare=False)
    links: frozenset[int] = field(default=frozenset(), compare=False)
    """The interfaces by which it may send a packet; `oif` is that of a single next hop."""
    source: str | None = field(default=None, compare=False)
    """The source address that the kernel chooses for packets by it."""

    @property
    def place(self) -> tuple[Family, int, str, int, int, int]:
        """The key under which the kernel keeps one route; another one with it replaces this."""
        return self.family, self.table, self.destination, self.length, self.metric, self.tos

    @property
    def hop(self) -> str | None:
        """Its next hop, as in `steering.next_hop`; None if it has none, or several."""
        return next_hop.written(self.gateway, self.dev)

    @property
    def prefix(self) -> str:
        return f"{self.destination}/{self.length}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Whose a route or rule is: the same numbers of both, in a message of the kernel."""

    family: Family
    table: int
    protocol: int
    priority: int
    """Of a rule its preference, of a route its metric."""
    action: int
    """FR_ACT_* of a rule, RTN_* of a route."""


def family_number(family: Family) -> int:
    """AF_INET or AF_INET6."""
    return _FAMILIES[family]


def routes_of(family: Family, table: int, protocol: int = 0) -> bytes:
    """The body of a dump request for one table, and for one protocol number if not 0.

    With NETLINK_GET_STRICT_CHK the kernel filters by it.
    """
    head = _HEAD.pack(_FAMILIES[family], 0, 0, 0, 0, protocol, 0, 0, 0)
    return head + attribute(_TABLE, u32(table))


def rules_of(family: Family) -> bytes:
    """The body of a dump request for all rules of a family."""
    return _HEAD.pack(_FAMILIES[family], 0, 0, 0, 0, 0, 0, 0, 0)


def route_body(route: Route, *, removal: bool = False) -> bytes:
    """The body of NEWROUTE or DELROUTE for a route.

    A removal has all that distinguishes our route from a foreign one at the same place; if the
    route isn't plain, it leaves out the gateway. Raises OSError if there is no such interface.
    """
    on_link = route.family is Family.IPV4 and route.dev is not None and route.gateway is None
    head = _HEAD.pack(
        _FAMILIES[route.family],
        route.length,
        0,
        route.tos,
        route.table if route.table < 256 else _TABLE_ABOVE_255,
        route.protocol,
        _ANY_SCOPE if removal else _LINK_SCOPE if on_link else 0,
        0 if route.kind is RouteKind.OTHER else route.kind,
        0,
    )
    parts = [head, attribute(_TABLE, u32(route.table))]
    if route.length:
        parts.append(attribute(_DST, packed(route.destination)))
    if route.metric:
        parts.append(attribute(_PRIORITY, u32(route.metric)))
    if route.gateway is not None and route.plain:
        parts.append(attribute(_GATEWAY, packed(route.gateway)))
    if route.dev is not None and not removal:
        parts.append(attribute(_OIF, u32(if_nametoindex(route.dev))))
    return b"".join(parts)


def rule_body(rule: Rule) -> bytes:
    """The body of NEWRULE for a rule, or of DELRULE for one that was dumped."""
    if rule.body:
        return rule.body
    table = rule.table if rule.table < 256 else _TABLE_ABOVE_255
    parts = [
        _HEAD.pack(_FAMILIES[rule.family], 0, 0, 0, table, 0, 0, rule.action, 0),
        attribute(_PRIORITY, u32(rule.priority)),
        attribute(_PROTOCOL, bytes([rule.protocol])),
    ]
    if rule.table:
        parts.append(attribute(_TABLE, u32(rule.table)))
    if rule.goto is not None:
        parts.append(attribute(_GOTO, u32(rule.goto)))
    if rule.mask:
        parts.append(attribute(_FWMARK, u32(rule.mark)))
        parts.append(attribute(_FWMASK, u32(rule.mask)))
    if rule.iif is not None:
        parts.append(attribute(_IIFNAME, rule.iif.encode() + b"\0"))
    return b"".join(parts)


def route_numbers(body: bytes) -> Numbers | None:
    """Whose the route in a NEWROUTE body is; None if it is neither IPv4 nor IPv6."""
    return _numbers(body, attributes(body, _HEAD.size), body[5])


def rule_numbers(body: bytes) -> Numbers | None:
    """Whose the rule in a NEWRULE body is; None if it is neither IPv4 nor IPv6."""
    found = attributes(body, _HEAD.size)
    return _numbers(body, found, found.get(_PROTOCOL, b"\0")[0])


def _numbers(body: bytes, found: Mapping[int, bytes], protocol: int) -> Numbers | None:
    family = next((f for f, no in _FAMILIES.items() if no == body[0]), None)
    if family is None:
        return None
    table = number(found.get(_TABLE))
    return Numbers(
        family=family,
        table=body[4] if table is None else table,
        protocol=protocol,
        priority=number(found.get(_PRIORITY)) or 0,
        action=body[7],
    )


def removal_of(body: bytes) -> bytes:
    """The body of DELROUTE for the route in a NEWROUTE body: as that of `route_body`."""
    family, length, _, tos, table, protocol, _, kind, _ = _HEAD.unpack_from(body)
    found = attributes(body, _HEAD.size)
    kinds = [_TABLE, _DST, _PRIORITY, *([] if found.keys() & _NOT_PLAIN else [_GATEWAY])]
    head = _HEAD.pack(family, length, 0, tos, table, protocol, _ANY_SCOPE, kind, 0)
    return head + b"".join(attribute(kind, found[kind]) for kind in kinds if kind in found)


def prefix_of(body: bytes) -> str:
    """The destination of the route in a NEWROUTE body, as ADDRESS/LENGTH."""
    anywhere = bytes(4 if body[0] == AF_INET else 16)
    return f"{text(attributes(body, _HEAD.size).get(_DST, anywhere))}/{body[1]}"


def link_from(body: bytes) -> int:
    """The interface that a NEWLINK or DELLINK body is about."""
    return int(_LINK.unpack_from(body)[0])
