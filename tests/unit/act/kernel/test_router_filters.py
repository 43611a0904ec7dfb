"""Filters for routers, as each kind reads them."""

from __future__ import annotations

import pytest

from steering.act.bgp.router_filters import prefix_list

ADDRESSES = ["192.0.2.10", "192.0.2.9", "2001:db8::1", "192.0.2.9"]

BIRD = """\
define STEERING_IPV4 = [
  192.0.2.9/32,
  192.0.2.10/32
];
define STEERING_IPV6 = [
  2001:db8::1/128
];"""
FRR = """\
no ip prefix-list steering-ipv4
ip prefix-list steering-ipv4 seq 5 permit 192.0.2.9/32
ip prefix-list steering-ipv4 seq 10 permit 192.0.2.10/32
no ipv6 prefix-list steering-ipv6
ipv6 prefix-list steering-ipv6 seq 5 permit 2001:db8::1/128"""
JUNOS = """\
delete policy-options prefix-list steering-ipv4
set policy-options prefix-list steering-ipv4 192.0.2.9/32
set policy-options prefix-list steering-ipv4 192.0.2.10/32
delete policy-options prefix-list steering-ipv6
set policy-options prefix-list steering-ipv6 2001:db8::1/128"""


@pytest.mark.parametrize(("kind", "text"), [("bird", BIRD), ("frr", FRR), ("junos", JUNOS)])
def test_each_address_once_in_order_as_a_host_route(kind: str, text: str) -> None:
    assert prefix_list(kind, ADDRESSES) == text


def test_a_family_without_addresses_has_no_list() -> None:
    assert "IPV6" not in prefix_list("bird", ["192.0.2.1"])
