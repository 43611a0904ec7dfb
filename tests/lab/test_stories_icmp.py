"""A router that says that it can't is as good as silent; what our own host refuses is ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from stage import Kernel, Stage, on_stage

from steering.lab.addresses import GTLD_SERVERS
from steering.lab.network.sandbox import PYTHON, find
from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab

THREE = {name: GTLD_SERVERS[name] for name in list(GTLD_SERVERS)[:3]}
DEAD = THREE["b.gtld-servers.net."]
FAR = "auth-local"
"""Where the instance was, there is a router behind the provider's now."""

PROHIBITED, REFUSED = "administratively prohibited", "port unreachable"

Fail = Callable[[Stage], None]


def far(stage: Stage, command: str) -> None:
    stage.scene.world.run(FAR, ["sh", "-ec", command])


def table(stage: Stage, namespace: str, hook: str, rules: Sequence[str]) -> None:
    if not find("nft"):
        pytest.skip("the program nft (package nftables) is not installed")
    stage.scene.world.run(
        namespace,
        ["nft", "-f", "-"],
        stdin=f"table inet lab {{\nchain said {{\ntype filter hook {hook} priority 0;\n"
        + "\n".join(rules)
        + "\n}\n}\n",
    )


def _gone(stage: Stage) -> None:
    """The host behind the far router is not there any more; few errors are rationed."""
    far(
        stage,
        "echo 0 >/proc/sys/net/ipv4/icmp_ratelimit; echo 0 >/proc/sys/net/ipv6/icmp/ratelimit",
    )
    for address in DEAD:
        far(stage, f"ip addr del {address}/{Family.of(address).bits} dev lo")


def _unreachable(stage: Stage) -> None:
    _gone(stage)
    for address in DEAD:
        far(stage, f"ip route add unreachable {address}")


def _prohibited(stage: Stage) -> None:
    four, six = DEAD
    rules = (
        f"ip daddr {four} reject with icmp type admin-prohibited",
        f"ip6 daddr {six} reject with icmpv6 type admin-prohibited",
    )
    table(stage, FAR, "forward", rules)
    _gone(stage)


def _port_unreachable(stage: Stage) -> None:
    rules = [f"{'ip6' if ':' in a else 'ip'} daddr {a} reject" for a in DEAD]
    table(stage, FAR, "forward", rules)
    _gone(stage)


def _back(stage: Stage) -> None:
    for address in DEAD:
        far(
            stage,
            f"ip route del unreachable {address} 2>/dev/null || true;"
            f"ip addr add {address}/{Family.of(address).bits} dev lo",
        )


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        pytest.param(_unreachable, ("host unreachable", "no route"), id="unreachable"),
        pytest.param(_prohibited, (PROHIBITED, PROHIBITED), id="prohibited"),
        pytest.param(_port_unreachable, (REFUSED, REFUSED), id="port-unreachable"),
    ],
)
def test_a_nameserver_whose_router_says_that_it_is_gone_is_as_dead_as_a_silent_one(
    fail: Fail, words: tuple[str, str]
) -> None:
    said = dict(zip(DEAD, words, strict=True))
    with on_stage(nameservers=THREE) as stage:
        fail(stage)
        stage.await_routes(stage.through("pao", DEAD))
        stage.await_about("suspected", DEAD)
        for shown in stage.status()["addresses"]:
            outcomes = shown["paths"][LOCAL]["outcomes"]
            assert "local_error" not in outcomes, shown
            assert shown["address"] not in DEAD or outcomes["timeout"] >= 3, shown
        stage.until(lambda: all(word in explained(stage, a) for a, word in said.items()), 60)
        stage.clients_fine()
        _back(stage)
        stage.await_routes({})
        stage.await_about("recovered", DEAD)
        assert not stage.about("undone")


def test_what_our_own_firewall_refuses_counts_nothing_and_moves_nothing() -> None:
    with on_stage(nameservers=THREE) as stage:
        kernel = Kernel(stage)
        mark = "meta mark 0x40"
        rules = [f"{'ip6' if ':' in a else 'ip'} daddr {a} {mark} reject" for a in DEAD]
        before = timeouts(stage)
        table(stage, "edge", "output", rules)
        stage.asked_more(90)
        assert timeouts(stage) <= before + 2  # beside a load now and then an answer is late
        refused = [a for a in stage.status()["addresses"] if a["address"] in DEAD]
        assert all(a["paths"][LOCAL]["outcomes"]["local_error"] >= 20 for a in refused), refused
        assert kernel.steers() == []
        assert not stage.about("suspected")


def test_forged_errors_change_nothing_not_even_in_our_own_name() -> None:
    """Neither is a good answer lost for them, nor a silence excused."""
    with on_stage(nameservers=THREE) as stage:
        own, next_hop = (stage.scene.world.paths[LOCAL].link(end) for end in (1, 2))
        # The kernel takes no IPv4 packet in that says it is from here.
        names = [next_hop[Family.IPV4], own[Family.IPV6]]
        argv = [PYTHON, str(Path(__file__).with_name("forger.py")), "edge", *names]
        forger = stage.scene.world.start("isp", argv, log="forger.log")
        stage.until(lambda: "forging" in forger.log.read_text(), 20)
        kernel = Kernel(stage)
        before = stage.healths(LOCAL)
        stage.asked_more(60)
        assert (kernel.steers(), stage.healths(LOCAL), before) == ([], {"healthy"}, {"healthy"})
        assert timeouts(stage) == 0

        stage.scene.world.blackhole(LOCAL, addresses=DEAD)
        stage.await_routes(stage.through("pao", DEAD))
        said = dict(zip(DEAD, (f"{ip_address(name)}: " for name in names), strict=True))
        stage.until(lambda: all(word in explained(stage, a) for a, word in said.items()), 60)
        for shown in stage.status()["addresses"]:
            assert "local_error" not in shown["paths"][LOCAL]["outcomes"], shown
        assert forger.running, forger.tail()


def explained(stage: Stage, address: str) -> str:
    """What people are told. A router rations its errors, so not every silence has its word."""
    return stage.scene.steering("explain", address)


def timeouts(stage: Stage) -> int:
    return sum(a["paths"][LOCAL]["outcomes"].get("timeout", 0) for a in stage.status()["addresses"])
