"""Real servers give the zone by AXFR, large and with new types, and it is good as it arrives."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.query
import pytest
from publishing import free_port
from test_publishing import new_types
from wholezone import WholeZone, write

from steering.lab.network.sandbox import find
from steering.lab.waiting import until
from steering.observe.zone.facts import Source
from steering.rootzone.fetch import Outcome, Result, fetch
from steering.rootzone.keep import Kept

pytestmark = pytest.mark.lab

SERIAL = 2026120100


def bind(work: Path, zone: Path, port: int) -> list[str]:
    conf = work / "named.conf"
    conf.write_text(
        f'options {{ directory "{work}"; pid-file none; session-keyfile none; lock-file none;'
        f" listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;"
        " notify no; allow-transfer { any; }; };\ncontrols { };\n"
        f'zone "." {{ type primary; file "{zone}"; }};\n'
    )
    return ["named", "-g", "-n", "1", "-c", str(conf)]


def nsd(work: Path, zone: Path, port: int) -> list[str]:
    conf = work / "nsd.conf"
    conf.write_text(
        f'server:\n ip-address: 127.0.0.1@{port}\n username: ""\n chroot: ""\n'
        f' zonesdir: "{work}"\n pidfile: ""\n database: ""\n xfrdfile: "{work}/xfrd"\n'
        f' zonelistfile: "{work}/list"\n server-count: 1\n'
        "remote-control:\n control-enable: no\n"
        f'zone:\n name: "."\n zonefile: "{zone}"\n provide-xfr: 127.0.0.1 NOKEY\n'
    )
    return ["nsd", "-d", "-c", str(conf)]


def knot(work: Path, zone: Path, port: int) -> list[str]:
    conf = work / "knot.conf"
    conf.write_text(
        f"server:\n    rundir: {work}\n    listen: 127.0.0.1@{port}\n"
        f"database:\n    storage: {work}\nlog:\n  - target: stderr\n    any: info\n"
        "acl:\n  - id: all\n    address: 127.0.0.1\n    action: transfer\n"
        f"zone:\n  - domain: .\n    file: {zone}\n    acl: all\n"
    )
    return ["knotd", "-c", str(conf)]


SERVERS: dict[str, Callable[[Path, Path, int], list[str]]] = {
    "named": bind,
    "nsd": nsd,
    "knotd": knot,
}


@contextmanager
def server(program: str, work: Path, zone: Path) -> Iterator[Source]:
    if find(program) is None:
        pytest.skip(f"not installed: {program}")
    port, log = free_port(), work / "log"
    argv = SERVERS[program](work, zone, port)
    argv[0] = find(program) or argv[0]
    with log.open("wb") as said:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            reply = dns.query.udp(dns.message.make_query(".", "SOA"), "127.0.0.1", 0.5, port)
        except (OSError, dns.exception.Timeout):
            return False
        return bool(reply.answer)

    try:
        until(answers, 20.0, tell=lambda: log.read_text()[-2000:])
        yield Source(address="127.0.0.1", port=port)
    finally:
        process.kill()
        process.wait()


def ask(kept: Kept, made: WholeZone, source: Source) -> Result:
    with kept.locked():
        return asyncio.run(fetch(kept, [source], made.anchors, made.now))


@pytest.mark.parametrize("program", SERVERS)
def test_a_zone_of_many_messages_with_new_types_arrives_whole(program: str, tmp_path: Path) -> None:
    made = WholeZone(now=time.time(), children=400, servers=3)
    zone = write(made.signed(SERIAL, before=new_types), tmp_path / "signed.zone")
    # These servers may be older than a type's name.
    text = zone.read_text().replace('RESINFO "qnamemin"', r"TYPE261 \# 9 08716e616d656d696e")
    zone.write_text(text.replace("RESINFO", "TYPE261"))
    kept = Kept(tmp_path / "rootzone")
    with server(program, tmp_path, zone) as source:
        found = ask(kept, made, source)
        assert found.outcome is Outcome.NEW, found
        assert found.copy is not None
        assert found.copy.facts.unknown_types == ("RESINFO", "TYPE65400")
        assert found.copy.facts.records > 3000
        assert ask(kept, made, source).outcome is Outcome.CURRENT
