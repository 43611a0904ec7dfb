"""What we encode, as pyroute2 decodes it: an independent view of the same octets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.act.kernel import framing, rtnetlink
from steering.act.kernel.decoding import route_from, rule_from
from steering.act.kernel.rtnetlink import Route, RouteKind
from steering.act.kernel.rules import Action, Rule
from steering.model import Family

_U32 = st.integers(1, 2**32 - 1)


@st.composite
def routes(draw: st.DrawFn) -> Route:
    family = draw(st.sampled_from(Family))
    addresses = st.ip_addresses(v=4) if family is Family.IPV4 else st.ip_addresses(v=6)
    return Route(
        family=family,
        table=draw(_U32),
        protocol=draw(st.integers(5, 255)),
        destination=str(draw(addresses)),
        length=family.bits,
        gateway=str(draw(addresses)),
        metric=draw(st.integers(0, 2**32 - 1)),
        kind=draw(st.sampled_from([RouteKind.UNICAST, RouteKind.UNREACHABLE])),
    )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    mark = draw(st.just(0) | _U32)
    action = draw(st.sampled_from([Action.LOOKUP, Action.GOTO, Action.NOP]))
    return Rule(
        family=draw(st.sampled_from(Family)),
        priority=draw(_U32),
        protocol=draw(st.integers(5, 255)),
        action=action,
        table=draw(_U32) if action is Action.LOOKUP else 0,
        goto=draw(_U32) if action is Action.GOTO else None,
        mark=mark,
        mask=2**32 - 1 if mark else 0,
        iif=draw(st.none() | st.from_regex(r"[a-z][a-z0-9-]{0,14}", fullmatch=True)),
    )


@given(routes())
def test_a_route_reads_back_as_it_was_written(route: Route) -> None:
    assert route_from(rtnetlink.route_body(route)) == route


@given(rules())
def test_a_rule_reads_back_as_it_was_written(rule: Rule) -> None:
    assert rule_from(rtnetlink.rule_body(rule)) == rule


@given(routes())
def test_the_guard_sees_whose_route_it_is_and_removes_the_same_as_the_agent(route: Route) -> None:
    body = rtnetlink.route_body(route)
    numbers = rtnetlink.route_numbers(body)
    assert numbers is not None
    assert (numbers.family, numbers.table) == (route.family, route.table)
    assert (numbers.protocol, numbers.priority) == (route.protocol, route.metric)
    assert numbers.action == route.kind
    assert rtnetlink.prefix_of(body) == route.prefix
    removed = route_from(rtnetlink.removal_of(body))
    assert removed == route_from(rtnetlink.route_body(route, removal=True)) == route


@given(rules())
def test_the_guard_sees_whose_rule_it_is(rule: Rule) -> None:
    numbers = rtnetlink.rule_numbers(rtnetlink.rule_body(rule))
    assert numbers is not None
    assert (numbers.family, numbers.priority) == (rule.family, rule.priority)
    assert (numbers.protocol, numbers.action) == (rule.protocol, rule.action)
    assert numbers.table == rule.table


def test_what_is_of_neither_family_is_nobody_s() -> None:
    """MPLS has routes too (AF_MPLS, 28)."""
    body = bytes([28]) + bytes(11)
    assert rtnetlink.route_numbers(body) is None
    assert rtnetlink.rule_numbers(body) is None
    assert route_from(body) is None
    assert rule_from(body) is None


@pytest.mark.parametrize("kind", [2, 9, 18, 22, 30])
def test_the_removal_of_a_route_that_does_more_names_no_gateway(kind: int) -> None:
    """RTA_SRC, RTA_MULTIPATH, RTA_VIA, RTA_ENCAP, RTA_NH_ID: the kernel would compare all of it."""
    route = Route(
        family=Family.IPV4, table=5353, protocol=53, destination="192.0.2.1", length=32, metric=7
    )
    body = rtnetlink.route_body(route) + framing.attribute(kind, bytes(20))
    assert rtnetlink.removal_of(body) == rtnetlink.route_body(route, removal=True)


def test_a_removal_names_whose_route_it_is() -> None:
    """Protocol, metric and gateway: so the kernel can't take another's in the same place."""
    route = Route(
        family=Family.IPV4,
        table=5353,
        protocol=53,
        destination="192.0.2.1",
        length=32,
        gateway="10.0.0.1",
        metric=7,
    )
    assert rtnetlink.route_body(route, removal=True) == bytes.fromhex(
        "02200000fc35ff0100000000"  # inet, /32, compat table, 53, any scope, unicast
        "08000f00e9140000"  # RTA_TABLE 5353
        "08000100c0000201"  # RTA_DST
        "0800060007000000"  # RTA_PRIORITY 7
        "080005000a000001"  # RTA_GATEWAY
    )


@given(st.binary(max_size=200))
def test_torn_messages_never_raise(data: bytes) -> None:
    for message in framing.messages(data):
        assert len(message.body) <= len(data)
    assert all(len(payload) <= len(data) for payload in framing.attributes(data, 0).values())


@pytest.mark.parametrize("family", Family)
def test_a_rule_with_any_other_selector_is_not_the_one_we_want(family: Family) -> None:
    rule = Rule(family=family, priority=5, protocol=53, action=Action.LOOKUP, table=9)
    uid_range = framing.attribute(20, framing.u32(0) + framing.u32(5))
    read = rule_from(rtnetlink.rule_body(rule) + uid_range)
    assert read is not None
    assert read != rule


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    ("octet", "value"), [(1, 8), (2, 8), (3, 16), (8, 0x02)], ids=["to", "from", "tos", "not"]
)
def test_a_rule_with_a_selector_in_its_head_is_not_the_one_we_want(
    family: Family, octet: int, value: int
) -> None:
    """In struct fib_rule_hdr: the lengths of both prefixes, the TOS, FIB_RULE_INVERT."""
    rule = Rule(family=family, priority=5, protocol=53, action=Action.LOOKUP, table=9)
    body = bytearray(rtnetlink.rule_body(rule))
    flags = octet == 8
    where = slice(octet, octet + 4) if flags else slice(octet, octet + 1)
    body[where] = framing.u32(value) if flags else bytes([value])
    assert rule_from(rtnetlink.rule_body(rule)) == rule
    read = rule_from(bytes(body))
    assert read is not None
    assert read != rule


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    "odd",
    ["source", "on link", "RTA_SRC", "RTA_MULTIPATH", "RTA_ENCAP", "RTA_NH_ID"],
)
def test_a_route_that_does_anything_more_is_not_plain(family: Family, odd: str) -> None:
    """Each alone is enough: what stands in our place and isn't as we write it is not ours."""
    route = Route(family=family, table=5353, protocol=53, destination="::", length=0, gateway=None)
    body = bytearray(rtnetlink.route_body(route))
    if odd == "source":
        body[2] = 24  # rtm_src_len
    elif odd == "on link":
        body[8:12] = framing.u32(4)  # RTNH_F_ONLINK
    else:
        kind = {"RTA_SRC": 2, "RTA_MULTIPATH": 9, "RTA_ENCAP": 22, "RTA_NH_ID": 30}[odd]
        body += framing.attribute(kind, struct.pack("=HBBi", 8, 0, 0, 3))  # a struct rtnexthop
    plain = route_from(rtnetlink.route_body(route))
    read = route_from(bytes(body))
    assert plain is not None
    assert plain.plain
    assert read is not None
    assert not read.plain
    assert read != plain


@pytest.mark.parametrize(
    ("family", "gateway", "dev", "scope"),
    [
        (Family.IPV4, None, "lo", 253),  # RT_SCOPE_LINK
        (Family.IPV4, "192.0.2.1", "lo", 0),
        (Family.IPV4, "192.0.2.1", None, 0),
        (Family.IPV6, None, "lo", 0),  # IPv6 has no scopes of routes
    ],
)
def test_an_ipv4_route_without_a_gateway_is_of_the_link(
    family: Family, gateway: str | None, dev: str | None, scope: int
) -> None:
    """The kernel refuses one that says otherwise (fib_check_nh in net/ipv4/fib_semantics.c)."""
    route = Route(
        family=family,
        table=5353,
        protocol=76,
        destination="198.51.100.7" if family is Family.IPV4 else "2001:db8::7",
        length=family.bits,
        gateway=gateway,
        dev=dev,
        kind=RouteKind.UNICAST,
    )
    assert rtnetlink.route_body(route)[6] == scope
