"""`mode: rehearse`: it decides as one that acts, says what it would do, and moves no packet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from edits import config, edit
from stage import (
    EXPIRED,
    PATIENCE,
    QUICK,
    Kernel,
    Stage,
    add_foreign,
    everything,
    foreign,
    on_stage,
    ours,
)
from tapping import UNBOUND, await_traffic

from steering.lab.network.sandbox import find
from steering.model import LOCAL, Family

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(find("nft") is None, reason="the program nft (nftables) is not installed"),
]

REHEARSE = replace(QUICK, mode="rehearse", lease="3s")
SITE_TABLES = ("5354", "5355")
COUNTED = """
table inet count {
  chain out {
    type filter hook postrouting priority 0;
    oifname { "bb-pao", "bb-fra" } th dport 53 meta mark & 0x7f == 0 counter name unmarked
    oifname { "bb-pao", "bb-fra" } th dport 53 meta mark & 0x7f != 0 counter name marked
    oifname "isp" th dport 53 meta mark & 0x7f == 0 counter name local
  }
  counter unmarked {}
  counter marked {}
  counter local {}
}
"""


def to_mode(stage: Stage, mode: str) -> None:
    """Write another mode into the file."""
    edit(
        config(stage),
        lambda text: re.sub(r"^mode: \w+$", f"mode: {mode}", text, flags=re.MULTILINE),
    )


def await_mode(stage: Stage, mode: str) -> None:
    """Until the agent goes by it."""
    stage.until(lambda: stage.status()["mode"], wanted=mode)


def count(stage: Stage) -> None:
    """From now on the kernel counts packets to port 53, by where they leave and how."""
    file = stage.scene.world.work / "count.nft"
    file.write_text(COUNTED)
    stage.sh(f"nft -f {file}")


def counted(stage: Stage, name: str) -> int:
    """Packets so far."""
    told = json.loads(stage.sh(f"nft -j list counter inet count {name}"))
    return int(told["nftables"][-1]["counter"]["packets"])


def only_its_questions(stage: Stage) -> bool:
    """All of ours in the kernel are rules for marks of the sites, and routes in their tables."""
    lines = ours(stage)
    rules = [line for line in lines if "lookup" in line or "goto" in line or "nop" in line]
    return bool(rules) and all(
        ("fwmark 0x4" in line and "lookup 535" in line and line.startswith("5352:"))
        if line in rules
        else any(f"table {table} " in line for table in SITE_TABLES)
        for line in lines
    )


def would(stage: Stage) -> set[str | None]:
    """Where the addresses would go."""
    return {a["would_steer_to"] for a in stage.status()["addresses"]}


def await_would(stage: Stage, site: str | None, while_so: Callable[[], bool]) -> None:
    """Until all of them would go there, while something stays so throughout."""

    def there() -> bool:
        assert while_so(), f"{ours(stage)}; {stage.story()}"
        return would(stage) == {site}

    stage.until(there, every=0.1)


def test_an_incident_is_decided_and_told_and_not_one_packet_goes_another_way() -> None:
    with on_stage(REHEARSE) as stage:
        count(stage)
        add_foreign(stage)
        others = foreign(stage)
        assert only_its_questions(stage), ours(stage)
        kernel, ways = Kernel(stage), ours(stage)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_would(stage, "pao", lambda: ours(stage) == ways)
        stage.await_about("would_prove")
        for address in stage.status()["addresses"]:
            assert address["steered_to"] is None
            assert address["installed"] == {"kernel": None, "bgp": None}
            assert address["rule"] == "steer"
        said = " ".join(stage.scene.steering("status").split())
        assert "4 over the local path; would move 4 to pao" in said
        assert "rehearse (moves nothing)" in said
        why = " ".join(stage.scene.steering("explain", stage.addresses[0]).split())
        assert "path local; would be pao;" in why
        metrics = stage.scene.get("/metrics")[1]
        assert 'steering_mode{mode="rehearse"} 1.0' in metrics
        assert metrics.count("steering_would_steer{") == len(stage.addresses)
        assert "steering_desired{" not in metrics
        assert "steering_installed{" not in metrics

        stage.scene.serve(EXPIRED, paths=["pao"])  # as bad there: the other one
        await_would(stage, "fra", lambda: ours(stage) == ways)
        stage.scene.serve()
        stage.await_about("would_release")
        await_would(stage, None, lambda: ours(stage) == ways)

        assert not {"steered", "released", "proved", "undone", "held"} & {
            e["event"] for e in stage.listen()
        }
        assert kernel.lines() == [], "not a route, not a rule, not for a moment"
        assert foreign(stage) == others
        assert counted(stage, "unmarked") == 0
        assert counted(stage, "marked") > 100
        assert counted(stage, "local") > 100
        assert stage.scene.stop_agent() == 0
        again = " ".join(stage.scene.steering("replay", check=True).split())
        assert "would_steer" in again
        assert " steered " not in again


def test_what_it_put_in_ends_with_the_lease_and_is_there_again_at_the_next_start() -> None:
    with on_stage(REHEARSE) as stage:
        stage.kill_agent()
        stage.until(lambda: ours(stage), 3 + PATIENCE / 10, wanted=[])
        stage.scene.start_agent()  # as after a reboot: nothing is there
        stage.until(lambda: only_its_questions(stage), tell=lambda: ours(stage))
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        assert "off" in stage.scene.steering("off", "--reason", "a ticket")
        assert not ours(stage)
        stage.asked_more(4, meanwhile=lambda: not ours(stage))
        stage.scene.steering("on", check=True)
        stage.until(lambda: only_its_questions(stage), tell=lambda: ours(stage))


def test_a_restart_within_the_lease_touches_nothing() -> None:
    with on_stage(replace(REHEARSE, lease="30s")) as stage:
        kernel = Kernel(stage)
        assert stage.scene.stop_agent() == 0
        stage.scene.start_agent()
        stage.asked_more(4, meanwhile=lambda: only_its_questions(stage))
        assert kernel.lines() == []


def test_a_change_to_enforce_steers_without_a_restart_and_touches_no_route_of_questions() -> None:
    with on_stage(REHEARSE) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_would(stage, "pao", lambda: only_its_questions(stage))
        kernel = Kernel(stage)
        to_mode(stage, "enforce")
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        stage.clients_fine()
        stage.await_about("steered")
        told = [line for line in kernel.lines() if "unreachable" in line or "lookup 5353" in line]
        assert told, "the rule of the steers came"
        assert not any("Deleted" in line for line in kernel.lines()), kernel.lines()
        assert not any(f"table {t} " in line for t in SITE_TABLES for line in kernel.lines())

        to_mode(stage, "rehearse")  # most steers would end
        stage.await_alarm("config_held")
        stage.steady(stage.through("pao"), questions=8)
        stage.scene.steering("reload", "--yes", check=True)
        await_mode(stage, "rehearse")
        stage.await_about("released")
        stage.until(lambda: only_its_questions(stage), tell=lambda: ours(stage))
        await_would(stage, "pao", lambda: only_its_questions(stage))
        gone = [line for line in kernel.lines() if "Deleted" in line]
        assert not any(
            f"table {t} " in line or f"lookup {t}" in line for t in SITE_TABLES for line in gone
        ), gone
        assert stage.scene.stop_agent() == 0
        again = " ".join(stage.scene.steering("replay", check=True).split())
        assert "would_steer" in again
        assert " steered " in again


def test_an_agent_that_rehearses_takes_out_the_steers_of_one_that_died() -> None:
    with on_stage(replace(REHEARSE, mode="enforce", lease="60s")) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        stage.kill_agent()
        to_mode(stage, "rehearse")
        stage.scene.start_agent()
        stage.until(lambda: only_its_questions(stage), tell=lambda: ours(stage))
        stage.await_about("released")
        assert not stage.about("adopted")
        await_would(stage, "pao", lambda: only_its_questions(stage))


def test_what_the_resolvers_are_answered_meanwhile_is_no_fault_of_the_would_be_detour() -> None:
    """Their traffic goes on over the local path, and dnstap tells of it all the while."""
    if find("unbound") is None:
        pytest.skip("unbound is not installed")
    settings = replace(REHEARSE, dnstap=True)
    with on_stage(settings, resolver=UNBOUND) as stage:
        await_traffic(stage)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_would(stage, "pao", lambda: only_its_questions(stage))
        stage.await_about("would_prove")
        stage.asked_more(60, meanwhile=lambda: would(stage) == {"pao"})
        stage.scene.serve()
        await_would(stage, None, lambda: only_its_questions(stage))
        told = {e["event"] for e in stage.listen()}
        assert not {"would_undo", "would_relapse", "undone"} & told, stage.story()
        assert "unserved" not in stage.alarms()


def test_from_observe_to_rehearse_and_back_by_a_changed_file_alone() -> None:
    with on_stage(replace(REHEARSE, mode="observe")) as stage:
        assert not ours(stage)
        to_mode(stage, "rehearse")
        await_mode(stage, "rehearse")
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        assert only_its_questions(stage), ours(stage)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_would(stage, "pao", lambda: only_its_questions(stage))
        to_mode(stage, "observe")
        await_mode(stage, "observe")
        stage.until(lambda: ours(stage), wanted=[])
        stage.await_alarm("uncompared", "clock", "everywhere")


def test_modes_that_change_again_and_again_end_where_the_file_says() -> None:
    """Half of them are met while the one before is being taken up."""
    with on_stage(REHEARSE) as stage:
        kernel = Kernel(stage)
        modes = ("enforce", "observe", "rehearse", "observe", "enforce", "rehearse") * 3
        for number, mode in enumerate(modes):
            to_mode(stage, mode)
            if number % 2:
                await_mode(stage, mode)
        await_mode(stage, "rehearse")
        stage.until(lambda: only_its_questions(stage), tell=lambda: ours(stage))
        assert kernel.steers() == [], "in all this nothing was steered"
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        assert not {"config", "config_held", "kernel"} & stage.alarms()


def test_rules_of_others_in_our_numbers_are_refused_and_a_changed_file_is_rejected() -> None:
    with on_stage(replace(REHEARSE, mode="observe")) as stage:
        stage.sh("ip rule add pref 5353 from 198.51.100.1 lookup 77 protocol 99")
        before = everything(stage)
        to_mode(stage, "rehearse")
        stage.await_event("config_rejected")
        stage.await_alarm("config")
        (said,) = {e["because"] for e in stage.listen() if e["event"] == "config_rejected"}
        assert "rule 5353 (ipv4) of protocol 99" in said
        assert stage.status()["mode"] == "observe"
        assert everything(stage) == before
        assert stage.scene.stop_agent() == 0
        stage.scene.start_agent(ready=False)
        assert stage.scene.agent is not None
        assert stage.scene.agent.wait(PATIENCE) == 2
        assert everything(stage) == before


@pytest.mark.parametrize("family", list(Family))
def test_a_host_without_a_family_rehearses_with_the_other(family: Family) -> None:
    other = next(one for one in Family if one is not family)
    with on_stage(REHEARSE, agent=False) as stage:
        for end in ("all", "default"):
            if family is Family.IPV6:
                stage.sh(f"sysctl -qw net.ipv6.conf.{end}.disable_ipv6=1")
        if family is Family.IPV4:
            stage.sh("for d in isp bb-pao bb-fra; do ip -4 addr flush dev $d; done")
        stage.scene.start_agent(ready=False)
        mine = stage.family(other)
        stage.until(
            lambda: {
                e["address"]
                for e in stage.listen()
                if e["event"] == "health_changed" and e["path"] == "pao" and e["now"] == "healthy"
            },
            wanted=set(mine),
        )
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_about("would_steer", mine)
