"""Rules of others that come before ours, put in by `ip`: what they take past ours is seen."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from kernelhost import ADDRESSES, CLAIM, IPV4, IPV6, build_host

from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.bypass import Bypasses
from steering.act.kernel.decoding import rule_from
from steering.act.kernel.netlink import QuerySocket
from steering.act.kernel.rtnetlink import GETRULE, rules_of
from steering.act.preflight import Blame, preflight
from steering.agent import kernel_paths as kernel_paths_module
from steering.agent.kernel_paths import KernelPaths
from steering.lab.network.links import run
from steering.lab.waiting import until
from steering.model import LOCAL, Family, Kind, Observation, Outcome, Question, Round

pytestmark = pytest.mark.lab

PLAN = {IPV4[0]: "pao", IPV6[0]: "pao"}
REMOTE = {(site, address) for site in CLAIM.sites for address in ADDRESSES}
FAMILIES = {address: Family.of(address) for address in ADDRESSES}
HERE = "10.255.0.1"
"""What the kernel chooses as the source of packets by the default route."""


@pytest.fixture
def kernel(namespace: None) -> Iterator[KernelActuator]:
    """An agent's rules, and one address of each family steered."""
    build_host()
    with KernelActuator(CLAIM) as made:
        made.prepare(ADDRESSES)
        made.apply(PLAN, ADDRESSES)
        yield made


@pytest.fixture
def ways(kernel: KernelActuator) -> KernelPaths:
    """What an agent makes of it: all is well."""
    made = KernelPaths(kernel, acting=True, watched=ADDRESSES)
    made.changed()
    assert made.installed() == PLAN
    assert made.bypassed == ""
    assert all(made.leads(*pair) for pair in REMOTE)
    return made


def look(ways: KernelPaths) -> KernelPaths:
    """The agent a while later."""
    ways._looked_at = ways._next_look = float("-inf")
    ways.changed()
    return ways


def gateway(address: str, *, source: str | None = None, kind: str = "udp", mark: int = 0) -> str:
    """Where `ip` says that such a packet goes: the independent witness."""
    words = f"ip route get {address} ipproto {kind} sport 40000 dport 53"
    words += f" from {source}" if source else ""
    words += f" mark {mark}" if mark else ""
    found = re.search(r"via (\S+)", run(words))
    return found[1] if found else ""


def only(ways: KernelPaths, *parts: str) -> None:
    """That the alarm names one rule, with these words."""
    assert ways.bypassed.count("comes before ours") == 1, ways.bypassed
    for part in parts:
        assert part in ways.bypassed


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_one_of_many_addresses_whose_questions_a_rule_catches_is_not_asked(
    kernel: KernelActuator, kind: str
) -> None:
    many = {f"198.18.0.{i}": Family.IPV4 for i in range(1, 201)}
    assert kernel.prepare(many) == ()
    run("ip route add default via 10.255.0.9 table 77")
    for one in ("198.18.0.77", "198.18.0.78"):
        assert ("pao", one) in kernel.pinned(many)
        run(f"ip rule add pref 100 to {one} ipproto {kind} dport 53 lookup 77")
        assert gateway(one, kind=kind, mark=CLAIM.mark_of("pao")) == "10.255.0.9"
        found = kernel.pinned(many)
        assert not any((site, one) in found for site in CLAIM.sites)
    assert len(found) == 200 + 198 * len(CLAIM.sites)


def test_a_rule_for_the_source_that_resolvers_have_takes_them_past_the_steers(
    ways: KernelPaths,
) -> None:
    run("ip route add default via 10.255.0.9 table 77")
    run(f"ip rule add pref 100 from {HERE} lookup 77")
    assert gateway(IPV4[0], source=HERE) == "10.255.0.9"
    ways.sources = [HERE, "fd00:ff::1"]
    look(ways)
    only(
        ways,
        f"`100: from {HERE} lookup 77` (ipv4)",
        f"every ipv4 address (UDP from {HERE}) bypass the steers",
        "`act.kernel.priority: 98` or less",
        "(5355 or more)",
    )
    assert ways.installed() == {IPV6[0]: "pao"}
    assert ways.past_steers() == set(IPV4)
    assert "probes through fra, pao" in ways.bypassed  # where they have the same source
    run("ip rule del pref 100")
    assert look(ways).bypassed == ""
    assert ways.installed() == PLAN


def test_a_socket_bound_to_no_source_takes_that_of_the_detour_and_is_not_caught(
    ways: KernelPaths,
) -> None:
    run("ip route add default via 10.255.0.9 table 77")
    run(f"ip rule add pref 100 from {HERE} lookup 77")
    assert gateway(IPV4[0]) == "10.255.1.2"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.connect((IPV4[0], 53))
        assert resolver.getsockname()[0] == "10.255.1.1"
    only(look(ways), f"packets from {HERE} bypass the steers: if resolvers send such packets")
    assert ways.installed() == PLAN
    assert all(ways.leads(*pair) for pair in REMOTE)
    run("ip rule add pref 101 from 10.255.1.1 lookup 77")  # now it is
    look(ways)
    assert f"packets to {IPV4[0]} (UDP from 10.255.1.1) bypass the steers" in ways.bypassed
    assert "probes through pao to every ipv4 address take another path" in ways.bypassed
    assert ways.installed() == {IPV6[0]: "pao"}
    assert not ways.leads("pao", IPV4[0])
    assert ways.leads("fra", IPV4[0])


def test_where_the_resolvers_have_another_source_it_is_no_concern_of_theirs(
    ways: KernelPaths,
) -> None:
    run("ip addr add 10.255.0.53/24 dev eth0")
    run("ip route add default via 10.255.0.9 table 77")
    run("ip rule add pref 100 from 10.255.0.53 lookup 77")
    look(ways)
    only(ways, "from 10.255.0.53 bypass the steers: if resolvers send such packets")
    assert ways.installed() == PLAN  # whether they do is not known
    ways.sources = [HERE]
    assert look(ways).bypassed == ""
    ways.sources = ["10.255.0.53"]
    look(ways)
    assert ways.installed() == {IPV6[0]: "pao"}


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_rule_for_dns_takes_the_questions_too_and_is_named(ways: KernelPaths, kind: str) -> None:
    for ip, hop in (("ip", "10.255.0.9"), ("ip -6", "fd00:ff::9")):
        run(f"{ip} route add default via {hop} table 78")
        run(f"{ip} rule add pref 100 ipproto {kind} dport 53 lookup 78")
    assert gateway(IPV4[1], kind=kind, mark=CLAIM.mark_of("pao")) == "10.255.0.9"
    look(ways)
    assert ways.bypassed.count(f"`100: from all ipproto {kind} dport 53 lookup 78`") == 2
    assert "probes through fra, pao to every ipv6 address take another path" in ways.bypassed
    assert ways.installed() == {}
    assert not any(ways.leads(*pair) for pair in REMOTE)
    assert ways.leads(LOCAL, IPV4[0])  # the local path is what the host's own rules make it
    now = time.monotonic()
    assert ways.unasked(now) == ""
    said = ways.unasked(now + kernel_paths_module.UNPROBED)
    assert "no site can be probed over ipv4" in said
    assert (
        f"pao, fra: another program's rule `100: from all ipproto {kind} dport 53 lookup 78`"
        in said
    )


def test_tailscales_rule_matters_once_its_table_leads_there(ways: KernelPaths) -> None:
    """Its table 52 has its own peers; with an exit node a default route (tailscale#12667)."""
    run("ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main")
    run("ip rule add pref 5270 lookup 52")
    run("ip route add 100.64.0.0/10 via 10.255.0.9 table 52")
    run("ip route add throw 10.0.0.0/8 table 52")
    assert look(ways).bypassed == ""
    assert ways.installed() == PLAN
    run("ip route add default via 10.255.0.9 table 52")
    look(ways)
    only(ways, "`5270: from all lookup 52` (ipv4)", "probes through fra, pao")
    assert ways.installed() == {IPV6[0]: "pao"}
    assert {p for p in REMOTE if ways.leads(*p)} == {(s, a) for s in CLAIM.sites for a in IPV6}


def test_wireguards_inverted_mark_catches_all_but_its_own_packets(ways: KernelPaths) -> None:
    """What `wg-quick up` with AllowedIPs = 0.0.0.0/0 does; the preferences are the kernel's."""
    run("ip route add default via 10.255.0.9 table 51820")
    run("ip rule add not fwmark 51820 table 51820")
    run("ip rule add table main suppress_prefixlength 0")
    look(ways)
    only(ways, "not from all fwmark 0xca6c lookup 51820` (ipv4)", "probes through fra, pao")
    assert ways.installed() == {IPV6[0]: "pao"}
    assert not preflight_words(ways, Blame.WRONG_INPUT)


def test_looking_up_the_main_table_first_but_for_its_default_is_harmless(ways: KernelPaths) -> None:
    run("ip rule add pref 90 table main suppress_prefixlength 0")
    assert look(ways).bypassed == ""
    run(f"ip route add {IPV4[0]} via 10.255.0.9")
    only(look(ways), "`90: from all lookup main suppress_prefixlength 0`", IPV4[0])
    assert ways.past_steers() == {IPV4[0]}
    assert ways.installed() == {IPV6[0]: "pao"}


@pytest.mark.parametrize(
    "rule",
    [
        "pref 1000 l3mdev",  # what a VRF brings; nothing of ours is in one
        "pref 100 lookup 77",  # a table without a route
        "pref 100 iif eth0 lookup 78",
        "pref 100 oif eth0 lookup 78",
        "pref 100 from 10.9.9.9 lookup 78",  # a pod's
        "pref 100 to 10.9.9.9 lookup 78",
        "pref 100 uidrange 4000000-4000001 ipproto udp dport 443 lookup 78",
        "pref 100 fwmark 0x80000/0xff0000 lookup 78",
        "pref 100 nop",
        "pref 100 goto 90000",
        "pref 100 goto 5000",
        "pref 5400 lookup 78",
        "pref 100 tos 0x10 lookup 78",
        "pref 100 ipproto icmp unreachable",
        "pref 100 lookup local",
    ],
)
def test_harmless_rules_are_passed_over(ways: KernelPaths, rule: str) -> None:
    run("ip route add default via 10.255.0.9 table 78")
    run("ip rule add pref 5000 nop")
    run(f"ip rule add {rule}")
    assert look(ways).bypassed == ""
    assert ways.installed() == PLAN
    assert all(ways.leads(*pair) for pair in REMOTE)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("pref 100 goto 6000", "100: from all goto 6000"),
        ("pref 100 prohibit", "100: from all prohibit"),
        ("pref 100 ipproto udp unreachable", "100: from all ipproto udp unreachable"),
        ("pref 100 dport 50-60 blackhole", "100: from all dport 50-60 blackhole"),
        ("pref 100 lookup 79", "100: from all lookup 79"),
        ("pref 100 iif lo lookup 78", "100: from all iif lo lookup 78"),
        (f"pref 100 not to {IPV4[0]} lookup 78", f"100: not from all to {IPV4[0]} lookup 78"),
        ("pref 100 sport 1024-65534 lookup 78", "100: from all sport 1024-65534 lookup 78"),
    ],
)
def test_rules_that_jump_refuse_or_select_oddly_are_seen(
    ways: KernelPaths, rule: str, says: str
) -> None:
    run("ip route add default via 10.255.0.9 table 78")
    run("ip route add unreachable default table 79")
    run("ip rule add pref 6000 nop")
    run(f"ip rule add {rule}")
    only(look(ways), f"`{says}` (ipv4)")


@pytest.mark.parametrize(
    ("rule", "of"),
    [
        ("uidrange 4000000-4000001 lookup 78", "of user 4000000"),
        ("sport 2000-2999 lookup 78", "from port 2000-2999"),
    ],
)
def test_what_may_be_a_resolvers_is_said_and_holds_nothing_back(
    ways: KernelPaths, rule: str, of: str
) -> None:
    run("ip route add default via 10.255.0.9 table 78")
    run(f"ip rule add pref 100 {rule}")
    only(look(ways), f"packets {of} bypass the steers: if resolvers send such packets")
    assert ways.installed() == PLAN
    assert ways.past_steers() == set()


def test_what_was_asked_while_one_address_was_caught_does_not_count(ways: KernelPaths) -> None:
    run("ip route add default via 10.255.0.9 table 78")
    run(f"ip rule add pref 100 to {IPV4[0]} lookup 78")
    look(ways)
    assert not ways.leads("pao", IPV4[0])
    assert ways.leads("pao", IPV4[1])
    for address, count in ((IPV4[0], 1), (IPV4[1], 3)):
        told = tuple(
            Observation(address=address, path=path, outcome=Outcome.SECURE)
            for path in (LOCAL, "pao", "fra")
        )
        question = Question(zone="com.", name="com.", rdtype="SOA", kind=Kind.SOA)
        item = Round(address=address, question=question, at=time.monotonic(), observations=told)
        assert len(ways.over_their_paths(item).observations) == count


def test_check_says_so_before_anything_is_installed(ways: KernelPaths) -> None:
    run("ip route add default via 10.255.0.9 table 52")
    run("ip rule add pref 5270 lookup 52")
    (said,) = preflight_words(ways, Blame.NOTICE)
    assert said.startswith("act.kernel: the rule `5270: from all lookup 52` (ipv4) comes before")


def preflight_words(ways: KernelPaths, kind: Blame) -> list[str]:
    where = Path("/tmp")
    assert ways._reader is not None
    found = preflight(ways._reader.claim, ADDRESSES, state=where, runtime=where, create=False)
    return [str(c) for c in found if c.kind is kind and str(c).startswith("act.kernel")]


def test_priority_below_the_rule_is_the_remedy(kernel: KernelActuator) -> None:
    run("ip route add default via 10.255.0.9 table 52")
    run("ip rule add pref 5270 lookup 52")
    said = kernel.bypasses(ADDRESSES).texts()[0]
    found = re.search(r"`act.kernel.priority: (\d+)`", said)
    assert found
    kernel.withdraw()
    with KernelActuator(replace(CLAIM, priority=int(found[1]))) as other:
        other.prepare(ADDRESSES)
        other.apply(PLAN, ADDRESSES)
        assert other.bypasses(ADDRESSES) == Bypasses(claim=other.claim)
        assert {pair for pair in other.pinned(FAMILIES) if pair[0] != LOCAL} == REMOTE
        assert gateway(IPV4[0]) == "10.255.1.2"


def test_rules_are_told_as_ip_prints_them(namespace: None) -> None:
    run("ip link set lo up")
    for rule in (
        "pref 99 not from 10.0.0.0/8 to 192.0.2.0/24 tos 0x10 fwmark 0x1/0xff iif lo lookup 77",
        "pref 100 oif eth0 uidrange 5-9 ipproto udp sport 1000-2000 dport 53 lookup 77",
        "pref 101 from 10.1.1.1 lookup main suppress_prefixlength 8",
        "pref 102 goto 200",
        "pref 103 prohibit to 1.1.1.1",
        "pref 104 l3mdev",
        "pref 105 fwmark 0/0xff blackhole",
        "pref 106 fwmark 0x80000/0xff0000 lookup 52",
        "pref 107 tun_id 7 unreachable",
        "pref 108 nop",
        "pref 109 iif nothere lookup 7",
    ):
        run(f"ip rule add {rule}")
    run("ip -6 rule add pref 100 from fd00::/8 dport 53-55 ipproto tcp lookup 77")
    for family, ip in ((Family.IPV4, "ip"), (Family.IPV6, "ip -6")):
        with QuerySocket() as asking:
            rules = [rule_from(body) for body in asking.dump(GETRULE, rules_of(family))]
        printed = run(f"{ip} rule").splitlines()
        assert [str(rule) for rule in rules] == [
            line.replace(":\t", ": ").strip() for line in printed
        ]


def test_rules_that_come_and_go_are_noticed(ways: KernelPaths) -> None:
    run("ip route add default via 10.255.0.9 table 52")
    run("ip rule add pref 5270 lookup 52")
    until(lambda: (ways.changed(), "5270" in ways.bypassed)[1], within=5)
    run("ip rule del pref 5270")
    until(lambda: (ways.changed(), not ways.bypassed)[1], within=5)


def test_a_flood_of_others_rules_is_looked_at_once_a_second(
    ways: KernelPaths, kernel: KernelActuator, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    read = kernel.pinned

    def pinned(
        addresses: Mapping[str, Family], sources: Collection[str] = ()
    ) -> Mapping[tuple[str, str], int | None]:
        looks.append(time.monotonic())
        return read(addresses, sources)

    monkeypatch.setattr(kernel, "pinned", pinned)
    begun = time.monotonic()
    changes = 0
    while time.monotonic() - begun < 2.5:
        run("ip rule add pref 6000 from 10.9.9.9 lookup 77")
        run("ip rule del pref 6000")
        changes += 2
        ways.changed()
    assert changes > 20
    assert 1 <= len(looks) <= 4
    # A rule of ours that goes is seen at once all the same.
    run("ip rule del pref 5353")
    until(ways.changed, within=0.5)


def test_without_a_default_route_or_the_main_tables_rule_no_local_question_leaves(
    ways: KernelPaths,
) -> None:
    run("ip route del default")
    assert not look(ways).leads(LOCAL, IPV4[0])
    assert ways.leads(LOCAL, IPV6[0])
    run("ip -6 rule del pref 32766")
    assert not look(ways).leads(LOCAL, IPV6[0])
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe,
        pytest.raises(OSError, match="unreachable"),
    ):
        probe.connect((IPV6[1], 53))
    assert all(ways.leads(*pair) for pair in REMOTE)
