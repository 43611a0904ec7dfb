"""What is wrong with a host is said, in full, before anything is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest
from kernelhost import ADDRESSES, CLAIM, build_host, everything

from steering.act.kernel.actuator import KernelActuator
from steering.act.kernel.claim import Claim
from steering.act.preflight import Blame, Finding, preflight
from steering.lab.network.links import run
from steering.model import Family

pytestmark = pytest.mark.lab


@pytest.fixture
def host(namespace: None) -> None:
    build_host()
    for name in ("all", "eth0", "bb-pao", "bb-fra"):
        Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text("0", encoding="ascii")


def complaints(
    where: Path, addresses: Collection[str] = ADDRESSES, claim: Claim = CLAIM
) -> tuple[Finding, ...]:
    return preflight(claim, addresses, state=where / "state", runtime=where / "run")


def test_a_good_host_has_nothing_to_complain_of(host: None, tmp_path: Path) -> None:
    before = everything()
    assert complaints(tmp_path) == ()
    assert everything() == before
    assert list((tmp_path / "state").iterdir()) == []


def test_what_an_agent_left_installed_is_no_fault(host: None, tmp_path: Path) -> None:
    with KernelActuator(CLAIM) as kernel:
        kernel.prepare(ADDRESSES)
        kernel.apply(dict.fromkeys(ADDRESSES, "pao"), ADDRESSES)
        assert complaints(tmp_path) == ()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("ip route add 203.0.113.1 via 10.255.0.9 table 5353", "203.0.113.1/32 in table 5353"),
        ("ip -6 route add default via fd00:ff::9 table 5355", "::/0 in table 5355"),
        ("ip rule add from 203.0.113.1 lookup main pref 5352", "preference is in our block"),
        ("ip -6 rule add lookup main pref 5354", "preference is in our block"),
        ("ip rule add from 203.0.113.1 lookup 5354 pref 90", "looks up our table 5354"),
        ("ip rule add fwmark 0x40 lookup main pref 90", "catches our mark 0x40"),
        ("ip -6 rule add fwmark 0x1/0x1 lookup main pref 90", "catches our mark 0x41"),
        ("ip rule add fwmark 0x142 lookup 77 pref 90", "0x142/0xffffffff is also our mark 0x42"),
    ],
)
def test_numbers_that_others_use_are_wrong_input(
    host: None, tmp_path: Path, harm: str, says: str
) -> None:
    run(harm)
    (complaint,) = complaints(tmp_path)
    assert complaint.kind is Blame.WRONG_INPUT
    assert says in complaint.message
    assert "tables 5353 to 5355" in complaint.message


def test_rules_of_others_that_meet_none_of_ours_are_no_fault(host: None, tmp_path: Path) -> None:
    run("ip rule add fwmark 0x80000/0xff0000 lookup 52 pref 5210")
    run("ip rule add fwmark 0x4000/0x4000 lookup 52 pref 5211")
    run("ip rule add fwmark 1337 lookup 133 pref 5212")
    run("ip rule add from 203.0.113.1 lookup 52 pref 5355")
    run("ip route add 203.0.113.1 via 10.255.0.9 table 52")
    assert complaints(tmp_path) == ()


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_rule_that_the_kernel_put_before_ours_is_noticed_and_may_stay(
    host: None, tmp_path: Path, family: str
) -> None:
    claim = replace(CLAIM, transit_interfaces=())
    address = "203.0.113.1" if family == "-4" else "2001:db8::1"
    with KernelActuator(claim) as kernel:
        kernel.prepare(ADDRESSES)
        run(f"ip {family} rule add from {address} lookup main")
        assert f"{claim.preferences[0]}:" in run(f"ip {family} rule show from {address}")
        (notice,) = complaints(tmp_path, claim=claim)
        assert notice.kind is Blame.NOTICE
        assert "no rule of ours uses it now" in notice.message
        assert kernel.prepare(ADDRESSES) == kernel.foreign() == kernel.withdraw() == ()
        assert address in run(f"ip {family} rule")
    (needed, *_) = complaints(tmp_path)  # by a claim that has transit interfaces
    assert needed.kind is Blame.WRONG_INPUT
    assert "its preference is in our block" in needed.message


def test_within_a_lease_nothing_of_others_refuses_the_agent(host: None, tmp_path: Path) -> None:
    run("ip rule add from 203.0.113.1 lookup main pref 5352")
    state, runtime = tmp_path / "state", tmp_path / "run"
    (complaint,) = preflight(CLAIM, ADDRESSES, state=state, runtime=runtime, leased=True)
    assert complaint.kind is Blame.NOTICE
    assert "its preference is in our block" in complaint.message


def test_marks_in_bits_of_others_are_noticed_with_their_names(host: None, tmp_path: Path) -> None:
    (notice,) = complaints(tmp_path, claim=replace(CLAIM, mark=0x5353, mask=2**32 - 1))
    assert notice.kind is Blame.NOTICE
    assert "0x5353 to 0x5355 under the mask 0xffffffff share bits" in notice.message
    assert "kube-proxy (0xc000), Cilium (0xf00), Calico (0xffff0000)" in notice.message
    (notice,) = complaints(tmp_path, claim=replace(CLAIM, mark=0x39))
    assert "Istio (0x539)" in notice.message


def test_addresses_that_cannot_be_steered_are_wrong_input(host: None, tmp_path: Path) -> None:
    found = complaints(tmp_path, [*ADDRESSES, "10.255.0.1", "10.255.1.2", "fd00:ff:1::1"])
    assert [complaint.kind for complaint in found] == [Blame.WRONG_INPUT] * 3
    said = "\n".join(map(str, found))
    assert "10.255.0.1 can't be steered: it is one of this host's own addresses" in said
    assert "10.255.1.2 can't be steered: it is the next hop of pao" in said


def test_a_family_that_no_site_carries_is_noticed_once(host: None, tmp_path: Path) -> None:
    hops = {name: {Family.IPV4: hops[Family.IPV4]} for name, hops in CLAIM.next_hops.items()}
    found = complaints(tmp_path, claim=replace(CLAIM, next_hops=hops))
    stranded = sum(":" in address for address in ADDRESSES)
    assert [(complaint.kind, complaint.message) for complaint in found] == [
        (
            Blame.NOTICE,
            f"policies: {stranded} addresses can't be steered: no site has an ipv6 next hop",
        )
    ]


def test_an_interface_to_a_site_that_is_not_there_is_noticed(host: None, tmp_path: Path) -> None:
    hops = {"pao": {Family.IPV4: "dev tun0", Family.IPV6: "via fe80::1 dev bb-pao"}}
    claim = replace(CLAIM, next_hops={**CLAIM.next_hops, **hops})
    (notice,) = complaints(tmp_path, claim=claim)
    assert notice.kind is Blame.NOTICE
    assert "sites.pao.next_hop.ipv4: dev tun0 is on no link of this host now" in notice.message
    run("ip link set bb-pao down")
    run("ip link set bb-pao name tun0")
    run("ip link set tun0 up")
    Path("/proc/sys/net/ipv4/conf/tun0/rp_filter").write_text("1", encoding="ascii")
    said = [complaint.message for complaint in complaints(tmp_path, claim=claim)]
    assert any("next_hop.ipv6: via fe80::1 dev bb-pao is on no link" in text for text in said)
    assert any("rp_filter: tun0 drops packets whose route back leaves" in text for text in said)


def test_a_next_hop_that_is_this_host_is_wrong_input(host: None, tmp_path: Path) -> None:
    run("ip addr add 10.255.1.2/32 dev lo")
    assert any(
        complaint.kind is Blame.WRONG_INPUT and "sites.pao.next_hop.ipv4" in complaint.message
        for complaint in complaints(tmp_path)
    )


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("ip addr del 10.255.2.1/24 dev bb-fra", "sites.fra.next_hop.ipv4: 10.255.2.2 is on no"),
        ("ip -6 addr flush dev bb-pao", "sites.pao.next_hop.ipv6: fd00:ff:1::2 is on no link"),
        ("ip link del bb-pao", "there is no interface bb-pao"),
    ],
)
def test_what_may_still_come_is_only_noticed(
    host: None, tmp_path: Path, harm: str, says: str
) -> None:
    run(harm)
    found = complaints(tmp_path)
    assert {complaint.kind for complaint in found} == {Blame.NOTICE}
    assert any(says in complaint.message for complaint in found)


@pytest.mark.parametrize("where", ["all", "bb-pao", "eth0"])
def test_strict_reverse_path_filters_are_noticed_with_the_remedy(
    host: None, tmp_path: Path, where: str
) -> None:
    Path("/proc/sys/net/ipv4/conf", where, "rp_filter").write_text("1", encoding="ascii")
    found = complaints(tmp_path)
    names = ["bb-fra", "bb-pao", "eth0"] if where == "all" else [where]
    assert [c.message.rpartition(" ")[2] for c in found] == [
        f"net.ipv4.conf.{name}.rp_filter=2" for name in names
    ]
    for name in names:
        Path("/proc/sys/net/ipv4/conf", name, "rp_filter").write_text("2", encoding="ascii")
    assert complaints(tmp_path) == ()


def test_directories_that_cannot_be_written_are_wrong_input(host: None, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file stands here")
    (complaint,) = complaints(tmp_path)
    assert complaint.kind is Blame.WRONG_INPUT
    assert str(tmp_path / "state") in complaint.message


def test_without_the_capability_it_is_not_permitted(host: None, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o500)
    script = (
        "import sys; from pathlib import Path; from kernelhost import ADDRESSES, CLAIM\n"
        "from steering.act.preflight import preflight\n"
        "state, runtime = map(Path, sys.argv[1:])\n"
        "for c in preflight(CLAIM, ADDRESSES, state=state, runtime=runtime):\n"
        "    print(int(c.kind), c)\n"
    )
    done = subprocess.run(
        [
            *("setpriv", "--securebits=+noroot", "--bounding-set=-all", "--inh-caps=-all"),
            *(sys.executable, "-c", script, tmp_path / "state", tmp_path / "run"),
        ],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("3 act.kernel: routes, rules and marked probes need CAP_NET_ADMIN")
    assert second.startswith(f"3 state: {tmp_path}/state: Permission denied")


def test_a_family_without_a_route_is_a_notice(host: None, tmp_path: Path) -> None:
    run("ip -6 route del default")
    (said,) = complaints(tmp_path)
    assert said.kind is Blame.NOTICE
    number = sum(":" in address for address in ADDRESSES)
    assert str(said).startswith(f"policies: this host has no route to their {number} ipv6 address")
