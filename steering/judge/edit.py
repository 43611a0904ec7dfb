"""The ledger while one turn writes to it: what the turn changes is copied first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from math import floor

from steering.index import Index, Key
from steering.judge.edited import Edited
from steering.judge.known.baseline import REVIEW
from steering.judge.known.carriage import Carriage
from steering.judge.known.health import Signal
from steering.judge.known.instance import NO_INSTANCE, Instance
from steering.judge.known.ledger import (
    NOT_ASKED,
    UNHEARD,
    UNKNOWN_ADDRESS,
    UNKNOWN_GROUP,
    UNKNOWN_UPSTREAM,
    UNMEASURED,
    AddressRecord,
    Asked,
    GroupRecord,
    Ledger,
    PathRecord,
    UpstreamRecord,
)
from steering.judge.known.legs import NOTHING, Leg, Reach
from steering.judge.known.stream import PathTraffic, Poured
from steering.judge.known.zone_copies import NO_HISTORY, WINDOW_ROUNDS, ZoneHistory
from steering.judge.open_addresses import is_open
from steering.model import LOCAL, Event, Health, Instant, WallTime

CURIOUS_ROUNDS = 8
"""Fast rounds after one bad answer."""


class Draft:
    """One turn's work on a ledger. Records are read by `path` and `address`, and written to by
    `edit`, `edit_address` and `edit_group`: what is written to is copied first, so nothing of the
    ledger before the turn is changed.
    """

    def __init__(
        self,
        ledger: Ledger,
        index: Index,
        wall: WallTime,
        now: Instant,
        away: Collection[str] | None = None,
    ) -> None:
        """`away`: addresses that have left the local path; all, if left out."""
        self.was, self.index, self.wall, self.now = ledger, index, wall, now
        self.away: Collection[str] = index.settings if away is None else away
        self.paths = Edited[Key, PathRecord](ledger.paths, UNMEASURED)
        self.traffic = Edited[Key, PathTraffic](ledger.traffic, UNHEARD)
        self.addresses = Edited[str, AddressRecord](ledger.addresses, UNKNOWN_ADDRESS)
        self.groups = Edited[str, GroupRecord](ledger.groups, UNKNOWN_GROUP)
        self.upstreams = Edited[str, UpstreamRecord](ledger.upstreams, UNKNOWN_UPSTREAM)
        self.asked = Edited[str, Asked](ledger.asked, NOT_ASKED)
        self.listened = ledger.listened
        self.zones = Edited[tuple[str, str], ZoneHistory](ledger.zones, NO_HISTORY)
        self.instances = Edited[Key, Instance](ledger.instances, NO_INSTANCE)
        self.legs = Edited[Leg, Reach](ledger.legs, NOTHING)
        self.carried: dict[Leg, Carriage] = dict(ledger.carried)
        self.windows, self.window = ledger.windows, ledger.window
        if now - self.window >= WINDOW_ROUNDS * index.interval:
            self.windows, self.window = self.windows + 1, now
        self.due = dict(ledger.due)
        self._watched: dict[int, set[Key]] = {}
        self.confirmed_by: dict[str, str] = {}
        """Address -> the result of a trial that confirms the breach of its local path this turn."""
        self.touched: dict[Key, None] = {}
        """Paths with an answer, or the absence of one, that counts, in order."""
        self.dated: set[str] = set()
        """Addresses of which a serial or a signature's end was seen."""
        self.signals: dict[Key, Signal] = {}
        self.events: list[Event] = []
        self.poured: dict[Key, Poured] = {}
        """Answers to this turn's probes for the breach buckets."""
        self._groups_probed_fast: set[str] = set()
        self._open: tuple[tuple[int, int], list[str]] = (-1, -1), []

    # --- to read and to write ---------------------------------------------------------------

    def path(self, address: str, path: str = LOCAL, /) -> PathRecord:
        """What is known of one path of an address by now; only to read."""
        key = address, path
        return self.paths.get(key) or self.was.paths.get(key, UNMEASURED)

    def address(self, address: str, /) -> AddressRecord:
        """What is known of one address by now; only to read."""
        return self.addresses.get(address) or self.was.addresses.get(address, UNKNOWN_ADDRESS)

    def heard(self, address: str, path: str = LOCAL, /) -> PathTraffic:
        """What the resolvers' traffic showed of one path by now; only to read."""
        return self.traffic[address, path]

    def edit(self, address: str, path: str = LOCAL) -> PathRecord:
        """The same of a path, to write to."""
        return self.paths.to_write((address, path))

    def edit_address(self, address: str) -> AddressRecord:
        """The same of an address, to write to."""
        return self.addresses.to_write(address)

    def edit_group(self, group: str) -> GroupRecord:
        """The same of a group, to write to."""
        return self.groups.to_write(group)

    def zone(self, upstream: str, zone: str, /) -> ZoneHistory:
        """The signed serials of one zone by now."""
        return self.zones[upstream, zone]

    # --- the turn ---------------------------------------------------------------------------

    def open(self) -> list[str]:
        """The addresses to look at in this turn, in order: those with news, and those that are not
        as usual.
        """
        edited = len(self.paths), len(self.addresses)
        if edited != self._open[0]:
            self._open = edited, self.index.in_order(self._news() | self.was.open)
        return self._open[1]

    def _news(self) -> set[str]:
        return {address for address, _ in self.paths} | self.addresses.keys()

    def signal(self, address: str, path: str, signal: Signal) -> None:
        """Give a path a signal, if it has none of greater weight."""
        key = address, path
        if signal > self.signals.get(key, Signal.NOTHING):
            self.signals[key] = signal

    def signal_of(self, address: str, path: str = LOCAL) -> Signal:
        """The signal of a path so far."""
        return self.signals.get((address, path), Signal.NOTHING)

    def probe_fast(self, addresses: Iterable[str]) -> None:
        """Probe these addresses fast for a while."""
        until = self.now + CURIOUS_ROUNDS * self.index.fast_interval
        for address in addresses:
            self.edit_address(address).curious_until = until

    def probe_group_fast(self, group: str) -> None:
        """Probe the addresses of a group fast, and a sample of every operator.

        The operators' answers have to come before any move: a fault that all show at once is most
        likely this host's.
        """
        if group in self._groups_probed_fast:
            return  # the others of the group became suspect in the same turn
        self._groups_probed_fast.add(group)
        self.probe_fast(self.index.groups[group])
        if len(self.index.operators) > 1:
            self.probe_fast(self.index.sampled)

    def watch_age(self, address: str, path: str) -> None:
        """Look at this path again when its last answer may be too old."""
        second = floor(max(self.path(address, path).seen + self.index.fresh, self.now))
        self._watched.setdefault(second, set()).add((address, path))

    def aged(self) -> list[Key]:
        """The paths whose last answer is too old from now on; comes after the answers' counts."""
        found: list[Key] = []
        for second in [second for second in self.due if second <= self.now]:
            for key in self.due.pop(second):
                record = self.path(*key)
                if record.health not in (Health.HEALTHY, Health.SUSPECT):
                    continue  # it is watched again when it becomes one of these
                if not self.now - record.seen <= self.index.fresh:
                    found.append(key)
                self.watch_age(*key)
        return found

    def add_event(
        self,
        event: str,
        address: str,
        because: str,
        path: str = LOCAL,
        *,
        was: str | None = None,
        now: str | None = None,
    ) -> None:
        """Add an event about a path."""
        self.events.append(
            Event(
                event=event,
                because=because,
                upstream=self.index.settings[address].upstream,
                address=address,
                path=path,
                was=was,
                now=now,
            )
        )

    def done(self) -> Ledger:
        """The ledger after the turn."""
        for second, keys in self._watched.items():
            self.due[second] = self.due.get(second, frozenset()).union(keys)
        reviewed = self.now - self.was.reviewed_at >= REVIEW
        after = Ledger(
            paths=self.paths.merged(),
            traffic=self.traffic.merged(),
            addresses=self.addresses.merged(),
            groups=self.groups.merged(),
            upstreams=self.upstreams.merged(),
            zones=self.zones.merged(),
            instances=self.instances.merged(),
            asked=self.asked.merged(),
            listened=self.listened,
            legs=self.legs.merged(),
            carried=self.carried,
            window=self.window,
            windows=self.windows,
            reviewed_at=self.now if reviewed else self.was.reviewed_at,
            held=self._held(),
            due=self.due,
        )
        looked_at = self._news() | self.was.open
        stay = (a for a in looked_at if is_open(after, self.index, a, self.now))
        changed = (
            address
            for (address, path), record in self.paths.items()
            if path == LOCAL and record.health is not self.was.path(address).health
        )
        return replace(after, open=frozenset(stay), changed=frozenset(changed))

    def _held(self) -> frozenset[str]:
        """The addresses with a hold."""
        begun = {a for a, known in self.addresses.items() if known.hold is not None}
        held = self.was.held.difference(self.addresses) | begun
        return self.was.held if held == self.was.held else held
