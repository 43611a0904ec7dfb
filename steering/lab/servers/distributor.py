"""NSD, serving one zone from a file, with transfers for everybody.

As the real root behind each path, and as a site's own distributor: the server from which the
resolvers of a site have their copies. A file that it can't read it does not take, and goes on
serving what it had: the resolvers see nothing of it (4 October 2023).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Final

import dns.message

from steering.lab.network.sandbox import LabError, Program
from steering.lab.network.topology import Topology
from steering.lab.waiting import poll
from steering.model import Family, Seconds

_LIMIT: Seconds = 20.0
EVERYBODY: Final = (" provide-xfr: 0.0.0.0/0 NOKEY", " provide-xfr: ::/0 NOKEY")


class Distributor:
    """One NSD at some addresses of a namespace."""

    def __init__(self, world: Topology, namespace: str, addresses: Sequence[str]) -> None:
        self.world, self.namespace, self.addresses = world, namespace, tuple(addresses)
        self.work = world.work / f"distributor-{namespace}-{self.addresses[0].replace(':', '.')}"
        self.work.mkdir(exist_ok=True)
        self.file = self.work / "root.zone"
        self._program: Program | None = None

    def give(self, zone: str) -> None:
        """Have it read this text of the zone; it starts with the first.

        Whether it took it has to be seen: `serial`.
        """
        before = self.file.stat().st_mtime_ns if self.file.exists() else 0
        draft = self.work / "draft"
        draft.write_text(zone)
        # It reads a file again only if its modification time differs.
        poll(lambda: time.time_ns() > before + 5_000_000, timeout=1.0, every=0.001)
        draft.touch()
        draft.replace(self.file)
        if self._program is None:
            self._start()
        else:
            self._program.signal(signal.SIGHUP)

    def give_and_wait(self, zone: str, serial: int) -> None:
        """Have it serve this text. Raises LabError if it does not take it."""
        self.give(zone)
        self.await_serial(serial)

    def await_serial(self, serial: int) -> None:
        """Until it serves this serial. Raises LabError if it does not."""
        if not poll(lambda: self.serial() == serial, timeout=_LIMIT, every=0.02):
            raise LabError(f"{self.work.name}: {self.serial()}, wanted {serial}{self.tail()}")

    def serial(self, timeout: Seconds = 1.0) -> int | None:
        """Of its SOA; None if it does not answer well."""
        address = self.addresses[0]
        with self.world.socket(self.namespace, Family.of(address)) as udp:
            udp.settimeout(timeout)
            try:
                udp.connect((address, 53))
                udp.send(dns.message.make_query(".", "SOA").to_wire())
                answer = dns.message.from_wire(udp.recv(65_535))
            except OSError:
                return None
        return answer.answer[0][0].serial if answer.answer else None

    def tail(self) -> str:
        return self._program.tail() if self._program else ""

    def silence(self) -> None:
        """Have it answer nothing (SIGSTOP) until `speak`."""
        if self._program:
            self._program.freeze()

    def speak(self) -> None:
        if self._program:
            self._program.thaw()

    def stop(self) -> None:
        if self._program:
            self._program.stop()
            self._program = None

    def _start(self) -> None:
        lines = [
            "server:\n server-count: 1\n port: 53",
            *(f" ip-address: {address}" for address in self.addresses),
            f' username: ""\n chroot: ""\n zonesdir: "{self.work}"\n database: ""',
            f' pidfile: "{self.work}/pid"\n xfrdfile: "{self.work}/xfrd"\n xfrdir: "{self.work}"',
            f' zonelistfile: "{self.work}/list"\n verbosity: 2\n rrl-ratelimit: 0',
            " zonefiles-check: yes\n zonefiles-write: 0\n tcp-count: 200",
            f'remote-control:\n control-enable: no\nzone:\n name: "."\n zonefile: "{self.file}"',
            *EVERYBODY,
        ]
        path = self.work / "nsd.conf"
        path.write_text("\n".join(lines) + "\n")
        self._program = self.world.start(
            self.namespace, ["nsd", "-d", "-c", str(path)], log=self.work / "log"
        )
