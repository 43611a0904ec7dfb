"""After the steer: who goes back too early, and who stays away too long?

A fault lasts for twelve hours and is then mended; three quiet hours follow. While traffic is
on the path a rule sees ten answers a second of it, while it is away five probes a second. Going
back before the fix is premature; the fault is then met again, and has to be found again. Every
second the same dice fall for all rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks import report
from benchmarks.lanes import fill
from benchmarks.year import RING, RING_PAUSE, RING_SHARE, RULE_SHARE, RULE_WINDOW, SCRAPE
from steering.judge.known.buckets import DRAINS
from steering.judge.known.paired_test import Confirmation, Trial
from steering.judge.known.recovery import Bucket, Hold

Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]

RUNS = 12
MENDED = 12 * 3600
LONGEST = 15 * 3600
TRAFFIC = 10
PROBES = 5
HOLD, MAX_HOLD, CLEAN = 300.0, 3600.0, 1600
"""`recover`, as it is by default."""

FAULTS: dict[str, Callable[[int], float]] = {
    "steady 13%": lambda _: 0.13,
    "13% for 1 h, then 0.5%": lambda t: 0.13 if t < 3600 else 0.005,
    "13% for 10 min in 15": lambda t: 0.13 if t % 900 < 600 else 0.0,
    "100% every other minute": lambda t: 1.0 if t % 120 < 60 else 0.0,
    "100% for 10 min in 30": lambda t: 1.0 if t % 1800 < 600 else 0.0,
}
"""Failing share by the second; none after `MENDED`."""


class Rule(Protocol):
    """One rule at work on many lanes."""

    away: Mask
    """Whose traffic is away."""

    def turn(self, now: int, bad: Mask, witness: Mask) -> None:
        """See one second: answers that are bad, (lanes, TRAFFIC), the first five also as probes.

        `witness` says the same of probes if every other asks a name that failed before.
        """


def run() -> None:
    """Print the table, one block a fault."""
    lanes = len(FAULTS) * RUNS
    rules: dict[str, Rule] = {
        "7-5-3, trial, bucket of 1,600": Ours(lanes, witnesses=True),
        "  the same, fresh names only": Ours(lanes, witnesses=False),
        "3 in a row, back after 3": InARow(lanes, 3),
        "2 in a row, back after 2": InARow(lanes, 2),
        "lazy ring, 20 % of the last 100": LazyRing(lanes),
        "> 1 % over 5 m for 5 m": Alert(lanes),
    }
    tallies = {name: Tally(lanes) for name in rules}
    rng = np.random.default_rng(20210723)
    for now in range(LONGEST):
        share = np.repeat([f(now) if now < MENDED else 0.0 for f in FAULTS.values()], RUNS)
        bad = rng.random((lanes, TRAFFIC)) < share[:, None]
        witness = bad[:, :PROBES].copy()
        witness[:, now % 2 :: 2] |= share[:, None] > 0  # on a copy still bad they fail for certain
        for name, rule in rules.items():
            was = rule.away.copy()
            rule.turn(now, bad, witness)
            tallies[name].count(now, was, rule.away, share > 0)
    for number, fault in enumerate(FAULTS):
        mine = slice(number * RUNS, (number + 1) * RUNS)
        report.table(
            f"{fault}, mended after 12 h; means of {RUNS} runs",
            ("rule", "premature rollbacks", "min exposed to the fault", "min away after the fix"),
            [(name, *tally.cells(mine)) for name, tally in tallies.items()],
        )


@dataclass
class Tally:
    """What a rule's comings and goings amount to."""

    lanes: int
    back: Counts = field(init=False)
    exposed: Counts = field(init=False)
    late: Counts = field(init=False)

    def __post_init__(self) -> None:
        """Nothing yet."""
        self.back, self.exposed, self.late = np.zeros((3, self.lanes), dtype=np.int64)

    def count(self, now: int, was: Mask, away: Mask, faulty: Mask) -> None:
        """One second."""
        if now < MENDED:
            self.back += was & ~away
            self.exposed += ~was & faulty
        else:
            self.late += away

    def cells(self, mine: slice) -> tuple[str, str, str]:
        """Rollbacks, minutes exposed, minutes away after the fix."""
        back, exposed, late = (float(x[mine].mean()) for x in (self.back, self.exposed, self.late))
        return f"{back:,.4g}", f"{exposed / 60:.3g}", f"{late / 60:.3g}"


class Ours:
    """The agent's own: buckets, trial, recovery bucket and hold, a lane an address."""

    def __init__(self, lanes: int, *, witnesses: bool) -> None:
        """`witnesses`: whether probes of a path that was left ask names that failed on it."""
        self.away = np.zeros(lanes, dtype=np.bool_)
        self.witnesses = witnesses
        self._levels = np.zeros((lanes, len(DRAINS)), dtype=np.int64)
        self._scale = np.ones(lanes, dtype=np.int64)
        self._trials: dict[int, Trial] = {}
        self._buckets: dict[int, Bucket] = {}
        self._holds: dict[int, Hold] = {}

    def turn(self, now: int, bad: Mask, witness: Mask) -> None:
        """One second: what is suspect is tried, what is away is probed."""
        some = np.where(self.away, 0, bad.sum(axis=1))
        good = np.where(self.away, 0, TRAFFIC - some)
        self._levels, full = fill(self._levels, some, good, self._scale)
        probes = witness if self.witnesses else bad[:, :PROBES]
        for lane, bucket in list(self._buckets.items()):
            failed = int((witness if lane in self._trials else probes)[lane].sum())
            self._buckets[lane] = bucket.count(clean=PROBES - failed, bad=failed)
        for lane in list(self._trials):
            self._try(lane, now, witness[lane].tolist())
        for lane in np.flatnonzero(full & ~self.away).tolist():
            if lane not in self._trials:
                self._trials[lane] = Trial(candidate="pao", since=now)
                self._buckets[lane] = Bucket.brief()
        for lane in np.flatnonzero(self.away).tolist():
            hold = self._holds[lane]
            if self._buckets[lane].empty and now >= hold.until(HOLD, MAX_HOLD):
                self._holds[lane] = hold.end(now)
                self._calm(lane)
                self.away[lane] = False

    def _try(self, lane: int, now: int, failed: list[bool]) -> None:
        trial = self._trials[lane]
        for bad in failed:
            trial = trial.pair(bad_here=bad, bad_there=False)
            if trial.result is not Confirmation.OPEN:
                break
        self._trials[lane] = trial
        if trial.result is Confirmation.CONFIRMED:
            self._calm(lane)
            self._buckets[lane] = Bucket.start(CLEAN)
            self._holds[lane] = self._holds.get(lane, Hold()).breach(now)
            self.away[lane] = True
        elif trial.result is Confirmation.REJECTED or self._buckets[lane].empty:
            self._calm(lane)

    def _calm(self, lane: int) -> None:
        self._trials.pop(lane, None)
        self._buckets.pop(lane, None)
        self._levels[lane] = 0


class InARow:
    """A health checker's: down after so many bad in a row, up after as many good."""

    def __init__(self, lanes: int, number: int) -> None:
        """`number`: of checks in a row."""
        self.away = np.zeros(lanes, dtype=np.bool_)
        self._number = number
        self._bad, self._good = np.zeros((2, lanes), dtype=np.int64)

    def turn(self, now: int, bad: Mask, witness: Mask) -> None:  # noqa: ARG002 - they know no names
        """Each answer is a check; where it goes is decided once a second."""
        down = self.away.copy()
        for column in range(TRAFFIC):
            asked = True if column < PROBES else ~self.away
            failed, fine = asked & bad[:, column], asked & ~bad[:, column]
            self._bad = np.where(fine, 0, self._bad + failed)
            self._good = np.where(failed, 0, self._good + fine)
            down = np.where(self._bad >= self._number, True, down & (self._good < self._number))
        self.away = down


class LazyRing:
    """dnsdist's lazy mode: a share of the last hundred, then one good check in 30 s."""

    def __init__(self, lanes: int) -> None:
        """All rings empty."""
        self.away = np.zeros(lanes, dtype=np.bool_)
        self._ring = np.zeros((lanes, RING), dtype=np.bool_)
        self._seen = np.zeros(lanes, dtype=np.int64)
        self._check_at = np.zeros(lanes)

    def turn(self, now: int, bad: Mask, witness: Mask) -> None:  # noqa: ARG002 - it knows no names
        """Traffic fills the ring; away, one probe in 30 s is all that is asked."""
        here = np.flatnonzero(~self.away)
        checked = self.away & (now >= self._check_at)
        for column in range(TRAFFIC):
            self._ring[here, self._seen[here] % RING] = bad[here, column]
            self._seen[here] += 1
            share = self._ring[here].sum(axis=1) / np.minimum(self._seen[here], RING)
            full = here[share >= RING_SHARE]
            self.away[full] = True
            self._check_at[full] = now + RING_PAUSE
            self._ring[full], self._seen[full] = False, 0
            here = here[share < RING_SHARE]
        self.away &= ~(checked & ~bad[:, 0])
        self._check_at[checked] = now + RING_PAUSE


class Alert:
    """A Prometheus rule: a share over five minutes, for five minutes, looked at every 15 s."""

    def __init__(self, lanes: int) -> None:
        """Nothing seen."""
        self.away = np.zeros(lanes, dtype=np.bool_)
        self._bad, self._all = np.zeros((2, RULE_WINDOW, lanes))
        self._lasts = np.zeros(lanes, dtype=np.int64)

    def turn(self, now: int, bad: Mask, witness: Mask) -> None:  # noqa: ARG002 - it knows no names
        """Count; and evaluate when it is time."""
        slot = now // SCRAPE % RULE_WINDOW
        if now % SCRAPE == 0:
            self._bad[slot] = self._all[slot] = 0.0
        probed = bad[:, :PROBES].sum(axis=1)
        self._bad[slot] += np.where(self.away, probed, bad.sum(axis=1))
        self._all[slot] += np.where(self.away, PROBES, TRAFFIC)
        if now % SCRAPE == SCRAPE - 1:
            above = self._bad.sum(axis=0) > RULE_SHARE * self._all.sum(axis=0)
            self._lasts = np.where(above, self._lasts + 1, 0)
            self.away = np.where(above, self.away | (self._lasts > RULE_WINDOW), False)
