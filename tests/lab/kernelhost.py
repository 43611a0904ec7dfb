"""One edge host in a network namespace: an uplink and two backbone links, and `ip` as witness."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from steering.act.kernel.claim import Claim
from steering.lab.network.links import End, Spaces, run
from steering.lab.waiting import until
from steering.model import Family

SITES = ("pao", "fra")
LINKS = {"eth0": 0, "bb-pao": 1, "bb-fra": 2}
CLAIM = Claim(
    table=5353,
    protocol=53,
    priority=5353,
    mark=0x40,
    mask=0x7F,
    sites=SITES,
    next_hops={
        "pao": {Family.IPV4: "10.255.1.2", Family.IPV6: "fd00:ff:1::2"},
        "fra": {Family.IPV4: "10.255.2.2", Family.IPV6: "fd00:ff:2::2"},
    },
    transit_interfaces=("bb-pao", "bb-fra"),
)
IPV4 = tuple(f"192.0.2.{i}" for i in range(1, 14))
IPV6 = tuple(f"2001:db8::{i:x}" for i in range(1, 14))
ADDRESSES = frozenset(IPV4 + IPV6)


def ip(command: str) -> list[dict[str, Any]]:
    """What iproute2 sees: the independent witness."""
    found: list[dict[str, Any]] = json.loads(run(f"ip -j {command}") or "[]")
    return found


def build_host() -> None:
    """Interfaces, addresses and ordinary routes, in the present namespace."""
    spaces = Spaces()
    for name, n in LINKS.items():
        add_link(spaces, name, f"10.255.{n}.1/24", f"fd00:ff:{n}::1/64")
    default_routes()


def add_link(spaces: Spaces, name: str, *addresses: str) -> None:
    """One whose far end stays here, without link-local addresses that turn up in mid-test."""
    near = End("", name, addresses, link_local=False)
    spaces.link(near, End("", f"far-{name}", link_local=False))


def default_routes() -> None:
    for hop in ("10.255.0.2", "fd00:ff::2"):
        run(f"ip route replace default via {hop}")


def everything(sh: Callable[[str], str] = run) -> dict[str, list[str]]:
    """Every route and rule of the namespace, in both families, as `ip -d` prints them."""
    return {
        command: sorted(sh(f"ip {command}").splitlines())
        for command in (
            "-d -4 route show table all",
            "-d -6 route show table all",
            "-d -4 rule",
            "-d -6 rule",
        )
    }


def steers() -> dict[str, str]:
    """Address to gateway, as iproute2 reads our table."""
    return {
        route["dst"]: route["gateway"]
        for family in ("-4", "-6")
        for route in ip(f"{family} route show table all proto 53")
        if str(route.get("table")) == "5353"
    }


class Monitor:
    """What `ip monitor` tells from here on, of routes and rules."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["ip", "-o", "monitor", "route", "rule"], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._heard = b""

    def __enter__(self) -> Self:
        self.catch_up()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def heard(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            self._heard += os.read(self._pipe, 1 << 20)
        return self._heard.decode().splitlines()

    def catch_up(self) -> None:
        """Waits until it has told of everything so far: of a route that comes after it."""
        told = len(self.heard())

        def knock() -> bool:
            run("ip route add 203.0.113.1 via 10.255.0.9")
            run("ip route del 203.0.113.1 via 10.255.0.9")
            return any("203.0.113.1" in line for line in self.heard()[told:])

        until(knock)


def ours(sh: Callable[[str], str] = run) -> list[str]:
    """Everything of protocol 53 in the namespace, as iproute2 tells it."""
    return [line for lines in everything(sh).values() for line in lines if "proto 53" in line]


def through(site: str) -> dict[str, str]:
    """What `steers` says when all addresses go through a site."""
    hops = CLAIM.next_hops[site]
    return {address: hops[Family.of(address)] for address in ADDRESSES}


def guards(runtime: Path) -> list[int]:
    """Every guard of this runtime directory, lock or no lock, by its number here."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"steering.act.guard" in words and bytes(runtime) in words:
                found.append(int(process.name))
    return found
