"""A resolver with a source of its own: where the sites do not know it, nothing is sent there."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from stage import FOUND, QUICK, Stage, on_stage, slack

from steering.lab.network.topology import EDGE, ISP
from steering.lab.scene import Scene
from steering.lab.servers.resolver import Resolving, Unbound
from steering.lab.servers.zone import Fault, FaultKind
from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab

PARTLY = Fault(kind=FaultKind.EXPIRED, share=0.13)
OWN = {Family.IPV4: "10.53.0.1", Family.IPV6: "fd53::1"}
SAID = f"resolver_sources: {{ipv4: [{OWN[Family.IPV4]}], ipv6: ['{OWN[Family.IPV6]}']}}"


def with_a_source(scene: Scene) -> Resolving:
    """A real Unbound that sends from an address on `lo`; the provider alone knows the way back."""
    scene.world.ip_batch(EDGE, [f"addr add {a}/{f.bits} dev lo" for f, a in OWN.items()])
    know(scene, ISP, LOCAL)
    return Unbound(
        scene.world,
        keys=scene.anchors,
        extra=[f"outgoing-interface: {address}" for address in OWN.values()],
    )


def know(scene: Scene, router: str, path: str) -> None:
    """From now on this router knows the way back to the source."""
    ends = scene.world.paths[path].link(1)
    scene.world.ip_batch(router, [f"route add {a}/{f.bits} via {ends[f]}" for f, a in OWN.items()])


def shown(stage: Stage, site: str, state: str) -> bool:
    """Whether the status says this of both sources over the site, by UDP."""
    sites = stage.status()["sites"]
    return all(sites[site][f].get(a, {}).get("udp") == state for f, a in OWN.items())


def test_it_is_never_moved_to_sites_that_do_not_know_its_source_and_is_once_they_do() -> None:
    """The field's fault: 13 % of failures became 100 %, installed and proved, with no alarm."""
    settings = replace(QUICK, more=SAID, hold="1h")
    with on_stage(settings, agent=False, resolver=with_a_source) as stage:
        scene = stage.scene
        scene.start_agent()
        stage.await_health("healthy")
        stage.until(lambda: shown(stage, "pao", "lost") and shown(stage, "fra", "lost"), 60)
        stage.await_alarm("reach")
        scene.serve(PARTLY, paths=[LOCAL])
        stage.await_alarm("everywhere", "unproven", within=FOUND)
        stage.steady({})
        address = stage.addresses[0]
        assert OWN[Family.IPV4] in scene.steering("explain", address)
        code, metrics = scene.get("/metrics")
        assert code == 200
        series = f'family="ipv4",site="fra",source="{OWN[Family.IPV4]}",transport="udp"'
        assert any(
            line.startswith("steering_site_usable") and line.endswith(" 0.0")
            for line in metrics.splitlines()
            if all(label in line for label in series.split(","))
        )

        know(scene, "fra", "fra")
        stage.await_routes(stage.through("fra"), within=FOUND)
        stage.await_proof()
        stage.clients_fine()
        assert shown(stage, "pao", "lost")
        assert shown(stage, "fra", "usable")


def test_a_site_that_forgets_the_source_while_it_is_in_use_is_left_within_seconds() -> None:
    settings = replace(QUICK, more=SAID, hold="1h")
    with on_stage(settings, agent=False, sites=("pao",), resolver=with_a_source) as stage:
        scene = stage.scene
        know(scene, "pao", "pao")
        scene.start_agent()
        stage.await_health("healthy", path="pao")
        scene.serve(PARTLY, paths=[LOCAL])
        stage.await_routes(stage.through("pao"), within=FOUND)
        stage.await_proof()
        for address, family in ((OWN[f], f) for f in Family):
            scene.world.ip("pao", "route", "del", f"{address}/{family.bits}")
        stage.await_routes({}, within=15 + slack())
        stage.await_alarm("reach")
        stage.steady({})


def test_a_source_that_the_files_do_not_name_is_found_by_its_sockets() -> None:
    """They are there for as long as an answer takes: here a nameserver that takes its time."""
    with on_stage(QUICK, agent=False, sites=("pao",), resolver=with_a_source) as stage:
        stage.scene.start_agent()
        nameserver = stage.scene.authorities[LOCAL]

        def found() -> bool:
            nameserver.silence()
            time.sleep(0.4)
            nameserver.speak()
            return shown(stage, "pao", "lost")

        stage.until(found, 240, every=0.6, tell=lambda: stage.status()["sites"])
        stage.await_alarm("reach")
        stage.scene.serve(PARTLY, paths=[LOCAL])
        stage.await_alarm("everywhere", "unproven", within=FOUND)
        stage.steady({})
        assert stage.about("steered") == set()


def test_a_source_that_the_host_lacks_is_said_by_check_and_by_an_alarm() -> None:
    more = "resolver_sources: {ipv4: [192.0.2.53]}"
    with on_stage(replace(QUICK, more=more)) as stage:
        assert "192.0.2.53: this host has no such address now" in stage.scene.steering("check")
        stage.await_alarm("sources")
        stage.sh("ip addr add 192.0.2.53/32 dev lo")
        stage.await_alarm("sources", there=False)
