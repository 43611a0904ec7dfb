"""`steering check --sites` against real kernels, routers and name servers: each reason once."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from stage import FEW, QUICK, Stage, everything, ours

from steering.lab.network.links import End
from steering.lab.network.sandbox import PYTHON, find
from steering.lab.network.topology import EDGE, ISP, Topology
from steering.lab.scene import Scene, Settings
from steering.model import LOCAL, Family
from steering.sitecheck.temporary_rules import LEASE, NAME

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(find("nft") is None, reason="the program nft (nftables) is not installed"),
]

OWN = {Family.IPV4: "10.53.0.1", Family.IPV6: "fd53::1"}
FAILED, NOT_PERMITTED = 1, 3


@contextmanager
def world(settings: Settings = QUICK, *, sites: Sequence[str] = ("pao", "fra")) -> Iterator[Stage]:
    """Name servers behind every path, and nothing else on the edge host."""
    if lacks := Topology.missing():
        pytest.skip("; ".join(lacks))
    with Scene(nameservers=FEW, sites=sites, count=60) as scene:
        scene.serve()
        scene.configure(settings)
        yield Stage(scene)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One for all cases that leave it as they found it."""
    with world() as stage:
        yield stage


def check(
    stage: Stage, *words: str, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    argv = [*prefix, PYTHON, "-m", "steering", "check", "--sites", *words]
    return stage.scene.world.run(EDGE, [*argv, "--config", str(stage.scene.config)], check=False)


def asked(stage: Stage, code: int, *words: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What was found with temporary rules, by path, family and source; they are gone."""
    done = check(stage, "--json", "--temporary-rules", *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert ours(stage) == []
    rows = json.loads(done.stdout)["paths"]
    return {(row["path"], row["family"], row["source"]): row for row in rows}


def states(found: dict[tuple[str, str, str], dict[str, Any]]) -> dict[str, set[str]]:
    """By path, what is said of UDP, TCP and large answers of both families."""
    said: dict[str, set[str]] = {}
    for (path, _, _), row in found.items():
        for kind in ("udp", "tcp", "large"):
            said.setdefault(f"{path} {kind}", set()).add(row[kind]["state"])
    return said


def well(*paths: str) -> dict[str, set[str]]:
    return {f"{path} {kind}": {"ok"} for path in paths for kind in ("udp", "tcp", "large")}


def with_firewall(stage: Stage, namespace: str, rules: str) -> None:
    script = f"table inet harm {{\nchain c {{\ntype filter {rules}\n}}\n}}\n"
    stage.scene.world.run(namespace, ["nft", "-f", "-"], stdin=script)


@contextmanager
def filtered(stage: Stage, namespace: str, rules: str) -> Iterator[None]:
    """A firewall at a router."""
    with_firewall(stage, namespace, f"hook forward priority 0; policy accept;\n{rules}")
    try:
        yield
    finally:
        stage.scene.world.run(namespace, ["nft", "delete", "table", "inet", "harm"])


# --- what is well, and the rules ------------------------------------------------------------


def test_where_no_agent_runs_nothing_is_put_in_without_a_word(stage: Stage) -> None:
    before = everything(stage)
    done = check(stage)
    assert done.returncode == FAILED
    assert "no agent answers, without rules for pao, fra" in done.stdout
    assert "--temporary-rules" in done.stdout
    assert everything(stage) == before
    assert states_of_local(stage) == well(LOCAL)


def states_of_local(stage: Stage) -> dict[str, set[str]]:
    rows = json.loads(check(stage, "--json").stdout)["paths"]
    found = {(row["path"], row["family"], row["source"]): row for row in rows}
    return {key: said for key, said in states(found).items() if key.startswith(LOCAL)}


def test_temporary_rules_ask_over_every_site_and_are_gone(stage: Stage) -> None:
    before = everything(stage)
    assert states(asked(stage, 0)) == well(LOCAL, "pao", "fra")
    assert everything(stage) == before
    assert not (stage.scene.world.work / "run" / NAME).exists()
    text = check(stage, "--temporary-rules").stdout
    assert max(map(len, text.splitlines())) <= 80
    print(text)


def test_the_rules_of_an_agent_that_runs_are_used_and_left_as_they_are() -> None:
    with world() as stage:
        stage.scene.start_agent()
        before = ours(stage)
        done = check(stage, "--temporary-rules", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        said = json.loads(done.stdout)
        assert (said["agent"], said["rules"]) == (True, "by the rules that are there")
        assert {row["path"] for row in said["paths"]} == {LOCAL, "pao", "fra"}
        assert ours(stage) == before


def test_a_host_that_is_switched_off_gets_no_rules(stage: Stage) -> None:
    before = everything(stage)
    stage.scene.steering("off", check=True)
    try:
        done = check(stage, "--temporary-rules")
        assert (done.returncode, done.stdout) == (FAILED, "")
        assert "switched off" in done.stderr
        assert everything(stage) == before
    finally:
        stage.scene.steering("on", check=True)


def test_it_takes_a_privilege_and_says_which(stage: Stage) -> None:
    done = check(stage, prefix=["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"])
    assert done.returncode == NOT_PERMITTED
    assert "CAP_NET_ADMIN" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_killed_in_the_middle_it_leaves_nothing_for_longer_than_its_lease(
    how: signal.Signals,
) -> None:
    with world() as stage:
        before = everything(stage)
        stage.scene.world.blackhole("pao")
        argv = [PYTHON, "-m", "steering", "check", "--sites", "--temporary-rules"]
        program = stage.scene.world.start(EDGE, [*argv, "--config", str(stage.scene.config)])
        stage.until(lambda: len(ours(stage)), 30.0, wanted=20)
        program.signal(how)
        program.wait(10.0)
        if how is signal.SIGKILL:
            assert len(ours(stage)) == 20
            stage.sh("for f in -4 -6; do while ip $f rule del pref 5352; do :; done; done")
            again = check(stage, "--temporary-rules")
            assert again.returncode == FAILED
            assert "a lease is in force" in again.stderr
        within = LEASE + 20.0 if how is signal.SIGKILL else 0.0
        stage.until(lambda: ours(stage), within, wanted=[], every=0.2)
        assert everything(stage) == before


def guards(stage: Stage) -> list[str]:
    """The directories that guards look at, each of a process of its own."""
    said = stage.sh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
    named = [words.split() for words in said.split("steering.act.guard ")[1:]]
    return [next(word for word in words if word.startswith("/")) for words in named]


def test_an_agent_gives_way_to_temporary_rules_and_takes_over_what_a_killed_check_left() -> None:
    with world() as stage:
        scene = stage.scene
        scene.world.blackhole("pao")
        argv = [PYTHON, "-m", "steering", "check", "--sites", "--temporary-rules"]
        program = scene.world.start(EDGE, [*argv, "--config", str(scene.config)])
        stage.until(lambda: len(ours(stage)), 30.0, wanted=20)
        early = scene.start_agent(ready=False)
        assert early.wait(20.0) == FAILED
        assert "another agent runs" in scene.log.read_text()
        assert len(ours(stage)) == 20
        program.signal(signal.SIGKILL)
        program.wait(10.0)

        scene.start_agent()
        run = str(scene.world.work / "run")
        stage.until(lambda: guards(stage), 30.0, wanted=[run])
        fra = str(scene.world.paths["fra"].next_hop[Family.IPV4])
        assert any(fra in line for line in ours(stage))
        stage.await_alarm("kernel", there=False)


def test_off_takes_temporary_rules_out_and_the_check_puts_none_back() -> None:
    with world() as stage:
        before = everything(stage)
        stage.scene.world.blackhole("pao")
        argv = [PYTHON, "-m", "steering", "check", "--sites", "--temporary-rules"]
        program = stage.scene.world.start(EDGE, [*argv, "--config", str(stage.scene.config)])
        stage.until(lambda: len(ours(stage)), 30.0, wanted=20)
        stage.scene.steering("off", check=True)
        assert ours(stage) == []
        assert program.wait(40.0) == FAILED
        assert everything(stage) == before
        stage.until(lambda: guards(stage), 10.0, wanted=[])


# --- each reason ----------------------------------------------------------------------------


def reason(found: dict[tuple[str, str, str], dict[str, Any]], path: str, family: Family) -> str:
    (because,) = {
        row["udp"]["because"] for (p, f, _), row in found.items() if (p, f) == (path, family)
    }
    return str(because)


def test_a_far_side_that_does_not_know_the_resolvers_source() -> None:
    """What the kernel chooses is asked beside it, and is answered: so that is what is missing."""
    more = "resolver_sources: {" + ", ".join(f"{f}: ['{OWN[f]}']" for f in Family) + "}"
    with world(replace(QUICK, more=more), sites=("pao",)) as stage:
        scene = stage.scene
        scene.world.ip_batch(EDGE, [f"addr add {a}/{f.bits} dev lo" for f, a in OWN.items()])
        ends = scene.world.paths[LOCAL].link(1)
        scene.world.ip_batch(ISP, [f"route add {a}/{f.bits} via {ends[f]}" for f, a in OWN.items()])
        found = asked(stage, FAILED)
        assert set(found) == {(path, f, OWN[f]) for path in (LOCAL, "pao") for f in Family}
        for family in Family:
            assert found[LOCAL, family, OWN[family]]["udp"]["state"] == "ok"
            lost = found["pao", family, OWN[family]]
            assert lost["udp"]["state"] == "no answer"
            chosen = "10.255.1.1" if family is Family.IPV4 else "fd00:ff:1::1"
            assert f"{chosen} gets answers to the same question" in lost["udp"]["because"]


def test_a_path_that_drops_tcp(stage: Stage) -> None:
    with filtered(stage, "pao", "tcp dport 53 drop"):
        found = asked(stage, FAILED)
    assert states(found)["pao tcp"] == {"no answer"}
    assert states(found)["pao udp"] == {"ok"}
    assert states(found)["fra tcp"] == {"ok"}
    assert "by UDP it is answered" in found["pao", "ipv4", "kernel"]["tcp"]["because"]


def test_a_path_that_drops_large_packets(stage: Stage) -> None:
    with filtered(stage, "pao", "meta length > 560 drop"):
        found = asked(stage, FAILED)
    assert states(found) == well(LOCAL, "pao", "fra") | {"pao large": {"mtu"}}
    assert "1500" in found["pao", "ipv4", "kernel"]["large"]["because"]


def test_a_path_that_drops_full_segments(stage: Stage) -> None:
    """As a tunnel does whose end says nothing of it: all UDP passes, being kept small."""
    with filtered(stage, "pao", "meta length > 1300 drop"):
        found = asked(stage, FAILED)
    assert states(found) == well(LOCAL, "pao", "fra") | {"pao large": {"mtu"}}
    assert "in segments of up to 1448" in found["pao", "ipv4", "kernel"]["large"]["because"]


def test_strict_reverse_path_filtering(stage: Stage) -> None:
    stage.sh("sysctl -qw net.ipv4.conf.bb-pao.rp_filter=1 net.ipv4.conf.all.rp_filter=1")
    try:
        found = asked(stage, FAILED)
    finally:
        stage.sh("sysctl -qw net.ipv4.conf.bb-pao.rp_filter=2 net.ipv4.conf.all.rp_filter=2")
    row = found["pao", "ipv4", "kernel"]
    assert {row["udp"]["state"], row["tcp"]["state"]} == {"rp_filter"}
    assert "the route back to 192." in row["udp"]["because"]
    assert "leaves by isp" in row["udp"]["because"]
    assert found["pao", "ipv6", "kernel"]["udp"]["state"] == "ok"
    assert found["fra", "ipv4", "kernel"]["udp"]["state"] == "ok"  # its own setting is 2


def test_a_link_that_is_down_has_no_route(stage: Stage) -> None:
    stage.scene.world.link_down("pao")
    try:
        found = asked(stage, FAILED)
    finally:
        stage.scene.world.link_up("pao")
    said = states(found)
    assert (said["pao udp"], said["pao tcp"]) == ({"no route"}, {"no route"})
    assert said["fra udp"] == {"ok"}


def test_a_next_hop_that_is_not_there() -> None:
    with world() as stage:
        config = stage.scene.config
        text = config.read_text()
        for hop, nobody in (("10.255.1.2", "10.255.1.77"), ("fd00:ff:1::2", "fd00:ff:1::77")):
            assert hop in text
            text = text.replace(hop, nobody)
        config.write_text(text)
        found = asked(stage, FAILED)
        assert states(found)["pao udp"] == {"next hop"}
        assert "10.255.1.77 on bb-pao does not answer ARP" in reason(found, "pao", Family.IPV4)
        assert "neighbour discovery" in reason(found, "pao", Family.IPV6)


def test_a_rule_of_somebody_else_that_comes_first(stage: Stage) -> None:
    rule = "pref 100 ipproto udp dport 53 lookup main"
    stage.sh(f"ip rule add {rule}; ip -6 rule add {rule}")
    try:
        found = asked(stage, FAILED)
    finally:
        stage.sh(f"ip rule del {rule}; ip -6 rule del {rule}")
    assert states(found)["pao udp"] == states(found)["fra udp"] == {"other rule"}
    assert "`100: from all ipproto udp dport 53 lookup main`" in reason(found, "pao", Family.IPV4)
    assert states(found)["local udp"] == {"ok"}


def test_an_answer_from_another_address(stage: Stage) -> None:
    rules = "ip saddr 192.0.0.0/8 udp sport 53 ip saddr set 198.51.100.9"
    with filtered(stage, "pao", rules):
        found = asked(stage, FAILED)
    assert found["pao", "ipv4", "kernel"]["udp"]["state"] == "nat"
    assert "198.51.100.9, port 53" in reason(found, "pao", Family.IPV4)


def test_a_port_that_is_refused(stage: Stage) -> None:
    with filtered(stage, "pao", "udp dport 53 reject\ntcp dport 53 reject with tcp reset"):
        found = asked(stage, FAILED)
    assert states(found)["pao udp"] == states(found)["pao tcp"] == {"refused"}
    assert "10.255.1.2: port unreachable" in reason(found, "pao", Family.IPV4)


def test_a_firewall_of_this_host(stage: Stage) -> None:
    rule = 'oifname "bb-pao" udp dport 53 drop'
    with_firewall(stage, EDGE, f"hook output priority 0; policy accept;\n{rule}")
    try:
        found = asked(stage, FAILED)
    finally:
        stage.sh("nft delete table inet harm")
    assert states(found)["pao udp"] == {"firewall"}


def test_answers_that_come_back_by_the_uplink() -> None:
    with world(sites=("pao",)) as stage:
        scene = stage.scene
        scene.world.link(End("pao", "peer", ("10.77.0.1/24",)), End(ISP, "peer", ("10.77.0.2/24",)))
        scene.world.ip("pao", "route", "add", "10.255.1.1/32", "via", "10.77.0.2")
        scene.world.ip(ISP, "route", "add", "10.255.1.1/32", "via", "10.255.0.1")
        found = asked(stage, FAILED)
        assert found["pao", "ipv4", "kernel"]["udp"]["state"] == "other way"
        assert "came in by isp, not by bb-pao" in reason(found, "pao", Family.IPV4)
        assert found["pao", "ipv6", "kernel"]["udp"]["state"] == "ok"

        config = scene.config
        config.write_text(config.read_text().replace("pao: {", "pao: {return: any, ", 1))
        found = asked(stage, 0)
        assert found["pao", "ipv4", "kernel"]["udp"]["state"] == "ok"
