"""Messages about how the host routes, as pyroute2 knows them, and the requests made of them.

Only pyroute2's message classes are used, over the sockets of `netlink`. Its IPRoute runs an event
loop of its own for each call, which the agent's loop forbids, and takes 0.2 ms for a look-up. The
guard and `steering off` never import this module: pyroute2 takes 9 MB and a tenth of a second.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg, rtmsg_base

from steering.act.kernel.framing import packed
from steering.act.kernel.rtnetlink import family_number
from steering.act.kernel.rules import Flow
from steering.model import Family

_LOOKUP_TABLE, _FIB_MATCH = 0x1000, 0x2000  # RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH
_SKIP_STATISTICS = 1 << 3  # RTEXT_FILTER_SKIP_STATS
ANYWHERE = {Family.IPV4: "0.0.0.0", Family.IPV6: "::"}  # noqa: S104


# Bodies without the header of netlink. pyroute2 keeps the compiled map of attributes in a class and
# finds it there for all that derive from it, so a class with a map of its own must not derive from
# one with another (`compile_nla_table`).
class RouteMessage(rtmsg_base, nlmsg):  # type: ignore[misc]
    """With the attributes of look-ups, which pyroute2 lacks (linux/rtnetlink.h).

    An `ipaddr` is read faster than a `target`, which may be MPLS labels and asks for the family.
    """

    __slots__ = ()
    header = None
    nla_map = (
        *(
            (number, name, "ipaddr" if kind == "target" else kind)
            for number, (name, kind) in enumerate(rtmsg.nla_map[:25])
        ),
        (25, "RTA_UID", "uint32"),
        (27, "RTA_IP_PROTO", "uint8"),
        (28, "RTA_SPORT", "be16"),
        (29, "RTA_DPORT", "be16"),
        (30, "RTA_NH_ID", "uint32"),
    )


class RuleMessage(nlmsg):  # type: ignore[misc]
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


class LinkMessage(ifinfmsg):  # type: ignore[misc]
    header = None


class NeighbourMessage(ndmsg):  # type: ignore[misc]
    header = None


class AddressMessage(ifaddrmsg):  # type: ignore[misc]
    header = None


def lookup_of(flow: Flow, *, whole: bool = False) -> bytes:
    """The body of a route look-up for packets of this host.

    `whole`: the answer is the route with all its next hops and its prefix, and not the one next hop
    that the packet takes.
    """
    anywhere = ANYWHERE[Family.of(flow.destination)]
    # The destination comes last: many look-ups differ in nothing else.
    return _lookup(replace(flow, destination=anywhere), whole) + packed(flow.destination)


@functools.lru_cache(maxsize=256)
def _lookup(flow: Flow, whole: bool) -> bytes:
    """A look-up up to the destination."""
    family = Family.of(flow.destination)
    # IPv4 names the main table, whichever it was found in, without a flag that IPv6 refuses.
    flags = (_LOOKUP_TABLE if family is Family.IPV4 else 0) | (_FIB_MATCH if whole else 0)
    body = _encoded(
        RouteMessage,
        family=family_number(family),
        dst_len=family.bits,
        src_len=0 if flow.source is None else family.bits,
        flags=flags,
        RTA_SRC=flow.source,
        RTA_MARK=flow.mark or None,
        RTA_IP_PROTO=flow.protocol or None,
        RTA_SPORT=flow.source_port or None,
        RTA_DPORT=flow.destination_port or None,
        RTA_UID=flow.uid,
        RTA_DST=flow.destination,
    )
    return body[: -family.bits // 8]


def link_of(index: int) -> bytes:
    """The body of a request for one interface."""
    return _encoded(LinkMessage, index=index, IFLA_EXT_MASK=_SKIP_STATISTICS)


def neighbour_of(address: str, index: int) -> bytes:
    """The body of a request for what is known of an address on an interface."""
    family = family_number(Family.of(address))
    return _encoded(NeighbourMessage, family=family, ifindex=index, NDA_DST=address)


def _encoded(kind: type[nlmsg], **values: str | int | None) -> bytes:
    """A message of these fields, and attributes (in capitals) unless they are None."""
    message = kind()
    for name, value in values.items():
        if name.islower():
            message[name] = value
        elif value is not None:
            message["attrs"].append((name, value))
    message.encode()
    return bytes(message.data)
