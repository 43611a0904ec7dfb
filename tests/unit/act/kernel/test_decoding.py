"""What pyroute2 makes of the kernel's messages, beside the octets that they were made of."""

from __future__ import annotations

import gc
import struct
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_ntop

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from steering.act.kernel import framing, rtnetlink
from steering.act.kernel.decoding import (
    Link,
    address_from,
    link_from,
    neighbour_answers,
    route_from,
    rule_from,
)
from steering.act.kernel.messages import link_of, lookup_of, neighbour_of
from steering.act.kernel.rtnetlink import Route
from steering.act.kernel.rules import Action, Flow, Ports, Rule
from steering.model import Family

_U8, _U16, _U32 = st.integers(1, 255), st.integers(1, 2**16 - 1), st.integers(1, 2**32 - 2)
_FAMILIES = {Family.IPV4: AF_INET, Family.IPV6: AF_INET6}
RULE = Rule(family=Family.IPV4, priority=0, action=Action.LOOKUP)
ROUTE = Route(family=Family.IPV4, table=5353, protocol=53, destination="192.0.2.1", length=32)


def rule_octets(*attributes: tuple[int, bytes], head: bytes = b"") -> bytes:
    head = head or struct.pack("=8BI", AF_INET, 0, 0, 0, 0, 0, 0, 1, 0)
    return head + b"".join(framing.attribute(kind, payload) for kind, payload in attributes)


@given(st.data())
def test_a_rule_is_read_in_every_attribute(data: st.DataObject) -> None:
    draw = data.draw
    family = draw(st.sampled_from(Family))
    lengths = st.integers(1, family.bits)
    octets = st.binary(min_size=family.bits // 8, max_size=family.bits // 8)
    names = st.from_regex(r"[a-z]{1,14}", fullmatch=True)
    to, source, flags = draw(lengths), draw(lengths), draw(st.integers(0, 31))
    action = draw(st.sampled_from([1, 2, 3, 6, 7, 8]))
    prefixes = [draw(octets), draw(octets)]
    networks = [
        ip_network(f"{inet_ntop(_FAMILIES[family], octet)}/{length}", strict=False)
        for octet, length in zip(prefixes, (to, source), strict=True)
    ]
    number, octet, name = draw(_U32), draw(_U8), draw(names)
    first, last, mask = draw(_U16), draw(_U16), draw(_U16)
    ports = struct.pack("=HH", first, last)
    parts: list[tuple[list[tuple[int, bytes]], dict[str, object]]] = [
        ([(3, name.encode() + b"\0")], {"iif": name}),
        ([(4, framing.u32(number))], {"goto": number}),
        ([(6, framing.u32(number))], {"priority": number}),
        ([(10, framing.u32(number))], {"mark": number, "mask": 2**32 - 1}),
        ([(16, framing.u32(number))], {"mask": number}),
        ([(11, framing.u32(number))], {"realms": number}),
        ([(12, struct.pack("!Q", number))], {"tunnel": number}),
        ([(13, framing.u32(number))], {"suppress_group": number}),
        ([(14, framing.u32(number))], {"suppress_length": number}),
        ([(14, framing.u32(2**32 - 1))], {}),  # -1: none was given
        ([(15, framing.u32(number))], {"table": number}),
        ([(17, name.encode() + b"\0")], {"oif": name}),
        ([(19, b"\1")], {"l3mdev": True}),
        ([(20, struct.pack("=II", octet, number))], {"uids": (octet, number)}),
        ([(21, bytes([octet]))], {"protocol": octet}),
        ([(22, bytes([octet]))], {"ip_protocol": octet}),
        ([(23, ports)], {"source_ports": Ports(first=first, last=last)}),
        ([(24, ports)], {"destination_ports": Ports(first=first, last=last)}),
        ([(23, ports), (28, mask.to_bytes(2, sys.byteorder))],
         {"source_ports": Ports(first=first, last=last, mask=mask)}),
        ([(24, ports), (29, mask.to_bytes(2, sys.byteorder))],
         {"destination_ports": Ports(first=first, last=last, mask=mask)}),
        ([(25, bytes([octet]))], {"dscp": octet}),
        ([(26, framing.u32(number)), (27, framing.u32(number))], {"flow_label": True}),
        ([(30, bytes([octet]))], {}),  # of the DSCP
        ([(99, framing.u32(number))], {"unknown": frozenset({99})}),
        ([(0x4000 | 98, b"")], {"unknown": frozenset({98})}),  # in network byte order
    ]  # fmt: skip
    attributes, fields = draw(st.sampled_from(parts))
    head = struct.pack("=8BI", _FAMILIES[family], to, source, octet, 0, 0, 0, action, flags)
    both = [(1, prefixes[0]), (2, prefixes[1])]
    body = rule_octets(*both, *attributes, head=head)
    wanted = Rule(
        family=family,
        priority=0,
        action=Action(action),
        tos=octet,
        destination=networks[0],
        source=networks[1],
        inverted=bool(flags & 2),
    )
    read = rule_from(body)
    assert read == replace(wanted, **fields)  # type: ignore[arg-type]
    assert read is not None
    assert read.resolved is not bool(flags & 4)
    assert read.detached == (bool(flags & 8), bool(flags & 16))
    assert read.body == body


def test_an_interface_may_have_any_octets_for_a_name() -> None:
    read = rule_from(rule_octets((3, b"caf\xe9\0")))
    assert read is not None
    assert read.iif == "caf\N{REPLACEMENT CHARACTER}"
    assert "iif caf" in str(read)


@pytest.mark.parametrize("upstream", [rtmsg, fibmsg])
def test_our_attributes_are_found_beside_the_classes_that_lack_them(upstream: type) -> None:
    """pyroute2 keeps a compiled map in the class, where derived classes would find it."""
    upstream()
    assert lookup_of(Flow(destination="192.0.2.1", uid=0))
    read = rule_from(rule_octets((25, b"\x2e")))
    assert read is not None
    assert (read.dscp, read.unknown) == (46, frozenset())


def test_a_look_up_says_all_that_a_rule_may_select_by() -> None:
    flow = Flow(destination="192.0.2.1", mark=0x41, source="198.51.100.7", uid=0)
    assert lookup_of(flow, whole=True) == bytes.fromhex(
        "022020000000000000300000"  # inet, /32, from /32, RTM_F_LOOKUP_TABLE, RTM_F_FIB_MATCH
        "08000200c6336407"  # RTA_SRC
        "0800100041000000"  # RTA_MARK
        "05001b0011000000"  # RTA_IP_PROTO
        "06001c00c0000000"  # RTA_SPORT, in network byte order
        "06001d0000350000"  # RTA_DPORT
        "0800190000000000"  # RTA_UID
        "08000100c0000201"  # RTA_DST
    )


def test_a_look_up_leaves_out_what_may_be_anything() -> None:
    flow = Flow(destination="2001:db8::1", protocol=0, source_port=0, destination_port=0, uid=1000)
    assert lookup_of(flow) == bytes.fromhex(
        "0a800000000000000000000008001900e80300001400010020010db8000000000000000000000001"
    )


@given(st.ip_addresses(), st.ip_addresses())
def test_look_ups_of_one_kind_differ_in_the_address_alone(one: object, other: object) -> None:
    for address in map(str, (one, other)):
        flow = Flow(destination=address, mark=0x41, uid=7)
        found = framing.attributes(lookup_of(flow), 12)
        assert framing.text(found[1]) == address
        assert [framing.number(found[kind]) for kind in (16, 25)] == [0x41, 7]


def test_requests_for_a_link_and_a_neighbour_are_as_the_kernel_wants_them() -> None:
    assert link_of(3) == bytes.fromhex(
        "0000000003000000000000000000000008001d0008000000"  # without statistics
    )
    assert neighbour_of("192.0.2.1", 3) == bytes.fromhex("02000000030000000000000008000100c0000201")


@pytest.mark.parametrize(
    ("flags", "carries"), [(0x10001, True), (0x10000, False), (0x1, False), (0, False)]
)
def test_a_link_carries_if_it_is_up_and_has_a_carrier(flags: int, carries: bool) -> None:
    name = framing.attribute(3, b"eth0\0") + framing.attribute(0x1234, b"?")
    name += framing.attribute(4, framing.u32(1400))
    link = link_from(struct.pack("=BxHiII", 0, 1, 2, flags, 0) + name)
    assert link == Link(name="eth0", carries=carries, mtu=1400)


@pytest.mark.parametrize(
    ("state", "answers"), [(0x02, True), (0x04, True), (0x01, False), (0x20, False), (0x40, True)]
)
def test_a_neighbour_may_answer_until_it_has_failed_to(state: int, answers: bool) -> None:
    """NUD_REACHABLE, NUD_STALE, NUD_INCOMPLETE, NUD_FAILED, NUD_NOARP."""
    assert neighbour_answers(struct.pack("=BxxxiHBB", AF_INET, 2, state, 0, 1)) is answers


def test_an_address_of_this_host_is_the_local_end_of_a_link() -> None:
    head = struct.pack("=4Bi", AF_INET, 32, 0, 0, 2)
    far, near = (
        framing.attribute(1, bytes([10, 0, 0, 2])),
        framing.attribute(2, bytes([10, 0, 0, 1])),
    )
    assert address_from(head + far + near) == "10.0.0.1"
    assert address_from(head + far) == "10.0.0.2"
    assert address_from(head) is None


def test_an_address_is_written_as_everywhere() -> None:
    """The C library would end it in a dotted quad."""
    mapped = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])
    head = struct.pack("=4Bi", AF_INET6, 128, 0, 0, 2)
    assert address_from(head + framing.attribute(2, mapped)) == "::ffff:c000:201"


def test_a_route_of_several_links_may_use_each() -> None:
    hops = b"".join(struct.pack("=HBBi", 8, 0, 0, link) for link in (3, 4))
    several = rtnetlink.route_body(ROUTE) + framing.attribute(9, hops)
    one = rtnetlink.route_body(ROUTE) + framing.attribute(4, framing.u32(5))
    for body, links, oif in (
        (several, [3, 4], None),
        (one, [5], 5),
        (rtnetlink.route_body(ROUTE), [], None),
    ):
        read = route_from(body)
        assert read is not None
        assert (sorted(read.links), read.oif) == (links, oif)


def test_a_decoded_message_leaves_nothing_for_the_garbage_collector() -> None:
    """pyroute2's messages refer to themselves, and a look decodes hundreds a second."""
    body = rtnetlink.route_body(ROUTE) + framing.attribute(7, bytes([10, 0, 0, 1]))
    rule = rule_octets((3, b"lo\0"), (6, framing.u32(7)))
    route_from(body), rule_from(rule)  # pyroute2 compiles its classes once
    gc.collect()
    route_from(body), rule_from(rule)
    assert gc.collect() == 0


def test_a_route_names_the_source_that_the_kernel_chooses() -> None:
    read = route_from(rtnetlink.route_body(ROUTE) + framing.attribute(7, bytes([10, 0, 0, 1])))
    assert read is not None
    assert read.source == "10.0.0.1"
    assert read == ROUTE, "it says nothing of the route itself"


def test_an_ipv4_route_may_have_a_gateway_of_ipv6() -> None:
    """RFC 8950: RTA_VIA has the gateway's family before it."""
    via = struct.pack("=H", AF_INET6) + bytes.fromhex("fd0000ff000100000000000000000002")
    read = route_from(rtnetlink.route_body(ROUTE) + framing.attribute(18, via))
    assert read == replace(ROUTE, gateway="fd00:ff:1::2")


def test_what_removes_everything_never_imports_pyroute2() -> None:
    """The guard and `steering off` have to be small and quick."""
    for names in ("steering.act.guard", "steering.cli.off", "steering.act.kernel.acting_agents"):
        code = f"import sys, {names}; print(*sys.modules)"
        ran = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        loaded = set(ran.stdout.split())
        assert names in loaded
        assert not loaded & {"pyroute2", "steering.act.kernel.messages"}, names
