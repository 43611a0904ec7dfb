"""Authoritative servers of the lab's root zone, each with one file and transfers for everybody.

`Nsd` is the real root behind each path. `Knot` is a site's own distributor, from which its
resolvers have their copies: a file that it can't read it does not take, and it goes on serving
what it had, with good answers to whoever asks for the serial (4 October 2023). NSD answers
SERVFAIL then.
"""

from __future__ import annotations

import abc
import signal
import time
from collections.abc import Sequence
from typing import ClassVar

import dns.message

from steering.lab.network.sandbox import LabError, Program
from steering.lab.network.topology import Topology
from steering.lab.waiting import poll
from steering.model import Family, Seconds

_LIMIT: Seconds = 20.0


class FileServer(abc.ABC):
    """One server at some addresses of a namespace."""

    kind: ClassVar[str]

    def __init__(self, world: Topology, namespace: str, addresses: Sequence[str]) -> None:
        self.world, self.namespace, self.addresses = world, namespace, tuple(addresses)
        self.work = world.work / f"{self.kind}-{namespace}-{self.addresses[0].replace(':', '.')}"
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
        # It reads a file again only if its modification time differs; Knot DNS looks at seconds.
        poll(lambda: time.time_ns() > before + 5_000_000, timeout=1.0, every=0.001)
        draft.touch()
        draft.replace(self.file)
        if self._program is None:
            self._program = self.world.start(self.namespace, self._argv(), log=self.work / "log")
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

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        return self._program.tail(lines) if self._program else ""

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

    @abc.abstractmethod
    def _argv(self) -> list[str]: ...

    def _configured(self, *parts: str) -> str:
        path = self.work / "conf"
        path.write_text("".join(f"{part}\n" for part in parts))
        return str(path)


class Nsd(FileServer):
    """NSD."""

    kind = "nsd"

    def _argv(self) -> list[str]:
        conf = self._configured(
            "server:\n server-count: 1\n port: 53",
            *(f" ip-address: {address}" for address in self.addresses),
            f' username: ""\n chroot: ""\n zonesdir: "{self.work}"\n database: ""',
            f' pidfile: "{self.work}/pid"\n xfrdfile: "{self.work}/xfrd"\n xfrdir: "{self.work}"',
            f' zonelistfile: "{self.work}/list"\n verbosity: 2\n rrl-ratelimit: 0',
            " zonefiles-check: yes\n zonefiles-write: 0\n tcp-count: 200",
            f'remote-control:\n control-enable: no\nzone:\n name: "."\n zonefile: "{self.file}"',
            " provide-xfr: 0.0.0.0/0 NOKEY\n provide-xfr: ::/0 NOKEY",
        )
        return ["nsd", "-d", "-c", conf]


class Knot(FileServer):
    """Knot DNS."""

    kind = "knot"

    def _argv(self) -> list[str]:
        conf = self._configured(
            f'server:\n rundir: "{self.work}"\n udp-workers: 1\n tcp-workers: 1',
            *(f" listen: {address}@53" for address in self.addresses),
            f'database:\n storage: "{self.work}"\nlog:\n - target: stderr\n   any: info',
            "acl:\n - id: everybody\n   address: [0.0.0.0/0, ::/0]\n   action: transfer",
            f'zone:\n - domain: "."\n   file: "{self.file}"\n   acl: everybody',
            "   zonefile-sync: -1\n   zonefile-load: whole\n   journal-content: none",
        )
        return ["knotd", "-c", conf]
