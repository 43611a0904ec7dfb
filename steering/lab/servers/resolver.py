"""Validating resolvers of the lab: Unbound if it is installed, else the embedded small one.

All answer on 127.0.0.1 port 53 in their namespace, ask the same anycast addresses and have one
interface (``Resolving``).
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar

import dns.flags
import dns.message

from steering.lab.network.sandbox import PYTHON, LabError, Program, find
from steering.lab.network.topology import EDGE, Topology
from steering.lab.servers.mini_resolver import Settings
from steering.lab.servers.zone import Keys
from steering.lab.waiting import poll
from steering.model import Family

LISTENS = "127.0.0.1"
_START_LIMIT = 15.0  # seconds for a program to come up on a busy machine


class Resolving(abc.ABC):
    """A resolver in one namespace, for the zones whose keys are given.

    ``addresses`` are the nameservers of all zones; by default the lab's anycast addresses.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        world: Topology,
        *,
        keys: Mapping[str, Keys],
        namespace: str = EDGE,
        addresses: Sequence[str] | None = None,
        extra: Sequence[str] = (),
        dnstap: str = "",
    ) -> None:
        self.world = world
        self.namespace = namespace
        self.keys = dict(keys)
        self.addresses = world.addresses if addresses is None else tuple(addresses)
        self.extra = tuple(extra)
        """Lines for the ``server:`` clause of Unbound's configuration."""
        self.dnstap = dnstap
        """The dnstap configuration from the resolver's page in the docs; empty: no dnstap."""
        self.work = world.work / f"{self.kind}-{namespace}"
        self.work.mkdir(exist_ok=True)
        self._program: Program | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises LabError with the end of its log."""
        self._program = self.world.start(self.namespace, self._argv(), log=self.work / "log")

        def answers() -> bool:
            if self._program and not self._program.running:
                raise LabError(f"{self.kind} in {self.namespace} ended{self._program.tail()}")
            return self.ask("resolver.invalid.", "A", timeout=0.3) is not None

        if not poll(answers, timeout=_START_LIMIT):
            raise LabError(f"{self.kind} in {self.namespace} is silent{self._program.tail()}")

    def stop(self) -> None:
        if self._program:
            self._program.stop()
            self._program = None

    def ask(
        self, name: str, rdtype: str, *, timeout: float = 5.0, cd: bool = False
    ) -> dns.message.Message | None:
        """The answer to a client in the same namespace; None if none came in ``timeout`` s."""
        query = dns.message.make_query(name, rdtype, want_dnssec=True)
        query.flags |= dns.flags.CD if cd else 0
        with self.world.socket(self.namespace, Family.IPV4) as udp:
            udp.settimeout(timeout)
            try:
                udp.connect((LISTENS, 53))
                udp.send(query.to_wire())
                return dns.message.from_wire(udp.recv(65_535))
            except OSError:
                return None

    @abc.abstractmethod
    def _argv(self) -> list[str]: ...


class Unbound(Resolving):
    """Unbound, configured to be as strict about dates as BIND and Knot.

    By default it accepts a signature for a tenth of its lifetime after its end (at least an hour,
    at most a day), which for com. and net. hides the fault for 16.9 hours.
    """

    kind = "unbound"

    def _argv(self) -> list[str]:
        path = self.work / "unbound.conf"
        path.write_text(self._configured())
        return ["unbound", "-d", "-p", "-c", str(path)]

    def _configured(self) -> str:
        lines = [
            "server:",
            f"  interface: {LISTENS}",
            "  access-control: 127.0.0.0/8 allow",
            "  do-ip4: yes",
            "  do-ip6: yes",
            f'  directory: "{self.work}"',
            '  chroot: ""',
            '  username: ""',
            '  pidfile: ""',
            "  use-syslog: no",
            "  use-systemd: no",
            "  verbosity: 1",
            "  val-log-level: 2",
            "  log-servfail: yes",
            "  num-threads: 1",
            "  outgoing-range: 512",
            "  num-queries-per-thread: 1024",
            '  module-config: "validator iterator"',
            "  val-sig-skew-min: 0",
            "  val-sig-skew-max: 0",
            "  aggressive-nsec: no",
            "  do-not-query-localhost: no",
            "  edns-buffer-size: 1232",
            *(f'  trust-anchor: "{keys.anchor(z).strip()}"' for z, keys in self.keys.items()),
            *(f"  {line}" for line in self.extra),
            "remote-control:",
            "  control-enable: no",
        ]
        for zone in self.keys:
            lines += ["stub-zone:", f'  name: "{zone}"']
            lines += [f"  stub-addr: {address}" for address in self.addresses]
        return "\n".join([*lines, self.dnstap]) + "\n"


_LOCAL_ZONE = "@ 60 IN SOA ns. host. 1 60 60 60 60\n@ 60 IN NS ns.\n"
"""A local zone of each resolver, so that it can answer a first question without upstreams."""


class Bind(Resolving):
    """BIND 9."""

    kind = "bind"

    def _argv(self) -> list[str]:
        (self.work / "invalid.zone").write_text(_LOCAL_ZONE)
        (self.work / "dnstap.conf").write_text(self.dnstap)
        path = self.work / "named.conf"
        path.write_text(self._configured())
        return ["named", "-g", "-n", "1", "-c", str(path)]

    def _configured(self) -> str:
        lines = [
            "options {",
            f'  directory "{self.work}"; managed-keys-directory "{self.work}";',
            "  pid-file none; session-keyfile none; lock-file none;",
            f"  listen-on {{ {LISTENS}; }}; listen-on-v6 {{ none; }};",
            "  recursion yes; allow-query { any; }; dnssec-validation yes;",
            "  synth-from-dnssec no; edns-udp-size 1232; minimal-responses yes;",
            f'  include "{self.work}/dnstap.conf";',
            "};",
            "controls { };",
            'zone "invalid." { type primary; file "invalid.zone"; };',
            "trust-anchors {",
        ]
        for zone, keys in self.keys.items():
            tag, algorithm, kind, digest = keys.ds(zone).split()
            lines.append(f'  "{zone}" static-ds {tag} {algorithm} {kind} "{digest}";')
        lines.append("};")
        servers = " ".join(f"{address};" for address in self.addresses)
        lines += [
            f'zone "{zone}" {{ type static-stub; server-addresses {{ {servers} }}; }};'
            for zone in self.keys
        ]
        return "\n".join(lines) + "\n"


class Recursor(Resolving):
    """PowerDNS Recursor."""

    kind = "pdns"

    def _argv(self) -> list[str]:
        (self.work / "invalid.zone").write_text(_LOCAL_ZONE)
        anchors = [f'addTA("{zone}", "{keys.ds(zone)}")' for zone, keys in self.keys.items()]
        (self.work / "anchors.lua").write_text("\n".join([*anchors, self.dnstap]) + "\n")
        (self.work / "recursor.conf").write_text(self._configured())
        return ["pdns_recursor", f"--config-dir={self.work}"]

    def _configured(self) -> str:
        servers = ";".join(f"[{a}]" if ":" in a else a for a in self.addresses)
        lines = [
            "daemon=no",
            "write-pid=no",
            "disable-syslog=yes",
            "quiet=yes",
            f"socket-dir={self.work}",
            f"local-address={LISTENS}",
            "query-local-address=0.0.0.0, ::",
            "security-poll-suffix=",
            "hint-file=no",
            "dont-query=",
            "threads=1",
            "dnssec=validate",
            "aggressive-nsec-cache-size=0",
            "edns-outgoing-bufsize=1232",
            f"auth-zones=invalid={self.work}/invalid.zone",
            "forward-zones=" + ",".join(f"{zone}={servers}" for zone in self.keys),
            f"lua-config-file={self.work}/anchors.lua",
        ]
        return "\n".join(lines) + "\n"


class MiniResolver(Resolving):
    """The embedded small resolver (``mini_resolver``)."""

    kind = "mini"

    def _argv(self) -> list[str]:
        path = self.work / "settings.json"
        Settings(
            anchors=tuple((zone, keys.ds(zone)) for zone, keys in self.keys.items()),
            addresses=self.addresses,
        ).write(path)
        return [PYTHON, "-m", "steering.lab.servers.mini_resolver", str(path)]


def resolver(world: Topology, *, keys: Mapping[str, Keys]) -> Resolving:
    """Unbound if it is installed, else the embedded one; not started yet."""
    kind = Unbound if find("unbound") else MiniResolver
    return kind(world, keys=keys)
