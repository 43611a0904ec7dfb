"""The addresses that resolvers on this host send from: as configured, or else as found.

The kernel lists the sockets of this network namespace. A socket belongs to a resolver if it is
connected to port 53 of a watched address and its user also serves port 53 here. Its local address
is a source, unless it is the one that the kernel chooses anyway: that one changes with the route of
a detour, and probes use it too. A source is in use if it was seen several times, over longer than
an operator's `dig` runs. Programs in other network namespaces (pods, containers), and sockets that
are not connected, are not found: configure their sources.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from pathlib import Path
from typing import Final

from steering.model import Family, Instant, Seconds, Source
from steering.observe.query import ProbePin

EVERY: Final[Seconds] = 1.0
"""Seconds between two readings of the list: a socket exists for as long as an answer takes."""
_TIME_FACTOR: Final = 200
"""A reading may take at most this fraction of the time: a long list is read less often."""
LOOKS: Final = 4
LASTING: Final[Seconds] = 30.0
"""A source is in use after so many readings over so long, each time with a new socket: a single
socket may be left from before a detour changed the kernel's choice."""
FORGOTTEN: Final[Seconds] = 86_400.0
"""A source that was not seen for so long is no longer in use. One that equals the kernel's choice
is seen only during a detour, and must not be confirmed again every few minutes."""
MOST: Final = 16
"""Sources that are tracked per family: more of them are probably made up."""

PASSING: Final[Seconds] = 60.0
"""The same for a source that is not confirmed yet."""
SETTLED: Final[Seconds] = 10.0
"""For so long after the kernel's choice has changed, sockets to an address may be older ones."""
AT_ONCE: Final = 1024
"""The most sockets that one reading uses."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""These errors show nothing about a source."""
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
_TABLES: Final = ("udp", "tcp", "udp6", "tcp6")
_CONNECTED: Final = re.compile(
    rb"^ *\d+: ([0-9A-F]+):[0-9A-F]{4} ([0-9A-F]+):0035 \S+ \S+ \S+ \S+ +(\d+) +\d+ (\d+)",
    re.MULTILINE,
)
_SERVING: Final = re.compile(
    rb"^ *\d+: [0-9A-F]+:0035 0+:0000 \S+ \S+ \S+ \S+ +(\d+) ", re.MULTILINE
)
_LARGEST: Final = 1 << 20
"""Octets of a list of sockets that are read: some thousands of sockets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverSocket:
    """A resolver's socket that is connected to a nameserver."""

    family: Family
    source: str
    to: str
    user: int
    inode: int


@dataclass(slots=True)
class _Record:
    """When and how often a source was seen."""

    first: Instant
    last: Instant
    looks: int = 0
    inodes: frozenset[int] = frozenset()
    """Of the sockets at the last reading."""


class Sources:
    """The sources in use, by family; without those that this host does not have."""

    def __init__(
        self,
        configured: Mapping[Family, tuple[Source, ...]],
        addresses: Collection[str],
        *,
        pins: Mapping[str, ProbePin] | None = None,
        was: Sources | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        """`configured` are the sources of the configuration, `addresses` the watched addresses.
        `pins` are the sites' probe pins. Records of `was` are taken over. `proc` is procfs.
        """
        self._pins = dict(pins or {})
        self._configured, self._addresses, self._proc = dict(configured), frozenset(addresses), proc
        self.records: dict[tuple[Family, str, int], _Record] = dict(was.records) if was else {}
        """(family, address, user)."""
        self._choices: dict[str, tuple[str | None, Instant]] = {}
        """Watched address -> the source that the kernel chooses for it, and since when."""
        self._old_sockets: frozenset[int] = frozenset()
        """Inodes of sockets from before the kernel's choice changed."""
        self._missing: Mapping[Source, str] = {}
        self._in_use: Mapping[Family, tuple[Source | None, ...]] = {}
        self._update()

    async def run(self) -> None:
        """Read the list repeatedly until cancelled."""
        while True:
            began = time.thread_time()
            self.look(time.monotonic())
            await asyncio.sleep(max(EVERY, _TIME_FACTOR * (time.thread_time() - began)))

    def look(self, now: Instant) -> None:
        """Read the list of sockets. Nothing is found if this process's own sockets are unknown."""
        try:
            ours = self._own_inodes()
        except OSError:  # no descriptor is left
            self._update()
            return
        known: defaultdict[tuple[Family, str, int], set[int]] = defaultdict(set)
        choices: dict[str, tuple[str | None, Instant]] = {}
        old_sockets: set[int] = set()
        for seen in islice(sockets(self._proc, self._addresses), AT_ONCE):
            if seen.to not in choices:
                choices[seen.to] = self._choice(seen.to, now)
            choice, since = choices[seen.to]
            if seen.source == choice or seen.inode in ours:
                continue
            if choice is None or seen.inode in self._old_sockets or now - since < SETTLED:
                old_sockets.add(seen.inode)
            else:
                known[seen.family, seen.source, seen.user].add(seen.inode)
        self._old_sockets = frozenset(old_sockets)
        self._choices |= choices
        for key, inodes in known.items():
            if key not in self.records and len(self.records) >= MOST * len(Family):
                continue
            record = self.records.setdefault(key, _Record(now, now))
            if not inodes <= record.inodes:
                record.looks, record.last = record.looks + 1, now
            record.inodes = frozenset(inodes)
        self.records = {
            key: record for key, record in self.records.items() if _is_kept(record, now)
        }
        self._update()

    def _choice(self, to: str, now: Instant) -> tuple[str | None, Instant]:
        """The source that the kernel chooses for this address, and since when it was seen."""
        choice, known = kernel_source(to), self._choices.get(to)
        return known if known is not None and known[0] == choice else (choice, now)

    def in_use(self, family: Family) -> tuple[Source | None, ...]:
        """The sources to ask from in turn; None, or no source: the one that the kernel chooses."""
        return self._in_use.get(family, ())

    @property
    def named(self) -> Mapping[Family, tuple[str, ...]]:
        """The same by name, for the facts of a turn."""
        return {
            family: tuple("" if source is None else str(source) for source in each)
            for family, each in self._in_use.items()
            if each
        }

    @property
    def addresses(self) -> frozenset[str]:
        """The addresses of the sources; "" stands for the one that the kernel chooses."""
        each = (source for sources in self._in_use.values() for source in sources)
        return frozenset("" if source is None else source.address for source in each)

    @property
    def trouble(self) -> str:
        """How the configuration differs from this host; empty if it does not."""
        texts = [f"{source}: {why}" for source, why in self._missing.items()]
        for family in Family:
            for site, pin in self._pins.items():
                own = pin.source(family)
                sources = self._configured.get(family) or self._found(family)
                others = [str(source) for source in sources if source.address != own]
                if own is not None and others:
                    texts.append(unpinned(site, own, others))
        for family in self._configured:
            texts += [
                f"{address}: user {user} sends to watched addresses from it, and it is not in the"
                " list"
                for (of, address, user), record in self.records.items()
                if of is family
                and _is_confirmed(record)
                and not self._is_configured(family, address)
            ]
        return f"resolver_sources: {'; '.join(texts)}" if texts else ""

    def _is_configured(self, family: Family, address: str) -> bool:
        return any(source.address == address for source in self._configured.get(family, ()))

    def _update(self) -> None:
        missing: dict[Source, str] = {}
        in_use: dict[Family, tuple[Source | None, ...]] = {}
        for family in Family:
            wanted = self._configured.get(family)
            if wanted is None:
                found = [source for source in self._found(family) if not lacks(source)]
                if any(pin.source(family) for pin in self._pins.values()):
                    found = []  # no question from it could take that path: reported, but not used
                in_use[family] = (None, *found) if found else ()
                continue
            why = {source: lacks(source) for source in wanted}
            missing.update({source: configured for source, configured in why.items() if configured})
            in_use[family] = tuple(source for source in wanted if not why[source])
        self._missing, self._in_use = missing, in_use

    def _found(self, family: Family) -> list[Source]:
        """The confirmed sources."""
        seen = {
            key[1]
            for key, record in self.records.items()
            if key[0] is family and _is_confirmed(record)
        }
        return [Source(address=address) for address in sorted(seen)[:MOST]]

    def _own_inodes(self) -> frozenset[int]:
        """Of this process's own sockets: its probes look like a resolver's. Raises OSError."""
        found = set()
        for descriptor in (self._proc / "self" / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile, as the directory's own descriptor
                if named := _SOCKET.fullmatch(str(descriptor.readlink())):
                    found.add(int(named[1]))
        return frozenset(found)


def unpinned(site: str, own: str, others: Collection[str]) -> str:
    """The text that a pin by source address does not test packets from other sources."""
    return (
        f"{site} is asked from {own} alone (pins), so packets from {', '.join(others)} are not"
        " tested: use a dscp pin that the routers follow, or marks"
    )


def _is_confirmed(record: _Record) -> bool:
    return record.looks >= LOOKS and record.last - record.first >= LASTING


def _is_kept(record: _Record, now: Instant) -> bool:
    return now - record.last <= (FORGOTTEN if _is_confirmed(record) else PASSING)


def sockets(proc: Path, addresses: Collection[str]) -> Iterator[ResolverSocket]:
    """The sockets of resolvers on this host that are connected to port 53 of these addresses."""
    tables = {name: _read(proc / "net" / name) for name in _TABLES}
    serving = {int(user) for table in tables.values() for user in _SERVING.findall(table)}
    for table in tables.values():
        for source, to, user, inode in _CONNECTED.findall(table):
            # A closed socket in TIME_WAIT has no inode and belongs to the kernel.
            if int(inode) and int(user) in serving and (there := _address(to)) in addresses:
                yield ResolverSocket(
                    family=Family.of(there),  # an IPv6 socket may send IPv4
                    source=_address(source),
                    to=there,
                    user=int(user),
                    inode=int(inode),
                )


def _read(table: Path) -> bytes:
    try:
        with table.open("rb") as file:
            return file.read(_LARGEST)
    except OSError:
        return b""  # no such family, or no permission


def _address(octets: bytes) -> str:
    """An address in the form of procfs: words of 32 bits, each in this host's byte order."""
    words = bytes.fromhex(octets.decode("ascii"))
    if sys.byteorder == "little":
        words = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
    if len(words) == 4:
        return str(IPv4Address(words))
    found = IPv6Address(words)
    return str(found.ipv4_mapped or found)


def kernel_source(address: str) -> str | None:
    """The source that the kernel chooses for a packet to this address; None if not known."""
    try:
        with _datagrams(Family.of(address)) as sock:
            sock.connect((address, 53))
            return str(sock.getsockname()[0])
    except OSError:
        return None


def lacks(source: Source) -> str:
    """Why nothing can be sent from this source now; empty if it can, or if that is not known."""
    try:
        with _datagrams(source.family) as sock:
            ProbePin().sent_from(source).put_on(sock)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return "this host has no such address now"
        if error.errno == errno.ENODEV:
            return f"this host has no interface {source.interface} now"
        return "" if error.errno in _EXHAUSTED else str(error.strerror)
    return ""


def _datagrams(family: Family) -> socket.socket:
    four = family is Family.IPV4
    return socket.socket(socket.AF_INET if four else socket.AF_INET6, socket.SOCK_DGRAM)
