"""The sites' tables: which questions they carry, and that no other one is ever taken for theirs."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from kernelhost import (
    ADDRESSES,
    CLAIM,
    IPV4,
    IPV6,
    Monitor,
    add_link,
    build_host,
    everything,
    ip,
    ours,
)

from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import LAST_RESORT, Claim
from steering.act.kernel.netlink import KernelRefusal, KernelRequest
from steering.act.kernel.state import MANY, KernelReader
from steering.agent.kernel_paths import KernelPaths
from steering.lab.network.links import Spaces, run
from steering.model import LOCAL, Family, Kind, Observation, Outcome, Question, Refused, Round

pytestmark = pytest.mark.lab

PAIRS = {(site, address) for site in CLAIM.sites for address in ADDRESSES}
PAO, FRA = (CLAIM.table + CLAIM.number(site) for site in CLAIM.sites)
MORE = ("192.0.2.77", "2001:db8::77")


@pytest.fixture
def kernel(namespace: None) -> Iterator[KernelActuator]:
    build_host()
    with KernelActuator(CLAIM) as made:
        assert made.prepare(ADDRESSES) == ()
        yield made


@pytest.fixture
def ways(kernel: KernelActuator) -> KernelPaths:
    made = KernelPaths(kernel, acting=True, watched=ADDRESSES)
    made.changed()
    assert led(made) == PAIRS
    return made


def led(ways: KernelPaths, addresses: Iterable[str] = (*ADDRESSES, *MORE)) -> set[tuple[str, str]]:
    """What questions are sent through which site."""
    return {(s, a) for s in CLAIM.sites for a in addresses if ways.leads(s, a)}


def went(addresses: Iterable[str]) -> dict[tuple[str, str], str]:
    """By which gateway `ip` says that questions go, by (path, address); the independent witness."""
    found: dict[tuple[str, str], str] = {}
    for path in (LOCAL, *CLAIM.sites):
        for address in addresses:
            text = run(f"ip -j route get {address} mark {CLAIM.mark_of(path)}", check=False)
            for route in json.loads(text) if text.rstrip().endswith("]") else []:
                found[path, address] = route.get("gateway", "")
    return found


def truly_led(addresses: Iterable[str] = (*ADDRESSES, *MORE)) -> set[tuple[str, str]]:
    hops = CLAIM.next_hops
    return {
        (path, address)
        for (path, address), gateway in went(addresses).items()
        if path != LOCAL and gateway == hops[path][Family.of(address)]
    }


def counted(ways: KernelPaths, address: str, at: float) -> set[str]:
    """Of answers to a question of that time, over all paths: those that are believed."""
    told = tuple(
        Observation(address=address, path=path, outcome=Outcome.SECURE, reached=True)
        for path in (LOCAL, *CLAIM.sites)
    )
    question = Question(zone="com.", name="com.", rdtype="SOA", kind=Kind.SOA)
    item = Round(address=address, question=question, at=at, observations=told)
    return {seen.path for seen in ways.over_their_paths(item).observations}


ALL = {LOCAL, *CLAIM.sites}


def test_they_hold_host_routes_with_an_unreachable_one_behind_each_and_no_default(
    kernel: KernelActuator,
) -> None:
    for site, table in zip(CLAIM.sites, (PAO, FRA), strict=True):
        for family, addresses in (("-4", IPV4), ("-6", IPV6)):
            shown = ip(f"{family} route show table {table}")
            ways = {(r["dst"], r.get("gateway"), r.get("type", "unicast")) for r in shown}
            hop = CLAIM.next_hops[site][Family.of(addresses[0])]
            assert ways == {(a, hop, "unicast") for a in addresses} | {
                (a, None, "unreachable") for a in addresses
            }
            assert len(shown) == len(ways)
            assert {r["metric"] for r in shown if r.get("type")} == {LAST_RESORT}


def test_what_carries_a_mark_and_is_no_watched_address_takes_the_hosts_own_way(
    ways: KernelPaths,
) -> None:
    """As the outer packets of a tunnel to the site do."""
    for path in CLAIM.sites:
        for address, gateway in (("203.0.113.1", "10.255.0.2"), ("2001:db8:f::1", "fd00:ff::2")):
            assert went([address])[path, address] == gateway
            assert not ways.leads(path, address)


@pytest.mark.parametrize("one", [IPV4[3], IPV6[3]])
def test_an_address_without_its_route_is_not_asked_and_the_others_are(
    ways: KernelPaths, kernel: KernelActuator, one: str
) -> None:
    before = time.monotonic()
    assert counted(ways, one, before) == ALL
    version = "-6" if ":" in one else "-4"
    for _ in range(2):
        run(f"ip {version} route del {one} table {PAO}")
    assert went([one])["pao", one] == went([one])[LOCAL, one]
    assert ways.changed()
    assert led(ways) == PAIRS - {("pao", one)} == truly_led()
    assert counted(ways, one, before) == ALL - {"pao"}
    assert counted(ways, one, time.monotonic()) == ALL - {"pao"}
    meanwhile = time.monotonic()
    assert kernel.prepare(ADDRESSES) == ()
    assert ways.changed()
    assert led(ways) == PAIRS
    assert "pao" not in counted(ways, one, meanwhile)
    assert counted(ways, one, time.monotonic()) == ALL


@pytest.mark.parametrize("one", [IPV4[0], IPV6[0]])
def test_a_question_that_is_bound_to_another_link_than_the_sites_is_not_asked(
    ways: KernelPaths, one: str
) -> None:
    """The kernel would send it by that link, for all that the table says."""
    family = socket.AF_INET6 if ":" in one else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, CLAIM.mark_of("pao"))
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        probe.connect((one, 53))
        assert probe.getsockname()[0] in {"10.255.0.1", "fd00:ff::1"}
    assert not ways.leads("pao", one, "eth0")
    assert not ways.leads("pao", one, "nowhere")
    assert ways.leads("pao", one, "bb-pao")
    assert ways.leads(LOCAL, one, "eth0")


@pytest.mark.parametrize("version", ["-4", "-6"])
def test_a_flushed_table_is_seen_before_any_answer_counts(
    ways: KernelPaths, kernel: KernelActuator, version: str
) -> None:
    flushed = IPV4 if version == "-4" else IPV6
    before = time.monotonic()
    run(f"ip {version} route flush table {PAO}")
    assert went(flushed[:1])["pao", flushed[0]] == went(flushed[:1])[LOCAL, flushed[0]]
    assert ways.changed()
    assert led(ways) == PAIRS - {("pao", a) for a in flushed}
    assert counted(ways, flushed[0], before) == ALL - {"pao"}
    assert counted(ways, flushed[0], time.monotonic()) == ALL - {"pao"}
    assert all(ways.leads(LOCAL, a) for a in ADDRESSES)
    assert kernel.prepare(ADDRESSES) == ()


def test_a_table_that_was_flushed_and_filled_again_between_two_looks_is_told_of(
    ways: KernelPaths, kernel: KernelActuator
) -> None:
    before = time.monotonic()
    whole = everything()
    run(f"ip route flush table {PAO}")
    meanwhile = time.monotonic()
    assert kernel.prepare(ADDRESSES) == ()
    assert everything() == whole
    assert ways.changed()
    assert led(ways) == PAIRS
    for at in (before, meanwhile):
        assert counted(ways, IPV4[0], at) == ALL - {"pao"}
    assert counted(ways, IPV4[0], time.monotonic()) == ALL


def test_a_steer_to_another_site_does_not_pass_for_the_route_that_is_missing(
    ways: KernelPaths, kernel: KernelActuator
) -> None:
    kernel.apply({IPV4[0]: "fra", IPV6[0]: "fra"}, ADDRESSES)
    for version, one in (("-4", IPV4[0]), ("-6", IPV6[0])):
        run(f"ip {version} route flush table {PAO}")
        assert went([one])["pao", one] == CLAIM.next_hops["fra"][Family.of(one)]
    ways.changed()
    assert not any(ways.leads("pao", one) for one in ADDRESSES)
    assert all(ways.leads("fra", one) for one in ADDRESSES)


@pytest.mark.parametrize(
    "route",
    [
        f"{IPV4[0]} via 10.255.0.9",
        f"{IPV4[0]} via 10.255.0.9 metric 7",
        f"{IPV6[0]} via fd00:ff::9 metric 7",
        f"blackhole {IPV6[0]} metric 7",
        f"unreachable {IPV4[0]} metric 7",
    ],
)
def test_someone_elses_route_for_an_address_keeps_it_from_being_asked(
    kernel: KernelActuator, ways: KernelPaths, route: str
) -> None:
    one = IPV6[0] if IPV6[0] in route else IPV4[0]
    version = "-6" if ":" in one else "-4"
    for _ in range(2):
        run(f"ip {version} route del {one} table {PAO}")
    run(f"ip {version} route add {route} table {PAO} proto static")
    (trouble, *_) = kernel.prepare(ADDRESSES)
    assert f"{one}/" in trouble.what
    assert "another program's route is there" in trouble.because
    assert [line for line in ours() if f" {one} " in line and f"table {PAO}" in line] == []
    ways.changed()
    assert led(ways) == PAIRS - {("pao", one)} == truly_led()
    run(f"ip {version} route del {route} table {PAO} proto static")
    assert kernel.prepare(ADDRESSES) == ()
    ways.changed()
    assert led(ways) == PAIRS


def test_a_question_through_a_site_whose_link_is_down_fails(
    ways: KernelPaths, kernel: KernelActuator
) -> None:
    run("ip link set bb-pao down")
    for address in (IPV4[0], IPV6[0]):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, CLAIM.mark_of("pao"))
            with pytest.raises(OSError, match=r"(?i)unreachable|no route"):
                probe.connect((address, 53))
    assert ways.changed()
    assert led(ways) == {pair for pair in PAIRS if pair[0] == "fra"}
    troubles = kernel.prepare(ADDRESSES)
    assert [trouble.what for trouble in troubles] == [
        f"add 13 routes via {hop} in table {PAO} ({family})"
        for family, hop in CLAIM.next_hops["pao"].items()
    ]
    run("ip link set bb-pao up")
    run("ip addr replace fd00:ff:1::1/64 dev bb-pao nodad")
    assert kernel.prepare(ADDRESSES) == ()
    assert ways.changed()
    assert led(ways) == PAIRS


def test_other_addresses_are_followed_with_additions_first(
    ways: KernelPaths, kernel: KernelActuator
) -> None:
    others = (ADDRESSES | {*MORE}) - {IPV4[0], IPV6[0]}
    ways.watch(others)  # what a reload does before its first turn
    assert led(ways) == PAIRS - {(s, a) for s in CLAIM.sites for a in (IPV4[0], IPV6[0])}
    with Monitor() as monitor:
        assert kernel.prepare(others) == ()
        monitor.catch_up()
        told = [line for line in monitor.heard() if f"table {PAO}" in line]
    assert [line.startswith("Deleted") for line in told] == 4 * [False] + 4 * [True]
    assert ways.changed()
    assert led(ways) == {(s, a) for s in CLAIM.sites for a in others} == truly_led()
    assert not any(one in line for one in (f" {IPV4[0]} ", f" {IPV6[0]} ") for line in ours())
    assert kernel.withdraw() == ()
    assert ours() == []


def test_what_packets_to_a_site_need_is_in_no_sites_table(kernel: KernelActuator) -> None:
    hops = {hop for both in CLAIM.next_hops.values() for hop in both.values()}
    whole = everything()
    assert kernel.prepare(ADDRESSES | hops | {"ff02::1", "192.0.2.0/24"}) == ()
    assert everything() == whole


def test_the_default_routes_of_an_older_version_go_when_the_host_routes_are_there(
    namespace: None,
) -> None:
    build_host()
    with KernelActuator(CLAIM) as kernel:
        for number, site in enumerate(CLAIM.sites, 1):
            for version, hop in (("-4", Family.IPV4), ("-6", Family.IPV6)):
                way = f"via {CLAIM.next_hops[site][hop]}"
                table = f"table {CLAIM.table + number} proto {CLAIM.protocol}"
                run(f"ip {version} route add default {way} {table}")
                run(f"ip {version} route add unreachable default metric {LAST_RESORT} {table}")
        with Monitor() as monitor:
            assert kernel.prepare(ADDRESSES) == ()
            monitor.catch_up()
            told = [
                line for line in monitor.heard() if "table 535" in line and "lookup" not in line
            ]
        gone = [line.startswith("Deleted") for line in told]
        assert gone == 104 * [False] + 8 * [True]
        ways = KernelPaths(kernel, acting=True, watched=ADDRESSES)
        ways.changed()
        assert led(ways) == PAIRS
        assert not any("default" in line for line in ours())


class Killed(Exception):  # noqa: N818
    """What a kill -9 is to the process that it ends."""


class Mortal(KernelActuator):
    """Dies after so many messages."""

    lives = 0

    def _send(self, orders: Sequence[KernelRequest]) -> tuple[KernelRefusal | None, ...]:
        super()._send(orders[: self.lives])
        raise Killed


@pytest.mark.parametrize("filled", [False, True])
def test_wherever_filling_or_emptying_stops_only_what_goes_by_the_site_is_led(
    namespace: None, filled: bool
) -> None:
    build_host()
    few = {IPV4[0], IPV4[1], IPV6[0], IPV6[1]}
    others = {IPV4[1], IPV6[1], *MORE}
    every = few | others
    with KernelActuator(CLAIM) as kernel, Mortal(CLAIM) as mortal:
        ways = KernelPaths(kernel, acting=True, watched=every)
        for lives in range(0, 34, 3):
            kernel.withdraw()
            if filled:
                kernel.prepare(few)
                kernel.apply({IPV4[1]: "fra", MORE[1]: "fra"}, every)
            mortal.lives = lives
            with pytest.raises(Killed):
                mortal.prepare(others)
            ways.changed()
            assert led(ways, every) == truly_led(every), lives
            kernel.prepare(others)
            with pytest.raises(Killed):
                mortal.withdraw()
            ways.changed()
            assert led(ways, every) == truly_led(every), lives


def test_routes_of_others_are_seen_behind_many_of_ours(kernel: KernelActuator) -> None:
    many = {f"198.18.{i // 250}.{i % 250 + 1}" for i in range(2 * MANY)}
    assert kernel.prepare(many) == ()
    run(f"ip route add 203.0.113.1 via 10.255.0.9 table {PAO} proto static")
    with KernelReader(CLAIM) as another:
        for reader in (kernel, another):
            (trouble,) = reader.foreign()
            assert "203.0.113.1/32" in trouble.what
    lines = "".join(
        f"route add 203.0.{i // 250}.{i % 250} via 10.255.0.9 table {PAO}\n" for i in range(400)
    )
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)
    assert kernel.prepare(many) == ()
    assert "only 256 are checked" in kernel.foreign()[0].because
    run(f"ip route del {max(many)} table {PAO}")  # behind what is looked through
    assert kernel.prepare(many) == ()
    assert len([line for line in ours() if f"table {PAO}" in line]) == 4 * MANY


def test_a_thousand_addresses_are_taken_back_as_well(kernel: KernelActuator) -> None:
    many = {f"2001:db8:1::{i:x}" for i in range(1, 501)}
    many |= {f"198.18.{i // 250}.{i % 250 + 1}" for i in range(500)}
    assert kernel.prepare(many) == ()
    ways = KernelPaths(kernel, acting=True, watched=many)
    ways.changed()
    assert led(ways, many) == {(site, address) for site in CLAIM.sites for address in many}
    assert kernel.withdraw() == ()
    assert ours() == []


def test_questions_alone_have_their_rules_and_lead_where_they_do_beside_the_steers(
    kernel: KernelActuator,
) -> None:
    """What an agent that rehearses puts in, and how it comes and goes beside the rest."""
    questions = [rule for family in Family for rule in CLAIM.questions(family)]
    assert len(questions) == len(Family) * len(CLAIM.sites)
    assert kernel.prepare(ADDRESSES, steering=False) == ()
    alone = ours()
    rules = [line for line in alone if "lookup" in line or "goto" in line or "nop" in line]
    assert len(rules) == len(questions)
    assert all("fwmark 0x4" in line for line in rules)
    ways = KernelPaths(kernel, acting=True, watched=ADDRESSES)
    ways.changed()
    assert led(ways) == PAIRS == truly_led()
    assert kernel.prepare(ADDRESSES) == ()
    assert set(alone) < set(ours()), "what both want stays"
    ways.changed()
    assert led(ways) == PAIRS
    plan = dict.fromkeys(ADDRESSES, "pao")
    kernel.apply(plan, ADDRESSES)
    kernel.apply({}, ADDRESSES)
    assert kernel.prepare(ADDRESSES, steering=False) == ()
    assert ours() == alone
    assert kernel.withdraw() == ()
    assert ours() == []


def with_hops(**hops: str) -> Claim:
    """A claim whose pao is reached by these, by family."""
    pao = {Family(family): to for family, to in hops.items()}
    return replace(CLAIM, next_hops={**CLAIM.next_hops, "pao": pao})


HOPS = [
    {"ipv4": "dev tun0", "ipv6": "dev tun0"},
    {"ipv4": "10.255.1.2", "ipv6": "via fe80::1 dev bb-pao"},
]


@pytest.mark.parametrize("hops", HOPS, ids=["dev", "via and dev"])
def test_a_next_hop_may_be_an_interface_or_need_one(namespace: None, hops: dict[str, str]) -> None:
    build_host()
    add_link(Spaces(), "tun0")
    claim = with_hops(**hops)
    with KernelActuator(claim) as kernel:
        for _ in range(2):
            assert kernel.prepare(ADDRESSES) == ()
            plan = dict.fromkeys(ADDRESSES, "pao")
            assert len(kernel.apply(plan, ADDRESSES)) == len(ADDRESSES)
            assert kernel.apply(plan, ADDRESSES) == ()
            assert kernel.installed() == plan
            whole = everything()
            assert kernel.prepare(ADDRESSES) == ()
            assert everything() == whole
            ways = KernelPaths(kernel, acting=True, watched=ADDRESSES)
            ways.changed()
            assert led(ways) == PAIRS
            link = {int(socket.if_nametoindex("tun0" if "tun0" in hops["ipv4"] else "bb-pao"))}
            assert {ways.link("pao", family) for family in Family} == link
            assert len(kernel.apply(dict.fromkeys(ADDRESSES, "fra"), ADDRESSES)) == len(ADDRESSES)
            assert kernel.withdraw() == ()
            assert ours() == []


def test_an_interface_that_goes_and_comes_back_as_another_one_is_taken_again(
    namespace: None,
) -> None:
    build_host()
    claim = with_hops(ipv4="dev tun0", ipv6="dev tun0")
    fra = {pair for pair in PAIRS if pair[0] == "fra"}
    with KernelActuator(claim) as kernel:
        ways = KernelPaths(kernel, acting=True, watched=ADDRESSES)
        indexes = set()
        for _ in range(3):
            troubles = kernel.prepare(ADDRESSES)
            assert {t.because for t in troubles} == {"there is no interface tun0"}
            results = kernel.apply({IPV4[0]: "pao"}, ADDRESSES)
            assert [r.because for r in results if isinstance(r, Refused)] == [
                "there is no interface tun0"
            ]
            ways.changed()
            assert led(ways) == fra
            add_link(Spaces(), "tun0")
            indexes.add(socket.if_nametoindex("tun0"))
            assert kernel.prepare(ADDRESSES) == ()
            kernel.apply({IPV4[0]: "pao"}, ADDRESSES)
            assert kernel.installed() == {IPV4[0]: "pao"}
            assert ways.changed()
            assert led(ways) == PAIRS
            run("ip link del tun0")
            assert ways.changed()
            assert led(ways) == fra
        assert len(indexes) == 3


def test_another_interface_under_the_name_is_not_taken_for_it(namespace: None) -> None:
    build_host()
    claim = with_hops(ipv4="dev tun0", ipv6="dev tun0")
    add_link(Spaces(), "tun0")
    add_link(Spaces(), "tun1")
    with KernelActuator(claim) as kernel:
        ways = KernelPaths(kernel, acting=True, watched=ADDRESSES)
        assert kernel.prepare(ADDRESSES) == ()
        ways.changed()
        assert led(ways) == PAIRS
        for old, new in (("tun0", "tun9"), ("tun1", "tun0")):
            run(f"ip link set {old} down")
            run(f"ip link set {old} name {new}")
            run(f"ip link set {new} up")
        ways.changed()
        assert led(ways) == {pair for pair in PAIRS if pair[0] == "fra"}
        assert kernel.prepare(ADDRESSES) == ()
        ways.changed()
        assert led(ways) == PAIRS
        assert "dev tun9" not in "".join(ours())
