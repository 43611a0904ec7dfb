"""The four validators, as they come, but for what would let one case speak of another.

Off in all of them: answers from expired data, prefetching, denials out of other denials (RFC 8198)
where it can be, and questions that are shortened on the way (RFC 9156), because the odd answer is
given to the whole one. None allows for clocks that differ. Each asks from its own port.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from steering.lab.network.sandbox import find


@dataclass(frozen=True)
class Validator:
    """A resolver that validates: how it is configured, started and asked for its version."""

    name: str
    program: str
    package: str
    port: int
    argv: Callable[[Path, int, str, str], list[str]]
    """Writes its configuration into a folder: folder, port, anchor, the root's address."""
    version: tuple[str, ...]

    def says_version(self) -> str:
        """Its version, as it tells it."""
        program = find(self.program)
        if program is None:
            return "not installed"
        done = subprocess.run([program, *self.version], capture_output=True, text=True, check=False)
        found = re.search(r"\d+\.\d+[.\d]*", done.stdout + done.stderr.partition("Recursor")[2])
        return found[0] if found else "of no version"


def _hints(folder: Path, root: str) -> Path:
    path = folder / "hints"
    path.write_text(f". 3600 NS ns.\nns. 3600 A {root}\n")
    return path


def _unbound(folder: Path, port: int, anchor: str, root: str, *, skew: bool = False) -> list[str]:
    grace = "" if skew else "val-sig-skew-min: 0\n val-sig-skew-max: 0"
    path = folder / "conf"
    path.write_text(f"""server:
 interface: 127.0.0.1@{port}
 do-ip6: no
 access-control: 127.0.0.0/8 allow
 username: ""
 chroot: ""
 directory: "{folder}"
 pidfile: ""
 use-syslog: no
 use-systemd: no
 log-servfail: yes
 val-log-level: 2
 root-hints: "{_hints(folder, root)}"
 trust-anchor: "{anchor.strip()}"
 trust-anchor-signaling: no
 module-config: "validator iterator"
 do-not-query-localhost: no
 num-threads: 1
 num-queries-per-thread: 4096
 outgoing-range: 4096
 so-rcvbuf: 4m
 qname-minimisation: no
 aggressive-nsec: no
 prefetch: no
 serve-expired: no
 harden-referral-path: no
 minimal-responses: yes
 {grace}
remote-control:
 control-enable: no
""")
    return ["unbound", "-d", "-p", "-c", str(path)]


def _named(folder: Path, port: int, anchor: str, root: str) -> list[str]:
    words = anchor.split()[4:]
    digest = " ".join(words[:3])
    path = folder / "conf"
    path.write_text(f"""options {{
 directory "{folder}"; pid-file "pid"; session-keyfile "key"; lock-file none;
 listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
 max-cache-size 256m; recursion yes; allow-recursion {{ any; }}; recursive-clients 8000;
 dnssec-validation yes; dnssec-accept-expired no;
 servfail-ttl 0; lame-ttl 0; prefetch 0; synth-from-dnssec no; qname-minimization off;
 empty-zones-enable no; stale-answer-enable no; minimal-responses yes; trust-anchor-telemetry no;
 query-source address 0.0.0.0;
}};
trust-anchors {{ . static-ds {digest} "{words[3]}"; }};
zone "." {{ type hint; file "{_hints(folder, root)}"; }};
logging {{ channel all {{ stderr; severity info; }}; category default {{ all; }};
 category dnssec {{ all; }}; category lame-servers {{ all; }}; }};
controls {{ }};
""")
    return ["named", "-f", "-g", "-n", "1", "-c", str(path)]


def _recursor(folder: Path, port: int, anchor: str, root: str) -> list[str]:
    (folder / "anchors.lua").write_text(
        f'clearTA(".")\naddTA(".", "{" ".join(anchor.split()[4:])}")\n'
    )
    (folder / "recursor.conf").write_text(f"""local-address=127.0.0.1
local-port={port}
config-dir={folder}
socket-dir={folder}
hint-file={_hints(folder, root)}
lua-config-file={folder}/anchors.lua
daemon=no
write-pid=no
setuid=
setgid=
dont-query=
dnssec=validate
dnssec-log-bogus=yes
signature-inception-skew=0
aggressive-nsec-cache-size=0
qname-minimization=no
packetcache-ttl=0
packetcache-servfail-ttl=0
max-cache-bogus-ttl=1
refresh-on-ttl-perc=0
serve-stale-extensions=0
server-down-max-fails=0
non-resolving-ns-max-fails=0
threads=1
max-mthreads=4096
any-to-tcp=no
edns-subnet-allow-list=
extended-resolution-errors=yes
security-poll-suffix=
loglevel=4
quiet=yes
""")
    return ["pdns_recursor", f"--config-dir={folder}"]


def _kresd(folder: Path, port: int, anchor: str, root: str) -> list[str]:
    path = folder / "conf"
    path.write_text(f"""log_level('notice')
for _, name in ipairs({{'ta_update', 'ta_signal_query', 'ta_sentinel', 'priming', 'edns_keepalive',
                       'detect_time_skew', 'detect_time_jump', 'refuse_nord', 'watchdog'}}) do
  if modules.list and package.loaded[name] ~= nil or _G[name] ~= nil then modules.unload(name) end
end
net.ipv6 = false
net.listen('127.0.0.1', {port})
modules.load('hints')
hints.root({{ ['ns.'] = '{root}' }})
trust_anchors.remove('.')
trust_anchors.add([[{anchor.strip()}]])
cache.size = 200*MB
cache.min_ttl(0)
option('NO_MINIMIZE', true)
option('NO_0X20', true)
option('ALLOW_LOCAL', true)
""")
    return ["kresd", "-n", "-c", str(path), str(folder)]


VALIDATORS: Final = (
    Validator("Unbound", "unbound", "unbound", 5301, _unbound, ("-V",)),
    Validator("BIND", "named", "bind9", 5302, _named, ("-v",)),
    Validator("PowerDNS", "pdns_recursor", "pdns-recursor", 5303, _recursor, ("--version",)),
    Validator("Knot", "kresd", "knot-resolver", 5304, _kresd, ("--version",)),
)
LENIENT: Final = Validator(
    "Unbound as shipped",
    "unbound",
    "unbound",
    5305,
    lambda *words: _unbound(*words, skew=True),
    ("-V",),
)
"""It allows some grace for what has run out (`val-sig-skew-max`)."""
