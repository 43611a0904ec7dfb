"""A stage whose provider's router is ours: it is told by BGP where steered addresses go."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from stage import QUICK, Stage, on_stage

from steering.lab.network.links import End
from steering.lab.network.peering import passable
from steering.lab.network.sandbox import find
from steering.lab.network.topology import EDGE, ISP
from steering.lab.scene import Scene, Settings
from steering.lab.servers.resolver import Resolving
from steering.model import LOCAL, Family

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
