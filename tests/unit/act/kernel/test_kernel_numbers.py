"""The numbers of the kernel's headers, beside those of pyroute2 and of the socket module."""

from __future__ import annotations

import socket
from types import ModuleType

import pyroute2.netlink as nl
import pytest
from pyroute2.netlink import rtnl
from pyroute2.netlink.nfnetlink import nfctsocket as ct
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from steering.act.kernel import conntrack, foreign_rules, framing, netlink, rtnetlink
from steering.act.kernel.foreign_rules import ForeignAction
from steering.act.kernel.rtnetlink import Action, RouteKind
from steering.model import Family

RTA = {name: number for number, (name, *_) in enumerate(rtmsg.nla_map)}
FRA = {name: number for number, name, *_ in fibmsg.nla_map}
CTA = {name: number for number, (name, *_) in enumerate(ct.nfct_msg.nla_map)}
TUPLE = ct.nfct_msg.cta_tuple
OF_RULES = {
    "_DST": "FRA_DST",
    "_SRC": "FRA_SRC",
    "_FLOW": "FRA_FLOW",
    "_TUN_ID": "FRA_TUN_ID",
    "_SUPPRESS_GROUP": "FRA_SUPPRESS_IFGROUP",
    "_OIF": "FRA_OIFNAME",
    "_L3MDEV": "FRA_L3MDEV",
    "_UID_RANGE": "FRA_UID_RANGE",
    "_IP_PROTO": "FRA_IP_PROTO",
    "_SPORT": "FRA_SPORT_RANGE",
    "_DPORT": "FRA_DPORT_RANGE",
}


def numbers(module: ModuleType, prefix: str) -> dict[str, int]:
    return {name: value for name, value in vars(module).items() if name.startswith(prefix)}


def test_attributes_of_routes_and_rules_have_their_numbers() -> None:
    ours = numbers(rtnetlink, "RTA_")
    assert {name: ours[name] for name in ours.keys() & RTA.keys()} == {
        name: RTA[name] for name in ours.keys() & RTA.keys()
    }
    newer = {"RTA_UID": 25, "RTA_IP_PROTO": 27, "RTA_SPORT": 28, "RTA_DPORT": 29, "RTA_NH_ID": 30}
    assert {name: value for name, value in ours.items() if name not in RTA} == newer
    rules = numbers(rtnetlink, "FRA_")
    assert rules == {name: FRA[name] for name in rules}
    assert {name: vars(foreign_rules)[name] for name in OF_RULES} == {
        name: FRA[theirs] for name, theirs in OF_RULES.items()
    }
    # DSCP, flow labels and masks are newer than pyroute2 (linux/fib_rules.h of 6.15).
    after = ("_DSCP", "_FLOWLABEL", "_FLOWLABEL_MASK", "_SPORT_MASK", "_DPORT_MASK", "_DSCP_MASK")
    assert [vars(foreign_rules)[name] for name in after] == list(range(25, 31))


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
    for actions in (Action, ForeignAction):
        for action in actions:
            name = {"TABLE": "to_tbl", "LOOKUP": "to_tbl"}.get(action.name, action.name.lower())
            known = {"to_tbl": 1, "goto": 2, "nop": 3, "blackhole": 6, "unreachable": 7}
            assert action.value == (known | {"prohibit": 8}).get(name, 255)


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
