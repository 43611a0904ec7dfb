"""Every key of `act.bgp` and of the pins: read, and what is wrong is said at its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from etc import TWO_SITES, place

from steering.config import ConfigError, load
from steering.from_config import (
    NOTHING,
    acting_claim_of,
    bgp_settings_of,
    probed_paths,
    rerouted,
)
from steering.model import Family

WHOLE = """\
observe:
  probe:
    pins:
      local: {ipv4: 10.0.0.54, ipv6: "fd00::54"}
      pao: {dscp: 10}
      fra: {ipv4: 10.0.0.55, dscp: 10}
act:
  kernel: off
  bgp:
    local_as: 4200000000
    router_id: 10.0.0.53
    neighbors:
      - {address: 10.0.0.1, peer_as: 64512, port: 1790, password_file: secret, hold_time: 30s}
      - {address: "fd00::1", peer_as: 64513, families: [ipv6], local_address: "fd00::2"}
      - {address: 10.0.0.2, peer_as: 64512, passive: true}
    local_preference: 700
    med: 3
    communities: ["64512:5353"]
    large_communities: ["64512:1:4294967295"]
    no_export: false
    next_hop: {pao: {ipv4: 10.1.0.1}}
    listen: 179
    exabgp: bin/exabgp
    user: speaker
"""
NEIGHBOUR = "neighbors: [{address: 10.0.0.1, peer_as: 1}]"


def written(directory: Path, text: str) -> Path:
    return place(directory, TWO_SITES + text)


def test_every_key_reaches_the_speaker(tmp_path: Path) -> None:
    config = load(written(tmp_path, WHOLE)).config
    terms = bgp_settings_of(config)
    assert terms is not None
    assert terms.local_as == 4200000000
    assert terms.peers[0].password_file == tmp_path / "secret"
    assert (terms.peers[0].port, terms.peers[0].hold_time) == (1790, 30)
    assert terms.peers[1].families == (Family.IPV6,)
    assert terms.peers[1].local_address == "fd00::2"
    assert terms.peers[2].passive
    assert terms.communities == {"64512:5353"}
    assert terms.large_communities == {"64512:1:4294967295"}
    assert terms.exabgp == tmp_path / "bin/exabgp"
    assert (terms.listen, terms.user, terms.med) == (179, "speaker", 3)
    attributes = terms.attributes("192.0.2.1", "pao")
    assert (attributes.next_hop, attributes.local_preference) == ("10.1.0.1", 700)
    assert terms.attributes("2001:db8::1", "pao").next_hop == "fd00:ff:1::2", "the site's own"
    assert acting_claim_of(config) is NOTHING
    paths = {path.name: path for path in probed_paths(None, config)}
    assert paths.keys() == {"local", "pao", "fra"}
    assert (paths["local"].pin.ipv6, paths["pao"].pin.dscp) == ("fd00::54", 10)


@pytest.mark.parametrize(
    ("was", "now", "paths"),
    [
        ("ipv4: 10.255.2.2", "ipv4: 10.255.2.3", {"fra"}),
        ("ipv4: 10.1.0.1", "ipv4: 10.1.0.2", {"pao"}),
        ("pao: {dscp: 10}", "pao: {dscp: 11}", {"pao"}),
        ("fra: {ipv4: 10.0.0.55,", "fra: {ipv4: 10.0.0.56,", {"fra"}),
        ("local: {ipv4: 10.0.0.54,", "local: {ipv4: 10.0.0.57,", {"local"}),
        ("user: speaker", "user: talker", set()),
    ],
)
def test_a_path_announced_or_asked_another_way_is_another_way(
    tmp_path: Path, was: str, now: str, paths: set[str]
) -> None:
    file = written(tmp_path, WHOLE)
    before = load(file).config
    text = file.read_text()
    assert was in text
    file.write_text(text.replace(was, now))
    assert rerouted(before, load(file).config) == paths


def test_routers_that_are_told_the_sites_own_next_hop_are_no_other_way(tmp_path: Path) -> None:
    file = written(tmp_path, "")
    before = load(file).config
    file.write_text(
        f"{TWO_SITES}act: {{bgp: {{local_as: 1, router_id: 10.0.0.53, {NEIGHBOUR}}}}}\n"
    )
    assert rerouted(before, load(file).config) == frozenset()


def test_routes_stay_within_the_neighbours_as_unless_said_otherwise(tmp_path: Path) -> None:
    text = f"act: {{bgp: {{local_as: 1, router_id: 10.0.0.53, {NEIGHBOUR}}}}}"
    terms = bgp_settings_of(load(written(tmp_path, text)).config)
    assert terms is not None
    assert terms.communities == {"no-export"}


@pytest.mark.parametrize(
    ("bgp", "path", "fragment"),
    [
        (f"local_as: 0, {NEIGHBOUR}", "local_as", "1 to 4294967295"),
        (f"local_as: 1, {NEIGHBOUR}, communities: ['1:70000']", "communities[0]", "16 bits"),
        (f"local_as: 1, {NEIGHBOUR}, communities: ['1:2:3']", "communities[0]", "2 numbers"),
        (f"local_as: 1, {NEIGHBOUR}, large_communities: ['1:2']", "large_communities[0]", "3 num"),
        ("local_as: 1, neighbors: []", "neighbors", "at least one"),
        (
            "local_as: 1, neighbors: [{address: 10.0.0.1, peer_as: 1, hold_time: 2s}]",
            "neighbors[0].hold_time",
            "RFC 4271",
        ),
        (
            "local_as: 1, neighbors: [{address: 10.0.0.1, peer_as: 1, hold_time: 3.5s}]",
            "neighbors[0].hold_time",
            "whole seconds",
        ),
        (
            "local_as: 1, neighbors: [{address: 10.0.0.1, peer_as: 1, local_address: '::2'}]",
            "neighbors[0].local_address",
            "neighbour's family",
        ),
        (
            "local_as: 1, neighbors: [{address: 10.0.0.1, peer_as: 1, passive: true}]",
            "listen",
            "a neighbour is passive",
        ),
        (
            "local_as: 1, neighbors: [{address: 10.0.0.1, peer_as: 1}, {address: 10.0.0.1}]",
            "neighbors[1].peer_as",
            "is missing",
        ),
        (
            "local_as: 1, neighbors: [{address: 192.5.6.30, peer_as: 1}]",
            "neighbors[0].address",
            "a router of ours",
        ),
        (f"local_as: 1, {NEIGHBOUR}, next_hop: {{pax: {{ipv4: 10.1.0.1}}}}", "next_hop.pax", "pao"),
        (
            f"local_as: 1, {NEIGHBOUR}, next_hop: {{pao: {{ipv4: 10.255.2.2}}}}",
            "next_hop",
            "already",
        ),
    ],
)
def test_what_is_wrong_is_said_at_its_place(
    tmp_path: Path, bgp: str, path: str, fragment: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, f"act: {{bgp: {{router_id: 10.0.0.53, {bgp}}}}}"))
    found = [p for p in caught.value.problems if p.path.startswith(f"act.bgp.{path}")]
    assert any(fragment in problem.message for problem in found), caught.value.problems


@pytest.mark.parametrize("said", ["", "lax: {ipv4: {dev: tun9}}", "lax: {ipv4: 10.1.0.1}"])
def test_a_next_hop_without_an_address_needs_one_for_the_routers(tmp_path: Path, said: str) -> None:
    announced = f"next_hop: {{{said}}}"
    bgp = f"act: {{bgp: {{local_as: 1, router_id: 10.0.0.53, {NEIGHBOUR}, {announced}}}}}"
    file = written(tmp_path, bgp)
    lax = "  lax: {next_hop: {ipv4: {dev: tun0}}}\n"
    file.write_text(file.read_text().replace("  fra: {", f"{lax}  fra: {{"))
    if said.endswith("10.1.0.1}"):
        assert load(file).config.announced_next_hops["lax"] == {Family.IPV4: "10.1.0.1"}
        return
    wanted = "cannot be announced, wanted an address" if not said else "no address, wanted an IPv4"
    with pytest.raises(ConfigError, match=wanted) as caught:
        load(file)
    assert {problem.path for problem in caught.value.problems} == {"act.bgp.next_hop.lax.ipv4"}


@pytest.mark.parametrize(
    ("pins", "fragment"),
    [
        ("{local: {}}", "pins nothing"),
        ("{pax: {dscp: 1}}", "pax is no path"),
        ("{local: {dscp: 64}}", "1 to 63"),
        ("{local: {dscp: 5}, pao: {dscp: 5}}", "5 pins local already"),
        ("{local: {ipv4: 10.0.0.1}, pao: {ipv4: 10.0.0.1}}", "10.0.0.1 pins local already"),
    ],
)
def test_a_pin_that_pins_nothing_or_two_is_refused(
    tmp_path: Path, pins: str, fragment: str
) -> None:
    with pytest.raises(ConfigError, match=fragment):
        load(written(tmp_path, f"observe: {{probe: {{pins: {pins}}}}}"))


def test_with_bgp_alone_every_path_needs_a_pin(tmp_path: Path) -> None:
    act = f"act: {{kernel: off, bgp: {{local_as: 1, router_id: 10.0.0.53, {NEIGHBOUR}}}}}"
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, f"observe: {{probe: {{pins: {{pao: {{dscp: 4}}}}}}}}\n{act}"))
    said = [p.message for p in caught.value.problems]
    assert [m for m in said if "a pin of local" in m]
    assert [m for m in said if "a pin of fra" in m]
    assert not [m for m in said if "a pin of pao" in m]
