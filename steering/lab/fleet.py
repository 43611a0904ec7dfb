"""Several sites of one scene as full edge hosts: each with its own agent, policy and table.

What one calls its local path is a remote path of the others: `auth-pao` behind `pao` answers
pao's own traffic, and that of whoever steers through pao.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from steering.lab.agent import STATUS_PORT, Answer, Seat
from steering.lab.sandbox import Program
from steering.lab.scene import Scene, Settings
from steering.model import LOCAL, Family

HERE = "sin"
"""Name of the site that the scene calls local, where others speak of it."""

_CIRCLING = 55
"""A packet that goes straight has lost two or three of its 64 hops when it arrives."""


@dataclass(slots=True)
class Host:
    """One site's host with its agent."""

    scene: Scene
    path: str
    """What the scene calls it: `local`, or its name."""
    transit: bool = True
    """Whether it names the links to the others as `transit_interfaces`."""
    agent: Program | None = field(init=False, default=None)

    @property
    def name(self) -> str:
        """The site's name."""
        return _named(self.path)

    @property
    def namespace(self) -> str:
        """Where it runs."""
        return self.scene.world.namespace(self.path)

    def configure(self, order: Sequence[str], settings: Settings, overrides: str = "") -> None:
        """Write its configuration: the sites it may steer to, the best liked first."""
        scene, directory = self.scene, self.directory
        (directory / "policies").mkdir(parents=True, exist_ok=True)
        (directory / "anchors").write_text(
            "".join(keys.anchor(zone) for zone, keys in scene.anchors.items())
        )
        links = {_named(p): n for p, n in scene.world.neighbours(self.path).items()}
        sites = "".join(
            f"  {site}: {{next_hop: {{ipv4: {links[site].next_hop[Family.IPV4]}, "
            f"ipv6: '{links[site].next_hop[Family.IPV6]}'}}}}\n"
            for site in order
        )
        servers = "".join(
            f"  {name}: {json.dumps(list(both))}\n" for name, both in scene.nameservers.items()
        )
        (directory / "policies" / "gtld-servers.yaml").write_text(
            "upstream: gtld-servers\nzones: [com., net.]\nserial: epoch\n"
            f"recover: {{hold: {settings.hold}, max_hold: 1h, clean: {settings.clean}}}\n"
            f"steer: {{to: [{', '.join(order)}]}}\nnameservers:\n{servers}"
        )
        (directory / "policies" / "overrides.yaml").write_text(overrides or "overrides: []\n")
        interfaces = ", ".join(n.interface for n in links.values()) if self.transit else ""
        self.config.write_text(
            f"site: {self.name}\nlease: {settings.lease}\npolicies: policies\n"
            f"state: {directory}/state\nruntime: {directory}/run\n"
            f"trust_anchors: anchors\nresolvers: [127.0.0.1]\nsites:\n{sites}"
            f"transit_interfaces: [{interfaces}]\n"
            f"observe: {{probe: {{interval: {settings.interval}, "
            f"fast_interval: {settings.fast_interval}, timeout: {settings.timeout}}}}}\n"
            f"status: 127.0.0.1:{STATUS_PORT}\n"
        )

    @property
    def directory(self) -> Path:
        """Its configuration, state and sockets."""
        return self.scene.world.work / f"site-{self.name}"

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.directory / "steering.yaml"

    @property
    def seat(self) -> Seat:
        """Where its agent runs."""
        return Seat(world=self.scene.world, namespace=self.namespace)

    def start(self) -> None:
        """Start its agent and wait for its first round of probes. Raises LabError."""
        self.agent = self.seat.start(self.config, log=f"agent-{self.name}.log")
        self.seat.await_ready(self.agent)

    def status(self) -> Answer:
        """What its agent's API says. Raises OSError while nobody listens."""
        return self.seat.api()

    def health(self, site: str) -> set[str]:
        """The health of its paths through a site; `local` for its own."""
        return {a["paths"][site]["health"] for a in self.status()["addresses"]}

    def alarms(self) -> set[str]:
        """The names of its alarms."""
        return {alarm["name"] for alarm in self.status()["alarms"]}

    def ways(self) -> Mapping[str, str]:
        """Address -> site, as its kernel has it."""
        return {
            a["address"]: site
            for a in self.status()["addresses"]
            if (site := a["installed"]["kernel"]) is not None
        }

    def count_circling(self) -> None:
        """Count from now on what passes here with a TTL that no straight way leaves."""
        tests = "\n".join(
            f"{family} < {_CIRCLING} {kind} dport 53 counter name circling"
            for family in ("ip ttl", "ip6 hoplimit")
            for kind in ("udp", "tcp")
        )
        self.scene.world.run(
            self.namespace,
            ["nft", "-f", "-"],
            stdin="table inet lab {\ncounter circling { }\nchain passing {\n"
            f"type filter hook prerouting priority -500;\n{tests}\n}}\n}}\n",
        )

    def circling(self) -> int:
        """Packets counted so far."""
        argv = ["nft", "-j", "list", "counter", "inet", "lab", "circling"]
        listed = json.loads(self.scene.world.run(self.namespace, argv).stdout)["nftables"]
        return next(int(entry["counter"]["packets"]) for entry in listed if "counter" in entry)


def _named(path: str) -> str:
    return HERE if path == LOCAL else path
