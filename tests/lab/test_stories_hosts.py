"""What an agent finds on a host that is not as the last one left it, or has not everything."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from stage import EXPIRED, PATIENCE, QUICK, Stage, everything, on_stage, slack

from steering.act.lease import Lease
from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab


def test_a_steer_of_an_address_that_no_policy_names_any_more_is_taken_out() -> None:
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.kill_agent()
        policy = stage.scene.config.parent / "policies" / "gtld-servers.yaml"
        kept = [line for line in policy.read_text().splitlines() if "b.gtld-servers" not in line]
        policy.write_text("\n".join(kept))
        agent = stage.scene.start_agent()
        names = stage.scene.nameservers["a.gtld-servers.net."]
        stage.await_routes(stage.through("pao", names))
        stage.await_about("released", set(stage.addresses) - set(names))
        assert agent.running, agent.tail()


def test_a_route_with_our_number_that_nobody_wants_is_taken_out() -> None:
    with on_stage() as stage:
        hop = stage.through("pao")[stage.addresses[0]]
        for stray in ("203.0.113.99/32", "198.18.5.0/24"):
            stage.sh(f"ip route add {stray} via {hop} table 5353 proto 53")
        stage.await_routes({})
        _turns(stage)


def test_an_agent_that_hung_beyond_its_lease_takes_back_what_no_guard_did() -> None:
    with on_stage(replace(QUICK, lease="2s")) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        agent = stage.scene.agent
        assert agent is not None
        agent.freeze()
        stage.kill_guard()
        lease = Lease(stage.scene.world.work / "run")
        stage.until(lease.expired, every=0.05)
        assert stage.scene.routes() == stage.through("pao")
        stage.scene.serve(paths=[LOCAL])  # what it knew of is over
        agent.thaw()
        stage.await_routes({}, within=1.0 + slack())
        stage.await_event("lease_lost")
        stage.await_health("healthy")
        stage.steady({})
        assert not stage.about("adopted")


def test_where_no_lease_can_be_had_the_agent_says_so_and_ends() -> None:
    with on_stage(agent=False) as stage:
        (stage.scene.world.work / "run" / "lease").mkdir(parents=True)
        before = everything(stage)
        agent = stage.scene.start_agent(ready=False)
        assert agent.wait(PATIENCE) == 1
        assert "can't get a lease or a guard" in agent.tail()
        assert "Traceback" not in agent.tail()
        assert everything(stage) == before


def test_a_route_that_comes_back_is_no_second_detection() -> None:
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        wanted = f"steering_detection_seconds_count {len(stage.addresses)}.0"
        assert wanted in stage.scene.get("/metrics")[1]
        stage.sh("ip route flush table 5353; ip -6 route flush table 5353")
        stage.await_routes(stage.through("pao"))
        stage.asked_more(3)
        assert wanted in stage.scene.get("/metrics")[1]


def _turns(stage: Stage) -> None:
    """The loop goes on turning."""
    stage.asked_more(3)
    stage.until(lambda: stage.scene.get("/healthz")[0], wanted=200)
    assert stage.scene.agent is not None
    assert stage.scene.agent.running, stage.scene.agent.tail()


def test_a_host_without_ipv6_is_ready_and_asks_each_address_over_no_wrong_path() -> None:
    with on_stage(agent=False) as stage:
        stage.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")
        config = stage.scene.config
        config.write_text(re.sub(r", ipv6: '[^']*'", "", config.read_text()))
        stage.scene.start_agent()
        stage.until(lambda: _healths(stage, Family.IPV4), wanted={"healthy"})
        for entry in _entries(stage, Family.IPV6):
            assert {tuple(seen["outcomes"]) for seen in entry["paths"].values()} == {
                ("local_error",)
            }
            assert {seen["health"] for seen in entry["paths"].values()} == {"unknown"}
        _turns(stage)


def _entries(stage: Stage, family: Family) -> list[dict[str, Any]]:
    return [entry for entry in stage.scene.api()["addresses"] if entry["family"] == family]


def _healths(stage: Stage, family: Family) -> set[str]:
    return {seen["health"] for entry in _entries(stage, family) for seen in entry["paths"].values()}
