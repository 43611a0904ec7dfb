"""What the resolvers are answered: real resolvers, each as its page in the docs configures it."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from stage import Stage, on_stage, slack
from tapping import UNBOUND, await_traffic, documented, tapped

from steering.lab.clients import Tally
from steering.lab.network.sandbox import find
from steering.lab.network.topology import EDGE
from steering.lab.scene import Scene, Settings
from steering.lab.servers.resolver import Bind, Recursor, Resolving, Unbound
from steering.lab.servers.zone import Fault, FaultKind
from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab

PARTLY = Fault(kind=FaultKind.EXPIRED, share=0.13, spare_apex=True)
LISTENING = Settings(interval="10s", fast_interval="200ms", hold="4s", clean=30, dnstap=True)
"""The cadence of the defaults."""


RESOLVERS = [
    pytest.param(kind, page, marks=pytest.mark.skipif(find(program) is None, reason=program))
    for kind, page, program in (
        (Unbound, "unbound", "unbound"),
        (Bind, "bind9", "named"),
        (Recursor, "pdns-recursor", "pdns_recursor"),
    )
]


@pytest.mark.parametrize(("kind", "page"), RESOLVERS)
def test_thirteen_per_cent_are_heard_whatever_the_resolver(
    kind: type[Resolving], page: str
) -> None:
    # Half the names are signed delegations: with fewer, all failing owners of so small a zone
    # have soon been heard of, and each counts once.
    with on_stage(
        LISTENING, count=1000, secure=0.5, load=200, resolver=tapped(kind, page)
    ) as stage:
        await_traffic(stage)
        zones = stage.scene.zones(PARTLY)
        began = time.time()
        stage.scene.authorities[LOCAL].serve(zones)
        stage.await_routes(stage.through("pao"))
        suspected = min(stage.times("suspected")) - began
        installed = time.time() - began
        assert suspected <= 5 + slack()
        assert installed <= 8 + slack()
        await_traffic(stage, "pao")
        stage.clients_fine()


SOURCES = {Family.IPV4: "198.51.100.53", Family.IPV6: "2001:db8:53::53"}


def of_its_own(scene: Scene) -> Resolving:
    """Unbound that asks from addresses on `lo`, which only the local provider has a route to."""
    world, isp = scene.world, scene.world.paths[LOCAL]
    for family, source in SOURCES.items():
        world.ip(EDGE, "addr", "add", source, "dev", "lo")
        world.ip(isp.router, "route", "add", source, "via", isp.link(1)[family])
    lines = [f"outgoing-interface: {source}" for source in SOURCES.values()]
    block = documented("unbound", scene)
    return Unbound(world, keys=scene.anchors, dnstap=block, extra=lines)


@pytest.mark.skipif(find("unbound") is None, reason="unbound")
def test_a_detour_that_carries_the_agents_packets_and_not_the_resolvers_is_undone() -> None:
    often = replace(LISTENING, interval="2s")
    with on_stage(often, count=1000, secure=0.5, load=200, resolver=of_its_own) as stage:
        await_traffic(stage)
        stage.scene.authorities[LOCAL].serve(stage.scene.zones(PARTLY))
        stage.await_about("steered")
        stage.await_about("undone", within=10 + slack())
        stage.await_routes({})
        for address in stage.addresses:
            (steered,) = stage.times("steered", address=address)
            (undone,) = stage.times("undone", address=address)
            assert undone - steered <= 5 + slack(), stage.story()
        (alarm,) = (a for a in stage.status()["alarms"] if a["name"] == "unserved")
        assert "the resolvers get no answers from " in alarm["because"]
        assert (
            "Does the site have a route back to the resolvers' source address?" in alarm["because"]
        )
        assert all(address in alarm["because"] for address in stage.addresses)
        explained = " ".join(stage.scene.steering("explain", stage.addresses[0]).split())
        assert ": the resolvers got no answers, or worse ones, over it" in explained
        assert not stage.times("proved")
        # What the clients get is what they got before: the fault, and no silence beside it.
        stage.until(lambda: _asked(stage, 100, failing=0.4), 30)
        stage.steady({}, questions=12)
        assert all(len(stage.times("steered", address=a)) == 1 for a in stage.addresses)
        assert _asked(stage, 400, failing=0.4)


def _asked(stage: Stage, number: int, *, failing: float) -> bool:
    """Whether of so many questions of clients from now on no larger share failed."""
    clients = stage.scene.clients
    before = clients.totals()

    def ended(now: Tally) -> int:
        return now.answered - before.answered + now.failed - before.failed

    stage.until(lambda: ended(clients.totals()) >= number, 30)
    now = clients.totals()
    return now.failed - before.failed <= failing * ended(now)


@pytest.mark.skipif(find("unbound") is None, reason="unbound")
def test_flipped_signatures_are_heard_of_by_the_second_look() -> None:
    flipped = Fault(kind=FaultKind.BAD_SIGNATURE, share=0.13, spare_apex=True)
    with on_stage(LISTENING, count=1000, load=200, resolver=UNBOUND) as stage:
        await_traffic(stage)
        stage.scene.serve(flipped, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        told = {
            outcome
            for address in stage.status()["addresses"]
            for outcome in address["paths"][LOCAL]["heard"]["outcomes"]
        }
        assert "bad_signature" in told
        stage.clients_fine()


@pytest.mark.skipif(find("unbound") is None, reason="unbound")
def test_a_restarted_agent_is_found_again_by_the_resolver() -> None:
    with on_stage(LISTENING, load=100, resolver=UNBOUND) as stage:
        await_traffic(stage)
        stage.kill_agent()
        stage.scene.start_agent()
        await_traffic(stage)
        _, metrics = stage.scene.get("/metrics")
        assert re.search(r'steering_observations_total{.*source="dnstap".*} [1-9]', metrics)
        assert re.search(r'steering_dnstap_frames_total{result="ok"} [1-9]', metrics)
        assert "steering_dnstap_lost_total" in metrics
        assert not stage.times("suspected")
        assert "answers to the resolvers: " in stage.scene.steering("explain", stage.addresses[0])


def test_no_socket_is_made_where_none_is_configured() -> None:
    with on_stage() as stage:
        assert not stage.scene.tap.exists()
        assert "steering_dnstap" not in stage.scene.get("/metrics")[1]
        assert "heard" not in stage.status()["addresses"][0]["paths"][LOCAL]
