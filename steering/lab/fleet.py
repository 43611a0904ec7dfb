"""Several sites of one scene as edge hosts, each with its own agent, policy and table.

The local path of one site is a remote path of the others: `auth-pao` behind `pao` answers pao's own
traffic, and that of sites that steer through pao.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from steering.lab import etc
from steering.lab.agent import STATUS_PORT, AgentHost, Answer
from steering.lab.network.sandbox import Program
from steering.lab.scene import ZONES, Scene, Settings
from steering.model import LOCAL

HERE = "sin"
"""The other sites' name for the site that the scene calls local."""

_TTL_OF_LOOPS = 55
"""A packet that does not loop has used two or three of its 64 hops when it arrives."""


@dataclass(slots=True)
class Host:
    """One site's host with its agent."""

    scene: Scene
    path: str
    """The scene's name for it: `local`, or the site's name."""
    transit: bool = True
    """Whether its configuration lists the links to the others as `transit_interfaces`."""
    agent: Program | None = field(init=False, default=None)

    @property
    def name(self) -> str:
        """The site's name."""
        return _named(self.path)

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return self.scene.world.namespace(self.path)

    def configure(self, order: Sequence[str], settings: Settings, overrides: str = "") -> None:
        """Write its configuration, with the sites that it may steer to, in order of preference."""
        scene, directory = self.scene, self.directory
        links = {_named(p): n for p, n in scene.world.neighbours(self.path).items()}
        policy = etc.policy(
            "gtld-servers",
            ZONES,
            scene.nameservers,
            "serial: epoch",
            f"recover: {{hold: {settings.hold}, max_hold: 1h, clean: {settings.clean}}}",
            f"steer: {{to: [{', '.join(order)}]}}",
        )
        interfaces = ", ".join(n.interface for n in links.values()) if self.transit else ""
        config = (
            f"site: {self.name}\nlease: {settings.lease}\npolicies: policies\n"
            f"state: {directory}/state\nruntime: {directory}/run\n"
            "trust_anchors: anchors\nresolvers: [127.0.0.1]\n"
            f"{etc.sites({site: links[site].next_hop for site in order})}"
            f"transit_interfaces: [{interfaces}]\n"
            f"observe: {{probe: {{interval: {settings.interval}, "
            f"fast_interval: {settings.fast_interval}, timeout: {settings.timeout}}}}}\n"
            f"status: 127.0.0.1:{STATUS_PORT}\n"
        )
        policies = {"gtld-servers": policy, "overrides": overrides or "overrides: []\n"}
        etc.place(directory, config, policies, scene.anchor_text)

    @property
    def directory(self) -> Path:
        """Its configuration, state and sockets."""
        return self.scene.world.work / f"site-{self.name}"

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.directory / "steering.yaml"

    @property
    def agent_host(self) -> AgentHost:
        """The namespace of its agent, to start and ask it."""
        return AgentHost(world=self.scene.world, namespace=self.namespace)

    def start(self) -> None:
        """Start its agent and wait for its first round of probes. Raises LabError."""
        self.agent = self.agent_host.start(self.config, log=f"agent-{self.name}.log")
        self.agent_host.await_ready(self.agent)

    def status(self) -> Answer:
        """Its agent's status. Raises OSError while the agent does not listen."""
        return self.agent_host.api()

    def health(self, site: str) -> set[str]:
        """The health of its paths through a site; `local` for its local path."""
        return {a["paths"][site]["health"] for a in self.status()["addresses"]}

    def alarms(self) -> set[str]:
        """The names of its alarms."""
        return {alarm["name"] for alarm in self.status()["alarms"]}

    def installed(self) -> Mapping[str, str]:
        """Address -> site, by the routes in its kernel."""
        return {
            a["address"]: site
            for a in self.status()["addresses"]
            if (site := a["installed"]["kernel"]) is not None
        }

    def count_looping(self) -> None:
        """Count from now on the packets here whose TTL shows a loop."""
        tests = "\n".join(
            f"{family} < {_TTL_OF_LOOPS} {kind} dport 53 counter name looping"
            for family in ("ip ttl", "ip6 hoplimit")
            for kind in ("udp", "tcp")
        )
        self.scene.world.run(
            self.namespace,
            ["nft", "-f", "-"],
            stdin="table inet lab {\ncounter looping { }\nchain passing {\n"
            f"type filter hook prerouting priority -500;\n{tests}\n}}\n}}\n",
        )

    def looping(self) -> int:
        """Packets counted so far."""
        argv = ["nft", "-j", "list", "counter", "inet", "lab", "looping"]
        listed = json.loads(self.scene.world.run(self.namespace, argv).stdout)["nftables"]
        return next(int(entry["counter"]["packets"]) for entry in listed if "counter" in entry)


def _named(path: str) -> str:
    return HERE if path == LOCAL else path
