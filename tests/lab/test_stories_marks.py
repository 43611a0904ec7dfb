"""What other programs of the host do with marks, and marks that change under the steers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from stage import EXPIRED, QUICK, Kernel, Stage, on_stage, ours

from steering import bounds
from steering.act.lease import Lease
from steering.lab.addresses import GTLD_SERVERS
from steering.lab.network.sandbox import find
from steering.lab.network.topology import EDGE
from steering.model import LOCAL, Family

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(find("nft") is None, reason="the program nft (nftables) is not installed"),
]

THREE = {name: GTLD_SERVERS[name] for name in list(GTLD_SERVERS)[:3]}
WATCHED = THREE["b.gtld-servers.net."]

BEFORE = "act: {kernel: {mark: 0x5353}}\n"
"""The marks of version 0.1.0, matched whole."""


def marks(stage: Stage) -> set[str]:
    """What our rules match, in both families."""
    return {
        f"{family} {rule['fwmark']}/{rule.get('fwmask', '0xffffffff')}"
        for family in ("-4", "-6")
        for rule in json.loads(stage.sh(f"ip {family} -j -d rule show"))
        if "fwmark" in rule
    }


def usual(*numbers: str) -> set[str]:
    return {f"{family} {number}" for family in ("-4", "-6") for number in numbers}


OLD = usual("0x5353/0xffffffff", "0x5354/0xffffffff", "0x5355/0xffffffff")
NEW = usual("0x40/0x7f", "0x41/0x7f", "0x42/0x7f")


def without_mark(stage: Stage) -> None:
    config = stage.scene.config
    text = config.read_text()
    assert BEFORE in text
    config.write_text(text.replace(BEFORE, ""))


def as_version_0_1_0_left_it(runtime: Path) -> None:
    """A lease without masks and slots."""
    lease = Lease(runtime)
    state = lease.read()
    assert state is not None
    value = json.loads(lease.path.read_text())
    del value["masks"], value["renewed"]
    lease.path.write_text(json.dumps(value | {"deadline": state.deadline}))
    assert lease.read() == state


@pytest.mark.parametrize("left", [as_version_0_1_0_left_it, lambda _runtime: None])
def test_a_restart_to_the_usual_marks_changes_rules_and_no_route(
    left: Callable[[Path], None],
) -> None:
    with on_stage(replace(QUICK, more=BEFORE)) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        assert marks(stage) == OLD
        kernel, count = Kernel(stage), len(ours(stage))
        stage.kill_agent()
        left(stage.scene.world.work / "run")
        without_mark(stage)
        stage.scene.start_agent()
        stage.await_about("adopted")
        stage.until(lambda: marks(stage), wanted=NEW)
        for path, health in ((LOCAL, "failing"), ("pao", "healthy"), ("fra", "healthy")):
            stage.await_health(health, path=path)
        stage.steady(stage.through("pao"))
        assert kernel.steers() == []
        assert len(ours(stage)) == count
        assert not stage.alarms()


def test_a_reload_to_the_usual_marks_changes_rules_and_no_route() -> None:
    with on_stage(replace(QUICK, more=BEFORE)) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        kernel = Kernel(stage)
        without_mark(stage)
        stage.until(lambda: marks(stage), wanted=NEW)
        stage.await_health("failing")
        stage.steady(stage.through("pao"))
        assert kernel.steers() == []
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({})


def caught(stage: Stage) -> int:
    """Packets to the nameservers that kube-proxy's rule has masqueraded."""
    listed = json.loads(stage.sh("nft -j list counters table inet kube"))["nftables"]
    return sum(entry["counter"]["packets"] for entry in listed if "counter" in entry)


@pytest.mark.parametrize(
    ("more", "touched"), [("", False), (BEFORE, True)], ids=["usual", "of-0.1.0"]
)
def test_what_kube_proxy_masquerades_is_none_of_our_questions(more: str, touched: bool) -> None:
    """Its rules as they stand in KUBE-POSTROUTING, with a counter."""
    with on_stage(replace(QUICK, more=more)) as stage:
        stage.scene.world.run(
            EDGE,
            ["nft", "-f", "-"],
            stdin="table inet kube {\ncounter hit {}\nchain post {\n"
            "type nat hook postrouting priority srcnat;\n"
            "meta mark & 0x4000 != 0x4000 return\n"
            "meta mark set meta mark ^ 0x4000\n"
            "counter name hit masquerade fully-random\n}\n}\n",
        )
        stage.asked_more(24)
        assert (caught(stage) > 0) is touched
        assert stage.healths(LOCAL) == stage.healths("pao") == {"healthy"}
        assert bounds.MASK & 0x4000 == 0


def test_a_restart_within_the_lease_is_not_refused_for_a_rule_in_our_block() -> None:
    """Before, it ended with status 2, and the steers with it."""
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        kernel = Kernel(stage)
        stage.kill_agent()
        stage.sh("ip rule add from 198.18.0.1 lookup main pref 5352")
        stage.scene.start_agent()
        stage.await_about("adopted")
        stage.await_alarm("kernel")
        stage.steady(stage.through("pao"))
        assert kernel.steers() == []
        stage.sh("ip rule del pref 5352 from 198.18.0.1")
        stage.await_alarm("kernel", there=False)


def _address_nobody_has(stage: Stage) -> str:
    """Marked questions leave with a source address to which no answer comes back."""
    nowhere = {Family.IPV4: "ip saddr set 10.255.0.77", Family.IPV6: "ip6 saddr set fd00:ff::77"}
    own = "type route hook output priority mangle;"
    return (
        f"chain out {{\n{own}\n"
        + "".join(f"{daddr(a)} meta mark & 0x7f == 0x40 {nowhere[Family.of(a)]}\n" for a in WATCHED)
        + "}\n"
    )


def _answers_dropped(stage: Stage) -> str:
    """What answers to marked questions is dropped on its way in, by the mark of the connection."""
    ours = "".join(f"{daddr(a)} meta mark & 0x7f == 0x40 ct mark set 0x99\n" for a in WATCHED)
    return (
        f"chain out {{\ntype filter hook output priority 0;\n{ours}}}\n"
        "chain in {\ntype filter hook input priority 0;\nct mark 0x99 drop\n}\n"
    )


def daddr(address: str) -> str:
    return f"{'ip6' if ':' in address else 'ip'} daddr {address}"


@pytest.mark.parametrize("harm", [_address_nobody_has, _answers_dropped])
def test_where_marked_questions_alone_are_lost_nothing_moves_but_for_a_real_fault(
    harm: Callable[[Stage], str],
) -> None:
    with on_stage(nameservers=THREE) as stage:
        kernel = Kernel(stage)
        script = f"table inet harm {{\n{harm(stage)}}}\n"
        stage.scene.world.run(EDGE, ["nft", "-f", "-"], stdin=script)
        stage.await_alarm("marked")
        stage.asked_more(60)
        assert kernel.steers() == []
        (alarm,) = [a for a in stage.status()["alarms"] if a["name"] == "marked"]
        assert "2 addresses of gtld-servers fail when probed with our mark" in alarm["because"]
        for address in WATCHED:
            told = stage.scene.steering("explain", address)
            assert "the same questions without it are answered" in " ".join(told.split())
        stage.clients_fine()

        stage.scene.world.blackhole(LOCAL, addresses=WATCHED)
        stage.await_routes(stage.through("pao", WATCHED))
        stage.await_about("proved", WATCHED)
        stage.scene.world.unblackhole(LOCAL, addresses=WATCHED)
        stage.sh("nft delete table inet harm")
        stage.await_routes({})
        stage.await_alarm("marked", there=False)


def test_where_our_own_firewall_drops_the_mark_nothing_moves_and_it_is_told() -> None:
    """The kernel tells who sends it: EPERM."""
    with on_stage(nameservers=THREE) as stage:
        kernel = Kernel(stage)
        rules = "".join(f"{daddr(a)} meta mark 0x40 drop\n" for a in WATCHED)
        chain = f"chain out {{\ntype filter hook output priority 0;\n{rules}}}\n"
        script = f"table inet harm {{\n{chain}}}\n"
        stage.scene.world.run(EDGE, ["nft", "-f", "-"], stdin=script)
        stage.await_alarm("marked")
        stage.asked_more(30)
        assert kernel.steers() == []
        assert "marked" in stage.alarms()
        stage.sh("nft delete table inet harm")
        stage.await_alarm("marked", there=False)
        stage.await_health("healthy")
