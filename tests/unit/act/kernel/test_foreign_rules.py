"""Rules of others: read as pyroute2 reads them, and which packets they catch."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address, ip_network
from socket import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.fibmsg import fibmsg

from steering.act.kernel import framing, rtnetlink
from steering.act.kernel.foreign_rules import (
    Flow,
    ForeignAction,
    ForeignRule,
    Ports,
    foreign_rule_from,
)
from steering.model import Family

ONE = "192.5.6.30"
HERE = "10.255.0.1"
RULE = ForeignRule(family=Family.IPV4, priority=100, action=ForeignAction.LOOKUP, table=77)
FLOW = Flow(destination=ONE, uid=0)

_U8, _U16, _U32 = st.integers(1, 255), st.integers(1, 2**16 - 1), st.integers(1, 2**32 - 2)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A rule as the kernel dumps it, with any of the attributes that pyroute2 knows."""
    number = draw(st.sampled_from([AF_INET, AF_INET6]))
    size, bits = (4, 32) if number == AF_INET else (16, 128)
    to, source = draw(st.integers(1, bits)), draw(st.integers(1, bits))
    flags = draw(st.sampled_from([0, 2, 4, 8, 16]))
    action = draw(st.sampled_from([1, 2, 3, 6, 7, 8]))
    head = struct.pack("=8BI", number, to, source, draw(_U8), 0, 0, 0, action, flags)
    pair = st.tuples(_U16, _U16)
    parts = [
        (1, draw(st.binary(min_size=size, max_size=size))),
        (2, draw(st.binary(min_size=size, max_size=size))),
        (3, draw(st.from_regex(r"[a-z]{1,14}", fullmatch=True)).encode() + b"\0"),
        (4, framing.u32(draw(_U32))),
        (6, framing.u32(draw(_U32))),
        (10, framing.u32(draw(_U32))),
        (13, framing.u32(draw(_U32))),
        (14, framing.u32(draw(st.integers(0, 128)))),
        (15, framing.u32(draw(_U32))),
        (16, framing.u32(draw(_U32))),
        (17, draw(st.from_regex(r"[a-z]{1,14}", fullmatch=True)).encode() + b"\0"),
        (20, struct.pack("=II", *draw(st.tuples(_U32, _U32)))),
        (21, bytes([draw(_U8)])),
        (22, bytes([draw(_U8)])),
        (23, struct.pack("=HH", *draw(pair))),
        (24, struct.pack("=HH", *draw(pair))),
    ]
    chosen = draw(st.lists(st.sampled_from(parts), unique=True))
    return head + b"".join(framing.attribute(kind, payload) for kind, payload in chosen)


@given(bodies())
def test_pyroute2_reads_the_same_in_every_attribute(body: bytes) -> None:
    ours = foreign_rule_from(body)
    assert ours is not None
    theirs = fibmsg(framing.message(rtnetlink.NEWRULE, 0, 1, body))
    theirs.decode()
    get = theirs.get_attr
    assert ours.action == theirs["action"]
    assert ours.inverted is bool(theirs["flags"] & 2)
    assert ours.resolved is not bool(theirs["flags"] & 4)
    assert ours.tos == theirs["tos"]
    assert ours.priority == (get("FRA_PRIORITY") or 0)
    assert ours.table == (get("FRA_TABLE") or 0)
    assert ours.goto == get("FRA_GOTO")
    assert ours.mark == (get("FRA_FWMARK") or 0)
    if get("FRA_FWMASK") is not None:
        assert ours.mask == get("FRA_FWMASK")
    assert ours.iif == get("FRA_IIFNAME")
    assert ours.oif == get("FRA_OIFNAME")
    assert ours.suppress_length == get("FRA_SUPPRESS_PREFIXLEN")
    assert ours.suppress_group == get("FRA_SUPPRESS_IFGROUP")
    assert ours.ip_protocol == (get("FRA_IP_PROTO") or 0)
    assert ours.protocol == (get("FRA_PROTOCOL") or 0)
    for name, read, length in (
        ("FRA_DST", ours.destination, theirs["dst_len"]),
        ("FRA_SRC", ours.source, theirs["src_len"]),
    ):
        said = get(name)
        assert read == (said and ip_network(f"{ip_address(said)}/{length}", strict=False))
    for name, ports in (
        ("FRA_SPORT_RANGE", ours.source_ports),
        ("FRA_DPORT_RANGE", ours.destination_ports),
    ):
        assert (ports and f"{ports.first}:{ports.last}") == get(name)
    uids = get("FRA_UID_RANGE")
    assert ours.uids == (uids and tuple(map(int, uids.split(":"))))


@pytest.mark.parametrize(
    ("rule", "catches"),
    [
        (RULE, True),
        (replace(RULE, source=ip_network("10.255.0.0/24")), False),  # none is chosen yet
        (replace(RULE, destination=ip_network("192.5.6.0/24")), True),
        (replace(RULE, destination=ip_network("192.5.7.0/24")), False),
        (replace(RULE, mark=0x5353, mask=0xFFFFFFFF), False),
        (replace(RULE, mark=0xCA6C, mask=0xFFFFFFFF, inverted=True), True),  # wg-quick's
        (replace(RULE, mark=0x80000, mask=0xFF0000), False),  # Tailscale's own packets
        (replace(RULE, mask=0xFF), True),  # fwmark 0/0xff
        (replace(RULE, ip_protocol=IPPROTO_UDP), True),
        (replace(RULE, ip_protocol=IPPROTO_TCP), False),
        (replace(RULE, destination_ports=Ports(first=53, last=53)), True),
        (replace(RULE, destination_ports=Ports(first=54, last=99)), False),
        (replace(RULE, destination_ports=Ports(first=0x35, last=0x35, mask=0xFF)), True),
        (replace(RULE, source_ports=Ports(first=53, last=53)), False),
        (replace(RULE, source_ports=Ports(first=1024, last=65535)), True),
        (replace(RULE, iif="lo"), True),
        (replace(RULE, iif="eth0"), False),
        (replace(RULE, iif="eth0", inverted=True), True),
        (replace(RULE, oif="eth0"), False),
        (replace(RULE, uids=(0, 99)), True),
        (replace(RULE, uids=(1, 99)), False),
        (replace(RULE, tos=0x10), False),
        (replace(RULE, dscp=0), True),
        (replace(RULE, dscp=10), False),
        (replace(RULE, tunnel=7), False),
        (replace(RULE, l3mdev=True), False),  # nothing of ours is in a VRF
    ],
    ids=str,
)
def test_it_catches_what_the_kernel_lets_it_catch(rule: ForeignRule, *, catches: bool) -> None:
    assert rule.catches(FLOW) is catches
    assert rule.may_catch([ip_address(ONE)], [ip_address(HERE)]) or not catches


def test_a_source_counts_when_it_is_chosen() -> None:
    rule = replace(RULE, source=ip_network("10.255.0.0/24"))
    assert rule.catches(replace(FLOW, source=HERE))
    assert not rule.catches(replace(FLOW, source="10.254.0.1"))
    assert replace(rule, inverted=True).catches(replace(FLOW, source="10.254.0.1"))


def test_rules_for_pods_and_ports_of_others_are_dropped_before_any_look_up() -> None:
    here, there = [ip_address(HERE)], [ip_address(ONE)]
    for rule in (
        replace(RULE, source=ip_network("10.1.2.3/32")),
        replace(RULE, destination=ip_network("10.1.2.3/32")),
        replace(RULE, destination_ports=Ports(first=443, last=443)),
        replace(RULE, ip_protocol=132),
        replace(RULE, l3mdev=True),
        replace(RULE, oif="eth0"),
        replace(RULE, iif="eth0"),
        replace(RULE, tunnel=7),
        replace(RULE, tos=0x10),
        replace(RULE, dscp=10),
        replace(RULE, flow_label=True),
    ):
        assert not rule.may_catch(there, here), str(rule)
        assert not rule.catches(replace(FLOW, source=HERE)), str(rule)
        assert replace(rule, inverted=True).may_catch(there, here)


def test_a_route_that_is_no_longer_than_the_suppressed_length_is_passed_over() -> None:
    rule = replace(RULE, suppress_length=0)
    assert rule.suppresses(0)
    assert not rule.suppresses(1)
    assert not RULE.suppresses(0)
