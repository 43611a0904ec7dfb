"""Encodes and decodes rtnetlink messages of routes and rules. Pure functions over bytes.

After linux/rtnetlink.h and linux/fib_rules.h; `framing` has what all of netlink shares. Only what
the agent sends and parses is here. The guard must have all of this in memory before anything goes
wrong, so it is small and uses only the standard library. A test compares it with pyroute2's
encoding of the same messages.
"""

from __future__ import annotations

import contextlib
import enum
import struct
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, if_indextoname, if_nametoindex

from steering import next_hop
from steering.act.kernel.framing import attribute, attributes, number, packed, text, u32
from steering.model import Family

NEWLINK, NEWROUTE, DELROUTE, GETROUTE = 16, 24, 25, 26
GETLINK, GETADDR, GETNEIGH = 18, 22, 30
DELLINK, NEWRULE, DELRULE, GETRULE = 17, 32, 33, 34

_ROUTE = struct.Struct("=8BI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
_RULE = struct.Struct("=8BI")  # family, dst_len, src_len, tos, table, -, -, action, flags
_LINK = struct.Struct("=4xi")  # family, -, device type, index

_FAMILIES = {Family.IPV4: int(AF_INET), Family.IPV6: int(AF_INET6)}
_TABLE_ABOVE_255 = 252  # RT_TABLE_COMPAT: the number is in the attribute
_ANY_SCOPE = 255  # RT_SCOPE_NOWHERE: in a removal, any scope
_LINK_SCOPE = 253  # RT_SCOPE_LINK: no router in between
_ONLINK = 4  # RTNH_F_ONLINK
_LOOKUP_TABLE, _FIB_MATCH = 0x1000, 0x2000  # RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH
_NEXT_HOP = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, interface

RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 2, 4, 5, 6, 7
RTA_MULTIPATH, RTA_TABLE, RTA_MARK, RTA_VIA, RTA_ENCAP, RTA_NH_ID = 9, 15, 16, 18, 22, 30
RTA_UID, RTA_IP_PROTO, RTA_SPORT, RTA_DPORT = 25, 27, 28, 29

FRA_IIFNAME, FRA_GOTO, FRA_PRIORITY, FRA_FWMARK = 3, 4, 6, 10
FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_FWMASK, FRA_PAD, FRA_PROTOCOL = 14, 15, 16, 18, 21
_FRA_SIMPLE = frozenset(
    {
        FRA_IIFNAME,
        FRA_GOTO,
        FRA_PRIORITY,
        FRA_FWMARK,
        FRA_SUPPRESS_PREFIXLEN,
        FRA_TABLE,
        FRA_FWMASK,
        FRA_PAD,
        FRA_PROTOCOL,
    }
)
_INVERT = 2  # FIB_RULE_INVERT


class RouteKind(enum.IntEnum):
    """What a route does with a packet: RTN_* of linux/rtnetlink.h."""

    UNICAST = 1
    LOCAL = 2
    UNREACHABLE = 7
    OTHER = 255

    @classmethod
    def _missing_(cls, _: object) -> RouteKind:
        return cls.OTHER


class Action(enum.IntEnum):
    """What a rule does with a packet: FR_ACT_* of linux/fib_rules.h."""

    TABLE = 1
    GOTO = 2
    NOP = 3
    OTHER = 255

    @classmethod
    def _missing_(cls, _: object) -> Action:
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
class Rule:
    """One policy routing rule."""

    family: Family
    priority: int
    protocol: int
    action: Action
    table: int = 0
    goto: int | None = None
    mark: int | None = None
    mask: int | None = None
    iif: str | None = None
    plain: bool = True
    """False: it has more attributes than these fields."""
    body: bytes = field(default=b"", compare=False, repr=False)
    """As the kernel dumped it: a removal with it removes exactly this rule."""


def family_number(family: Family) -> int:
    """AF_INET or AF_INET6."""
    return _FAMILIES[family]


def routes_of(family: Family, table: int, protocol: int = 0) -> bytes:
    """The body of a dump request for one table, and for one protocol number if not 0.

    With NETLINK_GET_STRICT_CHK the kernel filters by it.
    """
    head = _ROUTE.pack(_FAMILIES[family], 0, 0, 0, 0, protocol, 0, 0, 0)
    return head + attribute(RTA_TABLE, u32(table))


def rules_of(family: Family) -> bytes:
    """The body of a dump request for all rules of a family."""
    return _RULE.pack(_FAMILIES[family], 0, 0, 0, 0, 0, 0, 0, 0)


def lookup_of(
    address: str,
    mark: int = 0,
    *,
    protocol: int = 0,
    source: str | None = None,
    source_port: int = 0,
    destination_port: int = 0,
    uid: int | None = None,
    whole: bool = False,
) -> bytes:
    """The body of a route look-up for a packet of this host.

    What is left out is not yet known when the kernel looks up the route; without `uid` it is this
    process's. `whole`: the answer is the route with all its next hops and its prefix, and not the
    one next hop that the packet takes.
    """
    family = Family.of(address)
    # IPv4 names the main table, whichever it was found in, without a flag that IPv6 refuses.
    flags = (_LOOKUP_TABLE if family is Family.IPV4 else 0) | (_FIB_MATCH if whole else 0)
    from_length = 0 if source is None else family.bits
    head = _ROUTE.pack(_FAMILIES[family], family.bits, from_length, 0, 0, 0, 0, 0, flags)
    parts = [head, attribute(RTA_DST, packed(address))]
    if source is not None:
        parts.append(attribute(RTA_SRC, packed(source)))
    if mark:
        parts.append(attribute(RTA_MARK, u32(mark)))
    if protocol:
        parts.append(attribute(RTA_IP_PROTO, bytes([protocol])))
    for kind, port in ((RTA_SPORT, source_port), (RTA_DPORT, destination_port)):
        if port:
            parts.append(attribute(kind, port.to_bytes(2, "big")))
    if uid is not None:
        parts.append(attribute(RTA_UID, u32(uid)))
    return b"".join(parts)


def route_body(route: Route, *, removal: bool = False) -> bytes:
    """The body of NEWROUTE or DELROUTE for a route.

    A removal has all that distinguishes our route from a foreign one at the same place; if the
    route isn't plain, it leaves out the gateway. Raises OSError if there is no such interface.
    """
    on_link = route.family is Family.IPV4 and route.dev is not None and route.gateway is None
    head = _ROUTE.pack(
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
    parts = [head, attribute(RTA_TABLE, u32(route.table))]
    if route.length:
        parts.append(attribute(RTA_DST, packed(route.destination)))
    if route.metric:
        parts.append(attribute(RTA_PRIORITY, u32(route.metric)))
    if route.gateway is not None and route.plain:
        parts.append(attribute(RTA_GATEWAY, packed(route.gateway)))
    if route.dev is not None and not removal:
        parts.append(attribute(RTA_OIF, u32(if_nametoindex(route.dev))))
    return b"".join(parts)


def route_from(body: bytes) -> Route | None:
    """The route in a NEWROUTE body; None if it is neither IPv4 nor IPv6."""
    family_no, length, source, tos, table, protocol, _, kind, flags = _ROUTE.unpack_from(body)
    family = next((f for f, no in _FAMILIES.items() if no == family_no), None)
    if family is None:
        return None
    found = attributes(body, _ROUTE.size)
    anywhere = bytes(family.bits // 8)
    gateway = found.get(RTA_GATEWAY)
    if gateway is None and RTA_VIA in found:
        gateway = found[RTA_VIA][2:]  # behind the gateway's own family
    oif = number(found.get(RTA_OIF))
    extra = {RTA_SRC, RTA_MULTIPATH, RTA_ENCAP, RTA_NH_ID} & found.keys()
    stated = number(found.get(RTA_TABLE))
    return Route(
        family=family,
        table=table if stated is None else stated,
        protocol=protocol,
        destination=text(found.get(RTA_DST, anywhere)),
        length=length,
        kind=RouteKind(kind),
        gateway=text(gateway) if gateway is not None and len(gateway) in {4, 16} else None,
        metric=number(found.get(RTA_PRIORITY)) or 0,
        tos=tos,
        plain=not (extra or source or flags & _ONLINK),
        dev=_name_of(oif) if kind == RouteKind.UNICAST and _needs_link(gateway) else None,
        oif=oif,
    )


def _needs_link(gateway: bytes | None) -> bool:
    """Whether a next hop is an interface, or an address that needs one (link-local)."""
    return gateway is None or (
        len(gateway) == 16 and gateway[:1] == b"\xfe" and gateway[1] >> 6 == 2
    )


def _name_of(index: int | None) -> str | None:
    with contextlib.suppress(OSError):  # it was removed meanwhile
        return if_indextoname(index) if index else None
    return None


def is_local(body: bytes) -> bool:
    """Whether the route in a NEWROUTE body leads to this host itself."""
    return len(body) >= _ROUTE.size and _ROUTE.unpack_from(body)[7] == RouteKind.LOCAL


def source_from(body: bytes) -> str | None:
    """The source address that the kernel chooses for packets by the route in a NEWROUTE body."""
    payload = attributes(body, _ROUTE.size).get(RTA_PREFSRC)
    return text(payload) if payload and len(payload) in {4, 16} else None


def links_from(body: bytes) -> frozenset[int]:
    """The interfaces by which the route in a NEWROUTE body may send a packet."""
    found = attributes(body, _ROUTE.size)
    oif = number(found.get(RTA_OIF))
    links = set[int]() if oif is None else {oif}
    hops, at = found.get(RTA_MULTIPATH, b""), 0
    while at + _NEXT_HOP.size <= len(hops):
        length, _, _, index = _NEXT_HOP.unpack_from(hops, at)
        links.add(index)
        at += max((length + 3) & ~3, _NEXT_HOP.size)
    return frozenset(links)


def rule_body(rule: Rule) -> bytes:
    """The body of NEWRULE for a rule, or of DELRULE for one that was dumped."""
    if rule.body:
        return rule.body
    table = rule.table if rule.table < 256 else _TABLE_ABOVE_255
    parts = [
        _RULE.pack(_FAMILIES[rule.family], 0, 0, 0, table, 0, 0, rule.action, 0),
        attribute(FRA_PRIORITY, u32(rule.priority)),
        attribute(FRA_PROTOCOL, bytes([rule.protocol])),
    ]
    if rule.table:
        parts.append(attribute(FRA_TABLE, u32(rule.table)))
    if rule.goto is not None:
        parts.append(attribute(FRA_GOTO, u32(rule.goto)))
    if rule.mark is not None and rule.mask is not None:
        parts.append(attribute(FRA_FWMARK, u32(rule.mark)))
        parts.append(attribute(FRA_FWMASK, u32(rule.mask)))
    if rule.iif is not None:
        parts.append(attribute(FRA_IIFNAME, rule.iif.encode() + b"\0"))
    return b"".join(parts)


def rule_from(body: bytes) -> Rule | None:
    """The rule in a NEWRULE body; None if it is neither IPv4 nor IPv6."""
    family_no, to, source, tos, table, _, _, action, flags = _RULE.unpack_from(body)
    family = next((f for f, no in _FAMILIES.items() if no == family_no), None)
    if family is None:
        return None
    found = attributes(body, _RULE.size)
    suppressed = number(found.get(FRA_SUPPRESS_PREFIXLEN))
    name = found.get(FRA_IIFNAME)
    stated = number(found.get(FRA_TABLE))
    return Rule(
        family=family,
        priority=number(found.get(FRA_PRIORITY)) or 0,
        protocol=found.get(FRA_PROTOCOL, b"\0")[0],
        action=Action(action),
        table=table if stated is None else stated,
        goto=number(found.get(FRA_GOTO)),
        mark=number(found.get(FRA_FWMARK)),
        mask=number(found.get(FRA_FWMASK)),
        iif=None if name is None else name.rstrip(b"\0").decode(errors="replace"),
        plain=not (to or source or tos or flags & _INVERT)
        and found.keys() <= _FRA_SIMPLE
        and suppressed in {None, 2**32 - 1},
        body=body,
    )


def link_from(body: bytes) -> int:
    """The interface that a NEWLINK or DELLINK body is about."""
    return int(_LINK.unpack_from(body)[0])


def address_from(body: bytes) -> str | None:
    """The host's own address in a NEWADDR body: IFA_LOCAL, else IFA_ADDRESS."""
    found = attributes(body, 8)
    payload = found.get(2, found.get(1))
    return text(payload) if payload and len(payload) in {4, 16} else None
