"""What others' servers answer as they come: none of it is a failure, of probes or of traffic.

NSD, BIND, Knot DNS and PowerDNS, each asked for every name of four zones full of what moved traffic
once (`lab.servers.tangled`), beside it and below it. What a server truly gets wrong is listed
with its reason, and a resolver has to refuse it as well.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest
from nameservers import SERVED, Server, ask, free_port, running

from steering.lab.network.sandbox import find
from steering.lab.servers.servers import Place
from steering.lab.servers.tangled import SIGNERS, TYPES, UNSIGNED, ZONES, fresh_keys, names, sign
from steering.lab.servers.zone import Keys as ZoneKeys
from steering.model import Kind, Question, Verdict
from steering.observe.dnssec.keys.chain import dnskeys
from steering.observe.dnssec.response import classify
from steering.observe.dnssec.signatures import Signatures
from steering.observe.dnssec.trust import Keys, Trust, below, name_of
from steering.observe.traffic.classify import verify_response

pytestmark = pytest.mark.lab


MEANT: Final = {
    ("NSD", "opt-out"): {("e.example.", "DS"): "it shows no gap for an empty non-terminal's DS"},
}
"""What resolvers refuse as well, and why they do."""


def known(port: int, wall: float) -> Trust:
    sets = {}
    for zone in ZONES:
        if zone != UNSIGNED:
            shown = dnskeys(ask(port, zone, "DNSKEY"), zone)
            assert shown is not None
            sets[zone] = Keys(
                zone=zone,
                rdataset=shown[0],
                inception=wall - 1,
                expiration=wall + 1e5,
                checked=wall,
            )
    return Trust(secure=sets, insecure=frozenset({UNSIGNED}))


def refused(folder: Path, keys: Mapping[str, ZoneKeys], port: int, name: str, rdtype: str) -> bool:
    """Whether Unbound, which asks the server there, answers SERVFAIL, and an answer with CD."""
    own = free_port()
    lines = [
        *("server:", f"interface: 127.0.0.1@{own}", "do-not-query-localhost: no", 'chroot: ""'),
        *('username: ""', 'pidfile: ""', "use-syslog: no", f'directory: "{folder}"'),
        *("do-ip6: no", "trust-anchor-signaling: no", "aggressive-nsec: no"),
        *(f'trust-anchor: "{zone} DS {held.ds(zone)}"' for zone, held in keys.items()),
    ]
    for zone in keys:
        lines += ["stub-zone:", f'name: "{zone}"', f"stub-addr: 127.0.0.1@{port}"]
    path = folder / "unbound.conf"
    path.write_text("\n".join(lines) + "\n")
    with running(["unbound", "-d", "-c", str(path)], own, folder / "unbound.log"):
        query = dns.message.make_query(name, rdtype, want_dnssec=True)
        rcodes = []
        for more in (0, dns.flags.CD):
            query.flags |= more
            rcodes.append(dns.query.udp(query, "127.0.0.1", port=own, timeout=20).rcode())
        return rcodes[0] == dns.rcode.SERVFAIL and rcodes[1] != dns.rcode.SERVFAIL


def judged(
    wire: bytes, name: str, rdtype: str, trust: Trust, held: Signatures
) -> Iterator[tuple[Verdict, object]]:
    """What probes and the second look make of an answer: by a policy of one zone, and of all."""
    for zones in (("example.",), ZONES):
        around = [z for z in zones if name_of(name).is_subdomain(name_of(z))]
        if rdtype == "DS":
            around = [z for z in around if below(name_of(z), name_of(name))]
        if not around:
            continue
        zone = max(around, key=len)
        question = Question(zone=zone, name=name, rdtype=rdtype, kind=Kind.WITNESS)
        wall = time.time()
        reading = classify(wire, question, 7, trust, wall=wall, skew=0.0, signatures=held)
        if reading.judged:
            yield reading.outcome.verdict, (question, reading)
        heard = verify_response(
            wire, zones, trust, wall=wall, skew=0.0, signatures=held, secret=b"x"
        )
        if heard is not None and heard.failure is not None:
            yield heard.failure.outcome.verdict, (question, heard.failure)


@pytest.mark.parametrize(
    ("server", "program", "serve", "signer"),
    [
        pytest.param(server, program, serve, signer, id=f"{server} {signer}".replace(" ", "-"))
        for server, program, serve, signers in SERVED
        for signer in signers
    ],
)
def test_no_answer_of_an_unmodified_server_is_a_failure(
    server: str, program: str, serve: Server, signer: str, tmp_path: Path
) -> None:
    for needed in (program, "dnssec-signzone"):
        if not find(needed):
            pytest.skip(f"{needed} is not installed")
    keys = fresh_keys()
    sign(tmp_path, signer if signer in SIGNERS else "NSEC", keys)
    port = free_port()
    argv = serve(Place(folder=tmp_path, signer=signer, port=port))
    failing: dict[tuple[str, str], object] = {}
    held, good = Signatures(), 0
    with running(argv, port, tmp_path / "log"):
        trust = known(port, time.time())
        for name in names():
            for rdtype in TYPES:
                wire = ask(port, name, rdtype).to_wire(max_size=65535)
                for verdict, what in judged(wire, name, rdtype, trust, held):
                    good += verdict is Verdict.GOOD
                    if verdict is not Verdict.GOOD:
                        failing[name, rdtype] = what
        meant = MEANT.get((server, signer), {})
        unmeant = {q: what for q, what in failing.items() if q not in meant}
        assert unmeant == {}
        assert good > 500
        for name, rdtype in meant:
            assert (name, rdtype) in failing
            if find("unbound"):
                assert refused(tmp_path, keys, port, name, rdtype)
