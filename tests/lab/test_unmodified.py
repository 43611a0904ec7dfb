"""What NSD and BIND answer as they come: none of it is a failure, of probes or of traffic.

Four zones on one server, full of what moved traffic once: DNAMEs, aliases into zones below and
beside and back, wildcards, empty non-terminals that an opt-out gap hides. Signed by
dnssec-signzone in three ways, asked for at every name, beside it and below it.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from steering.lab.sandbox import find, poll
from steering.model import Kind, Question, Verdict
from steering.observe.classify import classify
from steering.observe.overheard import overheard
from steering.observe.resolve import dnskeys
from steering.observe.signatures import Signatures
from steering.observe.trust import Keys, Trust, below, name_of

pytestmark = pytest.mark.lab

HEAD: Final = "$TTL 300\n@ SOA ns.example. h.example. 1 3600 600 86400 300\n@ NS ns.example.\n"
ZONES: Final = {
    "sub.example.": "www A 192.0.2.6\nup CNAME www.example.\nup2 CNAME nx.example.\n*.w TXT a\n",
    "plain.example.": "www A 192.0.2.7\nup CNAME www.example.\n",
    "other.": "www A 192.0.2.5\n*.w A 192.0.2.8\nback CNAME www.example.\nd DNAME moved.example.\n",
    "example.": """ns A 127.0.0.1
www A 192.0.2.1
a.b.c A 192.0.2.2
*.wild A 192.0.2.3
x.deep.wild A 192.0.2.9
*.wc CNAME www
moved DNAME target
x.target A 192.0.2.4
out DNAME other.
alias1 CNAME www
alias2 CNAME www.sub
alias3 CNAME www.plain
alias4 CNAME www.other.
alias5 CNAME nx.other.
alias6 CNAME nx.sub
alias7 CNAME nx
alias8 CNAME x.moved
sub NS ns.other.
plain NS ns.other.
d.ent.e NS ns.other.
mx MX 10 www.sub
""",
}
UNSIGNED: Final = "plain.example."
TYPES: Final = ("A", "TXT", "CNAME", "DS", "MX", "ANY")
SIGNERS: Final = {"NSEC": (), "NSEC3": ("-3", "aabb"), "opt-out": ("-3", "aabb", "-A")}
MEANT: Final = {("e.example.", "DS", "opt-out")}
"""NSD shows no gap for an empty non-terminal's DS; Unbound answers SERVFAIL to it, too."""


def names() -> list[str]:
    """Every owner, a name in its wildcard's place, and what is beside and below."""
    found = set()
    for zone, text in ZONES.items():
        for line in text.splitlines():
            owner = f"{line.split()[0]}.{zone}"
            found |= {owner, f"nx.{owner}", f"a.b.{owner}", owner.replace("*", "q")}
            while (owner := owner.partition(".")[2]) and owner != zone:
                found.add(owner)
        found.add(zone)
    return sorted(found)


def run(folder: Path, *argv: str) -> None:
    subprocess.run(argv, cwd=folder, check=True, capture_output=True, timeout=60)


def sign(folder: Path, options: Sequence[str]) -> None:
    """Below first: the parent takes up its DS records."""
    for zone, text in ZONES.items():
        (folder / zone).write_text(HEAD + text)
        if zone == UNSIGNED:
            (folder / f"{zone}signed").write_text(HEAD + text)
            continue
        for more in ((), ("-f", "KSK")):
            run(folder, "dnssec-keygen", "-a", "ECDSAP256SHA256", *more, zone)
        out = ("-g", "-d", ".", "-o", zone, "-f", f"{zone}signed", zone)
        run(folder, "dnssec-signzone", "-S", "-H", "0", *options, *out)


def nsd(folder: Path, port: int) -> list[str]:
    zones = "".join(f'zone:\n name: "{zone}"\n zonefile: "{zone}signed"\n' for zone in ZONES)
    (folder / "conf").write_text(
        f'server:\n ip-address: 127.0.0.1@{port}\n username: ""\n chroot: ""\n server-count: 1\n'
        f' zonesdir: "{folder}"\n pidfile: "{folder}/pid"\n xfrdfile: "{folder}/xfrd"\n'
        f' zonelistfile: "{folder}/list"\nremote-control:\n control-enable: no\n{zones}'
    )
    return ["nsd", "-d", "-c", str(folder / "conf")]


def named(folder: Path, port: int) -> list[str]:
    zones = "".join(f'zone "{zone}" {{ type primary; file "{zone}signed"; }};\n' for zone in ZONES)
    (folder / "conf").write_text(
        f'options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }};\n'
        f'listen-on-v6 {{ none; }}; recursion no; pid-file "pid"; session-keyfile "key"; }};\n'
        f"{zones}"
    )
    return ["named", "-g", "-c", str(folder / "conf")]


def ask(port: int, name: str, rdtype: str) -> dns.message.Message:
    query = dns.message.make_query(name, rdtype, want_dnssec=True, flags=0, id=7)
    return dns.query.tcp(query, "127.0.0.1", port=port, timeout=10)


@contextmanager
def serving(argv: Sequence[str], port: int, log: Path) -> Iterator[None]:
    def up() -> bool:
        try:
            return ask(port, "example.", "SOA").rcode() == dns.rcode.NOERROR
        except (OSError, EOFError, dns.exception.DNSException):
            return False

    with log.open("wb") as said, subprocess.Popen(argv, stdout=said, stderr=said) as program:
        try:
            assert poll(up, timeout=15), log.read_text()
            yield
        finally:
            program.terminate()


def known(port: int, wall: float) -> Trust:
    sets = {}
    for zone in ZONES:
        if zone != UNSIGNED:
            shown = dnskeys(ask(port, zone, "DNSKEY"), zone)
            assert shown is not None
            when = {"inception": wall - 1, "expiration": wall + 1e5, "checked": wall}
            sets[zone] = Keys(zone=zone, rdataset=shown[0], **when)
    return Trust(secure=sets, insecure=frozenset({UNSIGNED}))


@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize("server", [nsd, named], ids=["NSD", "BIND"])
def test_no_answer_of_an_unmodified_server_is_a_failure(
    server: Callable[[Path, int], list[str]], signer: str, tmp_path: Path
) -> None:
    for program in (server.__name__, "dnssec-signzone"):
        if not find(program):
            pytest.skip(f"{program} is not installed")
    sign(tmp_path, SIGNERS[signer])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    wall, held, good = time.time(), Signatures(), 0
    failing: list[tuple[Question, object]] = []
    with serving(server(tmp_path, port), port, tmp_path / "log"):
        trust = known(port, wall)
        for zones in (("example.",), tuple(ZONES)):
            for name in names():
                for rdtype in TYPES:
                    around = [z for z in zones if name_of(name).is_subdomain(name_of(z))]
                    if rdtype == "DS":
                        around = [z for z in around if below(name_of(z), name_of(name))]
                    if not around or (name, rdtype, signer) in MEANT:
                        continue
                    question = Question(
                        zone=max(around, key=len), name=name, rdtype=rdtype, kind=Kind.WITNESS
                    )
                    wire = ask(port, name, rdtype).to_wire(max_size=65535)
                    by = {"wall": wall, "skew": 0.0}
                    reading = classify(wire, question, 7, trust, **by, signatures=held)
                    heard = overheard(wire, zones, trust, **by, signatures=held, secret=b"x")
                    good += reading.outcome.verdict is Verdict.GOOD
                    if reading.judged and reading.outcome.verdict is not Verdict.GOOD:
                        failing.append((question, reading))
                    if heard is not None and heard.failure is not None:
                        failing.append((question, heard.failure))
    assert failing == []
    assert good > 500
