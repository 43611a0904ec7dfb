"""A host that loses a family while the agent runs, and gets it back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from stage import EXPIRED, QUICK, Kernel, Stage, on_stage, slack

from steering.agent.kernel_paths import UNPROBED
from steering.lab.scene import seconds
from steering.model import LOCAL, Family, Seconds

pytestmark = pytest.mark.lab

Mend = Callable[[], None]


def _mend(stage: Stage, devices: str) -> Mend:
    """What puts back the addresses and routes of IPv6 that are there now."""
    lines = [
        f"addr add {a['local']}/{a['prefixlen']} dev {link['ifname']} nodad"
        for link in json.loads(stage.sh(f"ip -6 -j addr show {devices}"))
        for a in link.get("addr_info", ())
        if a.get("scope") == "global"
    ]
    routes = stage.sh("ip -6 route show").splitlines()
    lines += [f"route add {r}" for r in routes if " via " in r]
    return lambda: stage.scene.world.ip_batch("edge", lines)


def _addresses(stage: Stage) -> Mend:
    mend = _mend(stage, "")
    stage.sh("ip -6 addr flush scope global; ip -6 route flush default")
    return mend


def _default_route(stage: Stage) -> Mend:
    route = stage.sh("ip -6 route show default").strip()
    stage.sh("ip -6 route del default")
    return lambda: stage.scene.world.ip_batch("edge", [f"route add {route}"])


def _everything(stage: Stage) -> Mend:
    mend = _mend(stage, "")
    stage.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")

    def back() -> None:
        stage.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0")
        mend()

    return back


@pytest.mark.parametrize("lose", [_addresses, _default_route, _everything])
@pytest.mark.parametrize("mode", ["enforce", "rehearse"])
def test_a_family_that_is_lost_is_one_word_and_moves_nothing(
    mode: str, lose: Callable[[Stage], Mend]
) -> None:
    with on_stage(replace(QUICK, mode=mode)) as stage:
        kernel, before = Kernel(stage), len(stage.listen())
        mend = lose(stage)
        stage.await_alarm("self")
        stage.until(lambda: _lasts_alone(stage, "self") > UNPROBED + 2, every=0.2)
        assert _healths(stage, Family.IPV4) == {"healthy"}
        (alarm,) = stage.status()["alarms"]
        assert "no probe leaves this host over the local path (ipv6)" in alarm["because"]
        mend()
        began = time.monotonic()
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        stage.await_alarm("self", there=False)
        assert time.monotonic() - began < 30.0 + slack()
        told = stage.listen()[before:]
        assert [e["now"] for e in told if e["event"] == "alarm_raised"] == ["self"]
        moving = {"steered", "would_steer", "suspected", "confirmed", "released", "would_release"}
        assert not [e for e in told if e["event"] in moving]
        assert kernel.steers() == []
        assert stage.scene.routes() == {}
        stage.scene.serve(EXPIRED, paths=[LOCAL])  # and it is awake
        if mode == "enforce":
            stage.await_routes(stage.through("pao"))
        else:
            stage.await_about("would_steer")


def test_what_is_steered_is_so_again_when_its_family_is_back() -> None:
    """The other family stays where it is; this one may have tried the other site meanwhile."""
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        mend = _everything(stage)
        ipv4 = stage.through("pao", stage.family(Family.IPV4))
        stage.await_alarm("self", "kernel")
        stage.asked_more(36, meanwhile=lambda: ipv4.items() <= stage.scene.routes().items())
        mend()
        stage.until(lambda: set(stage.scene.routes()), wanted=set(stage.addresses))
        stage.await_alarm("self", "kernel", "unasked", there=False)
        stage.asked_more(36, meanwhile=lambda: ipv4.items() <= stage.scene.routes().items())
        assert set(stage.scene.routes()) == set(stage.addresses)
        assert not stage.about("undone")
        stage.scene.serve()
        stage.await_routes({})


WITHOUT = {
    Family.IPV4: "ip -4 addr flush scope global",
    Family.IPV6: "sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
}


@pytest.mark.parametrize("lacking", list(Family))
def test_a_host_that_is_said_to_have_one_family_has_nothing_of_the_other(lacking: Family) -> None:
    (has,) = (family for family in Family if family is not lacking)
    with on_stage(agent=False) as stage:
        stage.sh(WITHOUT[lacking])
        config = stage.scene.config
        config.write_text(f"families: [{has}]\n{config.read_text()}")
        stage.scene.start_agent()
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        assert {a["family"] for a in stage.status()["addresses"]} == {has}
        assert stage.alarms() == set()
        number = {Family.IPV4: 4, Family.IPV6: 6}
        assert "5353" not in stage.sh(f"ip -{number[lacking]} rule")
        assert "5353" in stage.sh(f"ip -{number[has]} rule")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_about("steered", stage.family(has))


@pytest.mark.parametrize("lacking", list(Family))
def test_a_host_without_a_family_is_well_although_its_sites_have_it(lacking: Family) -> None:
    (has,) = (family for family in Family if family is not lacking)
    with on_stage(agent=False) as stage:
        stage.sh(WITHOUT[lacking])
        stage.scene.start_agent()
        stage.until(lambda: _healths(stage, has), wanted={"healthy"})
        began = time.monotonic()

        def well() -> bool:
            assert stage.alarms() == set(), stage.story()
            return time.monotonic() - began > UNPROBED + 3

        stage.until(well, every=0.2)
        said = " ".join(stage.scene.steering("status").split())
        assert (
            f"{lacking}: this host has no route and never had one: 2 addresses are not shown"
            in said
        )


def test_a_family_that_is_left_out_while_it_is_steered_leaves_nothing_behind() -> None:
    """And the other one stays where it is; both ways, without a restart."""
    with on_stage() as stage:
        config = stage.scene.config
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        both, ipv4 = config.read_text(), stage.through("pao", stage.family(Family.IPV4))
        config.write_text(f"families: [ipv4]\n{both}")
        stage.until(stage.scene.routes, wanted=ipv4)
        stage.until(lambda: _of_ours(stage), wanted="")
        stage.asked_more(36, meanwhile=lambda: stage.scene.routes() == ipv4)
        assert not _of_ours(stage)
        assert stage.alarms() == set()
        config.write_text(both)
        stage.await_routes(stage.through("pao"))
        stage.scene.serve()
        stage.await_routes({})


def _of_ours(stage: Stage) -> str:
    """What there is of IPv6 in the agent's tables and rules."""
    tables = (
        stage.sh(f"ip -6 route show table {table} 2>&1 || true") for table in range(5353, 5356)
    )
    there = [line for text in tables for line in text.splitlines() if "does not exist" not in line]
    rules = [line for line in stage.sh("ip -6 rule").splitlines() if "535" in line]
    return "\n".join([*there, *rules])


def _healths(stage: Stage, family: Family) -> set[str]:
    mine = (a for a in stage.status()["addresses"] if a["family"] == family)
    return {a["paths"][LOCAL]["health"] for a in mine}


def _lasts_alone(stage: Stage, name: str) -> Seconds:
    """For how long there is this alarm, and no other beside it."""
    status = stage.status()
    assert [a["name"] for a in status["alarms"]] == [name], stage.story()
    return seconds(status["time"]) - seconds(status["alarms"][0]["since"])
