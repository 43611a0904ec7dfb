"""What is put in while the sites are asked: for our own marked questions, and for nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from steering.act.kernel import rtnetlink
from steering.act.kernel.claim import Claim
from steering.act.kernel.netlink import KernelRefusal, KernelRequest
from steering.act.kernel.rtnetlink import Route, RouteKind
from steering.act.kernel.rules import Action, Rule
from steering.model import Family
from steering.sitecheck import temporary_rules
from steering.sitecheck.temporary_rules import wanted

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
    assert {rule.action for rule in rules} == {Action.LOOKUP}
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
    nowhere = (5355, "2001:db8::1")  # fra has no next hop for it
    assert ends == {(table, address) for table, address, _ in over} | {nowhere}
    assert all(r.gateway is r.dev is None for r in routes if r.kind is RouteKind.UNREACHABLE)


def test_routes_come_before_the_rules_that_lead_to_them() -> None:
    kinds = [type(what) for what in wanted(CLAIM, ADDRESSES)]
    assert kinds == sorted(kinds, key=lambda kind: kind is Rule)


class Written:
    """A kernel that takes all that it is told."""

    def __init__(self) -> None:
        self.kinds: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def carry_out(self, orders: Sequence[KernelRequest]) -> tuple[KernelRefusal | None, ...]:
        self.kinds += [one.kind for one in orders]
        return (None,) * len(orders)


def test_a_site_whose_interface_is_not_there_keeps_no_other_from_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Written()
    monkeypatch.setattr(temporary_rules, "ChangeSocket", lambda: written)
    hops = {**CLAIM.next_hops, "fra": {Family.IPV4: "dev no-such-link"}}
    what = wanted(replace(CLAIM, next_hops=hops), ADDRESSES)
    temporary_rules._install(tmp_path, what)
    assert any(one.dev for one in what if isinstance(one, Route))
    assert (
        written.kinds.count(rtnetlink.NEWROUTE) == sum(isinstance(one, Route) for one in what) - 1
    )
    assert written.kinds.count(rtnetlink.NEWRULE) == sum(isinstance(one, Rule) for one in what)
