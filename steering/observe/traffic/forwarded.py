"""The sources whose questions this host forwards: pods, containers, hosts behind it.

Probes leave from this host and don't test packets that it only forwards. If it translates their
addresses (NAT) on one link only, they leave by another link untranslated, and no answer comes back.
With NAT the kernel keeps an entry for each connection, which shows the source, the translated
source, and whether anything came back.

A source is in use if it was seen in several readings, over longer than an operator's `dig` runs. It
is in use sooner if it was there when this agent began, or sends many questions over a detour. Each
question is counted once, some seconds after it was asked, with its path and whether it was
answered.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, Protocol

from steering.facts import Forwarded, Passed
from steering.model import LOCAL, Family, Instant, Seconds
from steering.observe.traffic.resolver_sources import FORGOTTEN, LASTING, LOOKS, MOST, PASSING

Network = IPv4Network | IPv6Network

EVERY: Final[Seconds] = 1.0
"""Seconds between two readings of the table."""
WAITS: Final[Seconds] = 3.0
"""A question is counted in the one reading that finds it so old, rounded up: answers come sooner.
An entry whose port is used again may never be so old; it shows its source before."""
_TIME_FACTOR, _TIME_FACTOR_STEERED = 200, 20
"""A reading may take at most this fraction of the time, normally and while an address is steered: a
long table is read less often."""
AT_THE_START: Final[Seconds] = 5.0
"""A source that is seen within this time was there before the agent started."""
MUCH: Final = 8
"""So many questions over a detour confirm a source at once."""


class TrackedConnection(Protocol):
    """One UDP connection to a nameserver in the kernel's table (`act.conntrack.Entry`)."""

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
class _Record:
    """When and how often a source was seen."""

    first: Instant
    last: Instant
    looks: int = 0
    by_detour: int = 0
    """Questions over a detour."""
    translated: str = ""
    """Its translated address on the local path."""


@dataclass(slots=True)
class _PathSince:
    """The path of an address, and since when."""

    path: str
    since: Instant = field(default=float("-inf"))


class Forwarding:
    """The sources that this host forwards for, and the results of their questions."""

    def __init__(
        self,
        addresses: Collection[str],
        questions: Callable[[Family, Collection[str]], Iterable[TrackedConnection]],
        *,
        carried: Sequence[Network] = (),
        was: Forwarding | None = None,
        now: Instant | None = None,
    ) -> None:
        """`addresses` are the watched ones; `questions` lists the connections to those of a family,
        or raises OSError. `carried` are the networks that every site carries, as configured.
        Records of `was` are taken over.
        """
        self._addresses, self._questions = tuple(addresses), questions
        self._carried = tuple(carried)
        self.begun: Instant = was.begun if was else time.monotonic() if now is None else now
        self.records: dict[tuple[Family, str], _Record] = dict(was.records) if was else {}
        self.paths: dict[str, _PathSince] = dict(was.paths) if was else {}
        self._passed: Counter[tuple[str, str, str, bool]] = Counter()
        """(address, path, source, answered) -> questions since they were last taken."""
        self._problems: dict[Family, str] = {}
        self._left_out_at: Instant = float("-inf")
        """When a source was last left out because there are too many."""

    @property
    def trouble(self) -> str:
        """Why the forwarded sources are not known; empty if they are."""
        return next(filter(None, self._problems.values()), "")

    async def run(self) -> None:
        """Read the table repeatedly until cancelled."""
        while True:
            part = (
                _TIME_FACTOR_STEERED
                if any(path_since.path != LOCAL for path_since in self.paths.values())
                else _TIME_FACTOR
            )
            for family in Family:
                began = time.thread_time()
                self.look(time.monotonic(), family)
                # One family at a time: a reading blocks everything else for some milliseconds.
                await asyncio.sleep(max(EVERY, part * (time.thread_time() - began)) / len(Family))

    def note_installed(self, installed: Mapping[str, str], now: Instant) -> None:
        """Note the installed routes: address -> site; all others use the local path."""
        for address in self.paths.keys() | installed.keys():
            path, was = installed.get(address, LOCAL), self.paths.get(address)
            if was is None or was.path != path:
                self.paths[address] = _PathSince(path, now)

    def reroute(self, sites: Collection[str], now: Instant) -> None:
        """The route to these sites has changed: earlier questions took the old one."""
        for address, path_since in self.paths.items():
            if path_since.path in sites:
                self.paths[address] = _PathSince(path_since.path, now)

    def look(self, now: Instant, family: Family) -> None:
        """Read the table for one family."""
        seen: defaultdict[str, list[TrackedConnection]] = defaultdict(list)
        age_unknown: set[str] = set()
        self._problems[family] = ""
        try:
            for entry in self._questions(family, self._addresses):
                if entry.apart:  # by now it is this host's own, or another site's by the files
                    self.records.pop((family, entry.source), None)
                elif entry.age is None:
                    age_unknown.add(entry.source)
                elif entry.age == WAITS or (entry.lasting and entry.age < WAITS):
                    seen[entry.source].append(entry)
        except OSError as error:
            self._problems[family] = (
                f"can't see which sources send through this host: {error.strerror or error} (needs"
                " CAP_NET_ADMIN and the module nf_conntrack_netlink)"
            )
        for source, entries in seen.items():
            if (record := self._record((family, source), now)) is not None:
                self._count(record, entries, now, age_known=source not in age_unknown)
            else:
                self._left_out_at = now
        if now - self._left_out_at < PASSING and not self._problems[family]:
            self._problems[family] = (
                f"more than {MOST * len(Family)} sources send through this host, or did within a"
                " day: it is not known whether a site carries the others"
            )
        self.records = {key: h for key, h in self.records.items() if self._is_kept(h, now)}

    def _path(self, address: str) -> str:
        return self.paths[address].path if address in self.paths else LOCAL

    def _record(self, key: tuple[Family, str], now: Instant) -> _Record | None:
        if key not in self.records and len(self.records) >= MOST * len(Family):
            return None  # more of them are probably made up
        record = self.records.setdefault(key, _Record(now, now))
        record.looks, record.last = record.looks + 1, now
        return record

    def _count(
        self,
        record: _Record,
        entries: Sequence[TrackedConnection],
        now: Instant,
        *,
        age_known: bool,
    ) -> None:
        """Count connections. Not `age_known`: the time of the questions is unknown, since a flow
        table does not update the kernel's timeout, and a rule may set its own.
        """
        for entry in entries:
            address, source = entry.address, entry.source
            path_since = self.paths.get(address)
            if path_since is not None and path_since.since > now - WAITS:
                continue  # it may have been asked over the path before this one
            path = self._path(address)
            if path == LOCAL:
                record.translated = "" if entry.translated == source else entry.translated
            elif entry.age == WAITS:
                record.by_detour += 1
            # An entry whose port is used again does not show if the last question was answered.
            if age_known and not entry.lasting:
                self._passed[address, path, source, entry.answered] += 1

    @property
    def in_use(self) -> Mapping[Family, tuple[Forwarded, ...]]:
        """The sources in use, by family; families without any are left out."""
        found: dict[Family, list[Forwarded]] = {}
        for (family, source), record in sorted(self.records.items()):
            if self._is_confirmed(record):
                found.setdefault(family, []).append(
                    Forwarded(
                        source=source,
                        translated=record.translated,
                        carried=carried(source, self._carried),
                    )
                )
        return {family: tuple(sources) for family, sources in found.items()}

    def take(self) -> tuple[Passed, ...]:
        """The results of questions since the last call."""
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

    def _is_confirmed(self, record: _Record) -> bool:
        enough = record.last - record.first >= LASTING or record.by_detour >= MUCH
        return record.looks >= LOOKS and (enough or record.first - self.begun <= AT_THE_START)

    def _is_kept(self, record: _Record, now: Instant) -> bool:
        return now - record.last <= (FORGOTTEN if self._is_confirmed(record) else PASSING)


def carried(source: str, networks: Iterable[Network]) -> bool:
    """Whether a source is in one of these networks."""
    return any(ip_address(source) in network for network in networks)
