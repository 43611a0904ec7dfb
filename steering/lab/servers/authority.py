"""Authoritative servers of the lab: NSD if it is installed, else the embedded one.

Both have one interface (``Authority``), and tests require the same answers of both.
"""

from __future__ import annotations

import abc
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import dns.message
import dns.rcode

from steering.lab.network.sandbox import PYTHON, LabError, Program, find
from steering.lab.network.topology import Topology
from steering.lab.servers.mini_authority import ServerConfig
from steering.lab.servers.zone import SignedZone
from steering.lab.waiting import poll
from steering.model import Family

_START_LIMIT = 15.0  # seconds for a program to come up on a busy machine


class Authority(abc.ABC):
    """One nameserver instance in one namespace, on all of its addresses.

    It serves from the first ``serve`` until ``stop``. Every method returns when the change is in
    force. If that fails it raises LabError, with the end of the program's log.
    """

    kind: ClassVar[str]

    def __init__(
        self, world: Topology, namespace: str, *, addresses: Sequence[str] | None = None, nsid: str
    ) -> None:
        self.world = world
        self.namespace = namespace
        self.addresses = world.addresses if addresses is None else tuple(addresses)
        self.nsid = nsid
        self.work = world.work / f"{self.kind}-{namespace}"
        self.work.mkdir(exist_ok=True)
        self._program: Program | None = None
        self._zones: tuple[SignedZone, ...] = ()

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.running

    @property
    def log(self) -> Path:
        """The program's output."""
        return self.work / "log"

    def serve(self, zones: Iterable[SignedZone]) -> None:
        """Serve these zones from now on."""
        self._zones = tuple(zones)
        self._apply(None)

    def answer_rcode(self, rcode: str) -> None:
        """Answer every question with SERVFAIL or REFUSED; ``serve`` ends it."""
        self._apply(rcode)

    def silence(self) -> None:
        """Stop the process (SIGSTOP): its addresses exist, but nothing answers."""
        if self._program:
            self._program.freeze()

    def speak(self) -> None:
        """End ``silence``."""
        if self._program:
            self._program.thaw()

    def stop(self) -> None:
        """End the server: its host then refuses the port."""
        if self._program:
            self._program.stop()
            self._program = None

    @abc.abstractmethod
    def _apply(self, rcode: str | None) -> None: ...

    def _zone_file(self, zone: SignedZone) -> Path:
        return self.work / f"{zone.name.rstrip('.') or 'root'}.zone"

    def _start(self, argv: Sequence[str]) -> Program:
        return self.world.start(self.namespace, argv, log=self.log)

    def _await_in_force(self, rcode: str | None) -> None:
        """Ask all addresses until every one answers as configured.

        The signature of the SOA distinguishes copies even with the same serial.
        """

        def in_force() -> bool:
            if self._program and not self._program.running:
                raise LabError(f"{self.kind} in {self.namespace} ended{self._program.tail()}")
            return all(
                self._answers_as_configured(address, zone, rcode)
                for zone in self._zones
                for address in self.addresses
            )

        if not poll(in_force, timeout=_START_LIMIT):
            tail = self._program.tail() if self._program else ""
            raise LabError(f"{self.kind} in {self.namespace} does not answer as configured{tail}")

    def _answers_as_configured(self, address: str, zone: SignedZone, rcode: str | None) -> bool:
        question = dns.message.make_query(zone.name, "SOA", want_dnssec=True)
        with self.world.socket(self.namespace, Family.of(address)) as udp:
            udp.settimeout(0.5)
            try:
                udp.connect((address, 53))
                udp.send(question.to_wire())
                answer = dns.message.from_wire(udp.recv(65_535))
            except OSError:
                return False
        if rcode:
            return answer.rcode() == dns.rcode.from_text(rcode)
        return [r.to_text() for r in answer.answer] == [r.to_text() for r in zone.soa]


class MiniAuthority(Authority):
    """The embedded small server (``mini_authority``)."""

    kind = "embedded"
    before: Sequence[bytes] = ()
    """Records to insert before the authority section of every answer, from the next change on."""

    def _apply(self, rcode: str | None) -> None:
        ServerConfig(
            addresses=self.addresses,
            zones=tuple((z.name, str(z.write(self._zone_file(z)))) for z in self._zones),
            nsid=self.nsid,
            rcode=rcode,
            before=b"".join(self.before).hex(),
            before_count=len(self.before),
        ).write(self.work / "config.json")
        if self._program and self.running:
            self._program.thaw()
            self._program.signal(signal.SIGHUP)
        else:
            path = str(self.work / "config.json")
            self._program = self._start([PYTHON, "-m", "steering.lab.servers.mini_authority", path])
        self._await_in_force(rcode)


class Nsd(Authority):
    """NSD, in the foreground, without its control channel, one server process."""

    kind = "nsd"
    limit = 0
    """Answers per second to one source, above which it is silent (rate limit); 0: no limit."""
    _configuration = ""

    def _apply(self, rcode: str | None) -> None:
        for zone in self._zones:
            self._await_new_mtime(zone)
            zone.write(self._zone_file(zone))
        configuration = self._configured(rcode)
        if self._program and self.running and configuration == self._configuration:
            self._program.thaw()
            self._program.signal(signal.SIGHUP)
        else:
            self.stop()
            path = self.work / "nsd.conf"
            path.write_text(configuration)
            self._configuration = configuration
            self._program = self._start(["nsd", "-d", "-c", str(path)])
        self._await_in_force(rcode)

    def _await_new_mtime(self, zone: SignedZone) -> None:
        """NSD reads a zone file again only if its modification time differs."""
        path = self._zone_file(zone)
        if path.exists():
            poll(lambda: time.time() > path.stat().st_mtime + 0.005, timeout=1.0, every=0.001)

    def _configured(self, rcode: str | None) -> str:
        """The configuration. For REFUSED it has no zone, for SERVFAIL the zone file is missing."""
        server = [
            "server:",
            "  server-count: 1",
            *(f"  ip-address: {address}" for address in self.addresses),
            "  port: 53",
            f'  nsid: "ascii_{self.nsid}"',
            '  username: ""',
            '  chroot: ""',
            f'  zonesdir: "{self.work}"',
            f'  pidfile: "{self.work}/nsd.pid"',
            f'  xfrdfile: "{self.work}/xfrd.state"',
            f'  xfrdir: "{self.work}"',
            f'  zonelistfile: "{self.work}/zone.list"',
            '  database: ""',
            "  zonefiles-check: yes",
            "  zonefiles-write: 0",
            f"  rrl-ratelimit: {self.limit}",
            "  rrl-slip: 0",
            "  tcp-count: 200",
            "  minimal-responses: yes",
            "  hide-version: yes",
            "  verbosity: 2",
            "remote-control:",
            "  control-enable: no",
        ]
        zones = [] if rcode == "REFUSED" else self._zones
        for zone in zones:
            file = self.work / "missing" if rcode else self._zone_file(zone)
            server += ["zone:", f'  name: "{zone.name}"', f'  zonefile: "{file}"']
        return "\n".join(server) + "\n"


def authority(
    world: Topology, namespace: str, *, addresses: Sequence[str] | None = None, nsid: str
) -> Authority:
    """NSD if it is installed, else the embedded server."""
    kind = Nsd if find("nsd") else MiniAuthority
    return kind(world, namespace, addresses=addresses, nsid=nsid)
