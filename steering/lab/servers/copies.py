"""The four resolvers with a copy of the lab's root zone, each as its page in the docs sets it up.

The copy's configuration is a file of its own (`include`), which the resolver's own includes, and
each resolver has the control channel that its operator would use. All are strict about dates:
Unbound otherwise accepts a signature for at least an hour after its end.
"""

from __future__ import annotations

import abc
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import dns.flags
import dns.message

from steering.lab.network.sandbox import LabError, Program
from steering.lab.network.topology import EDGE, Topology
from steering.lab.servers.rootzone import Root
from steering.lab.servers.zone import Keys
from steering.lab.waiting import poll
from steering.model import Family, Seconds

_START_LIMIT: Seconds = 20.0
_LOCAL_ZONE: Final = "@ 60 IN SOA ns. host. 1 60 60 60 60\n@ 60 IN NS ns.\n"
"""So that a resolver can answer a first question without the root."""


class Copying(abc.ABC):
    """A resolver at an address of its own. `source` is the server that it has its copy from."""

    kind: ClassVar[str]
    comment: ClassVar[str] = "#"

    def __init__(
        self, world: Topology, address: str, *, root: Root, keys: Keys, source: str = ""
    ) -> None:
        self.world, self.address, self.source = world, address, source
        self.work = world.work / f"copy-{self.kind}-{address}"
        self.work.mkdir(exist_ok=True)
        self.include = self.work / "copy.conf"
        """What configures the copy, and nothing else."""
        self.program: Program | None = None
        self._anchor = keys.anchor(".").split()[4:]
        hints = "".join(
            f". 3600 NS {name}\n"
            + "".join(f"{name} 3600 {'AAAA' if ':' in a else 'A'} {a}\n" for a in addresses)
            for name, addresses in root.servers.items()
        )
        (self.work / "hints").write_text(hints)
        (self.work / "invalid.zone").write_text(_LOCAL_ZONE)
        self._servers: Mapping[str, tuple[str, ...]] = root.servers

    def start(self, *, copy: bool = True) -> None:
        """Start it and wait until it answers. Raises LabError with the end of its log."""
        self.include.write_text(self._copy() if copy else f"{self.comment} no copy\n")
        for name, text in self._files().items():
            (self.work / name).write_text(text)
        self.program = self.world.start(EDGE, self._argv(), log=self.work / "log")
        program = self.program

        def answers() -> bool:
            if not program.running:
                raise LabError(f"{self.kind} ended{program.tail()}")
            return self.ask("resolver.invalid.", "A", timeout=0.3) is not None

        if not poll(answers, timeout=_START_LIMIT):
            raise LabError(f"{self.kind} is silent{program.tail()}")

    def stop(self) -> None:
        if self.program:
            self.program.stop()
            self.program = None

    def log(self) -> str:
        """What it has written."""
        return (self.work / "log").read_text(errors="replace")

    def ask(
        self, name: str, rdtype: str, *, timeout: Seconds = 5.0, rd: bool = True, do: bool = True
    ) -> dns.message.Message | None:
        """The answer to a client with DO; None if none came in `timeout` s."""
        return ask(self.world, self.address, name, rdtype, timeout=timeout, rd=rd, do=do)

    def run(self, *argv: str) -> str:
        """What a program says on the resolver's host. Raises LabError if it fails."""
        return self.world.run(EDGE, argv).stdout

    @property
    @abc.abstractmethod
    def policy(self) -> str:
        """How the agent reaches it: one entry of a copy's policy, in YAML."""

    @abc.abstractmethod
    def _copy(self) -> str: ...

    @abc.abstractmethod
    def _files(self) -> Mapping[str, str]:
        """Its configuration: names in its folder, and texts."""

    @abc.abstractmethod
    def _argv(self) -> Sequence[str]: ...


class Unbound(Copying):
    """Unbound: an auth-zone, with transfers, ZONEMD and fallback."""

    kind = "unbound"
    fallback = True
    by_file: Path | None = None
    """The file of the copy, in place of transfers from the source."""

    @property
    def control(self) -> list[str]:
        return ["unbound-control", "-c", str(self.work / "unbound.conf")]

    @property
    def policy(self) -> str:
        check = ["unbound-checkconf", str(self.work / "unbound.conf")]
        return (
            f"unbound: {{control: {json.dumps(self.control)}, check: {json.dumps(check)},"
            f" include: {self.include}}}"
        )

    def _copy(self) -> str:
        where = f" zonefile: {self.by_file}" if self.by_file else f" primary: {self.source}"
        return (
            f'auth-zone:\n name: "."\n{where}\n for-downstream: no\n for-upstream: yes\n'
            f" fallback-enabled: {'yes' if self.fallback else 'no'}\n zonemd-check: yes\n"
        )

    def _files(self) -> Mapping[str, str]:
        return {
            "unbound.conf": f"""server:
 interface: {self.address}
 access-control: 0.0.0.0/0 allow
 directory: "{self.work}"
 chroot: ""
 username: ""
 pidfile: ""
 use-syslog: no
 use-systemd: no
 verbosity: 2
 log-servfail: yes
 val-log-level: 2
 root-hints: "hints"
 trust-anchor: ". DS {" ".join(self._anchor)}"
 trust-anchor-signaling: no
 module-config: "validator iterator"
 val-sig-skew-min: 0
 val-sig-skew-max: 0
 num-threads: 1
 ede: yes
 aggressive-nsec: no
 local-zone: "invalid." static
remote-control:
 control-enable: yes
 control-use-cert: no
 control-interface: "{self.work}/control"
include: "{self.include}"
""",
        }

    def _argv(self) -> Sequence[str]:
        return ["unbound", "-d", "-p", "-c", str(self.work / "unbound.conf")]


class Forwarder(Unbound):
    """An Unbound that sends every question on to the resolver at `source`, and has no copy."""

    kind = "forwarder"

    def start(self, *, copy: bool = True) -> None:
        """Start it. What it forwards stands in its `include`."""
        super().start(copy=copy)

    def _copy(self) -> str:
        return f'forward-zone:\n name: "."\n forward-addr: {self.source}\n forward-no-cache: no\n'


class Bind(Copying):
    """BIND: a mirror zone."""

    kind = "bind"

    @property
    def port(self) -> int:
        """Of its control channel, in a namespace that several of them may share."""
        return 9530 + int(self.address.rpartition(".")[2])

    @property
    def control(self) -> list[str]:
        words = ["rndc", "-s", "127.0.0.1", "-p", str(self.port)]
        return [*words, "-c", str(self.work / "rndc.conf")]

    @property
    def policy(self) -> str:
        check = ["named-checkconf", str(self.work / "named.conf")]
        return (
            f"bind: {{control: {json.dumps(self.control)}, check: {json.dumps(check)},"
            f" include: {self.include}}}"
        )

    def _copy(self) -> str:
        return (
            f'zone "." {{ type mirror; primaries {{ {self.source}; }}; file "mirror.zone";'
            " min-refresh-time 1; min-retry-time 1; max-retry-time 5; };\n"
        )

    def _files(self) -> Mapping[str, str]:
        tag, algorithm, kind, digest = self._anchor
        shared = "c3RlZXJpbmc6IHRoZSBsYWIncyBvd24ga2V5"
        key = f'key lab {{ algorithm hmac-sha256; secret "{shared}"; }};\n'
        return {
            "rndc.conf": f"{key}options {{ default-key lab; }};\n",
            "named.conf": f"""{key}options {{
 directory "{self.work}"; managed-keys-directory "{self.work}";
 pid-file "pid"; session-keyfile none; lock-file none;
 listen-on {{ {self.address}; }}; listen-on-v6 {{ none; }};
 recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }};
 dnssec-validation yes; synth-from-dnssec no; servfail-ttl 0; notify no;
 trust-anchor-telemetry no; empty-zones-enable no;
}};
controls {{ inet 127.0.0.1 port {self.port} allow {{ any; }} keys {{ lab; }}; }};
trust-anchors {{ "." static-ds {tag} {algorithm} {kind} "{digest}"; }};
zone "." {{ type hint; file "hints"; }};
zone "invalid." {{ type primary; file "invalid.zone"; }};
include "{self.include}";
""",
        }

    def _argv(self) -> Sequence[str]:
        return ["named", "-g", "-n", "1", "-c", str(self.work / "named.conf")]


class Recursor(Copying):
    """PowerDNS Recursor: zoneToCache."""

    kind = "pdns-recursor"
    comment = "--"
    refresh = 5
    by_file: Path | None = None
    """The file of the copy, in place of transfers from the source."""

    @property
    def control(self) -> list[str]:
        return ["rec_control", f"--socket-dir={self.work}"]

    @property
    def policy(self) -> str:
        return f"pdns-recursor: {{control: {json.dumps(self.control)}, include: {self.include}}}"

    def _copy(self) -> str:
        where = f'"file", "{self.by_file}"' if self.by_file else f'"axfr", "{self.source}"'
        return (
            f'zoneToCache(".", {where}, {{ refreshPeriod = {self.refresh},'
            ' retryOnErrorPeriod = 2, zonemd = "require", dnssec = "require" })\n'
        )

    def _files(self) -> Mapping[str, str]:
        return {
            "lua": f'clearTA(".")\naddTA(".", "{" ".join(self._anchor)}")\n'
            f'dofile("{self.include}")\n',
            "recursor.conf": f"""daemon=no
write-pid=no
disable-syslog=yes
quiet=yes
loglevel=6
socket-dir={self.work}
local-address={self.address}
query-local-address=0.0.0.0, ::
security-poll-suffix=
hint-file={self.work}/hints
dont-query=
threads=1
dnssec=validate
signature-inception-skew=0
aggressive-nsec-cache-size=0
extended-resolution-errors=yes
packetcache-ttl=0
auth-zones=invalid={self.work}/invalid.zone
lua-config-file={self.work}/lua
""",
        }

    def _argv(self) -> Sequence[str]:
        return ["pdns_recursor", f"--config-dir={self.work}"]


class Knot(Copying):
    """Knot Resolver: prefill from the file in its folder, while that is newer than `interval`.

    It takes a zone by HTTPS alone, so what fetches the zone here writes the file (`give`).
    """

    kind = "knot-resolver"
    comment = "--"

    @property
    def socket(self) -> Path:
        return self.work / "control"

    @property
    def policy(self) -> str:
        return f"knot-resolver: {{sockets: [{self.socket}], user: root, include: {self.include}}}"

    def give(self, zone: Path) -> None:
        """Put a zone where prefill finds it when it begins, as if it had fetched it now."""
        draft = self.work / "root.zone.new"
        draft.write_bytes(zone.read_bytes())
        draft.replace(self.work / "root.zone")

    def age(self, seconds: Seconds) -> None:
        """Make the file older."""
        then = time.time() - seconds
        os.utime(self.work / "root.zone", (then, then))

    def _copy(self) -> str:
        return (
            "modules.load('prefill')\nprefill.config({['.'] = {"
            " url = 'https://127.0.0.1:8443/root.zone', interval = 3600 }})\n"
        )

    def _files(self) -> Mapping[str, str]:
        servers = ", ".join(
            f"['{name}'] = {{{', '.join(repr(a) for a in addresses)}}}"
            for name, addresses in self._servers.items()
        )
        return {
            "config": f"""net.listen('{self.address}', 53, {{ kind = 'dns' }})
net.listen('{self.socket}', nil, {{ kind = 'control' }})
log_level('info')
modules.load('hints')
hints.root({{ {servers} }})
trust_anchors.remove('.')
trust_anchors.add([[. DS {" ".join(self._anchor)}]])
cache.size = 30*MB
option('ALLOW_LOCAL', true)
dofile('{self.include}')
""",
        }

    def _argv(self) -> Sequence[str]:
        return ["kresd", "-n", "-c", str(self.work / "config"), str(self.work)]


KINDS: Final = {kind.kind: kind for kind in (Unbound, Bind, Recursor, Knot)}
"""The four, by the names that policies have for them."""
PROGRAMS: Final = {
    "unbound": "unbound",
    "named": "bind9",
    "pdns_recursor": "pdns-recursor",
    "kresd": "knot-resolver",
    "nsd": "nsd",
    "knotd": "knot",
    "ldns-signzone": "ldnsutils",
}
"""What the labs need, and the Debian packages that have it."""


def ask(
    world: Topology,
    address: str,
    name: str,
    rdtype: str,
    *,
    timeout: Seconds = 5.0,
    rd: bool = True,
    do: bool = True,
    options: Sequence[dns.edns.Option] = (),
) -> dns.message.Message | None:
    """The answer of a server to a client on the edge host; None if none came in `timeout` s."""
    query = dns.message.make_query(name, rdtype, want_dnssec=do, options=list(options))
    if not rd:
        query.flags &= ~dns.flags.RD
    with world.socket(EDGE, Family.of(address)) as udp:
        udp.settimeout(timeout)
        try:
            udp.connect((address, 53))
            udp.send(query.to_wire())
            return dns.message.from_wire(udp.recv(65_535))
        except OSError:
            return None
