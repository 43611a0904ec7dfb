"""The small internet with servers, resolver, clients and agent, for the demo and the lab tests.

Authoritative servers behind every path, zones signed like com. and net., a validating resolver,
clients, and the agent as operators run it: `steering run` in the edge namespace, without any
special mode.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from steering.lab import etc
from steering.lab.addresses import GTLD_SERVERS
from steering.lab.agent import STATUS_PORT, AgentHost, Answer
from steering.lab.clients import Clients
from steering.lab.demo.tail import added
from steering.lab.network.sandbox import PYTHON, LabError, Program
from steering.lab.network.topology import EDGE, Topology
from steering.lab.servers.authority import Authority, MiniAuthority, authority
from steering.lab.servers.resolver import MiniResolver, Resolving, resolver
from steering.lab.servers.zone import FRESH, Fault, Keys, SignedZone, Validity, ZoneSpec, sign
from steering.model import LOCAL, Seconds, WallTime

ZONES = ("com.", "net.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The parts of the agent's configuration that tests vary."""

    interval: str = "1s"
    fast_interval: str = "100ms"
    timeout: str = "1s"
    lease: str = "60s"
    mode: str = "enforce"
    hold: str = "10s"
    clean: int = 50
    moves: int = 12
    """`recover.moves_per_day`."""
    together: str = "upstream"
    more: str = ""
    """Lines added to the configuration."""
    probe: str = ""
    """Keys added to `observe.probe`, each after a comma."""
    policy: str = ""
    """Lines added to the policy."""
    dnstap: bool = False
    """Listen for the resolver's dnstap."""


@dataclass(slots=True)
class Scene:
    """One such internet. Enter it, then `serve`, `start_agent` and so on; leaving ends all."""

    nameservers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(GTLD_SERVERS))
    sites: Sequence[str] = ("pao", "fra")
    embedded: bool = False
    """Use the embedded servers and client even if NSD and Unbound are installed."""
    count: int = 300
    """Delegations per zone."""
    secure: float = 0.1
    """Share of the delegations with a DS, and so with an NSEC3 record of their own."""
    load: float = 50.0
    """Client questions per second."""
    spare_keys: int = 0
    """Keys of each zone that sign nothing: ten make a large answer of its DNSKEY RRset."""
    root: bool = False
    """Also serve a root zone, and give only its key as an anchor to agent and resolver."""
    mesh: bool = False
    """Links between the remote sites, so that each can run an agent (`fleet`)."""
    work: Path | None = None
    status_socket: Path | None = None
    """Ask the agent at this socket: attackers may use up all connections to its port."""
    world: Topology = field(init=False)
    keys: dict[str, Keys] = field(init=False)
    specs: dict[str, ZoneSpec] = field(init=False)
    authorities: dict[str, Authority] = field(init=False)
    resolver: Resolving = field(init=False)
    clients: Clients = field(init=False)
    agent: Program | None = field(init=False, default=None)
    config: Path = field(init=False)
    _stack: ExitStack = field(init=False, default_factory=ExitStack)
    _read: int = field(init=False, default=0)

    def __enter__(self) -> Self:
        addresses = [a for both in self.nameservers.values() for a in both]
        self.world = self._stack.enter_context(
            Topology(addresses=addresses, sites=self.sites, mesh=self.mesh, work=self.work)
        )
        self.keys = {zone: Keys.fresh(spare=self.spare_keys) for zone in ZONES}
        serial = int(time.time())
        self.specs = {
            zone: ZoneSpec.like_com(zone, serial=serial, count=self.count, secure=self.secure)
            for zone in ZONES
        }
        if self.root:
            self.specs["."] = ZoneSpec.root(self.keys.items(), serial=serial)
            self.keys["."] = Keys.fresh()
        kind = MiniAuthority if self.embedded else authority
        self.authorities = {
            path: kind(self.world, path_.auth, nsid=f"ns1-{'sin' if path == LOCAL else path}")
            for path, path_ in self.world.paths.items()
        }
        self.resolver = (
            MiniResolver(self.world, keys=self.anchors)
            if self.embedded
            else resolver(self.world, keys=self.anchors)
        )
        self.clients = Clients(self.world, rate=self.load, zones=ZONES)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def anchors(self) -> dict[str, Keys]:
        """The keys that are given as trust anchors: only the root's, or those of all zones."""
        return {".": self.keys["."]} if self.root else self.keys

    @property
    def anchor_text(self) -> str:
        """The trust anchors as a file."""
        return "".join(keys.anchor(zone) for zone, keys in self.anchors.items())

    def zones(self, fault: Fault = FRESH, validity: Validity | None = None) -> list[SignedZone]:
        """All zones, signed now, optionally with a fault; a root zone never has one."""
        return [
            sign(spec, self.keys[zone], validity, fault if zone in ZONES else FRESH)
            for zone, spec in self.specs.items()
        ]

    def serve(
        self,
        fault: Fault = FRESH,
        *,
        paths: Iterable[str] | None = None,
        validity: Validity | None = None,
    ) -> WallTime:
        """Serve the zones behind these paths, or all; returns the time when all serve them."""
        zones = self.zones(fault, validity)
        for path in self.authorities if paths is None else paths:
            self.authorities[path].serve(zones)
        return time.time()

    def configure(self, settings: Settings | None = None) -> Path:
        """Write the agent's configuration and policy."""
        s = settings or Settings()
        hops = {site: self.world.paths[site].next_hop for site in self.sites}
        policy = etc.policy(
            "gtld-servers",
            ZONES,
            self.nameservers,
            "serial: epoch",
            f"recover: {{hold: {s.hold}, max_hold: 1h, clean: {s.clean}, "
            f"moves_per_day: {s.moves}}}",
            f"steer: {{to: [{', '.join(self.sites)}], together: {s.together}}}",
        )
        config = (
            f"site: sin\nmode: {s.mode}\nlease: {s.lease}\n"
            f"state: {self.world.work}/state\nruntime: {self.world.work}/run\n"
            f"policies: policies\ntrust_anchors: anchors\nresolvers: [127.0.0.1]\n"
            f"{etc.sites(hops)}"
            f"observe:\n  dnstap: [{self.tap if s.dnstap else ''}]\n"
            f"  probe: {{interval: {s.interval}, fast_interval: {s.fast_interval}, "
            f"timeout: {s.timeout}{s.probe}}}\n"
            f"status: 127.0.0.1:{STATUS_PORT}\n{s.more}\n"
        )
        policies = {"gtld-servers": f"{policy}{s.policy}\n"}
        self.config = etc.place(self.world.work / "etc", config, policies, self.anchor_text)
        return self.config

    @property
    def agent_host(self) -> AgentHost:
        """The namespace of the agent, to start and ask it."""
        return AgentHost(world=self.world, namespace=EDGE, status_socket=self.status_socket)

    def start_agent(self, *, prefix: Sequence[str] = (), ready: bool = True) -> Program:
        """Run the agent in the edge namespace; by default wait for its first round of probes."""
        self.agent = self.agent_host.start(self.config, log=self.log, prefix=prefix)
        if ready:
            self.await_ready()
        return self.agent

    def await_ready(self) -> None:
        """Wait for the agent's first round of probes. Raises LabError if it does not come."""
        assert self.agent is not None
        self.agent_host.await_ready(self.agent)

    @property
    def tap(self) -> Path:
        """The agent's socket for dnstap."""
        return self.world.work / "run" / "tap"

    @property
    def log(self) -> Path:
        """The agent's events, one JSON object a line."""
        return self.world.work / "agent.log"

    def stop_agent(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the agent; its exit code."""
        assert self.agent is not None
        self.agent.signal(how)
        return self.agent.wait(10.0)

    def steering(self, *words: str, check: bool = False) -> str:
        """The output of a `steering` command in the edge namespace, both streams."""
        argv = [PYTHON, "-m", "steering", words[0], "--config", str(self.config), *words[1:]]
        done = self.world.run(EDGE, argv, check=check)
        return done.stdout + done.stderr

    def api(self, path: str = "/api/v1/status") -> Answer:
        """One answer of the agent's API. Raises OSError while the agent does not listen."""
        return self.agent_host.api(path)

    def get(self, path: str) -> tuple[int, str]:
        """Status code and body of one HTTP request. Raises OSError as `api`."""
        return self.agent_host.get(path)

    def events(self) -> list[Answer]:
        """The events since the last call, one for each of their addresses.

        A line that is not JSON (a traceback) raises LabError.
        """
        lines, self._read = added(self.log, self._read)
        try:
            read = [json.loads(line) for line in lines if line.startswith(b"{")]
        except ValueError as error:
            wrote = b"\n".join(lines).decode(errors="replace")
            raise LabError(f"the agent wrote: {wrote}") from error
        return [one for event in read for one in _of_each(event)]

    def routes(self, table: str = "5353") -> dict[str, str]:
        """Host routes in a table as `ip` shows them: address -> gateway, both families."""
        found: dict[str, str] = {}
        for family in ("-4", "-6"):
            text = self.world.run(
                EDGE, ["ip", "-j", family, "route", "show", "table", table], check=False
            ).stdout
            # For a table that does not exist `ip` prints an opening bracket only.
            for route in json.loads(text) if text.rstrip().endswith("]") else []:
                found[str(route["dst"])] = str(route.get("gateway", ""))
        return found


def _of_each(event: Answer) -> list[Answer]:
    """An event of several addresses as one event for each."""
    addresses = event.pop("addresses", None)
    return [event] if addresses is None else [{**event, "address": a} for a in addresses]


def seconds(text: str) -> Seconds:
    """UNIX seconds of an event's `time`."""
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()
