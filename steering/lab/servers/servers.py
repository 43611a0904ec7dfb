"""Commands for the common authoritative servers with their default configuration, for `tangled`.

Each function takes a `Place` and returns the command that serves its zones in the foreground. The
configuration is written beside the zones and has only what the server needs. NSD and BIND get
signed zones; Knot DNS and PowerDNS get signed zones, or the keys to sign by themselves.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from steering.lab.network.sandbox import LabError, find
from steering.lab.servers.tangled import UNSIGNED, ZONES


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folder of the zones, and the addresses to serve them at."""

    folder: Path
    """The folder of the zones."""
    signer: str
    """How they are, or must be, signed: NSEC, NSEC3, opt-out, or a method of the server itself."""
    addresses: Sequence[str] = ("127.0.0.1",)
    port: int = 53

    def own(self, kind: str) -> Path:
        """A folder for the files of one server."""
        folder = self.folder / kind
        folder.mkdir(exist_ok=True)
        return folder


def nsd(place: Place) -> list[str]:
    """NSD."""
    own = place.own("nsd")
    zones = [f'zone:\n name: "{zone}"\n zonefile: "{zone}signed"' for zone in ZONES]
    listens = [f" ip-address: {address}@{place.port}" for address in place.addresses]
    return _configured(
        own / "conf",
        ["nsd", "-d", "-c"],
        ["server:", *listens, ' username: ""\n chroot: ""\n server-count: 1'],
        [f' zonesdir: "{place.folder}"\n pidfile: "{own}/pid"\n xfrdfile: "{own}/xfrd"'],
        [f' zonelistfile: "{own}/list"\nremote-control:\n control-enable: no', *zones],
    )


def named(place: Place) -> list[str]:
    """BIND."""
    own, port = place.own("named"), place.port
    zones = [
        f'zone "{zone}" {{ type primary; file "{place.folder}/{zone}signed"; }};' for zone in ZONES
    ]
    v4 = "".join(f"{a}; " for a in place.addresses if ":" not in a)
    v6 = "".join(f"{a}; " for a in place.addresses if ":" in a)
    return _configured(
        own / "conf",
        ["named", "-g", "-n", "1", "-c"],
        [f'options {{ directory "{own}"; recursion no; pid-file "pid"; session-keyfile "key";'],
        [f"listen-on port {port} {{ {v4}}}; listen-on-v6 port {port} {{ {v6 or 'none; '}}}; }};"],
        ["controls { };", *zones],
    )


def knot(place: Place) -> list[str]:
    """Knot DNS."""
    return _knot(place, "knot", [f'file: "{place.folder}/{zone}signed"' for zone in ZONES])


def knot_signing(place: Place) -> list[str]:
    """Knot DNS, which signs the zones itself, or with the signer `lies` each answer."""
    kind = f"knot-{place.signer}"
    live, nsec3 = place.signer == "lies", place.signer in {"NSEC3", "opt-out"}
    policy = [
        " - id: own\n   manual: on\n   algorithm: ecdsap256sha256",
        f"   nsec3: {_on(nsec3)}\n   nsec3-opt-out: {_on(place.signer == 'opt-out')}",
    ]
    how = "module: mod-onlinesign/own" if live else "dnssec-signing: on\n   dnssec-policy: own"
    quiet = "zonefile-sync: -1\n   journal-content: none\n   zonefile-load: whole"
    zones = [
        f'file: "{place.folder}/{zone}plain"\n   {quiet}'
        + ("" if zone == UNSIGNED else f"\n   {how}")
        for zone in ZONES
    ]
    module = ["mod-onlinesign:\n - id: own\n   policy: own"] if live else []
    argv = _knot(place, kind, zones, ["policy:", *policy, *module])
    for key in sorted(place.folder.glob("K*.key")):
        zone = key.name[1:].partition("+")[0]
        _run("keymgr", "-c", argv[-1], zone, "import-bind", str(key))
    return argv


def pdns(place: Place) -> list[str]:
    """PowerDNS with its BIND backend and signed zones."""
    argv, pdnsutil = _pdns(place, "pdns", "signed")
    for zone in ZONES:
        if zone != UNSIGNED:
            pdnsutil("set-presigned", zone)
            if place.signer != "NSEC":
                pdnsutil("set-nsec3", zone, f"1 {int(place.signer == 'opt-out')} 0 aabb")
    return argv


def pdns_signing(place: Place) -> list[str]:
    """PowerDNS, which signs each answer; with the signer `narrow` it also invents the gaps."""
    argv, pdnsutil = _pdns(place, f"pdns-{place.signer}", "plain")
    for key in sorted(place.folder.glob("K*.private")):
        zone = key.name[1:].partition("+")[0]
        flags = key.with_suffix(".key").read_text().split("DNSKEY")[1].split()[0]
        pdnsutil("import-zone-key", zone, str(key), "active", "ksk" if flags == "257" else "zsk")
        if place.signer != "NSEC":
            more = ("narrow",) if place.signer == "narrow" else ()
            pdnsutil("set-nsec3", zone, f"1 {int(place.signer == 'opt-out')} 0 aabb", *more)
    return argv


def _knot(place: Place, kind: str, zones: Sequence[str], more: Sequence[str] = ()) -> list[str]:
    own = place.own(kind)
    listens = [f" listen: {address}@{place.port}" for address in place.addresses]
    return _configured(
        own / "conf",
        ["knotd", "-c"],
        [f'server:\n rundir: "{own}"\n udp-workers: 1\n tcp-workers: 1', *listens],
        [f'database:\n storage: "{own}"\nlog:\n - target: stderr\n   any: warning', *more],
        ["zone:", *(f" - domain: {z}\n   {how}" for z, how in zip(ZONES, zones, strict=True))],
    )


def _pdns(place: Place, kind: str, ending: str) -> tuple[list[str], Callable[..., None]]:
    """The command that serves, and a function that runs pdnsutil on its database."""
    own = place.own(kind)
    (own / "zones").write_text(
        "".join(
            f'zone "{z}" {{ type native; file "{place.folder}/{z}{ending}"; }};\n' for z in ZONES
        )
    )
    argv = _configured(
        own / "pdns.conf",
        ["pdns_server"],
        [f"launch=bind\nbind-config={own}/zones\nbind-dnssec-db={own}/keys", "daemon=no"],
        [f"local-address={', '.join(place.addresses)}\nlocal-port={place.port}"],
        [f"socket-dir={own}\nguardian=no\nsetuid=\nsetgid=\nsecurity-poll-suffix="],
        ["dname-processing=yes\nreceiver-threads=1\ndistributor-threads=1"],
    )

    def pdnsutil(*words: str) -> None:
        _run("pdnsutil", "--config-dir", str(own), *words)

    (own / "keys").unlink(missing_ok=True)
    pdnsutil("create-bind-db", str(own / "keys"))
    return [argv[0], f"--config-dir={own}"], pdnsutil


def _configured(path: Path, argv: Sequence[str], *parts: Sequence[str]) -> list[str]:
    path.write_text("".join(f"{line}\n" for part in parts for line in part))
    return [*argv, str(path)]


def _on(wanted: bool) -> str:
    return "on" if wanted else "off"


def _run(*argv: str) -> None:
    program = find(argv[0])
    if program is None:
        raise LabError(f"{argv[0]} is not installed")
    done = subprocess.run(
        (program, *argv[1:]), capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
