"""The ledger while one turn writes to it: what the turn changes is copied first."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from steering.judge import failed_names
from steering.judge.copy_on_write import fork, own, put
from steering.judge.forwarded import Carriage
from steering.judge.health import Signal
from steering.judge.instance import Instance
from steering.judge.ledger import Backoff, Control, Counts, GroupTrial, Key, Ledger, Mask
from steering.judge.paired_test import Trial
from steering.judge.peer_paths import candidates
from steering.judge.reach import Leg, Reach
from steering.judge.recovery import Bucket, Hold
from steering.judge.traffic_ledger import TrafficLedger
from steering.judge.zone_copies import Copies
from steering.layout import CLASSES, Layout
from steering.model import Event, Evidence, Instant, WallTime

CURIOUS_ROUNDS = 8
"""Fast rounds after one bad answer."""


class Draft:
    """One turn's work on a ledger. `book` shares the ledger's arrays; write to them by `own`.

    Only what is touched is copied: with a thousand addresses over three hundred paths a
    ledger has 200 MB.
    """

    def __init__(
        self,
        ledger: Ledger,
        layout: Layout,
        wall: WallTime,
        now: Instant,
        away: Mask | None = None,
    ) -> None:
        """`away`: (A,) addresses that have left the local path; all, if left out."""
        self.was, self.layout, self.wall, self.now = ledger, layout, wall, now
        self.away = np.ones(len(layout.targets), dtype=np.bool_) if away is None else away
        self.counted: dict[Key, failed_names.Names] = dict(ledger.counted)
        self.ignored: dict[int, failed_names.Names] = dict(ledger.ignored)
        self.trials: dict[int, Trial] = dict(ledger.trials)
        self.confirmed_by: dict[int, str] = {}
        """Row -> the result of a trial that confirms the breach of its local path this turn."""
        self.group_trials: dict[int, GroupTrial] = dict(ledger.group_trials)
        self.controls: dict[int, Control] = dict(ledger.controls)
        self.backoffs: dict[int, Backoff] = dict(ledger.backoffs)
        self.buckets: dict[Key, Bucket] = dict(ledger.buckets)
        self.holds: dict[int, Hold] = dict(ledger.holds)
        self.evidence: dict[Key, Evidence] = dict(ledger.evidence)
        self.legs: dict[Leg, Reach] = dict(ledger.legs)
        self.carried: dict[Leg, Carriage] = dict(ledger.carried)
        self.book = fork(ledger)
        for name in (
            *("counted", "ignored", "trials", "group_trials"),
            *("controls", "backoffs", "buckets", "holds", "evidence", "legs", "carried"),
        ):
            put(self.book, name, getattr(self, name))
        if ledger.copies.aged(layout, now):
            self.copies()
        self.touched = np.zeros(layout.shape, dtype=np.bool_)
        """(A, P) keys with an answer, or the absence of one, that counts."""
        self.dated = np.zeros(len(layout.targets), dtype=np.bool_)
        """(A,) addresses of which a serial or a signature's end was seen."""
        self.signals = np.zeros(layout.shape, dtype=np.int8)
        self.events: list[Event] = []
        self._poured: list[Counts] = []

    @cached_property
    def proven(self) -> Mask:
        """(A, P) remote paths known to be good as the turn begins."""
        return candidates(self.was, self.layout, self.now)

    def copies(self) -> Copies:
        """The zone copies to write to, made at the first call."""
        if self.book.copies is self.was.copies:
            put(self.book, "copies", self.was.copies.editable(self.layout, self.now))
        return self.book.copies

    def traffic(self) -> TrafficLedger:
        """The ledger of traffic to write to, made at the first call."""
        if self.book.traffic is self.was.traffic:
            put(self.book, "traffic", self.was.traffic.editable(self.now))
        return self.book.traffic

    def meet(self, key: Key, instance: Instance) -> None:
        """Note which servers answer. Every key has an entry, so the mapping is copied late."""
        if self.book.instances is self.was.instances:
            put(self.book, "instances", dict(self.was.instances))
        assert isinstance(self.book.instances, dict)
        self.book.instances[key] = instance

    def pour(self, c: int, a: Counts, p: Counts, bad: Mask, good: Mask) -> None:
        """Add answers to the breach buckets of one class; one entry for each key."""
        some = bad | good
        cells = (np.full(len(a), c), a, p, bad, good)
        self._poured.append(np.array([column[some] for column in cells], dtype=np.int64))

    def poured(self) -> tuple[Counts, Counts, Counts]:
        """(3, n) class, row and column of all added answers; (n,) bad ones, and good ones."""
        rows = np.concatenate(self._poured, axis=1) if self._poured else np.zeros((5, 0), np.int64)
        if len(self._poured) <= len(CLASSES):  # one wave: it has no cell twice
            return rows[:3], rows[3], rows[4]
        shape = (len(CLASSES), *self.layout.shape)
        flat, place = np.unique(np.ravel_multi_index(tuple(rows[:3]), shape), return_inverse=True)
        bad, good = (np.bincount(place, weights=rows[i]).astype(np.int64) for i in (3, 4))
        return np.array(np.unravel_index(flat, shape)), bad, good

    def signal(self, where: NDArray[np.bool_], signal: Signal) -> None:
        """Give `signal` to the keys in `where` that have none of greater weight."""
        np.maximum(self.signals, signal, out=self.signals, where=where)

    def probe_fast(self, rows: int | NDArray[np.bool_]) -> None:
        """Probe these addresses fast for a while."""
        own(self.book, "curious_until")[rows] = (
            self.now + CURIOUS_ROUNDS * self.layout.fast_interval
        )

    def probe_group_fast(self, group: int) -> None:
        """Probe the addresses of a group fast, and a sample of every operator.

        The operators' answers have to come before any move: a fault that all show at once is most
        likely this host's.
        """
        rows = self.layout.group_of == group
        self.probe_fast(rows if self.layout.operators == 1 else rows | self.layout.sample)

    def add_event(
        self,
        event: str,
        a: int,
        because: str,
        p: int = 0,
        *,
        was: str | None = None,
        now: str | None = None,
    ) -> None:
        """Add an event about a key."""
        target = self.layout.targets[a]
        self.events.append(
            Event(
                event=event,
                because=because,
                upstream=target.upstream,
                address=target.address,
                path=self.layout.paths[p],
                was=was,
                now=now,
            )
        )
