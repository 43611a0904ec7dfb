"""Whole stories with a router between: faults here, packets by the remote site, and home again."""

from __future__ import annotations

import contextlib
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from routed import ALONE, BGP, PINS, SOURCES, await_told, behind_a_router, pin, routes, through
from stage import EXPIRED, QUICK, Stage, on_stage, ours

from steering.act.bgp import process
from steering.lab.network.topology import EDGE, ISP
from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab


def test_routers_alone_take_traffic_away_and_home_again() -> None:
    with behind_a_router() as stage:
        began = stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_told(stage, through(stage, "pao"))
        stage.await_about("steered")
        confirmed = max(stage.times("confirmed"))
        assert max(stage.times("steered")) - confirmed < 2.0
        assert confirmed > began
        stage.await_proof()
        assert ours(stage) == []
        for address in stage.status()["addresses"]:
            assert address["installed"] == {"kernel": None, "bgp": "pao"}
        stage.clients_fine()
        stage.scene.serve(paths=[LOCAL])
        await_told(stage, {})
        stage.clients_fine()
        assert not {"bgp", "pins"} & stage.alarms()


def test_a_pin_that_the_router_forgot_keeps_the_detour_and_is_said_so() -> None:
    with behind_a_router() as stage:
        for family in Family:
            pin(stage, LOCAL, family=family, act="del")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_told(stage, through(stage, "pao"))
        stage.await_alarm("pins")
        stage.asked_more(60, meanwhile=lambda: routes(stage) == through(stage, "pao"))
        for family in Family:
            pin(stage, LOCAL, family=family)
        stage.await_alarm("pins", there=False)
        stage.asked_more(36, meanwhile=lambda: routes(stage) == through(stage, "pao"))
        stage.scene.serve(paths=[LOCAL])
        await_told(stage, {})


def test_another_pin_of_the_local_path_is_another_way_and_brings_nothing_home_by_that() -> None:
    with behind_a_router() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_told(stage, through(stage, "pao"))
        stage.await_proof()
        stage.asked_more(12)
        for family, source in ((Family.IPV4, "10.255.99.9"), (Family.IPV6, "fd00:ff:99::9")):
            stage.scene.world.ip(EDGE, "addr", "add", f"{source}/{family.bits}", "dev", "lo")
            rule = f"-{str(family)[-1]} rule add pref 100 from {source} lookup {100 + PINS[LOCAL]}"
            stage.scene.world.ip(ISP, *rule.split())
        before = local_samples(stage)
        other = SOURCES.replace("10.255.99.1,", "10.255.99.9,").replace(":99::1'", ":99::9'")
        assert other.count("9.9,") == other.count("::9'") == 1
        stage.scene.configure(replace(ALONE, probe=f", pins: {{{other}}}"))
        stage.until(
            lambda: all(now < before[a] for a, now in local_samples(stage).items()),
            15.0,
            every=0.02,
            tell="what the old pin brought is no evidence",
        )
        stage.asked_more(36, meanwhile=lambda: routes(stage) == through(stage, "pao"))
        assert stage.healths(LOCAL) == {"failing"}
        stage.scene.serve(paths=[LOCAL])
        await_told(stage, {})
        assert "pins" not in stage.alarms()


def local_samples(stage: Stage) -> dict[str, int]:
    return {a["address"]: a["paths"][LOCAL]["samples"] for a in stage.status()["addresses"]}


def test_an_agent_that_dies_leaves_it_to_the_lease_and_a_successor_flaps_nothing() -> None:
    with behind_a_router() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_told(stage, through(stage, "pao"))
        stage.await_proof()
        stage.kill_agent()
        stage.until(lambda: _holders(stage.scene.log), 5.0, wanted=[])
        told = updates(stage)
        stage.scene.start_agent()
        stage.asked_more(12, meanwhile=lambda: routes(stage) == through(stage, "pao"))
        stage.await_about("adopted")
        assert updates(stage) == told
        stage.kill_agent()
        stage.kill_guard()  # the helper inside the speaker is the second switch
        stage.until(lambda: routes(stage), 25.0, wanted={})


def _holders(file: Path) -> list[str]:
    """The programs that have it open, as they had the pipe of `steering run 2>&1 | cat`."""
    found = []
    for process_id in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(fd.readlink() == file for fd in (process_id / "fd").iterdir()):
                found.append((process_id / "cmdline").read_text().replace("\0", " "))
    return found


def test_switching_off_ends_speaker_and_routes_at_once() -> None:
    with behind_a_router() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_told(stage, through(stage, "pao"))
        assert "off" in stage.scene.steering("off")
        stage.until(lambda: routes(stage), 2.0, wanted={})
        assert process.running(stage.scene.world.work / "run") is None
        stage.asked_more(12, meanwhile=lambda: routes(stage) == {})
        stage.scene.steering("on")
        await_told(stage, through(stage, "pao"))


def test_with_bgp_unusable_the_kernel_goes_on() -> None:
    neighbour = "{address: 10.255.0.99, peer_as: 64512, password_file: nowhere}"
    bgp = f"{{local_as: 64512, router_id: 10.255.0.1, neighbors: [{neighbour}]}}"
    with on_stage(replace(QUICK, more=f"act: {{bgp: {bgp}}}")) as stage:
        stage.await_alarm("bgp")
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.await_proof()
        assert "kernel" not in stage.alarms()


def test_without_its_user_the_speaker_waits_for_one_and_the_kernel_goes_on() -> None:
    missing = BGP.replace("user: nobody", "user: steering-lab-bgp")
    both = replace(ALONE, more=f"act: {{bgp: {missing}}}")
    with behind_a_router(both) as stage:
        stage.await_alarm("bgp")
        (because,) = (a["because"] for a in stage.status()["alarms"] if a["name"] == "bgp")
        made = "useradd --system --no-create-home --shell /usr/sbin/nologin steering-lab-bgp"
        assert f"`{made}` makes it" in because
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        assert process.running(stage.scene.world.work / "run") is None
        assert stage.scene.agent is not None
        with a_user(stage.scene.agent.pid, "steering-lab-bgp"):
            await_told(stage, through(stage, "pao"))
            stage.until(lambda: "bgp" not in stage.alarms(), 10.0)
            stage.await_routes(stage.through("pao"))


@contextmanager
def a_user(process_id: int, name: str) -> Iterator[None]:
    """A user that is there in the mount namespace of the lab alone, and goes with it."""
    work = Path(tempfile.mkdtemp(prefix="steering-lab-user-"))
    passwd = work / "passwd"
    passwd.write_text(
        f"{Path('/etc/passwd').read_text()}{name}:x:61999:65534::/:/usr/sbin/nologin\n"
    )
    enter = ["nsenter", f"--target={process_id}", "--mount"]
    subprocess.run([*enter, "mount", "--bind", passwd, "/etc/passwd"], check=True)
    try:
        yield
    finally:
        shutil.rmtree(work)


def test_kernel_and_routers_together_and_the_guard_takes_both_back() -> None:
    both = replace(ALONE, more=f"act: {{bgp: {BGP}}}", lease="3s")
    with behind_a_router(both) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        await_told(stage, through(stage, "pao"))
        both_told = {"kernel": "pao", "bgp": "pao"}
        stage.until(
            lambda: all(a["installed"] == both_told for a in stage.status()["addresses"]),
            10.0,
            tell=lambda: stage.status()["addresses"],
        )
        assert stage.scene.agent is not None
        stage.scene.agent.signal(signal.SIGKILL)
        stage.until(lambda: routes(stage) == {} and not ours(stage), 10.0)
        assert process.running(stage.scene.world.work / "run") is None


def test_a_reload_goes_from_the_kernel_to_the_routers_and_back() -> None:
    kernel = replace(ALONE, more="act: {bgp: off}")
    both = replace(ALONE, more=f"act: {{bgp: {BGP}}}")
    with behind_a_router(kernel) as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_routes(stage.through("pao"))
        stage.scene.configure(both)
        await_told(stage, through(stage, "pao"))
        assert stage.scene.routes() == stage.through("pao")
        stage.scene.configure(ALONE)
        stage.until(lambda: ours(stage), 15.0, wanted=[])
        stage.asked_more(12, meanwhile=lambda: routes(stage) == through(stage, "pao"))
        told = updates(stage)
        other = BGP.replace("local_as", "local_preference: 700, local_as")
        stage.scene.configure(replace(ALONE, more=f"act: {{kernel: off, bgp: {other}}}"))
        stage.until(lambda: updates(stage) != told, 15.0)
        stage.asked_more(12, meanwhile=lambda: routes(stage) == through(stage, "pao"))
        stage.scene.configure(kernel)
        stage.await_routes(stage.through("pao"))
        await_told(stage, {})
        assert process.running(stage.scene.world.work / "run") is None


def test_an_agent_that_rehearses_tells_routers_nothing() -> None:
    both = replace(ALONE, more=f"act: {{bgp: {BGP}}}")
    rehearse = replace(both, mode="rehearse")
    with behind_a_router(rehearse) as stage:
        runtime = stage.scene.world.work / "run"
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        stage.await_about("would_prove")
        assert process.running(runtime) is None
        assert routes(stage) == {}
        stage.scene.configure(both)
        await_told(stage, through(stage, "pao"))
        stage.await_proof()
        stage.scene.configure(rehearse)
        stage.await_alarm("config_held")
        stage.scene.steering("reload", "--yes", check=True)
        await_told(stage, {})
        stage.until(lambda: process.running(runtime) is None, 15.0)
        stage.await_about("released")


def test_one_that_rehearses_by_routers_alone_ends_what_a_dead_one_announced() -> None:
    alone = replace(ALONE, lease="60s")
    with behind_a_router(alone) as stage:
        runtime = stage.scene.world.work / "run"
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_told(stage, through(stage, "pao"))
        stage.await_proof()
        stage.kill_agent()
        stage.scene.configure(replace(alone, mode="rehearse"))
        stage.scene.start_agent()
        await_told(stage, {}, within=15.0)
        stage.until(lambda: process.running(runtime) is None, 15.0)
        stage.await_about("would_prove")
        assert routes(stage) == {}


def test_one_that_rehearses_beside_one_that_acts_leaves_its_speaker_alone() -> None:
    with behind_a_router() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_told(stage, through(stage, "pao"))
        stage.await_proof()
        told = updates(stage)
        other = stage.scene.config.with_name("beside.yaml")
        text = stage.scene.config.read_text()
        assert "mode: enforce" in text
        other.write_text(text.replace("mode: enforce", "mode: rehearse"))
        beside = stage.scene.agent_host.start(other, log=stage.scene.world.work / "other.log")
        try:
            said = stage.scene.world.work / "other.log"
            stage.until(lambda: "config_loaded" in said.read_text(), 30.0)
            stage.asked_more(24, meanwhile=lambda: routes(stage) == through(stage, "pao"))
            assert updates(stage) == told
        finally:
            beside.signal(signal.SIGTERM)
            beside.wait(20.0)


def test_a_reload_to_another_user_has_one_other_speaker_and_it_is_heard() -> None:
    with behind_a_router() as stage:
        stage.scene.serve(EXPIRED, paths=[LOCAL])
        await_told(stage, through(stage, "pao"))
        stage.await_proof()
        heard = len(stage.times("bgp_session", now="up"))
        other = BGP.replace("user: nobody", "user: daemon")
        stage.scene.configure(replace(ALONE, more=f"act: {{kernel: off, bgp: {other}}}"))
        stage.until(lambda: len(stage.times("bgp_session", now="up")) > heard, 15.0, every=0.05)
        await_told(stage, through(stage, "pao"))
        assert len(stage.times("bgp_speaker", now="started")) == 2
        socket = (stage.scene.world.work / "run" / process.FOLDER / "socket").stat()
        assert socket.st_uid == pwd.getpwnam("daemon").pw_uid


def updates(stage: Stage) -> list[str]:
    """The router's own count of what it was told."""
    text = stage.scene.world.run(
        ISP, ["birdc", "-s", f"{stage.scene.world.work}/bird.ctl", "show protocols all edge"]
    ).stdout
    return [line.strip() for line in text.splitlines() if "Import" in line]
