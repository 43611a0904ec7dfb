"""A path that loses large packets: small answers come over it, and large ones do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from stage import FEW, FOUND, QUICK, Stage, on_stage, slack

from steering.lab.network.sandbox import find
from steering.lab.network.topology import EDGE
from steering.lab.servers.zone import Fault, FaultKind
from steering.model import LOCAL, Family

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(find("nft") is None, reason="the program nft (nftables) is not installed"),
]

PARTLY = Fault(kind=FaultKind.EXPIRED, share=0.13)
STAYS = replace(QUICK, hold="1h")
BY_UDP, BY_TCP = 10, 26
"""Spare keys of a zone: its DNSKEY answer has 1.1 kB, and comes in a datagram; or 2.4 kB."""


def narrow(stage: Stage, *paths: str) -> None:
    """From now on these paths' routers drop what is larger, and say nothing: a tunnel whose ICMP
    is filtered.
    """
    for path in paths:
        stage.scene.world.run(
            stage.scene.world.paths[path].router,
            ["nft", "-f", "-"],
            stdin=f"table inet lab {{ chain narrow {{ type filter hook forward priority 0; "
            f'oifname "{EDGE}" meta length > 1000 drop; }}; }}\n',
        )


def widen(stage: Stage, *paths: str) -> None:
    """The end of `narrow`."""
    for path in paths:
        router = stage.scene.world.paths[path].router
        stage.scene.world.run(router, ["nft", "delete", "table", "inet", "lab"])


def tunnel(stage: Stage, path: str) -> None:
    """From now on this path's link has the least MTU that IPv6 allows, and the router's errors that
    say so are filtered.
    """
    router = stage.scene.world.paths[path].router
    stage.scene.world.ip(router, "link", "set", "dev", EDGE, "mtu", "1280")
    stage.scene.world.run(
        router,
        ["nft", "-f", "-"],
        stdin="table inet lab { chain mute { type filter hook output priority 0; "
        "icmp type destination-unreachable drop; icmpv6 type packet-too-big drop; }; }\n",
    )


def untunnel(stage: Stage, path: str) -> None:
    """The end of `tunnel`."""
    stage.scene.world.ip(
        stage.scene.world.paths[path].router, "link", "set", "dev", EDGE, "mtu", "1500"
    )
    widen(stage, path)


def is_shown(stage: Stage, site: str, transport: str, *wanted: str) -> bool:
    """Whether the status says one of these of what the kernel chooses, in both families."""
    sites = stage.status()["sites"]
    return all(sites[site][family]["kernel"][transport] in wanted for family in Family)


def because(stage: Stage, alarm: str) -> str:
    """What an alarm says; empty while it is not raised."""
    return "".join(a["because"] for a in stage.status()["alarms"] if a["name"] == alarm)


@pytest.mark.parametrize(
    ("spare_keys", "lose", "mend"),
    [
        pytest.param(BY_UDP, narrow, widen, id="UDP"),
        pytest.param(BY_TCP, narrow, widen, id="TCP"),
        pytest.param(BY_TCP, tunnel, untunnel, id="tunnel"),
    ],
)
def test_a_site_that_loses_large_answers_is_never_taken_and_is_once_it_carries_them(
    spare_keys: int, lose: Callable[[Stage, str], None], mend: Callable[[Stage, str], None]
) -> None:
    with on_stage(STAYS, agent=False, sites=("pao",), spare_keys=spare_keys) as stage:
        scene = stage.scene
        lose(stage, "pao")
        scene.start_agent()
        stage.until(lambda: is_shown(stage, "pao", "large", "lost"), 60)
        assert is_shown(stage, "pao", "udp", "usable")
        stage.await_alarm("reach")
        by = "TCP" if spare_keys == BY_TCP else "UDP"
        said = f"no large answer of gtld-servers comes back to this host by {by}"
        stage.until(
            lambda: said in because(stage, "reach"), 60, tell=lambda: because(stage, "reach")
        )
        scene.serve(PARTLY, paths=[LOCAL])
        stage.await_alarm("everywhere", "unproven", "uncompared", within=FOUND)
        stage.steady({})
        code, metrics = scene.get("/metrics")
        assert code == 200
        series = 'family="ipv6",site="pao",source="kernel",transport="large"'
        assert f"steering_site_usable{{{series}}} 0.0" in metrics
        assert stage.about("steered") == set()

        mend(stage, "pao")
        stage.await_routes(stage.through("pao"), within=FOUND)
        stage.await_proof()
        stage.until(lambda: is_shown(stage, "pao", "large", "usable"), 60)
        stage.await_alarm("reach", there=False)
        stage.clients_fine()


def test_a_site_that_begins_to_lose_them_while_it_is_in_use_is_left_for_one_that_does_not() -> None:
    with on_stage(STAYS, spare_keys=BY_UDP) as stage:
        stage.scene.serve(PARTLY, paths=[LOCAL])
        stage.await_routes(stage.through("pao"), within=FOUND)
        stage.await_proof()
        narrow(stage, "pao")
        stage.await_routes(stage.through("fra"), within=60 + slack())
        assert is_shown(stage, "fra", "large", "usable")
        stage.clients_fine()
        stage.await_alarm("reach")
        narrow(stage, "fra")
        stage.await_routes({}, within=60 + slack())
        stage.steady({})


def test_what_every_path_loses_or_the_local_one_alone_blames_no_site() -> None:
    with on_stage(STAYS, spare_keys=BY_UDP) as stage:
        everywhere = tuple(stage.scene.world.paths)
        narrow(stage, *everywhere)
        stage.asked_more(90)
        for site in stage.scene.sites:
            assert is_shown(stage, site, "large", "usable", "not tried"), stage.story()
        widen(stage, "pao", "fra")
        stage.asked_more(90)
        for site in stage.scene.sites:
            assert is_shown(stage, site, "large", "usable"), stage.story()
        assert "reach" not in {event.get("now") for event in stage.listen()}


def test_where_no_answer_is_large_that_is_said_and_nothing_waits_for_one() -> None:
    with on_stage(STAYS, nameservers=FEW, sites=("pao",)) as stage:
        stage.scene.serve(PARTLY, paths=[LOCAL])
        stage.await_routes(stage.through("pao"), within=FOUND)
        stage.await_proof()
        assert is_shown(stage, "pao", "large", "not tried"), stage.status()["sites"]
        assert is_shown(stage, "pao", "udp", "usable")
