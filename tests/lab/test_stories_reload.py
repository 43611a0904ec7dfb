"""Files are changed under a running agent: what it takes up, what it refuses, what it holds."""

from __future__ import annotations

import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest
from edits import config, edit, policy
from stage import (
    EXPIRED,
    FEW,
    PATIENCE,
    QUICK,
    Kernel,
    Stage,
    add_foreign,
    foreign,
    on_stage,
    slack,
)
from stage import ours as owned
from tapping import await_traffic, documented

from steering.act.lease import Lease
from steering.lab.addresses import GTLD_SERVERS
from steering.lab.network.sandbox import find
from steering.lab.network.topology import EDGE
from steering.lab.scene import Scene, Settings
from steering.lab.servers.resolver import Unbound
from steering.model import LOCAL, Family, Seconds

pytestmark = pytest.mark.lab

SHORT = replace(QUICK, lease="2s")
THREE: Mapping[str, tuple[str, ...]] = {
    f"{letter}.gtld-servers.net.": GTLD_SERVERS[f"{letter}.gtld-servers.net."] for letter in "abc"
}
SITE_TABLES = ("5354", "5355")
SOON: Seconds = 3.0
"""From a changed file to what follows from it."""


def without(*letters: str) -> Callable[[str], str]:
    """A policy without these nameservers."""
    return lambda text: "".join(
        line
        for line in text.splitlines(keepends=True)
        if line.strip()[:1] not in letters or ".gtld-servers.net." not in line
    )


def await_counted(stage: Stage, result: str, number: int) -> None:
    """Until so many versions of the files came to this."""
    line = f'steering_config_reloads_total{{result="{result}"}} {number:.1f}'
    stage.until(lambda: line in stage.scene.get("/metrics")[1], every=0.05)


def differences(stage: Stage) -> list[str]:
    """What the agent told of changed files, one text for each version."""
    told = [e["because"] for e in stage.listen() if e["event"] == "config_loaded"]
    return told[1:]  # the first one is that of its start


def rejections(stage: Stage) -> str:
    return " ".join(e["because"] for e in stage.listen() if e["event"] == "config_rejected")


def last_reload(stage: Stage) -> float:
    metrics = stage.scene.get("/metrics")[1].splitlines()
    name = "steering_config_last_reload_successful "
    return next(float(line.removeprefix(name)) for line in metrics if line.startswith(name))


def site_tables(stage: Stage) -> list[set[str]]:
    """The addresses that questions through each site have routes for."""
    return [set(stage.scene.routes(table)) for table in ("5354", "5355")]


@contextmanager
def steered(
    settings: Settings = QUICK, *, nameservers: Mapping[str, tuple[str, ...]] = FEW
) -> Iterator[Stage]:
    """All addresses go through pao, and it is proved."""
    with on_stage(settings, nameservers=nameservers) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        yield stage


def test_an_address_goes_and_comes_while_no_other_route_is_touched() -> None:
    with steered(nameservers=THREE) as stage:
        kernel = Kernel(stage)
        gone = THREE["c.gtld-servers.net."]
        stays = [a for a in stage.addresses if a not in gone]
        was = edit(policy(stage), without("c"))
        stage.await_routes(stage.through("pao", stays), within=SOON + slack())
        assert {e["address"] for e in stage.listen() if e["event"] == "released"} == set(gone)
        stage.until(lambda: site_tables(stage), wanted=[{*stays}] * 2)
        stage.clients_fine()
        policy(stage).write_text(was)
        stage.await_routes(stage.through("pao"))
        stage.until(lambda: site_tables(stage), wanted=[{*stage.addresses}] * 2)
        lines = kernel.steers()
        assert all(any(f" {a} " in line for a in gone) for line in lines), lines
        assert sum("Deleted" in line for line in lines) == len(gone)
        went, came = differences(stage)
        assert went.startswith('policy gtld-servers: nameservers["c.gtld-servers.net."] removed')
        assert came.startswith('policy gtld-servers: nameservers["c.gtld-servers.net."] added')


def test_what_is_known_goes_over_and_nobody_is_measured_anew() -> None:
    with steered() as stage:
        before = stage.samples()
        kernel = Kernel(stage)
        edit(policy(stage), lambda text: text.replace("max_hold: 1h", "max_hold: 2h"))
        stage.await_event(
            "config_loaded", because="policy gtld-servers: recover.max_hold: was 1h, now 2h"
        )
        now = stage.samples()
        assert all(now[a] >= before[a] for a in before), "no counter went back"
        assert stage.healths("pao") == {"healthy"}
        assert stage.healths(LOCAL) == {"failing"}
        stage.steady(stage.through("pao"))
        assert kernel.lines() == []
        assert len(stage.times("proved")) == len(stage.addresses), "nor was it proved again"


def test_a_broken_file_changes_nothing_until_it_is_mended() -> None:
    with steered() as stage:
        kernel = Kernel(stage)
        was = policy(stage).read_text()
        policy(stage).write_text(was[: len(was) // 2] + "\n  ]: {broken\nzones: 5\n")
        stage.await_event("config_rejected")
        stage.await_alarm("config")
        assert last_reload(stage) == 0.0
        assert "gtld-servers.yaml:" in rejections(stage)
        stage.steady(stage.through("pao"))
        policy(stage).write_text(was)
        stage.await_alarm("config", there=False)
        assert last_reload(stage) == 1.0
        policy(stage).rename(policy(stage).with_suffix(".gone"))
        policy(stage).parent.rename(config(stage).parent / "elsewhere")
        stage.await_alarm("config")
        stage.steady(stage.through("pao"))
        (config(stage).parent / "elsewhere").rename(policy(stage).parent)
        policy(stage).with_suffix(".gone").rename(policy(stage))
        stage.await_alarm("config", there=False)
        assert kernel.lines() == []


def test_what_would_end_most_steers_waits_for_a_word() -> None:
    with steered() as stage:
        kernel = Kernel(stage)
        one = stage.addresses[0]
        edit(
            policy(stage),
            lambda text: (
                text.split("nameservers:")[0] + f"nameservers:\n  a.gtld-servers.net.: ['{one}']\n"
            ),
        )
        stage.await_alarm("config_held")
        stage.await_event("config_held")
        assert last_reload(stage) == 0.0
        stage.steady(stage.through("pao"))
        assert kernel.lines() == []
        said = stage.scene.steering("reload")
        assert "3 of 4 steers" in said
        assert "--yes" in said, "nobody was there to be asked"
        stage.steady(stage.through("pao"), questions=8)
        assert "nothing is held" in stage.scene.steering("reload", "--yes", check=True)
        stage.await_routes(stage.through("pao", [one]))
        stage.await_alarm("config_held", there=False)


def test_a_restart_takes_what_was_held_as_it_is() -> None:
    with steered() as stage:
        one, *gone = stage.addresses
        edit(
            policy(stage),
            lambda text: (
                text.split("nameservers:")[0] + f"nameservers:\n  a.gtld-servers.net.: ['{one}']\n"
            ),
        )
        stage.await_alarm("config_held")
        earlier = stage.scene.world.work / "run" / "in-force"
        earlier.write_text("what an agent of version 0.1.0 left")
        stage.kill_agent()
        stage.listen()
        stage.heard.clear()
        stage.scene.start_agent()
        stage.await_routes(stage.through("pao", [one]))
        stage.await_about("adopted", [one])
        stage.await_about("released", gone)
        assert "config_held" not in stage.alarms()
        assert "nothing is held" in stage.scene.steering("reload", check=True)
        assert not earlier.exists()
        stage.steady(stage.through("pao", [one]), questions=8)


def test_what_changed_over_a_restart_and_ends_no_steer_touches_no_route() -> None:
    with steered() as stage:
        kernel = Kernel(stage)
        assert stage.scene.stop_agent() == 0
        edit(policy(stage), lambda text: text.replace("clean: 20", "clean: 30"))
        stage.scene.start_agent()
        stage.await_about("adopted")
        stage.steady(stage.through("pao"), questions=8)
        assert kernel.lines() == []
        assert not any("clean" in told for told in differences(stage)), "it began with these files"


def test_faulty_files_prevent_a_start_and_the_steers_stay_for_the_lease() -> None:
    with steered() as stage:
        kernel, lease = Kernel(stage), Lease(stage.scene.world.work / "run")
        stage.kill_agent()
        until = lease.read()
        was = policy(stage).read_text()
        for faulty in (was + "nonsense: 1\n", was[: len(was) // 2] + "\n  ]: {broken\n"):
            policy(stage).write_text(faulty)
            agent = stage.scene.start_agent(ready=False)
            assert agent.wait(PATIENCE) == 2
            assert "gtld-servers.yaml:" in agent.tail()
        policy(stage).unlink()
        policy(stage).parent.rename(config(stage).parent / "elsewhere")
        agent = stage.scene.start_agent(ready=False)
        assert agent.wait(PATIENCE) == 2
        assert "policies" in agent.tail()
        assert lease.read() == until, "it ends when it would have ended"
        assert stage.scene.routes() == stage.through("pao")
        (config(stage).parent / "elsewhere").rename(policy(stage).parent)
        policy(stage).write_text(was)
        stage.listen()
        stage.heard.clear()
        stage.scene.start_agent()
        stage.await_about("adopted")
        stage.steady(stage.through("pao"), questions=8)
        assert kernel.lines() == []


def test_an_agent_that_only_observes_leaves_the_steers_to_the_lease() -> None:
    with steered(replace(QUICK, lease="6s")) as stage:
        edit(config(stage), lambda text: text.replace("mode: enforce", "mode: observe"))
        stage.await_alarm("config_held")
        stage.kill_agent()
        assert stage.scene.routes() == stage.through("pao")
        stage.scene.start_agent()
        stage.await_about("released")
        stage.until(lambda: owned(stage), 6.0 + slack(), wanted=[])
        assert stage.status()["mode"] == "observe"


@pytest.mark.parametrize(
    ("numbers", "adopted"),
    [
        ("{priority: 6353}", True),
        ("{mark: 0x1000, mask: 0xf000}", True),
        ("{table: 6353}", False),
        ("{table: 5354, mark: 0x5354, priority: 5352}", False),
    ],
)
def test_a_restart_by_other_numbers_adopts_what_is_in_its_table_and_leaves_no_other(
    numbers: str, adopted: bool
) -> None:
    with steered() as stage:
        add_foreign(stage)
        others = foreign(stage)
        table = "5353" if "table" not in numbers else numbers.split("table: ")[1][:4]
        stage.kill_agent()
        edit(config(stage), lambda text: text + f"act: {{kernel: {numbers}}}\n")
        if not adopted:
            stage.scene.serve(paths=[LOCAL])  # nothing is steered anew
        stage.listen()
        stage.heard.clear()
        stage.scene.start_agent()
        stage.await_about("adopted" if adopted else "released")
        wanted = stage.through("pao") if adopted else {}

        def all_steers() -> dict[str, str]:
            return stage.scene.routes("5353") | stage.scene.routes(table)

        stage.until(all_steers, wanted=wanted)
        stage.await_health("healthy", path="pao")
        assert all_steers() == wanted
        assert bool(stage.about("adopted")) is adopted, "routes of probes are no steers"
        assert foreign(stage) == others
        assert not stage.alarms() - {"kernel"}
        count = len(owned(stage))
        assert stage.scene.stop_agent() == 0
        stage.scene.start_agent()
        assert len(owned(stage)) == count, "a new agent would have no more and no less"


def test_what_is_held_is_forgotten_when_the_files_are_put_right() -> None:
    with steered() as stage:
        kernel = Kernel(stage)
        was = edit(config(stage), lambda text: text.replace("mode: enforce", "mode: observe"))
        stage.await_alarm("config_held")
        config(stage).write_text(was)
        stage.await_alarm("config_held", there=False)
        assert "nothing is held" in stage.scene.steering("reload", check=True)
        stage.steady(stage.through("pao"))
        assert kernel.lines() == []


def test_from_enforce_to_observe_and_back_everything_goes_and_comes() -> None:
    with on_stage() as stage:
        was = edit(config(stage), lambda text: text.replace("mode: enforce", "mode: observe"))
        stage.until(lambda: not owned(stage), tell="nothing was in force to be held")
        assert stage.status()["mode"] == "observe"
        config(stage).write_text(was)
        for path in stage.scene.world.paths:
            stage.await_health("healthy", path=path)
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))


def test_sites_change_their_numbers_under_their_steers_without_a_flap() -> None:
    with steered() as stage:
        kernel = Kernel(stage)

        def swapped(text: str) -> str:
            lines = text.splitlines(keepends=True)
            at = next(i for i, line in enumerate(lines) if line.startswith("  pao:"))
            lines[at], lines[at + 1] = lines[at + 1], lines[at]
            return "".join(lines)

        edit(config(stage), swapped)
        stage.await_event("config_loaded", because="sites: the order is now fra, pao")
        stage.await_health("healthy", path="fra")
        stage.steady(stage.through("pao"))
        assert kernel.steers() == []
        assert not stage.alarms()


@pytest.mark.parametrize(
    "numbers",
    [
        "{table: 6353}",
        "{priority: 6353}",
        "{mark: 0x6353}",
        "{mark: 0x1000, mask: 0xf000}",
        "{priority: 5354}",
        "{table: 5354, mark: 0x5354, priority: 5352}",
    ],
)
def test_other_numbers_are_taken_up_and_nothing_stays_by_the_old_ones(numbers: str) -> None:
    with steered() as stage:
        add_foreign(stage)
        others = foreign(stage)
        table = "5353" if "table" not in numbers else numbers.split("table: ")[1][:4]
        edit(config(stage), lambda text: text + f"act: {{kernel: {numbers}}}\n")
        wanted = stage.through("pao")
        missing = 0

        def arrived() -> bool:
            nonlocal missing
            old = stage.scene.routes("5353")  # first: additions come before removals
            new = stage.scene.routes(table)
            missing += wanted not in (new, old)
            return new == wanted and (table == "5353" or not old)

        stage.until(arrived, every=0.005)
        assert missing == 0, "there was no moment without the steers"
        stage.await_event("config_loaded")
        stage.asked_more(12)
        assert stage.healths("pao") == {"healthy"}
        assert foreign(stage) == others
        count = len(owned(stage))
        assert stage.scene.stop_agent() == 0
        stage.scene.start_agent()
        assert len(owned(stage)) == count, "a new agent would have no more and no less"


def test_what_cannot_be_had_on_this_host_is_rejected_and_the_old_goes_on() -> None:
    with steered() as stage:
        kernel = Kernel(stage)
        with stage.scene.world.socket(EDGE, Family.IPV4, socket.SOCK_STREAM) as taken:
            taken.bind(("127.0.0.1", 9399))
            taken.listen()
            was = edit(config(stage), lambda text: text.replace(":9353", ":9399"))
            # A port that is taken is no reason to go on with old files: it is an alarm.
            taken_told = "port 9399 can't be listened on"
            stage.until(lambda: taken_told in stage.scene.steering("status"))
            config(stage).write_text(was)
            stage.scene.await_ready()
            stage.await_alarm("status", there=False)
            stage.steady(stage.through("pao"), questions=8)
        config(stage).write_text(was.replace("state: ", "state: /nowhere"))
        stage.until(lambda: "restart it" in rejections(stage))
        config(stage).write_text(was)
        stage.await_alarm("config", there=False)
        assert kernel.lines() == []


def test_a_hangup_has_the_files_read_at_once() -> None:
    with on_stage() as stage:
        assert stage.scene.agent is not None
        stage.scene.agent.signal(signal.SIGHUP)
        await_counted(stage, "loaded", 1)
        stage.steady({}, questions=8)


def test_killed_in_the_middle_of_reloads_nothing_is_left_by_any_numbers() -> None:
    rng = random.Random(4711)
    # Where a restart comes too late for the lease, its moves count: as many as may be needed.
    often = replace(SHORT, moves=1000)
    with on_stage(often, agent=False) as stage:
        add_foreign(stage)
        others = foreign(stage)
        stage.scene.start_agent()
        stage.await_health("healthy", path="pao")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        plain = config(stage).read_text()
        kinds = [
            plain,
            plain + "act: {kernel: {table: 6353, priority: 6353, mark: 0x6353}}\n",
            plain + "act: {kernel: {table: 7353}}\n",
            plain.replace("  pao:", "  zzz:")
            .replace("  fra:", "  pao:")
            .replace("  zzz:", "  fra:"),
        ]
        for _ in range(12):
            config(stage).write_text(rng.choice(kinds))
            time.sleep(rng.uniform(0.3, 1.6))  # the random moment itself
            stage.kill_agent()
            stage.scene.start_agent(ready=False)
            stage.scene.await_ready()
        config(stage).write_text(plain)
        stage.await_event("config_loaded")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        assert foreign(stage) == others
        config(stage).write_text(kinds[1])
        time.sleep(rng.uniform(0.5, 1.2))  # and another one
        stage.kill_agent()
        stage.until(lambda: owned(stage), 4.0 + slack(), wanted=[])
        assert foreign(stage) == others


def test_what_is_frozen_comes_back_after_a_restart_beyond_the_lease() -> None:
    with steered(SHORT) as stage:
        stage.scene.steering(
            *("override", "add", "--freeze", "--all", "--name", "hold-still"),
            *("--until", "never", "--reason", "a story", "--by", "us", "--yes"),
            check=True,
        )
        stage.until(lambda: {a["rule"] for a in stage.status()["addresses"]}, wanted={"override"})
        stage.scene.serve(paths=[LOCAL])
        stage.kill_agent()
        stage.until(lambda: not owned(stage), 4.0 + slack())
        stage.scene.start_agent()
        stage.await_routes(stage.through("pao"))
        stage.await_health("healthy")
        stage.steady(stage.through("pao"))
        stage.scene.steering("override", "remove", "hold-still", "--yes", check=True)
        stage.await_routes({})


@pytest.mark.skipif(find("unbound") is None, reason="unbound")
def test_a_resolver_stays_connected_over_a_change_of_policies() -> None:
    def resolver(scene: Scene) -> Unbound:
        return Unbound(scene.world, keys=scene.anchors, dnstap=documented("unbound", scene))

    with on_stage(replace(QUICK, dnstap=True), nameservers=THREE, resolver=resolver) as stage:
        await_traffic(stage)
        readers = stage.sh("pgrep -f [s]teering.dnstap.reader || true").split()
        was = edit(policy(stage), without("c"))
        stage.until(lambda: len(differences(stage)), wanted=1, every=0.05)
        await_traffic(stage)
        policy(stage).write_text(was)
        stage.until(lambda: len(differences(stage)), wanted=2, every=0.05)
        await_traffic(stage)
        assert stage.sh("pgrep -f [s]teering.dnstap.reader || true").split() == readers
        assert not stage.times("dnstap"), "no connection was closed"
        # A place more: the socket in use stays, and the resolver finds the reader's successor.
        edit(config(stage), lambda text: text.replace("/tap]", "/tap, tcp://127.0.0.1:6000]"))
        stage.until(lambda: len(differences(stage)), wanted=3, every=0.05)
        await_traffic(stage)
        assert not stage.alarms()
