"""How the host routes, out of the kernel's messages by pyroute2: an independent view of it.

What the agent installs is encoded by `rtnetlink` and read back here, so a fault in one of the two
shows. Only pyroute2's message classes are used, over the sockets of `netlink`: its IPRoute runs an
event loop of its own for each call, which the agent's loop forbids. The guard and `steering off`
never import this module: pyroute2 takes 9 MB and a tenth of a second.

Decoding a message takes some 50 us, ten times as long as unpacking it would. So callers decode what
they dump again and again only once (`state`), and the requests of look-ups are kept.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
from collections.abc import KeysView
from socket import AF_INET, AF_INET6, if_indextoname
from typing import Any

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg, rtmsg_base

from steering.act.kernel.framing import packed
from steering.act.kernel.rtnetlink import Route, RouteKind, family_number
from steering.act.kernel.rules import Action, Network, Ports, Rule
from steering.bounds import U32
from steering.model import Family

_FAMILIES = {int(AF_INET): Family.IPV4, int(AF_INET6): Family.IPV6}
_ANYWHERE = {Family.IPV4: "0.0.0.0", Family.IPV6: "::"}  # noqa: S104
_LINK_LOCAL = frozenset({"fe8", "fe9", "fea", "feb"})  # fe80::/10
_INVERT, _UNRESOLVED, _IIF_DETACHED, _OIF_DETACHED = 0x02, 0x04, 0x08, 0x10  # FIB_RULE_*
_ONLINK = 4  # RTNH_F_ONLINK
_LOOKUP_TABLE, _FIB_MATCH = 0x1000, 0x2000  # RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH
_UP, _LOWER_UP = 0x1, 0x10000  # IFF_UP, IFF_LOWER_UP of linux/if.h
_INCOMPLETE, _FAILED = 0x01, 0x20  # NUD_* of linux/neighbour.h
_SKIP_STATISTICS = 1 << 3  # RTEXT_FILTER_SKIP_STATS
_NOT_PLAIN = frozenset({"RTA_SRC", "RTA_MULTIPATH", "RTA_ENCAP", "RTA_NH_ID"})


# Bodies without the header of netlink. pyroute2 keeps the compiled map of attributes in a class and
# finds it there for all that derive from it, so a class with a map of its own must not derive from
# one with another (`compile_nla_table`).
class _RouteMessage(rtmsg_base, nlmsg):  # type: ignore[misc]
    """With the attributes of look-ups, which pyroute2 lacks (linux/rtnetlink.h)."""

    __slots__ = ()
    header = None
    nla_map = (
        *((number, *entry) for number, entry in enumerate(rtmsg.nla_map) if number < 25),
        (25, "RTA_UID", "uint32"),
        (27, "RTA_IP_PROTO", "uint8"),
        (28, "RTA_SPORT", "be16"),
        (29, "RTA_DPORT", "be16"),
        (30, "RTA_NH_ID", "uint32"),
    )


class _RuleMessage(nlmsg):  # type: ignore[misc]
    """With the attributes that came after those of pyroute2 (linux/fib_rules.h)."""

    __slots__ = ()
    header = None
    prefix = fibmsg.prefix
    fields = fibmsg.fields
    nla_map = (
        *(entry for entry in fibmsg.nla_map if entry[0] < 25),
        (25, "FRA_DSCP", "uint8"),
        (26, "FRA_FLOWLABEL", "be32"),
        (27, "FRA_FLOWLABEL_MASK", "be32"),
        (28, "FRA_SPORT_MASK", "uint16"),
        (29, "FRA_DPORT_MASK", "uint16"),
        (30, "FRA_DSCP_MASK", "uint8"),
    )
    uid_range, port_range = fibmsg.uid_range, fibmsg.port_range


class _LinkMessage(ifinfmsg):  # type: ignore[misc]
    __slots__ = ()
    header = None


class _NeighbourMessage(ndmsg):  # type: ignore[misc]
    __slots__ = ()
    header = None


class _AddressMessage(ifaddrmsg):  # type: ignore[misc]
    __slots__ = ()
    header = None


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
    ports = source_port, destination_port
    before = _lookup(
        family=family,
        mark=mark,
        protocol=protocol,
        source=source,
        ports=ports,
        uid=uid,
        whole=whole,
    )
    return before + packed(address)


@functools.lru_cache(maxsize=256)
def _lookup(
    *,
    family: Family,
    mark: int,
    protocol: int,
    source: str | None,
    ports: tuple[int, int],
    uid: int | None,
    whole: bool,
) -> bytes:
    """A look-up up to the address, which comes last: many look-ups differ in nothing else."""
    message = _RouteMessage()
    message["family"] = family_number(family)
    message["dst_len"] = family.bits
    message["src_len"] = 0 if source is None else family.bits
    # IPv4 names the main table, whichever it was found in, without a flag that IPv6 refuses.
    flags = _LOOKUP_TABLE if family is Family.IPV4 else 0
    message["flags"] = flags | (_FIB_MATCH if whole else 0)
    stated = {
        "RTA_SRC": source,
        "RTA_MARK": mark or None,
        "RTA_IP_PROTO": protocol or None,
        "RTA_SPORT": ports[0] or None,
        "RTA_DPORT": ports[1] or None,
        "RTA_UID": uid,
        "RTA_DST": _ANYWHERE[family],
    }
    message["attrs"] = [(name, value) for name, value in stated.items() if value is not None]
    message.encode()
    return bytes(message.data[: -family.bits // 8])


def link_of(index: int) -> bytes:
    """The body of a request for one interface."""
    message = _LinkMessage()
    message["index"] = index
    message["attrs"] = [("IFLA_EXT_MASK", _SKIP_STATISTICS)]
    message.encode()
    return bytes(message.data)


def neighbour_of(address: str, index: int) -> bytes:
    """The body of a request for what is known of an address on an interface."""
    message = _NeighbourMessage()
    message["family"] = family_number(Family.of(address))
    message["ifindex"] = index
    message["attrs"] = [("NDA_DST", address)]
    message.encode()
    return bytes(message.data)


def route_from(body: bytes) -> Route | None:
    """The route in a NEWROUTE body; None if it is neither IPv4 nor IPv6."""
    read = _Decoded(_RouteMessage, body)
    family = _FAMILIES.get(read["family"])
    if family is None:
        return None
    gateway = read.get("RTA_GATEWAY", read.get("RTA_VIA", {}).get("addr"))
    oif, kind = read.get("RTA_OIF"), RouteKind(read["type"])
    return Route(
        family=family,
        table=read.get("RTA_TABLE", read["table"]),
        protocol=read["proto"],
        destination=_text(read.get("RTA_DST", _ANYWHERE[family])),
        length=read["dst_len"],
        kind=kind,
        gateway=None if gateway is None else _text(gateway),
        metric=read.get("RTA_PRIORITY", 0),
        tos=read["tos"],
        plain=not (read.names & _NOT_PLAIN or read["src_len"] or read["flags"] & _ONLINK),
        dev=_name_of(oif) if kind is RouteKind.UNICAST and _needs_link(gateway) else None,
        oif=oif,
    )


def source_from(body: bytes) -> str | None:
    """The source address that the kernel chooses for packets by the route in a NEWROUTE body."""
    source = _Decoded(_RouteMessage, body).get("RTA_PREFSRC")
    return None if source is None else _text(source)


def links_from(body: bytes) -> frozenset[int]:
    """The interfaces by which the route in a NEWROUTE body may send a packet."""
    read = _Decoded(_RouteMessage, body)
    several = [hop["oif"] for hop in read.get("RTA_MULTIPATH", ())]
    return frozenset(several) | {one for one in [read.get("RTA_OIF")] if one is not None}


def rule_from(body: bytes) -> Rule | None:
    """The rule in a NEWRULE body; None if it is neither IPv4 nor IPv6."""
    read = _Decoded(_RuleMessage, body)
    family = _FAMILIES.get(read["family"])
    if family is None:
        return None
    flags, mark = read["flags"], read.get("FRA_FWMARK", 0)
    return Rule(
        family=family,
        priority=read.get("FRA_PRIORITY", 0),
        action=Action(read["action"]),
        protocol=read.get("FRA_PROTOCOL", 0),
        table=read.get("FRA_TABLE", read["table"]),
        goto=read.get("FRA_GOTO"),
        resolved=not flags & _UNRESOLVED,
        inverted=bool(flags & _INVERT),
        source=_network(family, read.get("FRA_SRC"), read["src_len"]),
        destination=_network(family, read.get("FRA_DST"), read["dst_len"]),
        iif=_interface(read.get("FRA_IIFNAME")),
        oif=_interface(read.get("FRA_OIFNAME")),
        mark=mark,
        mask=read.get("FRA_FWMASK", U32 if mark else 0),
        tos=read["tos"],
        dscp=read.get("FRA_DSCP"),
        tunnel=read.get("FRA_TUN_ID", 0),
        l3mdev=bool(read.get("FRA_L3MDEV", 0)),
        uids=_range(read.get("FRA_UID_RANGE")),
        ip_protocol=read.get("FRA_IP_PROTO", 0),
        source_ports=_ports(read.get("FRA_SPORT_RANGE"), read.get("FRA_SPORT_MASK")),
        destination_ports=_ports(read.get("FRA_DPORT_RANGE"), read.get("FRA_DPORT_MASK")),
        flow_label="FRA_FLOWLABEL" in read.names,
        realms=read.get("FRA_FLOW", 0),
        suppress_length=_stated(read.get("FRA_SUPPRESS_PREFIXLEN")),
        suppress_group=_stated(read.get("FRA_SUPPRESS_IFGROUP")),
        unknown=read.unknown,
        detached=(bool(flags & _IIF_DETACHED), bool(flags & _OIF_DETACHED)),
        body=body,
    )


def address_from(body: bytes) -> str | None:
    """The host's own address in a NEWADDR body: IFA_LOCAL, else IFA_ADDRESS."""
    read = _Decoded(_AddressMessage, body)
    address = read.get("IFA_LOCAL", read.get("IFA_ADDRESS"))
    return None if address is None else _text(address)


def link_carries(body: bytes) -> bool:
    """Whether the interface in a NEWLINK body is up and has a carrier."""
    flags = _Decoded(_LinkMessage, body)["flags"]
    return bool(flags & _UP and flags & _LOWER_UP)


def neighbour_answers(body: bytes) -> bool:
    """Whether the address in a NEWNEIGH body answers ARP or neighbour discovery, or may."""
    return not _Decoded(_NeighbourMessage, body)["state"] & (_INCOMPLETE | _FAILED)


class _Decoded:
    """A message: its fields, and its attributes, each of which is decoded when it is read."""

    def __init__(self, kind: type[nlmsg], body: bytes) -> None:
        self._message = kind(body, length=len(body))  # its attributes refer to it weakly
        self._message.decode()
        self._fields = dict(self._message)  # a look into the message itself takes a microsecond
        self._attributes = {one.name: one for one in self._fields["attrs"]}

    def __getitem__(self, field: str) -> Any:  # noqa: ANN401
        return self._fields[field]

    def get(self, attribute: str, default: Any = None) -> Any:  # noqa: ANN401
        one = self._attributes.get(attribute)
        return default if one is None else one.value

    @property
    def names(self) -> KeysView[str]:
        return self._attributes.keys()

    @property
    def unknown(self) -> frozenset[int]:
        """Numbers of the attributes that pyroute2 has no name for."""
        every = (one.value["header"] for one in self._fields["attrs"] if one.name == "UNKNOWN")
        return frozenset(header["type"] & 0x3FFF for header in every)


def _text(address: str) -> str:
    """An address in the form of `ipaddress`, as everywhere in the project."""
    # The C library ends some IPv6 addresses in dotted quads, ipaddress does not.
    return str(ipaddress.IPv6Address(address)) if "." in address and ":" in address else address


def _needs_link(gateway: str | None) -> bool:
    """Whether a next hop is an interface, or an address that needs one (link-local)."""
    return gateway is None or (gateway[4:5] == ":" and gateway[:3] in _LINK_LOCAL)


def _name_of(index: int | None) -> str | None:
    with contextlib.suppress(OSError):  # it was removed meanwhile
        return if_indextoname(index) if index else None
    return None


def _interface(name: str | bytes | None) -> str | None:
    """pyroute2 leaves a name that is not UTF-8 as it is; the kernel takes any octets."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def _network(family: Family, address: str | None, length: int) -> Network | None:
    if address is None and not length:
        return None
    return ipaddress.ip_network(f"{address or _ANYWHERE[family]}/{length}", strict=False)


def _range(text: str | None) -> tuple[int, int] | None:
    """pyroute2 writes a range as FIRST:LAST."""
    if text is None:
        return None
    first, last = map(int, text.split(":"))
    return first, last


def _ports(text: str | None, mask: int | None) -> Ports | None:
    pair = _range(text)
    if pair is None:
        return None
    return Ports(first=pair[0], last=pair[1], mask=0xFFFF if mask is None else mask)


def _stated(number: int | None) -> int | None:
    """A number; None if the kernel dumps -1, which means that none was given."""
    return None if number == U32 else number
