"""What is put in while the sites are asked: for our own marked questions, and for nothing else."""

from __future__ import annotations

from steering.act.claim import Claim
from steering.act.wire import Action, Route, RouteKind, Rule
from steering.model import Family
from steering.sitecheck.rules import wanted

CLAIM = Claim(
    table=5353,
    protocol=53,
    priority=5353,
    mark=0x40,
    mask=0x7F,
    sites=("pao", "fra"),
    next_hops={
        "pao": {Family.IPV4: "10.255.1.2", Family.IPV6: "fd00:ff:1::2"},
        "fra": {Family.IPV4: "10.255.2.2"},
    },
    transit_interfaces=("bb-pao",),
)
ADDRESSES = ("192.0.2.1", "2001:db8::1")


def test_every_rule_selects_a_sites_mark_and_looks_up_that_sites_table() -> None:
    rules = [what for what in wanted(CLAIM, ADDRESSES) if isinstance(what, Rule)]
    assert {(rule.family, rule.mark, rule.mask, rule.table) for rule in rules} == {
        (family, CLAIM.mark_of(site), 0x7F, CLAIM.table + CLAIM.number(site))
        for family in Family
        for site in CLAIM.sites
    }
    assert {rule.action for rule in rules} == {Action.TABLE}
    assert all(rule.iif is None and rule.protocol == CLAIM.protocol for rule in rules)


def test_every_route_is_a_host_route_in_a_sites_table_with_an_end_behind_it() -> None:
    routes = [what for what in wanted(CLAIM, ADDRESSES) if isinstance(what, Route)]
    over = {(r.table, r.destination, r.gateway) for r in routes if r.kind is RouteKind.UNICAST}
    assert over == {
        (5354, "192.0.2.1", "10.255.1.2"),
        (5354, "2001:db8::1", "fd00:ff:1::2"),
        (5355, "192.0.2.1", "10.255.2.2"),
    }
    assert all(route.length == route.family.bits for route in routes)
    ends = {(r.table, r.destination) for r in routes if r.kind is RouteKind.UNREACHABLE}
    assert ends == {(table, address) for table, address, _ in over}


def test_routes_come_before_the_rules_that_lead_to_them() -> None:
    kinds = [type(what) for what in wanted(CLAIM, ADDRESSES)]
    assert kinds == sorted(kinds, key=lambda kind: kind is Rule)
