"""What the resolvers of this host send from: what the configuration says, else what is seen.

The kernel lists the sockets of this network namespace. One that is connected to port 53 of a
watched address, and belongs to a user who also answers on port 53 here, is a resolver's, and shows
a source; unless it is the one that the kernel would choose anyway, which a detour changes with the
route, so that our own questions fare alike. Seen in several looks, over longer than a person's
`dig` lives, it is in use. What sends from other network namespaces (pods, containers), or connects
no socket, is not seen: the configuration tells.
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
"""Between two looks: a socket is there for as long as an answer takes."""
_PART: Final = 200
"""A look may take so small a part of the time: where the list is long it is looked at less often.
"""
LOOKS: Final = 4
LASTING: Final[Seconds] = 30.0
"""Seen so often, over so long, each time by another socket, a source is in use: one socket may be
left from before a detour changed what the kernel chooses."""
FORGOTTEN: Final[Seconds] = 86_400.0
"""Not seen for so long, it is in use no more. One that is bound to what the kernel would choose
anyway is seen on a detour alone, and must not be tried anew every few minutes."""
MOST: Final = 16
"""Sources that are kept an eye on, of a family: more say that somebody makes them up."""

PASSING: Final[Seconds] = 60.0
"""The same where it was not seen for long enough to be one."""
SETTLED: Final[Seconds] = 10.0
"""So long after the kernel chooses another source, sockets to an address are of before."""
AT_ONCE: Final = 1024
"""Sockets that are looked at, at the most."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""These say nothing of a source."""
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
_TABLES: Final = ("udp", "tcp", "udp6", "tcp6")
_TALKS: Final = re.compile(
    rb"^ *\d+: ([0-9A-F]+):[0-9A-F]{4} ([0-9A-F]+):0035 \S+ \S+ \S+ \S+ +(\d+) +\d+ (\d+)",
    re.MULTILINE,
)
_SERVES: Final = re.compile(
    rb"^ *\d+: [0-9A-F]+:0035 0+:0000 \S+ \S+ \S+ \S+ +(\d+) ", re.MULTILINE
)
_ROOM: Final = 1 << 20
"""Octets of a list of sockets that are looked through: some thousands of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A socket of somebody's that talks to a nameserver."""

    family: Family
    source: str
    to: str
    user: int
    inode: int


@dataclass(slots=True)
class _Habit:
    """How a source was seen."""

    first: Instant
    last: Instant
    looks: int = 0
    inodes: frozenset[int] = frozenset()
    """Of the sockets that were there at the last look."""


class Sources:
    """The sources in use, by family. One that this host does not have is in use by nobody."""

    def __init__(
        self,
        said: Mapping[Family, tuple[Source, ...]],
        addresses: Collection[str],
        *,
        pins: Mapping[str, ProbePin] | None = None,
        was: Sources | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        """`said` by the configuration; `addresses` are those watched; `pins` what sites are asked
        with; what `was` has seen is known at once; `proc` is procfs.
        """
        self._pins = dict(pins or {})
        self._said, self._addresses, self._proc = dict(said), frozenset(addresses), proc
        self.habits: dict[tuple[Family, str, int], _Habit] = dict(was.habits) if was else {}
        """(family, address, user)."""
        self._choices: dict[str, tuple[str | None, Instant]] = {}
        """Watched address -> the source that the kernel chooses for it, and since when."""
        self._left: frozenset[int] = frozenset()
        """Inodes of sockets that are left from before the kernel's choice changed."""
        self._lacking: Mapping[Source, str] = {}
        self._in_use: Mapping[Family, tuple[Source | None, ...]] = {}
        self._settle()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            began = time.thread_time()
            self.look(time.monotonic())
            await asyncio.sleep(max(EVERY, _PART * (time.thread_time() - began)))

    def look(self, now: Instant) -> None:
        """See what is so now. Where our own sockets can't be told, nothing is found."""
        try:
            ours = self._own_inodes()
        except OSError:  # no descriptor is to be had
            self._settle()
            return
        known: defaultdict[tuple[Family, str, int], set[int]] = defaultdict(set)
        choices: dict[str, tuple[str | None, Instant]] = {}
        left: set[int] = set()
        for seen in islice(sockets(self._proc, self._addresses), AT_ONCE):
            if seen.to not in choices:
                choices[seen.to] = self._choice(seen.to, now)
            choice, since = choices[seen.to]
            if seen.source == choice or seen.inode in ours:
                continue
            if choice is None or seen.inode in self._left or now - since < SETTLED:
                left.add(seen.inode)
            else:
                known[seen.family, seen.source, seen.user].add(seen.inode)
        self._left = frozenset(left)
        self._choices |= choices
        for key, inodes in known.items():
            if key not in self.habits and len(self.habits) >= MOST * len(Family):
                continue
            habit = self.habits.setdefault(key, _Habit(now, now))
            if not inodes <= habit.inodes:
                habit.looks, habit.last = habit.looks + 1, now
            habit.inodes = frozenset(inodes)
        self.habits = {key: habit for key, habit in self.habits.items() if _holds(habit, now)}
        self._settle()

    def _choice(self, to: str, now: Instant) -> tuple[str | None, Instant]:
        """What the kernel chooses for this address, and since when, as far as was looked."""
        choice, known = chosen(to), self._choices.get(to)
        return known if known is not None and known[0] == choice else (choice, now)

    def in_use(self, family: Family) -> tuple[Source | None, ...]:
        """What to ask from in turns; None, or nothing at all: what the kernel chooses."""
        return self._in_use.get(family, ())

    @property
    def named(self) -> Mapping[Family, tuple[str, ...]]:
        """The same as facts."""
        return {
            family: tuple("" if source is None else str(source) for source in each)
            for family, each in self._in_use.items()
            if each
        }

    @property
    def addresses(self) -> frozenset[str]:
        """The addresses that are sent from; an empty one stands for what the kernel chooses."""
        each = (source for sources in self._in_use.values() for source in sources)
        return frozenset("" if source is None else source.address for source in each)

    @property
    def trouble(self) -> str:
        """What of the configuration is not so on this host; empty: nothing."""
        told = [f"{source}: {why}" for source, why in self._lacking.items()]
        for family in Family:
            for site, pin in self._pins.items():
                own = pin.source(family)
                sources = self._said.get(family) or self._found(family)
                others = [str(source) for source in sources if source.address != own]
                if own is not None and others:
                    told.append(unpinned(site, own, others))
        for family in self._said:
            told += [
                f"{address}: sockets of user {user} talk to watched addresses from it, and it is"
                " not among them"
                for (of, address, user), habit in self.habits.items()
                if of is family and _lasts(habit) and not self._says(family, address)
            ]
        return f"resolver_sources: {'; '.join(told)}" if told else ""

    def _says(self, family: Family, address: str) -> bool:
        return any(source.address == address for source in self._said.get(family, ()))

    def _settle(self) -> None:
        lacking: dict[Source, str] = {}
        in_use: dict[Family, tuple[Source | None, ...]] = {}
        for family in Family:
            wanted = self._said.get(family)
            if wanted is None:
                found = [source for source in self._found(family) if not lacks(source)]
                if any(pin.source(family) for pin in self._pins.values()):
                    found = []  # no question from it could take that path: told, not minded
                in_use[family] = (None, *found) if found else ()
                continue
            why = {source: lacks(source) for source in wanted}
            lacking.update({source: said for source, said in why.items() if said})
            in_use[family] = tuple(source for source in wanted if not why[source])
        self._lacking, self._in_use = lacking, in_use

    def _found(self, family: Family) -> list[Source]:
        """Those seen for long enough."""
        seen = {key[1] for key, habit in self.habits.items() if key[0] is family and _lasts(habit)}
        return [Source(address=address) for address in sorted(seen)[:MOST]]

    def _own_inodes(self) -> frozenset[int]:
        """Of the sockets of this very process, which asks as a resolver does. Raises OSError."""
        found = set()
        for descriptor in (self._proc / "self" / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile: the list itself is among them
                if named := _SOCKET.fullmatch(str(descriptor.readlink())):
                    found.add(int(named[1]))
        return frozenset(found)


def unpinned(site: str, own: str, others: Collection[str]) -> str:
    """That a pin by source address shows nothing of packets from other sources."""
    return (
        f"{site} is asked from {own} alone (pins), which shows nothing of the packets from"
        f" {', '.join(others)}: wanted a dscp that the routers go by, or the marks"
    )


def _lasts(habit: _Habit) -> bool:
    return habit.looks >= LOOKS and habit.last - habit.first >= LASTING


def _holds(habit: _Habit, now: Instant) -> bool:
    return now - habit.last <= (FORGOTTEN if _lasts(habit) else PASSING)


def sockets(proc: Path, addresses: Collection[str]) -> Iterator[Seen]:
    """The sockets of resolvers here that are connected to port 53 of these addresses."""
    tables = {name: _read(proc / "net" / name) for name in _TABLES}
    serving = {int(user) for table in tables.values() for user in _SERVES.findall(table)}
    for table in tables.values():
        for source, to, user, inode in _TALKS.findall(table):
            # One that is closed and lingers (TIME_WAIT) has no inode, and is the kernel's own.
            if int(inode) and int(user) in serving and (there := _address(to)) in addresses:
                yield Seen(
                    family=Family.of(there),  # IPv4 may travel by a socket of IPv6
                    source=_address(source),
                    to=there,
                    user=int(user),
                    inode=int(inode),
                )


def _read(table: Path) -> bytes:
    try:
        with table.open("rb") as file:
            return file.read(_ROOM)
    except OSError:
        return b""  # no such family, or not for us to see


def _address(octets: bytes) -> str:
    """An address as procfs writes it: words of 32 bits, each in this host's order."""
    words = bytes.fromhex(octets.decode("ascii"))
    if sys.byteorder == "little":
        words = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
    if len(words) == 4:
        return str(IPv4Address(words))
    found = IPv6Address(words)
    return str(found.ipv4_mapped or found)


def chosen(address: str) -> str | None:
    """The source that the kernel chooses for a packet to this address; None: that can't be told."""
    try:
        with _datagrams(Family.of(address)) as sock:
            sock.connect((address, 53))
            return str(sock.getsockname()[0])
    except OSError:
        return None


def lacks(source: Source) -> str:
    """Why nothing can be sent from this source on this host now; empty: it can, or nobody knows."""
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
