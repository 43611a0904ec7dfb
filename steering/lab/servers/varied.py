"""An edge host with all common resolvers, and all common authoritative servers behind its paths.

Servers of six kinds (`servers`), each at four addresses, have the zones of `tangled` behind every
path, and there is a root above them. Unbound, BIND, PowerDNS Recursor and Knot Resolver run on the
edge host with their default configuration, except for the root, its key, the address to listen at
and, if they can, dnstap to the agent. Half of each server's addresses belong to an upstream whose
policy has one zone, the other half to one with all zones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import dns.exception
import dns.message
import dns.rcode

from steering.lab import etc
from steering.lab.agent import STATUS_PORT, AgentHost
from steering.lab.network.sandbox import LabError, Program, find, missing
from steering.lab.network.topology import EDGE, Topology
from steering.lab.servers import servers
from steering.lab.servers.resolvers import RESOLVING
from steering.lab.servers.servers import Place
from steering.lab.servers.tangled import ZONES, fresh_keys, head, sign, sign_zone
from steering.lab.servers.zone import Keys
from steering.lab.waiting import poll
from steering.model import LOCAL, Family, WallTime

SIGNED: Final = ("nsd", "named", "knot", "pdns")
"""Servers that get signed zones."""
SIGNING: Final = {"knot_signing": "opt-out", "pdns_signing": "narrow"}
"""Servers that sign by themselves, and how."""
SERVERS: Final = (*SIGNED, *SIGNING)
UPSTREAMS: Final = {"one-zone": ("example.",), "all-zones": tuple(reversed(ZONES))}
"""Upstream -> the zones that its policy names."""
RESOLVERS: Final = {name: f"127.0.0.{n}" for n, name in enumerate(RESOLVING, start=1)}
"""The address of each resolver."""
SITE: Final = "pao"
_PROGRAMS: Final = (
    *("nsd", "named", "knotd", "pdns_server", "dnssec-signzone"),
    *("unbound", "pdns_recursor", "kresd", "nft", "setpriv"),
)
TTL: Final = 20
"""Seconds; short, so that resolvers soon ask again."""
_ROOT: Final = "198.41.0.4"
_GROUPS: Final = {name: 61_000 + n for n, name in enumerate(RESOLVERS)}
"""A group for each resolver, by which nftables counts its questions."""


def lacks() -> tuple[str, ...]:
    """What this machine lacks; empty if nothing."""
    return missing() + tuple(f"no {program}" for program in _PROGRAMS if not find(program))


def addresses_of(server: str, upstream: str) -> tuple[str, str]:
    """The addresses of a server for an upstream."""
    number = 1 + 2 * SERVERS.index(server) + list(UPSTREAMS).index(upstream)
    return f"198.51.100.{number}", f"2001:db8:51::{number}"


def both_of(server: str) -> tuple[str, ...]:
    """All addresses of a server."""
    return tuple(a for upstream in UPSTREAMS for a in addresses_of(server, upstream))


@dataclass(slots=True)
class Varied:
    """The whole lab. Enter it, then `serve`, `resolve`, `start_agent`; leaving ends all."""

    signer: str = "opt-out"
    probe: str = "interval: 10s, fast_interval: 200ms, timeout: 1s"
    dnstap: Mapping[str, str] = field(default_factory=dict)
    """Resolver -> the dnstap configuration from its page in the docs, with the socket `tap`."""
    world: Topology = field(init=False)
    keys: Mapping[str, Keys] = field(init=False, default_factory=fresh_keys)
    root: Keys = field(init=False, default_factory=Keys.fresh)
    agent: Program | None = field(init=False, default=None)
    agent_host: AgentHost = field(init=False)
    programs: dict[tuple[str, str], Program] = field(init=False, default_factory=dict)
    """(path, server) or (edge, resolver) -> its program."""
    _stack: ExitStack = field(init=False, default_factory=ExitStack)

    def __enter__(self) -> Self:
        everywhere = [a for server in SERVERS for a in both_of(server)]
        self.world = self._stack.enter_context(Topology(addresses=everywhere, sites=(SITE,)))
        self.agent_host = AgentHost(world=self.world, namespace=EDGE)
        for resolver, group in _GROUPS.items():
            self._count(resolver, group)
        for address in list(RESOLVERS.values())[1:]:  # BIND listens at what an interface has
            self.world.ip(EDGE, "addr", "add", f"{address}/8", "dev", "lo")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def tap(self) -> Path:
        """The agent's socket for dnstap."""
        return self.world.work / "run" / "tap"

    @property
    def log(self) -> Path:
        """The agent's events, one JSON object a line."""
        return self.world.work / "agent.log"

    def serve_root(self) -> None:
        """Serve a root zone behind the local path."""
        local = self.world.paths[LOCAL]
        self.world.ip(local.auth, "addr", "add", f"{_ROOT}/32", "dev", "lo")
        hop = local.inner(2)[Family.IPV4]
        self.world.ip(local.router, "route", "add", _ROOT, "via", hop)
        folder = self._folder("root")
        text = head([_ROOT], 3600)
        for zone in ("example.", "other."):
            text += f"{zone} NS ns.{zone}\n{zone} DS {self.keys[zone].ds(zone)}\n"
            for line in head(self.world.addresses, 3600).splitlines():
                text += line.replace("ns ", f"ns.{zone} ") + "\n" if line.startswith("ns ") else ""
        signed = sign_zone(folder, ".", text, self.root, how=("-3", "-"))
        path = folder / "conf"
        path.write_text(
            f'server:\n ip-address: {_ROOT}\n username: ""\n chroot: ""\n server-count: 1\n'
            f' zonesdir: "{folder}"\n pidfile: "{folder}/pid"\n xfrdfile: "{folder}/xfrd"\n'
            f' zonelistfile: "{folder}/list"\nremote-control:\n control-enable: no\n'
            f'zone:\n name: "."\n zonefile: "{signed}"\n'
        )
        self.world.start(local.auth, ["nsd", "-d", "-c", str(path)], log="root.log")
        self._await_answer(LOCAL, _ROOT, ".")

    def serve(
        self,
        *,
        paths: Iterable[str] = (LOCAL, SITE),
        kinds: Iterable[str] = SERVERS,
        until: WallTime | None = None,
    ) -> None:
        """Start or restart these servers behind these paths, with zones signed until `until`."""
        kinds = tuple(kinds)
        for path in paths:
            folder = self._folder(f"zones-{path}")
            sign(
                folder, self.signer, self.keys, addresses=self.world.addresses, ttl=TTL, until=until
            )
            for kind in kinds:
                if (path, kind) in self.programs:
                    self.programs[path, kind].stop()
                place = Place(
                    folder=folder,
                    signer=SIGNING.get(kind, self.signer),
                    addresses=both_of(kind),
                )
                argv = getattr(servers, kind)(place)
                self.programs[path, kind] = self.world.start(
                    self.world.paths[path].auth, argv, log=f"{kind}-{path}.log"
                )
            for kind in kinds:
                for address in both_of(kind):
                    self._await_answer(path, address, "example.")

    def resolve(self) -> None:
        """Start the resolvers."""
        anchor = self.root.anchor(".").strip()
        for name, listens in RESOLVERS.items():
            folder = self._folder(name)
            argv = RESOLVING[name](folder, listens, anchor, _ROOT, self.dnstap.get(name, ""))
            group = ["setpriv", f"--regid={_GROUPS[name]}", "--clear-groups"]
            program = self.world.start(EDGE, [*group, *argv], log=f"{name}.log")
            self.programs[EDGE, name] = program
        for name, listens in RESOLVERS.items():
            asked = partial(self._has_answer, EDGE, listens, "www.example.", rd=True)
            if not poll(asked, timeout=30):
                tail = self.programs[EDGE, name].tail()
                raise LabError(f"{name} does not answer{tail}")

    def start_agent(self) -> Program:
        """Start the agent, and wait for its first round of probes."""
        self.agent = self.agent_host.start(self._configure(), log=self.log)
        self.agent_host.await_ready(self.agent)
        return self.agent

    def asked(self) -> dict[str, int]:
        """The number of packets that each resolver has sent to nameservers."""
        listed = json.loads(self.world.run(EDGE, ["nft", "-j", "list", "counters"]).stdout)
        counters = [one["counter"] for one in listed["nftables"] if "counter" in one]
        return {name: c["packets"] for name in RESOLVERS for c in counters if c["name"] == name}

    def routes(self) -> str:
        """The table of the steers as `ip` shows it, both families."""
        return "".join(
            self.world.run(
                EDGE, ["ip", family, "route", "show", "table", "5353"], check=False
            ).stdout
            for family in ("-4", "-6")
        )

    def _configure(self) -> Path:
        more = ("operator: {name: the lab}", f"steer: {{to: [{SITE}], together: address}}")
        policies: dict[str, str] = {}
        for upstream, zones in UPSTREAMS.items():
            names = {
                f"{s.replace('_', '-')}.{upstream}.": addresses_of(s, upstream) for s in SERVERS
            }
            policies[upstream] = etc.policy(upstream, zones, names, *more)
        config = (
            f"site: sin\nmode: enforce\nstate: {self.world.work}/state\n"
            f"runtime: {self.world.work}/run\npolicies: policies\ntrust_anchors: anchors\n"
            f"resolvers: [{', '.join(RESOLVERS.values())}]\n"
            f"{etc.sites({SITE: self.world.paths[SITE].next_hop})}"
            f"observe:\n  dnstap: [{self.tap if self.dnstap else ''}]\n"
            f"  probe: {{{self.probe}}}\nstatus: 127.0.0.1:{STATUS_PORT}\n"
        )
        return etc.place(self._folder("etc"), config, policies, self.root.anchor("."))

    def _count(self, resolver: str, group: int) -> None:
        counted = f"meta skgid {group} meta l4proto {{ tcp, udp }} th dport 53 counter name"
        rules = f"""table inet asked {{
  counter {resolver} {{ }}
  chain output {{
    type filter hook output priority 0;
    oifname != "lo" {counted} {resolver}
  }}
}}
"""
        self.world.run(EDGE, ["nft", "-f", "-"], stdin=rules)

    def _folder(self, name: str) -> Path:
        folder = self.world.work / name
        folder.mkdir(exist_ok=True)
        return folder

    def _await_answer(self, path: str, address: str, zone: str) -> None:
        auth = self.world.paths[path].auth
        if not poll(lambda: self._has_answer(auth, address, zone), timeout=30, every=0.05):
            tails = "".join(program.tail(4) for program in self.programs.values())
            raise LabError(f"{address} behind {path} does not answer{tails}")

    def _has_answer(self, namespace: str, address: str, name: str, *, rd: bool = False) -> bool:
        """Whether NOERROR comes back from an address as seen in a namespace."""
        query = dns.message.make_query(name, "SOA", flags=0x100 if rd else 0)
        with self.world.socket(namespace, Family.of(address)) as udp:
            udp.settimeout(1.0)
            try:
                udp.connect((address, 53))
                udp.send(query.to_wire())
                answer = dns.message.from_wire(udp.recv(65_535))
            except (OSError, dns.exception.DNSException):
                return False
        return answer.rcode() == dns.rcode.NOERROR
