"""Whole stories with a router between: faults here, packets by the remote site, and home again."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from stage import EXPIRED, QUICK, Stage, on_stage, ours

from steering.act.bgp import process
from steering.lab.network.links import End
from steering.lab.network.peering import passable
from steering.lab.network.sandbox import find
from steering.lab.network.topology import EDGE, ISP
from steering.lab.scene import Scene, Settings
from steering.lab.servers.resolver import Resolving
from steering.model import LOCAL, Family

pytestmark = pytest.mark.lab

# The provider's router of the small internet is ours here: it has links to the remote sites of
# its own, is told by BGP, and leads what comes from these addresses of the edge by policy.
PINS = {LOCAL: 1, "pao": 2, "fra": 3}
NEXT_HOPS = {
    site: {Family.IPV4: f"10.254.{n}.2", Family.IPV6: f"fd00:fe:{n}::2"}
    for n, site in enumerate(("pao", "fra"), 1)
}
HOPS = ", ".join(
    f"{site}: {{ipv4: {hop[Family.IPV4]}, ipv6: '{hop[Family.IPV6]}'}}"
    for site, hop in NEXT_HOPS.items()
)
NEIGHBOUR = "{address: 10.255.0.2, peer_as: 64512, hold_time: 3s}"
BGP = (
    f"{{user: nobody, local_as: 64512, router_id: 10.255.0.1, neighbors: [{NEIGHBOUR}],"
    f" next_hop: {{{HOPS}}}}}"
)
SOURCES = ", ".join(
    f"{path}: {{ipv4: 10.255.99.{n}, ipv6: 'fd00:ff:99::{n}'}}" for path, n in PINS.items()
)
ALONE = replace(
    QUICK, more=f"act: {{kernel: off, bgp: {BGP}}}", probe=f", pins: {{{SOURCES}}}", lease="10s"
)
BIRD = """\
router id 10.255.0.2;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol kernel k4 { ipv4 { export where source = RTS_BGP && dest != RTD_UNREACHABLE; }; }
protocol kernel k6 { ipv6 { export where source = RTS_BGP && dest != RTD_UNREACHABLE; }; }
protocol bgp edge {
  local 10.255.0.2 as 64512; neighbor 10.255.0.1 as 64512;
  hold time 3; error wait time 1, 10; connect delay time 1;
  ipv4 { import where net ~ [ 0.0.0.0/0{32,32} ]; export none; };
  ipv6 { import where net ~ [ ::/0{128,128} ]; export none; };
}
"""


@contextmanager
def behind_a_router(
    settings: Settings = ALONE,
    *,
    agent: bool = True,
    password: str = "",
    resolver: Callable[[Scene], Resolving] | None = None,
) -> Iterator[Stage]:
    if os.geteuid():
        pytest.skip("the speaker gives up root, which only root can")
    if find("bird") is None:
        pytest.skip("bird is not installed")
    with on_stage(settings, agent=False, resolver=resolver) as stage:
        world = stage.scene.world
        passable(world.work)
        inner = world.paths[LOCAL].inner(2)
        for n, site in enumerate(NEXT_HOPS, 1):
            world.link(
                End(ISP, f"to-{site}", (f"10.254.{n}.1/24", f"fd00:fe:{n}::1/64")),
                End(site, "from-isp", (f"10.254.{n}.2/24", f"fd00:fe:{n}::2/64")),
            )
        ways = {LOCAL: inner, **NEXT_HOPS}
        lines = [f"route del {a}" for a in stage.addresses]
        for family, flag in ((Family.IPV4, "-4"), (Family.IPV6, "-6")):
            world.ip(ISP, flag, "route", "replace", "default", "via", inner[family])
            net = "10.255.99." if family is Family.IPV4 else "fd00:ff:99::"
            for path, n in PINS.items():
                world.ip(EDGE, "addr", "add", f"{net}{n}/{family.bits}", "dev", "lo")
                world.ip(
                    ISP,
                    *f"{flag} route add default via {ways[path][family]} table {100 + n}".split(),
                )
                pin(stage, path, family=family)
        world.ip_batch(ISP, lines)
        secret = f'hold time 3; password "{password}";' if password else "hold time 3;"
        (world.work / "bird.conf").write_text(BIRD.replace("hold time 3;", secret))
        start_router(stage)
        if agent:
            stage.scene.start_agent()
            for path in world.paths:
                stage.await_health("healthy", path=path)
        yield stage


def pin(stage: Stage, path: str, *, family: Family, act: str = "add") -> None:
    """The router leads the questions of a path by policy, or does so no longer."""
    n = PINS[path]
    flag, source = ("-4", f"10.255.99.{n}") if family is Family.IPV4 else ("-6", f"fd00:ff:99::{n}")
    rule = f"{flag} rule {act} pref 100 from {source} lookup {100 + n}"
    stage.scene.world.ip(ISP, *rule.split())


def start_router(stage: Stage) -> None:
    work = stage.scene.world.work
    words = f"bird -f -c {work}/bird.conf -s {work}/bird.ctl -P {work}/bird.pid"
    stage.scene.world.start(ISP, words.split(), log="bird.log")


def routes(stage: Stage) -> dict[str, str]:
    """Host routes in the router's kernel that BGP brought."""
    found: dict[str, str] = {}
    for family in ("-4", "-6"):
        for route in json.loads(stage.scene.world.ip(ISP, "-j", family, "route") or "[]"):
            if route.get("protocol") == "bird":
                found[route["dst"]] = route.get("gateway", "")
    return found


def through(stage: Stage, site: str) -> dict[str, str]:
    return {a: NEXT_HOPS[site][Family.of(a)] for a in stage.addresses}


def await_told(stage: Stage, wanted: dict[str, str], within: float = 60.0) -> None:
    stage.until(lambda: routes(stage), within, wanted=wanted, tell=lambda: stage.status()["alarms"])


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
