"""Every way in which the instance behind the local path can be bad, and what moves for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from stage import EXPIRED, PATIENCE, QUICK, Kernel, Stage, on_stage

from steering.lab.addresses import GTLD_SERVERS
from steering.lab.servers.authority import authority
from steering.lab.servers.zone import Fault, FaultKind
from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab

THREE = {name: GTLD_SERVERS[name] for name in list(GTLD_SERVERS)[:3]}

Fail = Callable[[Stage], None]


def _wrong(stage: Stage) -> None:
    stage.scene.serve(Fault(kind=FaultKind.BAD_SIGNATURE), paths=[LOCAL])


def _unsigned(stage: Stage) -> None:
    stage.scene.serve(Fault(kind=FaultKind.UNSIGNED), paths=[LOCAL])


def _stopped(stage: Stage) -> None:
    stage.scene.authorities[LOCAL].stop()


def _servfail(stage: Stage) -> None:
    stage.scene.authorities[LOCAL].answer_rcode("SERVFAIL")


def _refused(stage: Stage) -> None:
    stage.scene.authorities[LOCAL].answer_rcode("REFUSED")


@pytest.mark.parametrize(
    ("fail", "outcome"),
    [
        pytest.param(_wrong, "bad_signature", id="wrong-signatures"),
        pytest.param(_unsigned, "unsigned", id="no-signatures"),
        pytest.param(_stopped, "timeout", id="port-refused"),
        pytest.param(_servfail, "servfail", id="servfail"),
        pytest.param(_refused, "refused", id="refused"),
    ],
)
def test_a_bad_instance_is_steered_around_and_returned_to(fail: Fail, outcome: str) -> None:
    with on_stage() as stage:
        fail(stage)
        stage.await_routes(stage.through("pao"))
        shown = stage.status()["addresses"]
        assert all(a["paths"][LOCAL]["outcomes"].get(outcome, 0) >= 3 for a in shown), shown
        assert {a["rule"] for a in shown} == {"steer"}
        stage.clients_fine()
        stage.await_about("confirmed")
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({}, within=2 * PATIENCE)  # after losses 320 clean answers at the least
        stage.await_about("recovered")
        assert not stage.about("undone")
        stage.clients_fine()


def test_one_silent_nameserver_of_three_moves_alone() -> None:
    with on_stage(nameservers=THREE) as stage:
        dead = THREE["b.gtld-servers.net."]
        kernel = Kernel(stage)
        stage.scene.world.blackhole(LOCAL, addresses=dead)
        stage.await_routes(stage.through("pao", dead))
        stage.steady(stage.through("pao", dead))
        told = {line.split("] ")[1].split()[0] for line in kernel.steers()}
        assert told == set(dead), "the others never moved"
        stage.clients_fine()
        stage.scene.world.unblackhole(LOCAL, addresses=dead)
        stage.await_routes({})
        stage.await_about("recovered", dead)


def test_ipv6_alone_is_bad_and_moves_alone() -> None:
    with on_stage(replace(QUICK, together="nameserver"), agent=False) as stage:
        scene = stage.scene
        scene.authorities[LOCAL].stop()
        copies = {}
        for family in Family:
            copy = authority(
                scene.world, "auth-local", addresses=stage.family(family), nsid=f"sin-{family}"
            )
            copy.work = scene.world.work / f"auth-{family}"
            copy.work.mkdir()
            copy.serve(scene.zones())
            copies[family] = copy
        scene.start_agent()
        for path in scene.world.paths:
            stage.await_health("healthy", path=path)

        kernel = Kernel(stage)
        copies[Family.IPV6].serve(scene.zones(EXPIRED))
        only = stage.through("pao", stage.family(Family.IPV6))
        stage.await_routes(only)
        stage.steady(only)
        assert not any(
            f" {address} " in line
            for line in kernel.steers()
            for address in stage.family(Family.IPV4)
        )
        stage.await_about("suspected", only)
        stage.clients_fine()
        copies[Family.IPV6].serve(scene.zones())
        stage.await_routes({})
        stage.clients_fine()
