"""The numbers of the kernel's headers, beside those of pyroute2 and of the socket module."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import pyroute2.netlink as nl
import pytest
from pyroute2.netlink import rtnl
from pyroute2.netlink.nfnetlink import nfctsocket as ct
from pyroute2.netlink.rtnl import fibmsg as fib
from pyroute2.netlink.rtnl import ifinfmsg, ndmsg, rtmsg

from steering.act.kernel import conntrack, decoding, framing, messages, netlink, rtnetlink
from steering.act.kernel.rtnetlink import RouteKind
from steering.act.kernel.rules import Action
from steering.model import Family

RTA = {name: number for number, (name, *_) in enumerate(rtmsg.rtmsg.nla_map)}
FRA = {name: number for number, name, *_ in fib.fibmsg.nla_map}
CTA = {name: number for number, (name, *_) in enumerate(ct.nfct_msg.nla_map)}
TUPLE = ct.nfct_msg.cta_tuple
OF_BOTH = {"_DST": "DST", "_PRIORITY": "PRIORITY", "_TABLE": "TABLE"}
OF_ROUTES = {"_OIF": "RTA_OIF", "_GATEWAY": "RTA_GATEWAY"}
OF_RULES = {
    "_IIFNAME": "FRA_IIFNAME",
    "_GOTO": "FRA_GOTO",
    "_FWMARK": "FRA_FWMARK",
    "_FWMASK": "FRA_FWMASK",
    "_PROTOCOL": "FRA_PROTOCOL",
}


def ours(names: Iterable[str]) -> dict[str, int]:
    return {name: vars(rtnetlink)[name] for name in names}


def test_attributes_of_routes_and_rules_have_their_numbers() -> None:
    for prefix, numbers in (("RTA", RTA), ("FRA", FRA)):
        assert ours(OF_BOTH) == {name: numbers[f"{prefix}_{end}"] for name, end in OF_BOTH.items()}
    assert ours(OF_ROUTES) == {name: RTA[theirs] for name, theirs in OF_ROUTES.items()}
    assert ours(OF_RULES) == {name: FRA[theirs] for name, theirs in OF_RULES.items()}
    by_name = {name: number for number, name, _ in messages.RouteMessage.nla_map}
    assert {by_name[name] for name in decoding._NOT_PLAIN} == rtnetlink._NOT_PLAIN


def test_what_pyroute2_lacks_has_the_numbers_of_the_headers() -> None:
    routes = {name: number for number, name, _ in messages.RouteMessage.nla_map}
    known = {name: RTA[name] for name in routes.keys() & RTA.keys()}
    newer = {"RTA_UID": 25, "RTA_IP_PROTO": 27, "RTA_SPORT": 28, "RTA_DPORT": 29, "RTA_NH_ID": 30}
    assert routes == known | newer
    assert known.keys() == {name for name, number in RTA.items() if number < 25}
    # DSCP, flow labels and masks are newer than pyroute2 (linux/fib_rules.h of 6.15).
    after = ("DSCP", "FLOWLABEL", "FLOWLABEL_MASK", "SPORT_MASK", "DPORT_MASK", "DSCP_MASK")
    rules = {name: number for number, name, _ in messages.RuleMessage.nla_map}
    assert rules == FRA | {f"FRA_{name}": 25 + number for number, name in enumerate(after)}


def test_flags_of_what_is_read_are_those_of_the_headers() -> None:
    # linux/rtnetlink.h and linux/fib_rules.h: pyroute2 has none of these.
    assert (messages._LOOKUP_TABLE, messages._FIB_MATCH) == (0x1000, 0x2000)
    assert messages._SKIP_STATISTICS == 8
    of_rules = (decoding._UNRESOLVED, decoding._IIF_DETACHED, decoding._OIF_DETACHED)
    assert (decoding._INVERT, *of_rules) == (2, 4, 8, 16)
    assert decoding._ONLINK == rtmsg.RTNH_F_ONLINK
    assert decoding._CARRIES == ifinfmsg.IFF_UP | ifinfmsg.IFF_LOWER_UP
    assert (decoding._INCOMPLETE, decoding._FAILED) == (ndmsg.NUD_INCOMPLETE, ndmsg.NUD_FAILED)
    scopes = (rtmsg.RT_SCOPE_NOWHERE, rtmsg.RT_SCOPE_LINK)
    assert scopes == (rtnetlink._ANY_SCOPE, rtnetlink._LINK_SCOPE)


@pytest.mark.parametrize("name", ["ROUTE", "RULE", "LINK"])
def test_messages_have_their_types(name: str) -> None:
    for act in ("NEW", "DEL", "GET"):
        assert vars(rtnetlink)[f"{act}{name}"] == getattr(rtnl, f"RTM_{act}{name}")


def test_the_rest_of_the_headers_is_as_it_is_there() -> None:
    assert rtnetlink.GETADDR == rtnl.RTM_GETADDR
    assert rtnetlink.GETNEIGH == rtnl.RTM_GETNEIGH
    assert (framing.ERROR, framing.DONE) == (nl.NLMSG_ERROR, nl.NLMSG_DONE)
    flags = ["REQUEST", "MULTI", "ACK", "DUMP", "REPLACE", "CREATE", "ACK_TLVS"]
    assert [vars(framing)[flag] for flag in flags] == [
        getattr(nl, f"NLM_F_{flag}") for flag in flags
    ]
    assert framing.EXCLUSIVE == nl.NLM_F_EXCL
    assert framing.DUMP_INTERRUPTED == nl.NLM_F_DUMP_INTR
    assert netlink._SOL_NETLINK == nl.SOL_NETLINK
    assert netlink._EXT_ACK == nl.NETLINK_EXT_ACK
    assert netlink._STRICT_CHECK == nl.NETLINK_GET_STRICT_CHK
    assert netlink._CAP_ACK == 10
    assert netlink._SO_RCVBUFFORCE == 33
    assert getattr(socket, "SO_ATTACH_FILTER", 26) == netlink._SO_ATTACH_FILTER
    groups = rtnl.RTMGRP_LINK | rtnl.RTMGRP_IPV4_ROUTE | rtnl.RTMGRP_IPV4_RULE
    assert groups | rtnl.RTMGRP_IPV6_ROUTE | 1 << 18 == netlink._CHANGES
    kinds = {kind: rtnl.rt_type[kind.name.lower()] for kind in RouteKind if kind.value < 255}
    assert {kind: kind.value for kind in kinds} == kinds
    theirs = {action.name: action.value for action in Action if action is not Action.OTHER}
    names = {name: {"LOOKUP": "TO_TBL"}.get(name, name) for name in theirs}
    assert theirs == {name: vars(fib)[f"FR_ACT_{of}"] for name, of in names.items()}


def test_the_connection_table_is_asked_by_its_numbers() -> None:
    assert conntrack.NETFILTER == nl.NETLINK_NETFILTER
    assert conntrack._GET == ct.NFNL_SUBSYS_CTNETLINK << 8 | ct.IPCTNL_MSG_CT_GET
    assert conntrack._NESTED == ct.NLA_F_NESTED
    names = ("CTA_TUPLE_ORIG", "CTA_TUPLE_REPLY", "CTA_STATUS", "CTA_TIMEOUT", "CTA_FILTER")
    ours = (conntrack._ORIGINAL, conntrack._REPLY, conntrack._STATUS)
    assert (*ours, conntrack._TIMEOUT, conntrack._FILTER) == tuple(CTA[name] for name in names)
    parts = [name for name, *_ in TUPLE.nla_map]
    assert parts.index("CTA_TUPLE_IP") == conntrack._ADDRESSES
    assert parts.index("CTA_TUPLE_PROTO") == conntrack._PORTS
    ends = [name for name, *_ in TUPLE.cta_ip.nla_map]
    for family in Family:
        number = family.value[-1]
        assert conntrack._FROM[family] == ends.index(f"CTA_IP_V{number}_SRC")
        assert conntrack._TO[family] == ends.index(f"CTA_IP_V{number}_DST")
    ports = [name for name, *_ in TUPLE.cta_proto.nla_map]
    assert ports.index("CTA_PROTO_NUM") == conntrack._PROTOCOL
    assert ports.index("CTA_PROTO_DST_PORT") == conntrack._TO_PORT
    filters = ct.FILTER_FLAG_CTA_PROTO_NUM | ct.FILTER_FLAG_CTA_PROTO_DST_PORT
    assert filters == conntrack._BY_SERVICE
    assert (conntrack._SEEN_REPLY, conntrack._ASSURED) == (ct.IPS_SEEN_REPLY, ct.IPS_ASSURED)
    assert (socket.IPPROTO_UDP, socket.getservbyname("domain")) == (conntrack._UDP, conntrack._DNS)
