"""Rules: which packets they catch."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from socket import IPPROTO_TCP, IPPROTO_UDP

import pytest

from steering.act.kernel.rules import Action, Flow, Ports, Rule
from steering.model import Family

ONE = "192.5.6.30"
HERE = "10.255.0.1"
RULE = Rule(family=Family.IPV4, priority=100, action=Action.LOOKUP, table=77)
FLOW = Flow(destination=ONE, uid=0)


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
def test_it_catches_what_the_kernel_lets_it_catch(rule: Rule, *, catches: bool) -> None:
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
        assert replace(rule, inverted=True).may_catch(there, here), str(rule)


def test_a_route_that_is_no_longer_than_the_suppressed_length_is_passed_over() -> None:
    rule = replace(RULE, suppress_length=0)
    assert rule.suppresses(0)
    assert not rule.suppresses(1)
    assert not RULE.suppresses(0)
