"""Time to suspect: a fault begins at some hour of the day, at ten answers a second on average.

A run in which a rule has found nothing after twelve hours counts as twelve hours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks import report, traffic
from benchmarks.lanes import fill
from benchmarks.traffic import DAY, Counts, Floats
from benchmarks.year import RING, RING_SHARE, RULE_SHARE, RULE_WINDOW, SCRAPE, share_over
from steering.judge.known.buckets import DRAINS

RUNS = 100
LONGEST = 12 * 3600
CLIMB = 6 * 3600.0

Share = Callable[[Floats], Floats]
FAULTS: dict[str, Share] = {
    "0.5%": lambda t: np.full_like(t, 0.005),
    "2%": lambda t: np.full_like(t, 0.02),
    "13%": lambda t: np.full_like(t, 0.13),
    "100%": np.ones_like,
    "0 to 13% in 6 h": lambda t: 0.13 * np.minimum(t / CLIMB, 1.0),
}
"""Failing share by the seconds since it began. The last is July 2023's, and a frozen copy's."""


def run() -> None:
    """Print the table."""
    rng = np.random.default_rng(20260505)
    rows: dict[str, list[str]] = {}
    for share in FAULTS.values():
        begins = rng.uniform(0, DAY, RUNS)
        runs = [_bad(rng, at, share) for at in begins.tolist()]
        for rule, found in (
            ("7-5-3", _buckets(runs)),
            ("3 in a row", np.array([_in_a_row(times, index, 3) for index, times, _ in runs])),
            ("2 in a row", np.array([_in_a_row(times, index, 2) for index, times, _ in runs])),
            ("lazy ring, 20 % of the last 100", np.array([_ring(t, i) for i, t, _ in runs])),
            ("> 1 % over 5 m for 5 m", np.array([_rule(t, every) for _, t, every in runs])),
        ):
            rows.setdefault(rule, []).append(_shown(found))
    report.table(
        f"mean time to suspect, {RUNS} runs of at most 12 h (share found, where not all)",
        ("rule", *FAULTS),
        [(rule, *cells) for rule, cells in rows.items()],
    )


def _shown(found: Floats) -> str:
    took, part = found.mean(), float((found < LONGEST).mean())
    if not part:
        return "never"
    text = f"{took:.3g} s" if took < 120 else f"{took / 60:.3g} min"
    return text if part == 1 else f"{text} ({part:.0%})"


Run = tuple[Counts, Floats, Floats]
"""Which answers are bad, when, and how many answers have come by each second."""


def _bad(rng: np.random.Generator, begins: float, share: Share) -> Run:
    by = traffic.answers_by(begins + np.arange(LONGEST + 1.0))
    first, last = int(np.ceil(by[0])), int(np.ceil(by[-1]))
    times = traffic.time_of(np.arange(first, last)) - begins
    index = np.flatnonzero(rng.random(last - first) < share(times))
    return index, times[index], by


def _buckets(runs: list[Run]) -> Floats:
    """The agent's own buckets, a turn a second."""
    seconds = np.arange(LONGEST + 1.0)
    bad = np.array([np.histogram(times, seconds)[0] for _, times, _ in runs]).T
    every = np.array([np.diff(np.ceil(by)) for _, _, by in runs]).T.astype(np.int64)
    found = np.full(len(runs), float(LONGEST))
    levels = np.zeros((len(runs), len(DRAINS)), dtype=np.int64)
    scale = np.ones(len(runs), dtype=np.int64)
    for turn in range(LONGEST):
        levels, full = fill(levels, bad[turn], np.maximum(every[turn] - bad[turn], 0), scale)
        found[full] = np.minimum(found[full], turn + 1)
        if (found < LONGEST).all():
            break
    return found


def _in_a_row(times: Floats, index: Counts, number: int) -> float:
    ends = np.flatnonzero(index[number - 1 :] - index[: 1 - number] == number - 1)
    return float(times[ends[0] + number - 1]) if ends.size else LONGEST


def _ring(times: Floats, index: Counts) -> float:
    return _within(times, index, int(RING * RING_SHARE), RING)


def _within(times: Floats, index: Counts, need: int, span: int) -> float:
    ends = np.flatnonzero(index[need - 1 :] - index[: 1 - need] < span)
    return float(times[ends[0] + need - 1]) if ends.size else LONGEST


def _rule(times: Floats, by: Floats) -> float:
    """Five minutes of good answers come first, or the window would be short."""
    scrapes = LONGEST // SCRAPE
    bad = np.bincount((times // SCRAPE).astype(np.int64), minlength=scrapes)[:scrapes]
    every = np.diff(by[::SCRAPE])
    quiet: NDArray[np.int64] = np.zeros(RULE_WINDOW, dtype=np.int64)
    share = share_over(np.concatenate((quiet, bad)), np.concatenate((quiet + every[0], every)))
    above = np.concatenate(([0], np.cumsum(share[RULE_WINDOW:] > RULE_SHARE)))
    lasting = np.flatnonzero(above[RULE_WINDOW + 1 :] - above[: -RULE_WINDOW - 1] > RULE_WINDOW)
    return float((lasting[0] + RULE_WINDOW + 1) * SCRAPE) if lasting.size else LONGEST
