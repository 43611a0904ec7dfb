"""False alarms of a quiet year, `traffic.quiet`: our detector beside what others use.

An answer is a check to those that count checks in a row. An alarm is one that begins: it ends
by the rule's own way back, and may begin anew in the same burst.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import report, traffic
from benchmarks.lanes import fill
from benchmarks.traffic import DAY, PER_DAY, Bad, Counts
from steering.judge.known.buckets import DRAINS, scale_for

ADDRESSES = 26
YEARS = 3
DAYS = 365
FAILURE_RATE = 0.003

RING = 100
RING_SHARE = 0.2
RING_PAUSE = 30.0
"""dnsdist: `lazyHealthCheckSampleSize`, `…Threshold`, `…FailedInterval`; it takes one answer
(`…MinSampleCount`) for enough."""
SCRAPE = 15
RULE_SHARE = 0.01
RULE_WINDOW = 20
"""Prometheus: evaluations in 5 minutes, both of the `rate` and of the `for`."""


def run() -> None:
    """Print the table."""
    rng = np.random.default_rng(20231004)
    keys = [traffic.quiet(rng, DAYS) for _ in range(ADDRESSES * YEARS)]
    bursts = sum(int((~key.new).sum()) for key in keys) / YEARS
    names, suspected = counted(keys, by_name=True), counted(keys, by_name=False)
    rows = [
        _row("7-5-3: suspicions", names),
        _row("  of them confirmed, paths alike (7e-4)", names * 7e-4),
        _row("7-5-3 if every bad answer counted", suspected),
        _row("3 in a row, back after 3", sum(in_a_row(key.index, 3) for key in keys)),
        _row("2 in a row, back after 2", sum(in_a_row(key.index, 2) for key in keys)),
        _row("lazy ring, 20 % of the last 100", sum(lazy_ring(key.index) for key in keys)),
        _row("> 1 % over 5 m for 5 m", sum(rule(key.index) for key in keys)),
    ]
    report.table(
        f"false alarms a site-year: {ADDRESSES} addresses, {YEARS} years, "
        f"{bursts:,.0f} repeated bad answers a year in bursts",
        ("rule", "a site-year"),
        rows,
    )


def _row(rule: str, alarms: float) -> tuple[str, str]:
    return rule, f"{alarms / YEARS:,.3g}" if alarms < 1000 * YEARS else f"{alarms / YEARS:,.0f}"


def counted(keys: Sequence[Bad], *, by_name: bool) -> int:
    """Suspicions of the agent's own buckets, with the scale that each key's habit gives it.

    The days of all keys go side by side, each from empty buckets. Between two bad answers the
    good ones come in one turn of their own, so that they drain what is there and no more.
    """
    lanes: list[Counts] = []
    scales: list[int] = []
    for key in keys:
        index = key.index[key.new] if by_name else key.index
        days = np.split(index, np.searchsorted(index, np.arange(1, DAYS) * PER_DAY))
        lanes += days
        scales += _habit([len(day) / PER_DAY for day in days])
    order = np.argsort([-len(lane) for lane in lanes], kind="stable")
    sizes = np.array([len(lanes[i]) for i in order])
    scale = np.array(scales, dtype=np.int64)[order]
    levels = np.zeros((len(lanes), len(DRAINS)), dtype=np.int64)
    begins = np.cumsum([0, *map(len, lanes)])[order]
    flat = np.concatenate(lanes)
    last = np.zeros(len(lanes), dtype=np.int64)
    alarms = 0
    for step in range(int(sizes[0])):
        on = int(np.searchsorted(-sizes, -step))  # lanes with an answer left come first
        at = flat[begins[:on] + step]
        none = np.zeros(on, dtype=np.int64)
        levels[:on], _ = fill(levels[:on], none, np.maximum(at - last[:on] - 1, 0), scale[:on])
        levels[:on], full = fill(levels[:on], none + 1, none, scale[:on])
        levels[:on][full] = 0
        last[:on] = at
        alarms += int(full.sum())
    return alarms


def _habit(shares: Sequence[float]) -> list[int]:
    """The scale of each day by the share of the days before, fading within a week."""
    scales, known = [], 0.0
    fade = float(np.exp(-1 / 7))
    for day, share in enumerate(shares):
        whole = 1 - fade**day
        scales.append(scale_for(2 * known / whole if day else 0.0, FAILURE_RATE))
        known = known * fade + share * (1 - fade)
    return scales


def in_a_row(index: Counts, number: int) -> int:
    """Alarms after so many bad answers in a row, each over after as many good ones."""
    whole = index[number - 1 :] - index[: len(index) - number + 1] == number - 1
    backs = np.cumsum(np.diff(index, prepend=index[:1]) > number)[number - 1 :][whole]
    return int((np.diff(backs, prepend=-1) > 0).sum())


def lazy_ring(index: Counts) -> int:
    """Alarms of a ring of the last hundred, emptied at each; back by a good check after 30 s."""
    times = traffic.time_of(index)
    need = int(RING * RING_SHARE)
    steady = np.flatnonzero(index[need - 1 :] - index[: len(index) - need + 1] < RING) + need - 1
    alarms, begun = 0, -RING
    while True:
        first = int(np.searchsorted(index, begun))
        full = steady[np.searchsorted(steady, first + need - 1) :]
        found = int(full[0]) if full.size else len(index)
        for i in range(first, min(found, first + need)):
            if index[i] < begun + RING and i - first + 1 >= RING_SHARE * (index[i] - begun + 1):
                found = i
                break
        if found >= len(index):
            return alarms
        alarms += 1
        back = traffic.answers_by(times[found : found + 1] + RING_PAUSE)
        begun = int(back[0])


def rule(index: Counts) -> int:
    """Alarms of a share over five minutes that lasts for five more."""
    times = traffic.time_of(index)
    bad = np.bincount((times // SCRAPE).astype(np.int64), minlength=DAYS * DAY // SCRAPE)
    every = np.diff(traffic.answers_by(np.arange(len(bad) + 1, dtype=np.float64) * SCRAPE))
    above = share_over(bad, every) > RULE_SHARE
    return int((_runs(above) > RULE_WINDOW).sum())


def share_over(bad: NDArray[np.int64], every: NDArray[np.float64]) -> NDArray[np.float64]:
    """The failing share of the last five minutes at each scrape."""
    sums = [np.cumsum(np.concatenate(([0.0], counts))) for counts in (bad, every)]
    low = np.maximum(np.arange(1, len(bad) + 1) - RULE_WINDOW, 0)
    part, whole = (total[1:] - total[low] for total in sums)
    return np.asarray(part / whole)


def _runs(where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], where.astype(np.int8), [0]))))
    return np.asarray(edges[1::2] - edges[::2])
