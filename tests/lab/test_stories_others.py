"""Other hands on the same host: what they take comes back, what they put stays."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from stage import (
    EXPIRED,
    QUICK,
    Kernel,
    Stage,
    add_foreign,
    everything,
    foreign,
    on_stage,
    ours,
    slack,
)

from steering.act.lease import Lease, boot_time
from steering.lab.network.topology import EDGE
from steering.model import LOCAL

pytestmark = pytest.mark.lab

BACK = 1.0
"""Seconds until what someone else took out is back."""


def test_steers_that_someone_flushes_come_back_within_a_second() -> None:
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        assert not stage.times("put_back"), "nobody has meddled yet"
        for family in ("-4", "-6"):
            stage.sh(f"ip {family} route flush table 5353")
            stage.await_routes(stage.through("pao"), within=BACK + slack())
        one = stage.addresses[0]
        stage.sh(f"ip route replace {one} via {stage.through('fra')[one]} table 5353 proto 53")
        stage.await_routes(stage.through("pao"), within=BACK + slack())
        stage.await_event("put_back")
        counted = stage.scene.get("/metrics")[1]
        assert 'steering_put_back_total{what="route"} 5.0' in counted, "four, and the one replaced"
        assert 'steering_put_back_total{what="rule"} 0.0' in counted
        stage.clients_fine()


def test_rules_that_someone_deletes_come_back() -> None:
    with on_stage() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        before = everything(stage)
        for family in ("-4", "-6"):
            for preference in (5351, 5352, 5353):
                stage.sh(f"ip {family} rule del pref {preference}")
                stage.until(
                    lambda: everything(stage), BACK + slack(), wanted=before, tell=preference
                )
        assert not stage.about("released") | stage.about("undone")
        assert 'steering_put_back_total{what="rule"} 6.0' in stage.scene.get("/metrics")[1]
        stage.clients_fine()


def test_probe_tables_that_someone_flushes_come_back() -> None:
    with on_stage() as stage:
        before = everything(stage)
        for family in ("-4", "-6"):
            for table in (5354, 5355):
                stage.sh(f"ip {family} route flush table {table}")
        stage.until(lambda: everything(stage), BACK + slack(), wanted=before)
        stage.steady({})
        assert stage.healths("pao") == {"healthy"}


def test_while_somebody_flushes_a_sites_table_no_local_answer_counts_for_the_site() -> None:
    """The questions in between take the local path, where all signatures are expired."""
    with on_stage() as stage:
        flushing = "while :; do ip -4 route flush table 5354; ip -6 route flush table 5354; done"
        program = stage.scene.world.start(EDGE, ["sh", "-c", flushing])
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.until(lambda: stage.scene.routes().keys(), wanted={*stage.addresses})
        stage.asked_more(60)
        program.kill()
        stage.await_health("healthy", path="pao")
        for address in stage.status()["addresses"]:
            told = address["paths"]["pao"]
            assert told["outcomes"].keys() <= {"secure", "insecure", "local_error", "timeout"}
            assert told["nsid"] == "ns1-pao"


def test_a_foreign_route_that_turns_up_in_our_table_is_left_alone_and_alarmed() -> None:
    with on_stage() as stage:
        route = "198.18.5.0/24 via 10.255.0.2 dev isp"
        stage.sh(f"ip route add {route} table 5353 proto 99")
        stage.await_alarm("kernel")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        wanted = stage.through("pao") | {"198.18.5.0/24": "10.255.0.2"}
        stage.await_routes(wanted)
        stage.scene.serve(paths=[LOCAL])
        stage.await_routes({"198.18.5.0/24": "10.255.0.2"})
        assert "off: everything taken back" in stage.scene.steering("off")
        assert stage.scene.routes() == {"198.18.5.0/24": "10.255.0.2"}
        stage.sh(f"ip route del {route} table 5353")
        stage.await_alarm("kernel", there=False)


def test_someone_else_s_route_for_a_steered_address_is_not_replaced() -> None:
    with on_stage() as stage:
        taken = stage.addresses[0]
        stage.sh(f"ip route add {taken} via 10.255.0.2 table 5353 proto 99")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        wanted = stage.through("pao") | {taken: "10.255.0.2"}
        stage.await_routes(wanted)
        stage.steady(wanted)
        assert "kernel" in stage.alarms()
        shown = {a["address"]: a["installed"]["kernel"] for a in stage.status()["addresses"]}
        assert shown.pop(taken) is None
        assert set(shown.values()) == {"pao"}


def test_a_whole_incident_leaves_other_people_s_routes_and_rules_as_they_were() -> None:
    with on_stage() as stage:
        add_foreign(stage)
        others, own = foreign(stage), ours(stage)
        kernel = Kernel(stage)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.scene.serve(EXPIRED, paths=["pao"])
        stage.await_routes(stage.through("fra"))
        assert foreign(stage) == others
        stage.scene.serve(paths=["pao", LOCAL])
        stage.await_routes({})
        assert foreign(stage) == others
        assert ours(stage) == own
        assert all(" table 5353 proto 53 " in line for line in kernel.lines())
        stage.until(lambda: stage.healths("pao"), wanted={"healthy"})


def test_a_hundred_thousand_foreign_routes_in_our_table_cost_no_lease_and_no_turn() -> None:
    with on_stage(replace(QUICK, lease="3s")) as stage:
        lease = Lease(stage.scene.world.work / "run")
        turns, oldest = [time.monotonic()], 0.0

        def fresh() -> bool:
            nonlocal oldest
            state = lease.read()
            assert state is not None
            oldest = max(oldest, boot_time() - (state.deadline - 3.0))
            return oldest < 2.0

        _fill(stage, 50_000)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        started = time.monotonic()
        stage.until(lambda: fresh() and _steered(stage) == stage.through("pao"))
        print(f"steered within {time.monotonic() - started:.1f} s")

        def said() -> str:
            return "".join(a["because"] for a in stage.status()["alarms"] if a["name"] == "kernel")

        stage.until(lambda: "so many foreign routes that only 256 are checked" in said())
        seen, until = stage.status()["time"], time.monotonic() + 10.0
        longest = 0.0
        while time.monotonic() < until:
            assert fresh(), f"the lease is {oldest:.1f} s old"
            if (now := stage.status()["time"]) != seen:
                seen = now
                turns.append(time.monotonic())
                longest = max(longest, turns[-1] - turns[-2] if len(turns) > 2 else 0.0)
        print(f"lease at most {oldest:.2f} s old, a turn at most {longest:.2f} s after another")
        assert longest <= 2.0 + slack()
        assert not stage.times("lease_lost")


def _fill(stage: Stage, each: int) -> None:
    """So many routes of somebody else in the table of the steers, in each family."""
    work = stage.scene.world.work
    four = (f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}/32" for n in range(each))
    six = (f"2001:db8:77::{n >> 16:x}:{n & 0xFFFF:x}/128" for n in range(each))
    for ip, prefixes, hop in (
        ("ip", four, "10.255.0.2"),
        ("ip -6", six, "fd00:ff:0::2"),
    ):
        batch = work / "batch"
        batch.write_text(
            "".join(f"route add {p} via {hop} table 5353 proto 99\n" for p in prefixes)
        )
        stage.sh(f"{ip} -batch {batch}")


def _steered(stage: Stage) -> dict[str, str]:
    """The steers, among all that others have put into their table."""
    text = stage.sh("ip route show table 5353 proto 53; ip -6 route show table 5353 proto 53")
    words = [line.split() for line in text.splitlines()]
    return {line[0]: line[line.index("via") + 1] for line in words}
