"""Networks that bring answers back another way than the questions went: told, and then allowed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from stage import EXPIRED, QUICK, Stage, on_stage

from steering.lab.network.links import End
from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab


def triangle(stage: Stage) -> None:
    """What pao's nameserver answers to this host comes in by the provider, and not by pao."""
    world = stage.scene.world
    pao, own = world.paths["pao"], world.paths["pao"].link(1)
    world.link(
        End("pao", "tri", ("10.254.0.1/24", "fd00:fe::1/64")),
        End("isp", "tri", ("10.254.0.2/24", "fd00:fe::2/64")),
    )
    ends = world.paths[LOCAL].link(1)
    world.ip_batch("isp", [f"route add {own[f]} via {ends[f]}" for f in Family])
    for v, family, hop in (("-4", Family.IPV4, "10.254.0.2"), ("-6", Family.IPV6, "fd00:fe::2")):
        # Of the link to this host, all but the router's own neighbour: what the instance sends.
        world.ip("pao", v, "route", "add", "default", "via", hop, "table", "9")
        rule = ("rule", "add", "pref", "9", "iif", "auth", "to", own[family], "lookup", "9")
        world.ip("pao", v, *rule)
    assert pao.router == "pao"


def allow(stage: Stage) -> None:
    text = stage.scene.config.read_text()
    lines = [
        f"  pao: {{return: any, {line[8:]}" if line.startswith("  pao: {") else line
        for line in text.splitlines()
    ]
    stage.scene.config.write_text("\n".join(lines) + "\n")


def test_answers_that_come_in_by_the_uplink_do_not_count_until_the_site_says_so() -> None:
    with on_stage(replace(QUICK, hold="1s"), agent=False, sites=("pao",)) as stage:
        triangle(stage)
        stage.scene.start_agent()
        stage.await_health("healthy", path=LOCAL)
        stage.await_alarm("return")
        (alarm,) = (a for a in stage.status()["alarms"] if a["name"] == "return")
        assert "come in by isp, not by bb-pao" in str(alarm)
        stage.until(
            lambda: all(
                "came in by isp, not by bb-pao" in stage.scene.steering("explain", address)
                for address in stage.addresses
            ),
            60,
        )
        code, metrics = stage.scene.get("/metrics")
        assert code == 200
        assert 'steering_probe_strays_total{path="pao",reason="link"}' in metrics

        # Nothing is sent where nothing was proven.
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_alarm("everywhere", "unproven")
        stage.steady({})

        allow(stage)
        stage.until(lambda: len(stage.times("config_loaded")), 60, wanted=2)
        stage.await_alarm("return", there=False)
        stage.await_routes(stage.through("pao"))
        stage.clients_fine()
