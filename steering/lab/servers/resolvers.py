"""Commands for the common validating resolvers with their default configuration, for a lab's root.

Each function takes a folder, the address to listen at, the root's key (a DS record as a line of a
zone file), the root's address, and the dnstap configuration from the resolver's page in the docs.
It returns the command that runs the resolver in the foreground. Nothing else is configured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final


def unbound(folder: Path, listens: str, anchor: str, root: str, dnstap: str) -> list[str]:
    """Unbound."""
    path = folder / "conf"
    path.write_text(
        f"server:\n interface: {listens}\n access-control: 127.0.0.0/8 allow\n"
        f' chroot: ""\n username: ""\n pidfile: ""\n use-syslog: no\n directory: "{folder}"\n'
        f' root-hints: "{_hints(folder, root)}"\n trust-anchor: "{anchor}"\n'
        f"remote-control:\n control-enable: no\n{dnstap}\n"
    )
    return ["unbound", "-d", "-p", "-c", str(path)]


def bind(folder: Path, listens: str, anchor: str, root: str, dnstap: str) -> list[str]:
    """BIND."""
    tag, algorithm, kind, digest = anchor.split()[4:]
    (folder / "dnstap.conf").write_text(dnstap)
    path = folder / "conf"
    path.write_text(
        f'options {{ directory "{folder}"; pid-file none; session-keyfile none; lock-file none;\n'
        f"listen-on {{ {listens}; }}; listen-on-v6 {{ none; }}; recursion yes;\n"
        f'include "{folder}/dnstap.conf";\n}};\ncontrols {{ }};\n'
        f'trust-anchors {{ . static-ds {tag} {algorithm} {kind} "{digest}"; }};\n'
        f'zone "." {{ type hint; file "{_hints(folder, root)}"; }};\n'
    )
    return ["named", "-g", "-n", "1", "-c", str(path)]


def recursor(folder: Path, listens: str, anchor: str, root: str, dnstap: str) -> list[str]:
    """PowerDNS Recursor."""
    digest = " ".join(anchor.split()[4:])
    (folder / "lua").write_text(f'clearTA(".")\naddTA(".", "{digest}")\n{dnstap}\n')
    (folder / "recursor.conf").write_text(
        f"daemon=no\nwrite-pid=no\ndisable-syslog=yes\nquiet=yes\nsocket-dir={folder}\n"
        f"local-address={listens}\nquery-local-address=0.0.0.0, ::\nsecurity-poll-suffix=\n"
        f"hint-file={_hints(folder, root)}\nlua-config-file={folder}/lua\ndont-query=\nthreads=1\n"
        "dnssec=validate\n"
    )
    return ["pdns_recursor", f"--config-dir={folder}"]


def knot(folder: Path, listens: str, anchor: str, root: str, _dnstap: str) -> list[str]:
    """Knot Resolver, whose dnstap has no upstream messages."""
    path = folder / "conf"
    path.write_text(
        f"net.listen('{listens}', 53, {{ kind = 'dns' }})\nmodules.load('hints')\n"
        f"hints.root({{ ['ns.'] = '{root}' }})\ntrust_anchors.remove('.')\n"
        f"trust_anchors.add([[{anchor}]])\ncache.size = 20*MB\n"
    )
    return ["kresd", "-n", "-c", str(path), str(folder)]


def _hints(folder: Path, root: str) -> Path:
    path = folder / "hints"
    path.write_text(f". 3600 NS ns.\nns. 3600 A {root}\n")
    return path


RESOLVING: Final = {
    "unbound": unbound,
    "bind9": bind,
    "pdns-recursor": recursor,
    "knot-resolver": knot,
}
"""By the names of their pages in the docs."""
