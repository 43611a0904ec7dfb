"""An edge host, a router that it sends routes by BGP, and a site behind the router.

The present namespace is the edge. The router's programs are in ``routers``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from steering.act.bgp.actuator import BgpActuator
from steering.act.bgp.settings import NO_EXPORT, BgpSettings, Peer
from steering.lab.network.links import End, Spaces
from steering.lab.waiting import until
from steering.model import Family

EDGE = {Family.IPV4: "10.9.0.1", Family.IPV6: "fd09::1"}
ROUTER = {Family.IPV4: "10.9.0.2", Family.IPV6: "fd09::2"}
NEXT_HOPS = {
    "pao": {Family.IPV4: "10.9.1.7", Family.IPV6: "fd09:1::7"},
    "fra": {Family.IPV4: "10.9.1.8", Family.IPV6: "fd09:1::8"},
}
IPV4 = tuple(f"192.0.2.{i}" for i in range(1, 14))
IPV6 = tuple(f"2001:db8::{i:x}" for i in range(1, 14))
ALL = (*IPV4, *IPV6)


def passable(place: Path) -> None:
    """Let other users enter the test's own directories."""
    for folder in (place, *place.parents):
        if folder.is_relative_to(tempfile.gettempdir()) and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)


class Network(Spaces):
    """Edge, router and site."""

    def __init__(self) -> None:
        super().__init__("router", "site")
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        for name in ("", "router", "site"):
            # FRR refuses an IPv6 session on a link without a link-local address.
            self.run(name, "sysctl -q -w net/ipv6/conf/default/accept_dad=0")
        self.link(
            End("", "edge", ("10.9.0.1/24", "fd09::1/64")),
            End("router", "up-edge", ("10.9.0.2/24", "fd09::2/64")),
        )
        self.link(
            End("router", "up-site", ("10.9.1.2/24", "fd09:1::2/64")),
            End("site", "site", ("10.9.1.7/24", "10.9.1.8/24", "fd09:1::7/64", "fd09:1::8/64")),
        )
        for name in ("router", "site"):
            for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                self.run(name, f"sysctl -q -w net/{key}=1")
        self.batch("", [f"route add default via {hop}" for hop in ROUTER.values()])
        self.batch(
            "site", ["route add 10.9.0.0/24 via 10.9.1.2", "route add fd09::/64 via fd09:1::2"]
        )
        self.batch("site", [f"addr add {address} dev lo" for address in ALL])

    def routes(self) -> dict[str, str]:
        """Host routes of a routing protocol in the router's kernel: address -> next hop."""
        found: dict[str, str] = {}
        for family in ("-4", "-6"):
            for route in json.loads(self.run("router", f"ip -j {family} route show") or "[]"):
                if route.get("protocol") in {"bird", "bgp", "zebra"} and "/" not in route["dst"]:
                    found[route["dst"]] = route.get("gateway", route.get("type", "?"))
        return found

    @contextlib.contextmanager
    def program(self, name: str, source: str) -> Iterator[Callable[[], int]]:
        """Run a Python program there; the function returns how many lines it has printed."""
        process = subprocess.Popen(
            [*self.enter(name), sys.executable, "-c", source], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        count = 0

        def printed() -> int:
            nonlocal count
            assert process.stdout is not None
            count += (process.stdout.read() or b"").count(b"\n")
            return count

        try:
            yield printed
        finally:
            process.kill()
            process.communicate()

    def reaches(self, address: str) -> bool:
        """Whether packets from the edge arrive: the site's host refuses the port."""
        number = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(number, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((address, 9)) == errno.ECONNREFUSED


def terms(
    *,
    local_as: int = 64512,
    over: Family = Family.IPV4,
    peers: tuple[Peer, ...] = (),
    **more: Any,  # noqa: ANN401
) -> BgpSettings:
    return BgpSettings(
        local_as=local_as,
        router_id="10.9.0.1",
        peers=peers or (Peer(address=ROUTER[over], peer_as=64512),),
        next_hops=more.pop("next_hops", NEXT_HOPS),
        local_preference=500,
        communities=frozenset({"64512:5353", NO_EXPORT}),
        large_communities=frozenset({"64512:5353:1"}),
        user=more.pop("user", "nobody"),  # exists on every host; nothing else uses it in a lab
        **more,
    )


class Host:
    """The BGP half of an agent, which runs a turn at each call."""

    def __init__(self, settings: BgpSettings, runtime: Path, *, lease: float = 20.0) -> None:
        runtime.mkdir(parents=True, exist_ok=True)
        passable(runtime)  # for the speaker's user
        self.terms, self.runtime, self.lease = settings, runtime, lease
        self.plan: dict[str, str] = {}
        self.allowed = frozenset(ALL)
        self.results: list[object] = []
        self.events: list[Any] = []
        self.speaker = self._new()

    def _new(self) -> BgpActuator:
        return BgpActuator(self.terms, self.runtime, lease=self.lease, may_speak=lambda: True)

    def restart(self) -> None:
        """End the speaker's agent and start another one."""
        self.speaker.close()
        self.speaker = self._new()
        self.speaker.adopt()
        self.speaker.meet()

    def turn(self) -> None:
        self.results += self.speaker.apply(self.plan, self.allowed, frozenset())
        self.events += self.speaker.news()

    def until(self, true: Callable[[], object], within: float = 20.0) -> float:
        def why() -> object:
            return self.speaker.troubles, self.speaker.report(), self.log()

        return until(true, within, meanwhile=self.turn, tell=why)

    def up(self) -> bool:
        return all(line.up for line in self.speaker.report().sessions.values())

    def log(self) -> str:
        log = self.runtime / "bgp" / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def wanted(self) -> dict[str, str]:
        return {a: NEXT_HOPS[site][Family.of(a)] for a, site in self.plan.items()}

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.speaker.withdraw()
        self.speaker.close()
