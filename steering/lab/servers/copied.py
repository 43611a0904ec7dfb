"""Resolvers that answer from a copy of the root zone, beside root servers with a newer version.

Both versions are signed by the same keys and differ in every delegation, so each answer says where
it came from. What configures the copy stands in a file of its own, as the drivers want it. The
paths and options are those of Debian 12's packages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from steering.config.resolvers import (
    BindControl,
    Control,
    KnotControl,
    PowerDnsControl,
    UnboundControl,
)
from steering.lab.network.sandbox import LabError, Program, Sandbox, find
from steering.lab.servers.zone import Delegation, Keys, ZoneSpec, sign
from steering.lab.waiting import poll

REAL, COPY = "198.41.0.4", "127.0.0.10"
"""The root server with the version of now (an address that BIND is built with), and a server that
the mirror copies the older one from."""
LISTENS: Final = "127.0.0.1"
NAMES: Final = 60
_TAG: Final = {"copy": "1", "real": "2"}
_SERVER = "ns.t000."
_RNDC_KEY = 'key "lab" { algorithm hmac-sha256; secret "bGFiLWxhYi1sYWItbGFi"; };\n'


def version(which: str, keys: Keys) -> str:
    """A root zone whose delegations have DS records that say which version it is."""
    children = tuple(
        Delegation(
            name=f"t{number:03}.",
            nameservers=(_SERVER,),
            ds=(f"{number + 1} 13 2 {_TAG[which] * 64}",),
            glue=((_SERVER, REAL),) if not number else (),
        )
        for number in range(NAMES)
    )
    spec = ZoneSpec(
        name=".", serial=int(_TAG[which]), delegations=children, nameservers=(_SERVER,), ttl=3600
    )
    return sign(spec, keys).text


@dataclass(frozen=True, slots=True)
class Copied:
    """How one resolver is set up: its program, how it is started, and how it is reached."""

    program: str
    configure: Callable[[Site], list[str]]
    """Writes its configuration; the command that runs it in the foreground."""
    control: Callable[[Site], Control]


class Site:
    """One resolver with its copy, in the sandbox."""

    def __init__(self, sandbox: Sandbox, kind: str) -> None:
        self.sandbox, self.kind = sandbox, RESOLVERS[kind]
        self.folder = sandbox.work
        self.include = self.folder / "copy.conf"
        self.keys = Keys.fresh()
        for which in _TAG:
            (self.folder / f"{which}.zone").write_text(version(which, self.keys))
        self._asked = iter(range(1, NAMES))
        self._argv: list[str] = []
        self.resolver: Program | None = None

    def start(self) -> None:
        """Starts the servers and the resolver, until it answers."""
        self.sandbox.run(None, ["ip", "link", "set", "lo", "up"])
        for which, address in (("real", REAL), ("copy", COPY)):
            self.sandbox.run(None, ["ip", "address", "add", f"{address}/32", "dev", "lo"])
            self.sandbox.start(None, _authority(self.folder, which, address))
        self._argv = self.kind.configure(self)
        self.restart()

    def restart(self) -> None:
        """Starts the resolver with what is on the disk. Raises LabError where it does not start."""
        if self.resolver is not None:
            self.resolver.stop()
        log = self.folder / "resolver.log"
        self.resolver = self.sandbox.start(None, self._argv, log=log)

        def up() -> bool:
            assert self.resolver is not None
            if not self.resolver.running:
                raise LabError(f"it ended{self.resolver.tail()}")
            return self.ask("t000.") is not None

        if not poll(up, timeout=20.0, every=0.05):
            raise LabError(f"it is silent{self.resolver.tail()}")

    def settings(self) -> Control:
        """How its driver reaches it."""
        return self.kind.control(self)

    def inside(self, *argv: str) -> tuple[str, ...]:
        """The command line that runs a program where the resolver is."""
        return tuple(self.sandbox.inside(None, [find(argv[0]) or argv[0], *argv[1:]]))

    def whence(self) -> str:
        """Where a client's answer comes from: a name that nobody has asked for yet is asked."""
        answer = self.ask(f"t{next(self._asked):03}.")
        if answer is None:
            return "silence"
        if not answer.answer or answer.answer[0].rdtype != dns.rdatatype.DS:
            return dns.rcode.to_text(answer.rcode())
        tag = answer.answer[0][0].to_text().split()[-1][0]
        return next(which for which, each in _TAG.items() if each == tag)

    def ask(self, name: str) -> dns.message.Message | None:
        """A client's answer about a delegation's DS, with DO; None without one."""
        query = dns.message.make_query(name, "DS", want_dnssec=True)
        code = (
            "import socket, sys\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)\n"
            f"s.connect(('{LISTENS}', 53)); s.send(bytes.fromhex(sys.argv[1]))\n"
            "print(s.recv(65535).hex())"
        )
        argv = ["python3", "-S", "-c", code, query.to_wire().hex()]
        said = self.sandbox.run(None, argv, check=False).stdout.strip()
        return dns.message.from_wire(bytes.fromhex(said)) if said else None


def _authority(folder: Path, which: str, address: str) -> list[str]:
    """A server of one version."""
    path = folder / f"{which}.named"
    path.write_text(
        f'options {{ directory "{folder}"; pid-file none; session-keyfile none; lock-file none;\n'
        f"listen-on {{ {address}; }}; listen-on-v6 {{ none; }}; recursion no; notify no;\n"
        "dnssec-validation no; "
        "allow-transfer { any; }; };\ncontrols { };\n"
        f'zone "." {{ type primary; file "{folder}/{which}.zone"; }};\n'
    )
    return ["named", "-g", "-n", "1", "-c", str(path)]


def _hints(site: Site) -> Path:
    path = site.folder / "hints"
    path.write_text(f". 3600 NS {_SERVER}\n{_SERVER} 3600 A {REAL}\n")
    return path


# --- Unbound ------------------------------------------------------------------------------------


def _unbound(site: Site) -> list[str]:
    (site.folder / "anchor").write_text(site.keys.anchor("."))
    path = site.folder / "unbound.conf"
    path.write_text(
        f"server:\n interface: {LISTENS}\n access-control: 127.0.0.0/8 allow\n"
        f' chroot: ""\n username: ""\n pidfile: ""\n use-syslog: no\n directory: "{site.folder}"\n'
        f' root-hints: "{_hints(site)}"\n trust-anchor-file: "{site.folder}/anchor"\n'
        " do-not-query-localhost: no\n aggressive-nsec: no\n"
        f"remote-control:\n control-enable: yes\n control-interface: {site.folder}/unbound.ctl\n"
        f"include: {site.include}\n"
    )
    site.include.write_text(
        f'auth-zone:\n name: "."\n zonefile: "{site.folder}/copy.zone"\n'
        " fallback-enabled: yes\n for-upstream: yes\n for-downstream: no\n"
    )
    return ["unbound", "-d", "-p", "-c", str(path)]


def _unbound_control(site: Site) -> Control:
    conf = str(site.folder / "unbound.conf")
    return UnboundControl(
        control=("unbound-control", "-c", conf),
        check=("unbound-checkconf", conf),
        include=site.include,
    )


# --- BIND ---------------------------------------------------------------------------------------


def _bind(site: Site) -> list[str]:
    tag, algorithm, kind, digest = site.keys.ds(".").split()
    path = site.folder / "named.conf"
    (site.folder / "rndc.conf").write_text(
        _RNDC_KEY + f'options {{ default-key "lab"; default-server {LISTENS}; }};\n'
    )
    path.write_text(
        f'{_RNDC_KEY}options {{ directory "{site.folder}"; pid-file none;\n'
        "session-keyfile none; lock-file none; recursion yes;\n"
        f"listen-on {{ {LISTENS}; }}; listen-on-v6 {{ none; }};\n"
        "synth-from-dnssec no; };\n"
        f'controls {{ inet {LISTENS} port 953 allow {{ any; }} keys {{ "lab"; }}; }};\n'
        f'trust-anchors {{ . static-ds {tag} {algorithm} {kind} "{digest}"; }};\n'
        f'include "{site.include}";\n'
    )
    # Without a zone of its own BIND asks the root servers that it was built with: a hint that
    # another file has, since there may be no hint beside a mirror.
    site.include.write_text(
        f'zone "." {{ type mirror; file "{site.folder}/mirrored";\n'
        f" primaries {{ {COPY}; }}; notify no; }};\n"
    )
    return ["named", "-g", "-n", "1", "-c", str(path)]


def _bind_control(site: Site) -> Control:
    conf = str(site.folder / "named.conf")
    return BindControl(
        control=site.inside("rndc", "-c", str(site.folder / "rndc.conf")),
        check=("named-checkconf", conf),
        include=site.include,
    )


# --- PowerDNS Recursor --------------------------------------------------------------------------


def _powerdns(site: Site) -> list[str]:
    (site.folder / "main.lua").write_text(
        f'clearTA(".")\naddTA(".", "{site.keys.ds(".")}")\ndofile("{site.include}")\n'
    )
    site.include.write_text(
        f'zoneToCache(".", "file", "{site.folder}/copy.zone",'
        ' { zonemd = "ignore", dnssec = "ignore" })\n'
    )
    (site.folder / "recursor.conf").write_text(
        f"daemon=no\nwrite-pid=no\ndisable-syslog=yes\nquiet=yes\nsocket-dir={site.folder}\n"
        f"local-address={LISTENS}\nquery-local-address=0.0.0.0\nsecurity-poll-suffix=\n"
        f"hint-file={_hints(site)}\nlua-config-file={site.folder}/main.lua\ndont-query=\n"
        "threads=1\ndnssec=validate\naggressive-nsec-cache-size=0\n"
    )
    return ["pdns_recursor", f"--config-dir={site.folder}"]


def _powerdns_control(site: Site) -> Control:
    control = ("rec_control", f"--config-dir={site.folder}")
    return PowerDnsControl(control=control, include=site.include)


# --- Knot Resolver ------------------------------------------------------------------------------


def _knot(site: Site) -> list[str]:
    path = site.folder / "kresd.conf"
    # prefill takes a file that is there, and new, for what it would fetch.
    (site.folder / "root.zone").write_text((site.folder / "copy.zone").read_text())
    path.write_text(
        f"net.listen('{LISTENS}', 53, {{ kind = 'dns' }})\nmodules.load('hints')\n"
        f"hints.root({{ ['{_SERVER}'] = '{REAL}' }})\ntrust_anchors.remove('.')\n"
        f"trust_anchors.add([[{site.keys.anchor('.').strip()}]])\ncache.size = 20*MB\n"
        f"log_level('info')\ndofile('{site.include}')\n"
    )
    site.include.write_text(
        "modules.load('prefill')\n"
        "prefill.config({ ['.'] = { url = 'https://127.0.0.1/root.zone', interval = 86400 } })\n"
    )
    return ["kresd", "-n", "-c", str(path), str(site.folder)]


def _knot_control(site: Site) -> Control:
    sockets = tuple((site.folder / "control").iterdir())
    return KnotControl(sockets=sockets, include=site.include)


RESOLVERS: Final = {
    "unbound": Copied("unbound", _unbound, _unbound_control),
    "bind": Copied("named", _bind, _bind_control),
    "pdns-recursor": Copied("pdns_recursor", _powerdns, _powerdns_control),
    "knot-resolver": Copied("kresd", _knot, _knot_control),
}
"""By the names of `driver.Kind`."""


def lacking(kinds: Sequence[str]) -> tuple[str, ...]:
    """The programs that are not installed."""
    programs = {"named", *(RESOLVERS[kind].program for kind in kinds)}
    return tuple(sorted(name for name in programs if not find(name)))
