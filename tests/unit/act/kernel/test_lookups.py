"""What is made of the kernel's look-ups: which marks lead where, and what goes past our rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import cast

import pytest
from claims import CLAIM

from steering.act.kernel import framing, rtnetlink
from steering.act.kernel import path_check as passing
from steering.act.kernel.bypass import LOOKED_UP, SAMPLE, Bypasses, bypasses
from steering.act.kernel.gateways import chosen_source, pinned
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.path_check import check_path
from steering.act.kernel.rtnetlink import Route, RouteKind
from steering.act.kernel.rules import Action, Flow, Rule
from steering.model import LOCAL, Family

ONE, SIX = "192.0.2.1", "2001:db8::1"
MAIN, OTHERS = 254, 77
RULE = Rule(family=Family.IPV4, priority=100, action=Action.LOOKUP, table=OTHERS)
USER = 4242
RTA_DST, RTA_MARK, RTA_UID = 1, 16, 25

Way = Callable[[Flow], Route | None]


def way(flow: Flow, table: int, gateway: str | None = None) -> Route:
    """Of a packet by a default route."""
    four = Family.of(flow.destination) is Family.IPV4
    return Route(
        family=Family.of(flow.destination),
        table=table,
        protocol=3,
        destination="0.0.0.0" if four else "::",
        length=0,
        gateway=gateway or ("10.255.0.1" if four else "fd00:ff::1"),
    )


class Kernel:
    """A kernel that finds the ways that the test says, and lists these routes and rules."""

    def __init__(
        self, finds: Way, *, routes: Sequence[Route] = (), rules: Sequence[Rule] = ()
    ) -> None:
        self._finds, self._routes, self._rules = finds, routes, rules

    def get(self, kind: int, body: bytes) -> bytes | None:
        (found,) = self.get_each(kind, [body])
        return found

    def get_each(self, _kind: int, bodies: Sequence[bytes]) -> list[bytes | None]:
        found = [self._finds(_asked(body)) for body in bodies]
        return [None if one is None else rtnetlink.route_body(one) for one in found]

    def some(self, _kind: int, _body: bytes, at_most: int) -> list[bytes]:
        return [rtnetlink.route_body(route) for route in self._routes[:at_most]]

    def dump(self, _kind: int, _body: bytes) -> list[bytes]:
        return [rtnetlink.rule_body(rule) for rule in self._rules]


def _asked(body: bytes) -> Flow:
    found = framing.attributes(body, 12)  # behind struct rtmsg
    return Flow(
        destination=framing.text(found[RTA_DST]),
        mark=framing.number(found.get(RTA_MARK)) or 0,
        uid=framing.number(found.get(RTA_UID)) or 0,
    )


def test_a_path_is_pinned_by_a_mark_that_leads_to_its_next_hop() -> None:
    def finds(flow: Flow) -> Route:
        if flow.mark == CLAIM.mark_of("pao"):
            hop = CLAIM.next_hop("pao", Family.of(flow.destination))
            return way(flow, CLAIM.table + CLAIM.number("pao"), hop)
        return way(flow, MAIN)  # of fra's mark, whose rule somebody took away

    asking = cast("QuerySocket", Kernel(finds))
    found = pinned(asking, CLAIM, {ONE: Family.IPV4, SIX: Family.IPV6})
    assert found.keys() == {(LOCAL, ONE), (LOCAL, SIX), ("pao", ONE), ("pao", SIX)}


def past(rule: Rule, finds: Way, *routes: Route) -> Bypasses:
    return bypasses(cast("QuerySocket", Kernel(finds, routes=routes)), CLAIM, [rule], [ONE])


def test_a_rule_for_one_user_may_take_the_resolvers_packets() -> None:
    rule = Rule(
        family=Family.IPV4,
        priority=100,
        action=Action.LOOKUP,
        table=OTHERS,
        uids=(USER, USER),
    )
    found = past(rule, lambda flow: way(flow, OTHERS if flow.uid == USER else CLAIM.table))
    assert [(one.rule, one.flow.uid) for one in found.perhaps] == [(rule, USER)]
    assert not found.traffic, "packets of others meet our rules"


def test_of_many_addresses_and_sites_some_hundred_are_looked_up() -> None:
    hops = {f"site{n}": {Family.IPV4: f"10.255.{n}.2"} for n in range(20)}
    claim = replace(CLAIM, sites=tuple(hops), next_hops=hops, transit_interfaces=())
    kernel = Kernel(lambda flow: way(flow, OTHERS))
    many = [f"192.0.2.{n}" for n in range(1, 200)]
    found = bypasses(cast("QuerySocket", kernel), claim, [RULE], many)
    assert len(found.traffic) == SAMPLE
    assert LOOKED_UP <= len(found.questions) < LOOKED_UP + len(hops)
    assert found.of(many[-1]), "what is so of all of these is so of the others"


@pytest.mark.parametrize(
    ("kind", "prefix", "refused"),
    [
        (RouteKind.UNREACHABLE, "192.0.2.0/24", True),
        (RouteKind.UNREACHABLE, "198.51.100.0/24", False),
        (RouteKind.UNICAST, "192.0.2.0/24", False),
    ],
)
def test_what_has_no_way_is_kept_by_a_rule_whose_table_refuses_it(
    kind: RouteKind, prefix: str, refused: bool
) -> None:
    net = ip_network(prefix)
    route = Route(
        family=Family.IPV4,
        table=OTHERS,
        protocol=3,
        destination=str(net.network_address),
        length=net.prefixlen,
        kind=kind,
    )
    assert (ONE in past(RULE, lambda _flow: None, route).traffic) is refused


@pytest.mark.parametrize(("mark", "has_rule"), [(0, True), (1, False)])
def test_a_rule_may_look_at_a_part_of_the_mark(
    monkeypatch: pytest.MonkeyPatch, mark: int, has_rule: bool
) -> None:
    monkeypatch.setattr(passing, "gateway_dead", lambda *_: False)
    number = CLAIM.number("pao")
    rule = Rule(
        family=Family.IPV4,
        priority=CLAIM.priority,
        protocol=3,
        action=Action.LOOKUP,
        table=CLAIM.table + number,
        mark=(CLAIM.mark_of("pao") + mark) & 0xFF,
        mask=0xFF,
    )
    kernel = Kernel(lambda flow: way(flow, CLAIM.table + number, "10.255.1.2"), rules=[rule])
    flow = Flow(destination=ONE, mark=CLAIM.mark_of("pao"))
    assert check_path(cast("QuerySocket", kernel), CLAIM, "pao", flow).has_rule is has_rule


def test_this_host_s_own_kernel_is_asked_and_answers() -> None:
    with QuerySocket() as asking:
        assert chosen_source(asking, Flow(destination="127.0.0.1")) == "127.0.0.1"
