"""What the labs of copies share: the real root behind two paths, a site's own distributor, and the
resolvers that have their copies from it.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from steering.lab.network.topology import EDGE, Topology
from steering.lab.servers import rootzone
from steering.lab.servers.copies import PROGRAMS, Copying
from steering.lab.servers.file_servers import FileServer, Knot, Nsd
from steering.lab.servers.rootzone import Root
from steering.lab.servers.zone import Keys
from steering.model import WallTime

SERVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "a.": ("198.41.0.4", "2001:503:ba3e::2:30"),
    "b.": ("170.247.170.2", "2801:1b8:10::b"),
}
DISTRIBUTOR: Final = "10.53.0.9"
RESOLVERS: Final = tuple(f"10.53.0.{number}" for number in range(1, 9))
"""Addresses of the edge host for resolvers."""

C = TypeVar("C", bound=Copying)


@dataclass(slots=True)
class RootCopies:
    """The scene. `root` is the newest version that was made, by `make`."""

    world: Topology
    root: Root
    keys: Keys
    reals: list[FileServer] = field(default_factory=list)
    distributor: FileServer = field(init=False)
    resolvers: list[Copying] = field(default_factory=list)

    def make(self, **changes: object) -> str:
        """The text of the next version, signed now unless told otherwise."""
        since = {"inception": time.time() - 3600}
        self.root = self.root.after(**{**since, **changes})
        return self.file.read_text()

    @property
    def file(self) -> Path:
        """The file of the newest version."""
        path = self.world.work / "zones" / f"{self.root.serial}.zone"
        return path if path.exists() else rootzone.sign(self.root, self.keys, path.parent)

    def publish(self, zone: str) -> None:
        """Have the real servers serve the newest version, this text, on both paths."""
        for real in self.reals:
            real.give(zone)
        for real in self.reals:
            real.await_serial(self.root.serial)

    def resolver(self, kind: type[C], **settings: Any) -> C:  # noqa: ANN401
        """One more resolver with a copy from the distributor, not started yet."""
        address = RESOLVERS[len(self.resolvers)]
        source = settings.pop("source", DISTRIBUTOR)
        made = kind(self.world, address, root=self.root, keys=self.keys, source=source)
        for name, value in settings.items():
            setattr(made, name, value)
        self.resolvers.append(made)
        return made

    def silence_the_real_servers(self) -> None:
        """So that what is answered comes from a copy or a cache."""
        for real in self.reals:
            real.silence()


@contextmanager
def root_copies(**first: Any) -> Iterator[RootCopies]:  # noqa: ANN401
    """The scene with its first version served by the real servers and the distributor."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    lacks = [f"{p} (package {d})" for p, d in PROGRAMS.items() if not shutil.which(p, path=path)]
    if lacks := [*Topology.missing(), *lacks]:
        pytest.skip("; ".join(lacks))
    addresses = [address for both in SERVERS.values() for address in both]
    with Topology(addresses=addresses, sites=("pao",)) as world:
        world.ip_batch(EDGE, [f"addr add {a}/32 dev lo" for a in (*RESOLVERS, DISTRIBUTOR)])
        root = Root(serial=2_023_092_100, servers=SERVERS, **first)
        scene = RootCopies(world, root, Keys.fresh())
        scene.reals = [Nsd(world, p.auth, world.addresses) for p in world.paths.values()]
        scene.distributor = Knot(world, EDGE, [DISTRIBUTOR])
        zone = scene.file.read_text()
        scene.publish(zone)
        scene.distributor.give_and_wait(zone, root.serial)
        yield scene


def word(answer: dns.message.Message | None) -> str:
    """An answer in a word: its rcode, and `+AD`, `+EXPIRED` where that is so."""
    if answer is None:
        return "silence"
    flags = "+AD" if answer.flags & 0x20 else ""
    dates = expires(answer)
    late = "+EXPIRED" if dates is not None and dates < time.time() else ""
    return dns.rcode.to_text(answer.rcode()) + flags + late


def expires(answer: dns.message.Message) -> WallTime | None:
    """When the first of its signatures ends."""
    ends = [
        float(signature.expiration)
        for rrset in (*answer.answer, *answer.authority)
        if rrset.rdtype == dns.rdatatype.RRSIG
        for signature in rrset
    ]
    return min(ends, default=None)


def serial(answer: dns.message.Message | None) -> int | None:
    """Of the SOA in the answer section."""
    for rrset in answer.answer if answer else ():
        if rrset.rdtype == dns.rdatatype.SOA:
            return int(rrset[0].serial)
    return None


def without_digest_match(zone: str) -> str:
    """The zone with one octet of an unsigned record changed: all signatures hold, ZONEMD not."""
    return re.sub(r"198\.51\.100\.4\n", "198.51.100.5\n", zone, count=1)
