"""The ledger being written in one turn: private copies of what may change, frozen at the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from steering.judge import names
from steering.judge.confirm import Trial
from steering.judge.copies import Floats
from steering.judge.health import Signal
from steering.judge.hearsay import Hearsay
from steering.judge.instance import Instance
from steering.judge.ledger import Counts, HerdTrial, Key, Ledger
from steering.judge.recover import Bucket, Hold
from steering.layout import Layout
from steering.model import Event, Evidence, Instant, WallTime

Cell = tuple[int, int, int]
"""(class, row, column): one set of breach buckets."""


CURIOUS_ROUNDS = 8
"""So many rounds are asked fast after one bad answer."""


class Draft:
    """One turn's work on a ledger. `book` is written to until the turn is over."""

    def __init__(
        self, ledger: Ledger, layout: Layout, wall: WallTime, now: Instant, *, answers: bool
    ) -> None:
        """`answers`: whether there are any to count; else what only they change is not copied."""
        self.was, self.layout, self.wall, self.now = ledger, layout, wall, now
        self.instances: dict[Key, Instance] = dict(ledger.instances)
        self.counted: dict[Key, names.Names] = dict(ledger.counted)
        self.ignored: dict[int, names.Names] = dict(ledger.ignored)
        self.trials: dict[int, Trial] = dict(ledger.trials)
        self.herds: dict[int, HerdTrial] = dict(ledger.herds)
        self.buckets: dict[Key, Bucket] = dict(ledger.buckets)
        self.holds: dict[int, Hold] = dict(ledger.holds)
        self.evidence: dict[Key, Evidence] = dict(ledger.evidence)
        self.book = replace(
            _with_own_counts(ledger) if answers else ledger,
            health=ledger.health.copy(),
            levels=ledger.levels.copy(),
            herd=ledger.herd.copy(),
            copies=ledger.copies.editable(layout, now),
            late=ledger.late.copy(),
            late_count=ledger.late_count.copy(),
            late_since=ledger.late_since.copy(),
            suspected_at=ledger.suspected_at.copy(),
            confirmed_at=ledger.confirmed_at.copy(),
            first_bad=ledger.first_bad.copy(),
            curious_until=ledger.curious_until.copy(),
            instances=self.instances,
            counted=self.counted,
            ignored=self.ignored,
            trials=self.trials,
            herds=self.herds,
            buckets=self.buckets,
            holds=self.holds,
            evidence=self.evidence,
        )
        self.bad: dict[Cell, int] = {}
        self.good: dict[Cell, int] = {}
        self.touched: set[Key] = set()
        """Keys with an answer, or the absence of one, that counts."""
        self.dated: set[int] = set()
        """Rows of which a serial or a signature's end was seen."""
        self.signals = np.zeros(layout.shape, dtype=np.int8)
        self.events: list[Event] = []

    def listen(self) -> Hearsay:
        """The hearsay to write to: a copy, made when it is first asked for."""
        if self.book.hearsay is self.was.hearsay:
            self.book = replace(self.book, hearsay=self.was.hearsay.editable(self.now))
        return self.book.hearsay

    def review_hearsay(self, *, habit_bad: Floats, habit_all: Floats, scale: Counts) -> None:
        """Set what the hearsay's keys always have."""
        heard = replace(
            self.listen(),
            habit_bad=habit_bad,
            habit_all=habit_all,
            habit_at=self.now,
            scale=scale,
        )
        self.book = replace(self.book, hearsay=heard)

    def signal(self, where: NDArray[np.bool_], signal: Signal) -> None:
        """Give `signal` to the keys in `where` that have no weightier one."""
        np.maximum(self.signals, signal, out=self.signals, where=where)

    def arouse(self, rows: int | NDArray[np.bool_]) -> None:
        """Ask these addresses fast for a while: bad news should travel fast."""
        self.book.curious_until[rows] = self.now + CURIOUS_ROUNDS * self.layout.fast_interval

    def arouse_around(self, group: int) -> None:
        """News of a group: ask its addresses fast, and those of all other operators.

        They have to be heard before anybody moves: what all show at once is our own fault.
        """
        everybody = np.ones(len(self.layout.targets), dtype=np.bool_)
        alone = self.layout.operators == 1
        self.arouse(self.layout.group_of == group if alone else everybody)

    def tell(
        self,
        event: str,
        a: int,
        because: str,
        p: int = 0,
        *,
        was: str | None = None,
        now: str | None = None,
    ) -> None:
        """Note what became of a key, for the log."""
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


def _with_own_counts(ledger: Ledger) -> Ledger:
    return replace(
        ledger,
        counts=ledger.counts.copy(),
        recent_bad=ledger.recent_bad.copy(),
        recent_dated=ledger.recent_dated.copy(),
        recent_all=ledger.recent_all.copy(),
        recent_at=ledger.recent_at.copy(),
        habit_bad=ledger.habit_bad.copy(),
        habit_all=ledger.habit_all.copy(),
        run=ledger.run.copy(),
        streak=ledger.streak.copy(),
        stuck=ledger.stuck.copy(),
        silent_since=ledger.silent_since.copy(),
        seen=ledger.seen.copy(),
        answered=ledger.answered.copy(),
        reached=ledger.reached.copy(),
        rtt=ledger.rtt.copy(),
        behind=ledger.behind.copy(),
        floor=ledger.floor.copy(),
        zone_late=ledger.zone_late.copy(),
    )
