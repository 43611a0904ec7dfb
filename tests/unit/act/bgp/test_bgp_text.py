"""What ExaBGP is given to read, letter by letter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.act.bgp.output import host, parse
from steering.act.bgp.render import announcements, configuration, environment, prefix, withdrawals
from steering.act.bgp.settings import NO_EXPORT, Attributes, BgpSettings, Peer
from steering.model import Family

ATTRIBUTES = Attributes(
    next_hop="10.255.1.1",
    local_preference=500,
    med=7,
    communities=frozenset({"64512:5353", NO_EXPORT}),
    large_communities=frozenset({"64512:1:2"}),
)
TERMS = BgpSettings(
    local_as=64512,
    router_id="10.0.0.53",
    peers=(
        Peer(address="10.0.0.1", peer_as=64512, password_file=Path("p")),
        Peer(
            address="2001:db8::1",
            peer_as=65001,
            port=1790,
            hold_time=30,
            families=(Family.IPV6,),
            passive=True,
        ),
    ),
    next_hops={"pao": {Family.IPV4: "10.255.1.1", Family.IPV6: "fd00::1"}},
    listen=179,
)

PLACE = "/run/steering/bgp"
GOLDEN = """\
process bridge {
    run /usr/bin/python3 -I /run/steering/bgp/bridge.py /run/steering/bgp/socket 60;
    encoder json;
    respawn true;
}
neighbor 10.0.0.1 {
    router-id 10.0.0.53;
    local-address 10.0.0.53;
    local-as 64512;
    peer-as 64512;
    hold-time 9;
    connect 179;
    listen 179;
    passive false;
    md5-base64 true;
    md5-password "c2U7Y3JldCI=";
    group-updates true;
    adj-rib-out true;
    adj-rib-in false;
    capability { asn4 enable; route-refresh enable; graceful-restart disable; }
    family { ipv4 unicast; ipv6 unicast; }
    api { processes [ bridge ]; neighbor-changes; negotiated; send { parsed; update; } }
    static {
        route 192.0.2.1/32 next-hop 10.255.1.1 local-preference 500 med 7 \
community [64512:5353 no-export] large-community [64512:1:2];
    }
}
neighbor 2001:db8::1 {
    router-id 10.0.0.53;
    local-as 64512;
    peer-as 65001;
    hold-time 30;
    connect 1790;
    listen 179;
    passive true;
    group-updates true;
    adj-rib-out true;
    adj-rib-in false;
    capability { asn4 enable; route-refresh enable; graceful-restart disable; }
    family { ipv6 unicast; }
    api { processes [ bridge ]; neighbor-changes; negotiated; send { parsed; update; } }
}
"""


def test_the_configuration_is_this() -> None:
    text = configuration(
        TERMS,
        helper=[
            "/usr/bin/python3",
            "-I",
            "/run/steering/bgp/bridge.py",
            "/run/steering/bgp/socket",
            "60",
        ],
        passwords={"10.0.0.1": b'se;cret"'},
        local={"10.0.0.1": "10.0.0.53"},
        routes={"192.0.2.1": ATTRIBUTES},
    )
    assert text == GOLDEN


@given(st.binary(min_size=1, max_size=80))
def test_no_password_can_end_its_line(password: bytes) -> None:
    text = configuration(TERMS, helper=["x"], passwords={"10.0.0.1": password}, local={}, routes={})
    lines = [line for line in text.splitlines() if "md5-password" in line]
    assert len(lines) == 1
    assert lines[0].endswith('";')
    assert lines[0].count('"') == 2
    assert text.isascii()


def test_equal_attributes_go_in_one_command_for_each_family() -> None:
    table = {"192.0.2.1": ATTRIBUTES, "192.0.2.2": ATTRIBUTES}
    table["2001:db8::1"] = Attributes(next_hop="fd00::1")
    said = "next-hop 10.255.1.1 local-preference 500 med 7 community [64512:5353 no-export]"
    said += " large-community [64512:1:2]"
    assert announcements("10.0.0.1", table) == (
        (
            f"neighbor 10.0.0.1 announce attributes {said} nlri 192.0.2.1/32 192.0.2.2/32",
            ("192.0.2.1", "192.0.2.2"),
        ),
        (
            "neighbor 10.0.0.1 announce attributes next-hop fd00::1 nlri 2001:db8::1/128",
            ("2001:db8::1",),
        ),
    )
    assert withdrawals("10.0.0.1", {"192.0.2.1": Attributes(next_hop="10.255.1.1")}) == (
        (
            "neighbor 10.0.0.1 withdraw attributes next-hop 10.255.1.1 nlri 192.0.2.1/32",
            ("192.0.2.1",),
        ),
    )


def test_a_command_stays_far_below_what_exabgp_takes() -> None:
    table = {f"2001:db8::{i:x}": ATTRIBUTES for i in range(1, 10_001)}
    said = announcements("10.0.0.1", table)
    assert sum(len(addresses) for _, addresses in said) == 10_000
    assert max(len(line) for line, _ in said) < 1 << 16


def test_what_is_no_address_is_never_a_prefix() -> None:
    with pytest.raises(ValueError, match="appear"):
        prefix("192.0.2.0/24")


def test_the_environment_is_all_its_own() -> None:
    assert environment(TERMS)["exabgp_api_cli"] == "false"
    assert environment(TERMS)["exabgp_daemon_user"] == "steering-bgp"
    assert not {"PATH", "HOME"} & environment(TERMS).keys()


@pytest.mark.parametrize(
    ("address", "site", "because"),
    [
        ("192.0.2.0/24", "pao", "not an address"),
        ("192.0.2.9", "pao", "no policy names"),
        ("10.255.1.1", "pao", "next hop of pao"),
        ("10.0.0.1", "pao", "an end of a BGP session"),
        ("192.0.2.1", "fra", "no ipv4 next hop"),
        ("192.0.2.2", "pao", "one of this host's own"),
        ("127.0.0.1", "pao", "global unicast"),
        ("192.0.2.1", "pao", None),
    ],
)
def test_the_last_gate(address: str, site: str, because: str | None) -> None:
    allowed = {"192.0.2.1", "192.0.2.2", "10.255.1.1", "10.0.0.1"}
    said = TERMS.objection(address, site, allowed=allowed, own={"192.0.2.2"})
    assert (said is None) if because is None else (said and because in said)


# --- what it says ---------------------------------------------------------------------------

LISTED = (
    "neighbor 10.9.0.2 local-ip 10.9.0.1 local-as 64512 peer-as 64512 router-id 10.9.0.1"
    " family-allowed in-open ipv4 unicast 192.0.2.9/32 next-hop 10.9.0.7 local-preference 500"
    " med 7 community [ 64512:5353 no-export ] large-community 64512:1:2"
)


def test_a_route_of_adj_rib_out_is_read_whole() -> None:
    seen = parse(LISTED)
    assert seen == parse(LISTED + "\r\n")
    assert str(seen) == (
        "Listed(peer='10.9.0.2', prefix='192.0.2.9/32', attributes=Attributes("
        "next_hop='10.9.0.7', local_preference=500, med=7, communities="
        f"{frozenset({'64512:5353', 'no-export'})!r}, "
        "large_communities=frozenset({'64512:1:2'})))"
    )


@pytest.mark.parametrize(
    ("low", "name"),
    [
        (65281, "no-export"),
        (65282, "no-advertise"),
        (65283, "no-export-subconfed"),
        (65284, "no-peer"),
        (666, "blackhole"),
        (667, "65535:667"),
    ],
)
def test_a_well_known_community_in_numbers_is_the_one_that_exabgp_lists(
    low: int, name: str
) -> None:
    said = replace(TERMS, communities=frozenset({f"65535:{low}"}))
    assert said.attributes("192.0.2.1", "pao").communities == {name}


def test_a_route_that_no_command_could_take_back_is_not_heard_of() -> None:
    assert parse(LISTED.replace("192.0.2.9/32", "192.0.2.9/32\u00e9")) is None


@given(st.text())
def test_a_line_that_is_none_of_ours_moves_nothing(line: str) -> None:
    assert parse("x" + line) is None


@pytest.mark.long
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), _json := lambda c: (
    st.lists(c) | st.dictionaries(st.sampled_from(
        ["type", "neighbor", "address", "peer", "state", "message", "update", "announce",
         "withdraw", "negotiated", "families", "direction", "nlri", "eor", "afi", "fsm"]), c)
)))  # fmt: skip
def test_json_of_any_shape_is_heard_without_harm(value: object) -> None:
    import json

    parse(json.dumps(value))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1/32", "192.0.2.1"),
        ("2001:DB8::1/128", "2001:db8::1"),
        ("192.0.2.0/24", None),
        ("0.0.0.0/0", None),
        ("192.0.2.1/24", None),
        ("fe80::1%eth0/128", None),
        ("2001:db8::1%\u00e9/128", None),
        ("x", None),
    ],
)
def test_only_a_host_route_has_an_address(text: str, address: str | None) -> None:
    assert host(text) == address
