"""Real dnstap: what Unbound writes while clients ask it for names below com. and net.

Zones signed like com. and net. on NSD, a validating Unbound that logs its side of the traffic,
and questions of three kinds: names that are not there, the DS of delegations, and addresses
below delegations. The result is a Frame Streams file as `fstrm_capture` makes it.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dns.message

from steering.lab.network.topology import EDGE, Topology
from steering.lab.servers.authority import Nsd
from steering.lab.servers.resolver import Unbound
from steering.lab.servers.zone import Keys, SignedZone, ZoneSpec, sign
from steering.model import Family
from steering.observe.dnstap.framestream import CONTENT_TYPE, Control, control

ZONES = ("com.", "net.")
DELEGATIONS = 2_000
_AT_ONCE = 200  # questions under way


def dnstap(path: Path) -> tuple[str, ...]:
    """Lines for Unbound's configuration, to be put behind its `server:` clause."""
    return (
        "dnstap:",
        "  dnstap-enable: yes",
        "  dnstap-bidirectional: yes",
        f'  dnstap-socket-path: "{path}"',
        "  dnstap-send-identity: yes",
        "  dnstap-send-version: yes",
        "  dnstap-log-resolver-query-messages: yes",
        "  dnstap-log-resolver-response-messages: yes",
        "  dnstap-log-forwarder-query-messages: yes",
        "  dnstap-log-forwarder-response-messages: yes",
    )


def make(path: Path, *, questions: int) -> dict[str, list[str]]:
    """Write a corpus; each zone's DNSKEY records. Raises LabError where no lab can be had."""
    keys = {zone: Keys.fresh() for zone in ZONES}
    specs = {zone: ZoneSpec.like_com(zone, count=DELEGATIONS) for zone in ZONES}
    zones = [sign(specs[zone], keys[zone]) for zone in ZONES]
    with Topology(sites=()) as state:
        Nsd(state, state.paths["local"].auth, nsid="bench").serve(zones)
        for family in Family:  # what is below the delegations is refused at once
            address = "198.51.100.0/24" if family is Family.IPV4 else "2001:db8::/32"
            state.ip(EDGE, "route", "add", "unreachable", address)
        tap = state.work / "dnstap.sock"
        with _capturing(tap, path):
            resolver = Unbound(state, keys=keys, extra=dnstap(tap))
            resolver.start()
            _ask(state, zones, questions)
            resolver.stop()
    return {zone: [key.to_text() for key in keys[zone].dnskeys] for zone in ZONES}


@contextlib.contextmanager
def _capturing(tap: Path, path: Path) -> Iterator[None]:
    """Every byte of the first writer's data, as a file that begins with START."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tap))
    listener.listen()

    def capture() -> None:
        made, _ = listener.accept()
        with made, path.open("wb") as file:
            made.recv(4096)  # READY
            made.sendall(control(Control.ACCEPT, content_type=CONTENT_TYPE))
            while data := made.recv(1 << 18):
                file.write(data)

    thread = threading.Thread(target=capture, daemon=True)
    thread.start()
    yield
    thread.join(10)
    listener.close()


def _ask(state: Topology, zones: list[SignedZone], questions: int) -> None:
    """Ask, and wait for what is under way, so that nothing overflows on the way."""
    draw = random.Random(4711)
    with state.socket(EDGE, Family.IPV4) as udp:
        udp.connect(("127.0.0.1", 53))
        udp.settimeout(0.5)
        under_way = 0
        for number in range(questions):
            zone = draw.choice(zones).name
            child = f"d{draw.randrange(DELEGATIONS):04}.{zone}"
            name, rdtype = (
                (f"{draw.getrandbits(64):016x}.{zone}", "A"),
                (child, "DS"),
                (f"{draw.getrandbits(32):08x}.{child}", "A"),
            )[draw.choices(range(3), (6, 2, 3))[0]]
            query = dns.message.make_query(name, rdtype, id=number & 0xFFFF)
            udp.send(query.to_wire())
            under_way += 1
            while under_way >= _AT_ONCE:
                try:
                    udp.recv(65_535)
                    under_way -= 1
                except TimeoutError:
                    under_way = 0


def frames(data: bytes) -> Iterator[bytes]:
    """The payloads of a corpus's data frames."""
    at = 0
    while len(data) - at >= 4:
        (length,) = struct.unpack_from("!I", data, at)
        if length == 0:
            (length,) = struct.unpack_from("!I", data, at + 4)
            at += 8 + length
            continue
        yield data[at + 4 : at + 4 + length]
        at += 4 + length


if __name__ == "__main__":
    make(Path(sys.argv[1]), questions=int(sys.argv[2]))
