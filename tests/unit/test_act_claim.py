"""A claim is either one that can be, or it is not made."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_act_diff import CLAIM

from steering.act.claim import Claim, ClaimError
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


def test_marks_and_tables_follow_the_order_of_sites() -> None:
    assert [CLAIM.mark_of(path) for path in (LOCAL, "pao", "fra")] == [0x5353, 0x5354, 0x5355]
    assert list(CLAIM.tables) == [5353, 5354, 5355]
    assert CLAIM.families == (Family.IPV4, Family.IPV6)


def test_a_site_without_a_family_has_an_end_there_and_no_way() -> None:
    (end,) = [r for r in CLAIM.probe_routes(Family.IPV6) if r.table == CLAIM.table + 2]
    assert end.gateway is None
    with pytest.raises(KeyError):
        CLAIM.steer("2001:db8::1", "fra")
