"""How the host routes, out of the kernel's messages by pyroute2: an independent view of it.

What the agent installs is encoded by `rtnetlink` and read back here, so a fault in one of the two
shows. Decoding a message takes some 40 us, several times as long as unpacking it would. So callers
decode what they dump again and again only once (`state`).
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, KeysView
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, if_indextoname
from typing import Any

from steering.act.kernel.messages import (
    ANYWHERE,
    AddressMessage,
    LinkMessage,
    NeighbourMessage,
    RouteMessage,
    RuleMessage,
)
from steering.act.kernel.rtnetlink import Route, RouteKind
from steering.act.kernel.rules import Action, Network, Ports, Rule
from steering.bounds import U32
from steering.model import Family

_FAMILIES = {int(AF_INET): Family.IPV4, int(AF_INET6): Family.IPV6}
_LINK_LOCAL = frozenset({"fe8", "fe9", "fea", "feb"})  # fe80::/10
_INVERT, _UNRESOLVED, _IIF_DETACHED, _OIF_DETACHED = 0x02, 0x04, 0x08, 0x10  # FIB_RULE_*
_ONLINK = 4  # RTNH_F_ONLINK
_CARRIES = 0x1 | 0x10000  # IFF_UP, IFF_LOWER_UP of linux/if.h
_INCOMPLETE, _FAILED = 0x01, 0x20  # NUD_* of linux/neighbour.h
_NOT_PLAIN = frozenset({"RTA_SRC", "RTA_MULTIPATH", "RTA_ENCAP", "RTA_NH_ID"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An interface now."""

    name: str
    carries: bool
    """It is up and has a carrier."""
    mtu: int | None


def route_from(body: bytes) -> Route | None:
    """The route in a NEWROUTE body; None if it is neither IPv4 nor IPv6."""
    read = _Decoded(RouteMessage, body)
    family = _FAMILIES.get(read["family"])
    if family is None:
        return None
    gateway = read.get("RTA_GATEWAY", read.get("RTA_VIA", {}).get("addr"))
    oif, source = read.get("RTA_OIF"), read.get("RTA_PREFSRC")
    kind, hops = RouteKind(read["type"]), read.get("RTA_MULTIPATH", ())
    return Route(
        family=family,
        table=read.get("RTA_TABLE", read["table"]),
        protocol=read["proto"],
        destination=_text(read.get("RTA_DST", ANYWHERE[family])),
        length=read["dst_len"],
        kind=kind,
        gateway=None if gateway is None else _text(gateway),
        metric=read.get("RTA_PRIORITY", 0),
        tos=read["tos"],
        plain=not (read.names & _NOT_PLAIN or read["src_len"] or read["flags"] & _ONLINK),
        dev=_name_of(oif) if kind is RouteKind.UNICAST and _needs_link(gateway) else None,
        oif=oif,
        links=frozenset([*([] if oif is None else [oif]), *(hop["oif"] for hop in hops)]),
        source=None if source is None else _text(source),
    )


def rule_from(body: bytes) -> Rule | None:
    """The rule in a NEWRULE body; None if it is neither IPv4 nor IPv6."""
    read = _Decoded(RuleMessage, body)
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
    read = _Decoded(AddressMessage, body)
    address = read.get("IFA_LOCAL", read.get("IFA_ADDRESS"))
    return None if address is None else _text(address)


def link_from(body: bytes) -> Link:
    """The interface in a NEWLINK body."""
    read = _Decoded(LinkMessage, body)
    return Link(
        name=_interface(read.get("IFLA_IFNAME")) or "",
        carries=read["flags"] & _CARRIES == _CARRIES,
        mtu=read.get("IFLA_MTU"),
    )


def neighbour_answers(body: bytes) -> bool:
    """Whether the address in a NEWNEIGH body answers ARP or neighbour discovery, or may."""
    return not _Decoded(NeighbourMessage, body)["state"] & (_INCOMPLETE | _FAILED)


class _Decoded:
    """A message: its fields, and its attributes, each of which is decoded when it is read."""

    def __init__(self, kind: Callable[..., Any], body: bytes) -> None:
        self._message = kind(body, length=len(body))  # its attributes refer to it weakly
        self._message.decode()
        self._fields = dict(self._message)  # a look into the message itself takes a microsecond
        self._attributes = {one.name: one for one in self._fields["attrs"]}
        # Each refers to itself by `chain`; without that nothing is left for the garbage collector.
        for part in (self._message, *(one.cell[1] for one in self._fields["attrs"])):
            part.chain.clear()

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
    return ipaddress.ip_network(f"{address or ANYWHERE[family]}/{length}", strict=False)


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
