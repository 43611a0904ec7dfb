"""Rules of others that come while an agent steers, and a host that loses its own way out."""

from __future__ import annotations

import pytest
from stage import EXPIRED, Stage, on_stage

from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab


def installed(stage: Stage) -> set[str]:
    """The addresses that count as installed in the kernel."""
    return {
        a["address"] for a in stage.status()["addresses"] if a["installed"]["kernel"] is not None
    }


def await_installed(stage: Stage, wanted: set[str]) -> None:
    stage.until(lambda: installed(stage), wanted=wanted, every=0.05)


def because(stage: Stage, alarm: str) -> str:
    return next((a["because"] for a in stage.status()["alarms"] if a["name"] == alarm), "")


def tailscale(stage: Stage, deed: str) -> None:
    """An exit node by way of the provider, in IPv4."""
    stage.sh(f"ip route {deed} default via 10.255.0.2 table 52; ip rule {deed} pref 5270 lookup 52")


def test_a_rule_of_somebody_else_ends_no_steer_and_makes_none_count() -> None:
    with on_stage() as stage:
        four, six = set(stage.family(Family.IPV4)), set(stage.family(Family.IPV6))
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_proof()
        await_installed(stage, four | six)

        tailscale(stage, "add")
        stage.await_alarm("bypassed")
        await_installed(stage, six)
        said = because(stage, "bypassed")
        assert "`5270: from all lookup 52` (ipv4)" in said
        assert "wanted `act.kernel.priority: 5268` or less" in said
        assert said in stage.scene.steering("check")
        stage.await_alarm("unasked")
        assert "no site can be probed over ipv4" in because(stage, "unasked")

        tailscale(stage, "del")
        stage.await_alarm("bypassed", "unasked", there=False)
        await_installed(stage, four | six)
        assert not stage.times("undone")


def test_what_no_detour_would_carry_is_not_moved_until_it_would() -> None:
    with on_stage() as stage:
        tailscale(stage, "add")
        stage.await_alarm("bypassed")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        six = stage.through("pao", stage.family(Family.IPV6))
        stage.await_routes(six)
        stage.await_alarm("uncompared", "unproven")
        stage.steady(six)
        assert "a detour would have no effect" in stage.scene.steering(
            "explain", stage.family(Family.IPV4)[0]
        ) or "no other path can be compared" in because(stage, "uncompared")
        tailscale(stage, "del")
        stage.await_routes(stage.through("pao"))
        stage.await_proof()


@pytest.mark.parametrize(
    ("lose", "find"),
    [
        ("ip {f} route del default", "ip {f} route add default via {hop}"),
        ("ip {f} rule del pref 32766", "ip {f} rule add pref 32766 lookup main"),
    ],
    ids=["default route", "rule 32766"],
)
def test_a_host_without_a_way_out_suspects_itself(lose: str, find: str) -> None:
    with on_stage() as stage:
        ways = {"-4": "10.255.0.2", "-6": "fd00:ff:0::2"}
        for f in ways:
            stage.sh(lose.format(f=f))
        wanted = "no probe leaves this host over the local path (ipv4 and ipv6): check the"
        stage.until(lambda: wanted in because(stage, "self"), every=0.05)
        assert "`32766: from all lookup main`" in because(stage, "self")
        assert stage.scene.routes() == {}
        for f, hop in ways.items():
            stage.sh(find.format(f=f, hop=hop))
        stage.await_alarm("self", there=False)
        stage.await_health("healthy")
        assert stage.scene.routes() == {}
