"""Who sends questions through this host: pods, containers, hosts behind it.

Our own questions leave from this host, and say nothing of packets that it only forwards: where it
translates them on one link alone, they leave by another as they came, and no answer finds its way
back. Where addresses are translated the kernel keeps an entry for each connection, and shows who
asks, as whom that leaves, and whether anything came back.

Seen in several looks, over longer than a person's `dig` lives, a source is in use; sooner where it
was there when this agent began, or asks much over a detour. What became of its questions is told
once for each, some seconds after it was asked, with the path that it took.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Protocol

from steering.model import LOCAL, Family, Forwarded, Instant, Passed, Seconds
from steering.observe.traffic.resolver_sources import FORGOTTEN, LASTING, LOOKS, MOST, PASSING

Network = IPv4Network | IPv6Network

EVERY: Final[Seconds] = 1.0
"""Between two looks."""
WAITS: Final[Seconds] = 3.0
"""A question is looked at in the one look that finds it so old, rounded up: answers come sooner.
A port that is used again and again may never be so old, and shows who asks before."""
_PART, _PART_AWAY = 200, 20
"""Looking may take so small a part of the time, in calm times and while somebody is steered: the
kernel's table is long, and is looked at less often then."""
AT_THE_START: Final[Seconds] = 5.0
"""What is seen so soon was there before this agent was."""
MUCH: Final = 8
"""So many questions over a detour make a source, however short the time."""


class TrackedConnection(Protocol):
    """One connection by UDP to a nameserver, as the kernel has it (`act.conntrack.Entry`)."""

    @property
    def address(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def apart(self) -> bool: ...
    @property
    def translated(self) -> str: ...
    @property
    def answered(self) -> bool: ...
    @property
    def lasting(self) -> bool: ...
    @property
    def age(self) -> Seconds | None: ...


@dataclass(slots=True)
class _Habit:
    """How a source was seen."""

    first: Instant
    last: Instant
    looks: int = 0
    away: int = 0
    """Questions over a detour."""
    translated: str = ""
    """What it leaves as by the local path."""


@dataclass(slots=True)
class _Way:
    """Where an address is reached, and since when."""

    path: str
    since: Instant = field(default=float("-inf"))


class Forwarding:
    """The sources that this host forwards for, and how their questions fare."""

    def __init__(
        self,
        addresses: Collection[str],
        questions: Callable[[Family, Collection[str]], Iterable[TrackedConnection]],
        *,
        carried: Sequence[Network] = (),
        was: Forwarding | None = None,
        now: Instant | None = None,
    ) -> None:
        """`addresses` are those watched; `questions` lists the connections to those of a family,
        or raises OSError. `carried` is what the configuration says that every site carries; what
        `was` has seen is known at once.
        """
        self._addresses, self._questions = tuple(addresses), questions
        self._carried = tuple(carried)
        self.begun: Instant = was.begun if was else time.monotonic() if now is None else now
        self.habits: dict[tuple[Family, str], _Habit] = dict(was.habits) if was else {}
        self.ways: dict[str, _Way] = dict(was.ways) if was else {}
        self._passed: Counter[tuple[str, str, str, bool]] = Counter()
        """(address, path, source, answered) -> questions since they were last taken."""
        self._troubles: dict[Family, str] = {}
        self._passed_over: Instant = float("-inf")
        """When a source was left out, as there are too many."""

    @property
    def trouble(self) -> str:
        """Why it can't be seen who sends through this host; empty: it can."""
        return next(filter(None, self._troubles.values()), "")

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            part = _PART_AWAY if any(way.path != LOCAL for way in self.ways.values()) else _PART
            for family in Family:
                began = time.thread_time()
                self.look(time.monotonic(), family)
                # Each at its turn: to look takes some milliseconds, in which nothing else is done.
                await asyncio.sleep(max(EVERY, part * (time.thread_time() - began)) / len(Family))

    def stand(self, installed: Mapping[str, str], now: Instant) -> None:
        """What the kernel has now: address -> site, all others are reached locally."""
        for address in self.ways.keys() | installed.keys():
            path, was = installed.get(address, LOCAL), self.ways.get(address)
            if was is None or was.path != path:
                self.ways[address] = _Way(path, now)

    def reroute(self, sites: Collection[str], now: Instant) -> None:
        """These are reached another way from now on: what was asked before went by the old one."""
        for address, way in self.ways.items():
            if way.path in sites:
                self.ways[address] = _Way(way.path, now)

    def look(self, now: Instant, family: Family) -> None:
        """See what is so now in a family."""
        seen: defaultdict[str, list[TrackedConnection]] = defaultdict(list)
        unsure: set[str] = set()
        self._troubles[family] = ""
        try:
            for entry in self._questions(family, self._addresses):
                if entry.apart:  # by now: it went and came back, or the files say so
                    self.habits.pop((family, entry.source), None)
                elif entry.age is None:
                    unsure.add(entry.source)
                elif entry.age == WAITS or (entry.lasting and entry.age < WAITS):
                    seen[entry.source].append(entry)
        except OSError as error:
            self._troubles[family] = (
                f"who sends through this host can't be seen: {error.strerror or error} (it takes"
                " CAP_NET_ADMIN and the module nf_conntrack_netlink)"
            )
        for source, entries in seen.items():
            if (habit := self._habit((family, source), now)) is not None:
                self._count(habit, entries, now, sure=source not in unsure)
            else:
                self._passed_over = now
        if now - self._passed_over < PASSING and not self._troubles[family]:
            self._troubles[family] = (
                f"more than {MOST * len(Family)} sources send through this host, or did within a"
                " day: of the others nobody knows whether a site carries them"
            )
        self.habits = {key: h for key, h in self.habits.items() if self._holds(h, now)}

    def _path(self, address: str) -> str:
        return self.ways[address].path if address in self.ways else LOCAL

    def _habit(self, key: tuple[Family, str], now: Instant) -> _Habit | None:
        if key not in self.habits and len(self.habits) >= MOST * len(Family):
            return None  # more than that are made up
        habit = self.habits.setdefault(key, _Habit(now, now))
        habit.looks, habit.last = habit.looks + 1, now
        return habit

    def _count(
        self, habit: _Habit, entries: Sequence[TrackedConnection], now: Instant, *, sure: bool
    ) -> None:
        """Note what these tell; not `sure`: nobody knows when they were asked (a flow table takes
        answers past the kernel's clock, a rule has a clock of its own).
        """
        for entry in entries:
            address, source = entry.address, entry.source
            way = self.ways.get(address)
            if way is not None and way.since > now - WAITS:
                continue  # it may have been asked over the path before this one
            path = self._path(address)
            if path == LOCAL:
                habit.translated = "" if entry.translated == source else entry.translated
            elif entry.age == WAITS:
                habit.away += 1
            # Whether anything came back of late, a port that is used again does not say.
            if sure and not entry.lasting:
                self._passed[address, path, source, entry.answered] += 1

    @property
    def in_use(self) -> Mapping[Family, tuple[Forwarded, ...]]:
        """The sources that are in use, by family; one that nobody uses is left out."""
        found: dict[Family, list[Forwarded]] = {}
        for (family, source), habit in sorted(self.habits.items()):
            if self._lasts(habit):
                found.setdefault(family, []).append(
                    Forwarded(
                        source=source,
                        translated=habit.translated,
                        carried=carried(source, self._carried),
                    )
                )
        return {family: tuple(sources) for family, sources in found.items()}

    def take(self) -> tuple[Passed, ...]:
        """What became of questions since this was last asked for."""
        counted, self._passed = self._passed, Counter()
        return tuple(
            Passed(
                address=address,
                path=path,
                source=source,
                answered=counted[address, path, source, True],
                lost=counted[address, path, source, False],
            )
            for address, path, source in sorted({key[:3] for key in counted})
        )

    def _lasts(self, habit: _Habit) -> bool:
        enough = habit.last - habit.first >= LASTING or habit.away >= MUCH
        return habit.looks >= LOOKS and (enough or habit.first - self.begun <= AT_THE_START)

    def _holds(self, habit: _Habit, now: Instant) -> bool:
        return now - habit.last <= (FORGOTTEN if self._lasts(habit) else PASSING)


def carried(source: str, networks: Iterable[Network]) -> bool:
    """Whether it is in one of these."""
    return any(ip_address(source) in network for network in networks)
