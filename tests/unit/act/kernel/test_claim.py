"""A claim is either one that can be, or it is not made."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from claims import CLAIM
from hypothesis import given
from hypothesis import strategies as st

from steering import bounds
from steering.act.kernel.claim import Claim, ClaimError
from steering.act.kernel.marks import collision, shared_with
from steering.act.kernel.rtnetlink import RouteKind
from steering.model import LOCAL, Family


def test_its_text_reads_back_as_the_same_claim() -> None:
    assert Claim.from_json(CLAIM.to_json()) == CLAIM


@pytest.mark.parametrize("key", json.loads(CLAIM.to_json()))
@pytest.mark.parametrize(
    "wrong", [None, "5353", 5.5, True, -1, [1], {"pao": 1}, {"x": {"ipv5": 1}}]
)
def test_any_other_text_is_refused(key: str, wrong: object) -> None:
    value = json.loads(CLAIM.to_json())
    with pytest.raises(ClaimError):
        Claim.from_json(json.dumps(value | {key: wrong}))
    del value[key]
    with pytest.raises(ClaimError):
        Claim.from_json(json.dumps(value))


def test_a_text_that_says_more_is_refused() -> None:
    with pytest.raises(ClaimError):
        Claim.from_json(json.dumps(json.loads(CLAIM.to_json()) | {"more": 1}))


@given(st.text() | st.recursive(st.none() | st.integers(), st.lists).map(json.dumps))
def test_no_text_raises_anything_but_a_claim_error(text: str) -> None:
    with pytest.raises(ClaimError):
        Claim.from_json(text)


@pytest.mark.parametrize(
    ("table", "says"), [(0, "range"), (253, "system"), (252, "system"), (2**32 - 2, "range")]
)
def test_its_tables_are_never_the_systems(table: int, says: str) -> None:
    with pytest.raises(ClaimError, match=says):
        replace(CLAIM, table=table)


@pytest.mark.parametrize(
    "hops",
    [
        {Family.IPV4: "fd00::1"},
        {Family.IPV6: "10.0.0.1"},
        {Family.IPV6: "fe80::1"},
        {Family.IPV4: "127.0.0.1"},
        {Family.IPV4: "224.0.0.1"},
        {Family.IPV6: "FD00::1"},
        {Family.IPV4: "router"},
        {Family.IPV4: "10.255.2.2"},  # fra's
    ],
)
def test_a_next_hop_is_one_router_on_a_link(hops: dict[Family, str]) -> None:
    with pytest.raises(ClaimError):
        replace(CLAIM, next_hops={**CLAIM.next_hops, "pao": hops})


@pytest.mark.parametrize(
    ("family", "hop", "says"),
    [
        (Family.IPV4, "dev tun0", None),
        (Family.IPV6, "via fe80::1 dev eth1", None),
        (Family.IPV4, "dev sixteen-letters-", "15 bytes"),
        (Family.IPV4, "dev ", "no next hop"),
        (Family.IPV4, "via 10.9.9.9", "no next hop"),
        (Family.IPV4, "via 10.9.9.9 dev eth1", "needs no interface"),
        (Family.IPV6, "via fd00::9 dev eth1", "needs no interface"),
        (Family.IPV4, "via fe80::1 dev eth1", "wanted one ipv4"),
        (Family.IPV6, "via FE80::1 dev eth1", "usual form"),
    ],
)
def test_a_next_hop_may_be_an_interface_or_need_one(
    family: Family, hop: str, says: str | None
) -> None:
    hops = {**CLAIM.next_hops, "fra": {family: hop}}
    if says is not None:
        with pytest.raises(ClaimError, match=says):
            replace(CLAIM, next_hops=hops)
        return
    claim = replace(CLAIM, next_hops=hops)
    assert Claim.from_json(claim.to_json()) == claim
    assert claim.site_of(hop) == "fra"
    address = "192.0.2.1" if family is Family.IPV4 else "2001:db8::1"
    assert claim.steer(address, "fra").hop == hop
    with pytest.raises(ClaimError, match="also the next hop of pao"):
        replace(CLAIM, next_hops={"pao": {family: hop}, "fra": {family: hop}})
    both = {"pao": dict.fromkeys(Family, "dev tun0")}
    assert replace(CLAIM, next_hops=both).site_of("dev tun0") == "pao"


def test_marks_and_tables_follow_the_order_of_sites() -> None:
    assert [CLAIM.mark_of(path) for path in (LOCAL, "pao", "fra")] == [0x5353, 0x5354, 0x5355]
    assert list(CLAIM.tables) == [5353, 5354, 5355]
    assert CLAIM.families == (Family.IPV4, Family.IPV6)


def test_marks_are_counted_in_the_lowest_bit_of_the_mask() -> None:
    claim = replace(CLAIM, mark=0x100, mask=0x700)
    assert list(claim.marks) == [0x100, 0x200, 0x300]
    rules = [rule for rule in claim.rules(Family.IPV4) if rule.mask]
    assert [(rule.mark, rule.mask) for rule in rules] == [(m, 0x700) for m in claim.marks]
    assert Claim.from_json(claim.to_json()) == claim


@pytest.mark.parametrize(
    ("mark", "mask", "says"),
    [
        (0x40, 0x3F, "outside the mask"),
        (0x3E, 0x3F, "marks for 1 sites of 2"),
        (0x1, 0x5, "marks for 0 sites of 2"),  # 2 is no mark under it
        (0x1, 0x1, "out of range"),
    ],
)
def test_every_path_has_a_mark_of_its_own_within_the_mask(mark: int, mask: int, says: str) -> None:
    with pytest.raises(ClaimError, match=says):
        replace(CLAIM, mark=mark, mask=mask)


def test_the_usual_marks_are_nobody_elses() -> None:
    usual = replace(CLAIM, mark=bounds.MARK, mask=bounds.MASK)
    assert shared_with(usual) == ()
    names = tuple(f"site-{i}" for i in range(63))
    full = replace(usual, sites=names, next_hops={})
    assert full.marks[-1] == bounds.MASK
    assert shared_with(full) == ()
    with pytest.raises(ClaimError, match="63 sites of 64"):
        replace(full, sites=(*names, "one-more"))


@pytest.mark.parametrize(
    ("mark", "mask", "users"),
    [
        (0x5353, bounds.U32, "kube-proxy Cilium Calico Tailscale mwan3 AWS"),
        (0x40, bounds.U32, "kube-proxy Cilium Calico Tailscale mwan3 AWS"),
        (0x40, 0xFF, "AWS"),
        (0x38, 0x7F, "Istio"),
        (0x40000, 0xF0000, "Calico Tailscale"),
        (0x1000, 0x7000, "kube-proxy mwan3"),
    ],
)
def test_it_is_known_who_else_uses_the_bits(mark: int, mask: int, users: str) -> None:
    found = shared_with(replace(CLAIM, mark=mark, mask=mask))
    assert [name.split(" ")[0] for name in found] == users.split(" ")


@pytest.mark.parametrize(
    ("mark", "mask", "why"),
    [
        (0x40, bounds.U32, "it catches our mark 0x40"),
        (0x41, 0x41, "it catches our mark 0x41"),
        (0x1, 0x1, "it catches our mark 0x41"),
        (0x140, bounds.U32, "its mark 0x140/0xffffffff is also our mark 0x40/0x7f"),
        (0x4042, 0xFFFF, "its mark 0x4042/0xffff is also our mark 0x42/0x7f"),
        (0x4000, 0x4000, None),
        (0x80000, 0xFF0000, None),
        (0x200, 0xF00, None),
        (1337, bounds.U32, None),
        (0x1, bounds.U32, None),
        (0x44, 0x7C, None),
    ],
)
def test_rules_of_others_meet_ours_where_one_packet_can_carry_both(
    mark: int, mask: int, why: str | None
) -> None:
    claim = replace(CLAIM, mark=bounds.MARK, mask=bounds.MASK)
    assert collision(mark, mask, claim) == why


@given(st.integers(1, 127), st.integers(1, 127), st.integers(3, 127))
def test_a_collision_is_a_packet_that_both_rules_match(mark: int, mask: int, ours: int) -> None:
    """Tried with all packets of seven bits."""
    mark &= mask
    one = Claim(table=5353, protocol=53, priority=5353, mark=ours, sites=(), next_hops={}, mask=127)
    both = any(p & mask == mark and p & 127 == ours for p in range(128))
    assert (collision(mark, mask, one) is not None) == both


def test_each_site_has_a_host_route_for_each_address_and_an_end_behind_it() -> None:
    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    routes = CLAIM.probe_routes(addresses)
    assert {r.prefix for r in routes} == {"192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128"}
    ways = [r for r in routes if r.kind is RouteKind.UNICAST]
    ends = [r for r in routes if r.kind is RouteKind.UNREACHABLE]
    assert len(ends) == 6  # each address at each site
    assert {(r.table, r.gateway) for r in ways} == {
        (CLAIM.table + CLAIM.number(site), hop)
        for site, hops in CLAIM.next_hops.items()
        for hop in hops.values()
    }
    for way in ways:
        (end,) = [e for e in ends if (e.table, e.prefix) == (way.table, way.prefix)]
        assert end.metric > way.metric
        assert routes.index(end) < routes.index(way)


def test_a_family_that_no_site_has_is_in_no_table() -> None:
    four = replace(
        CLAIM, next_hops={s: {Family.IPV4: h[Family.IPV4]} for s, h in CLAIM.next_hops.items()}
    )
    assert four.probe_routes(["2001:db8::1"]) == ()


def test_a_site_without_a_family_has_an_end_there_and_no_way() -> None:
    (end,) = [r for r in CLAIM.probe_routes(["2001:db8::1"]) if r.table == CLAIM.table + 2]
    assert end.gateway is None
    with pytest.raises(KeyError):
        CLAIM.steer("2001:db8::1", "fra")
