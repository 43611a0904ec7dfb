"""The detector's figures: how soon, how rarely wrong, and the same of what others do.

Everything is simulated with fixed seeds from the agent's own code (`judge.detector`,
`judge.confirm`, `judge.recover`); a turn is a second. docs/detector.md says how to read it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from benchmarks import aftermath, alarms, onset, report, walks, year
from benchmarks.lanes import fill
from steering.judge.known import buckets
from steering.judge.known.buckets import DRAINS, EMPTY, TIGHT, TOLERATED

YEAR = 365.25 * 86_400
KEYS = 2_000
ARL0 = 10 * YEAR * KEYS
"""Turns a key runs before a false alarm if 2,000 keys are to have one in ten years."""

RATES = (1, 10, 100, 1_000)
SHARES = (0.005, 0.02, 0.13, 1.0)
BOUNDED = (0.003, 0.005, 0.01, 0.02, 0.05, 0.13, 0.3, 0.6, 1.0)
"""Shares at which the mean delay is held to its bound."""

Turns = list[tuple[int, int]]
_FRESH: Turns = [(1, 0), (1, 0), (0, 1), (1, 0)]
VECTORS: tuple[tuple[str, Turns, int, int | None, tuple[int, int, int]], ...] = (
    ("(1,0) x 3", [(1, 0)] * 3, 1, 3, (2400, 2400, 2400)),
    ("(1,0) (1,0) (0,1) (1,0)", _FRESH, 1, None, (2399, 2392, 2360)),
    ("the same, then (1,0)", [*_FRESH, (1, 0)], 1, 5, (3199, 3192, 2400)),
    ("(10000,0)", [(10000, 0)], 1, None, (2800, 2000, 1200)),
    ("(10000,0) x 2", [(10000, 0)] * 2, 1, 2, (5600, 4000, 2400)),
    ("[(1,0) (0,800)] x 5000", [(1, 0), (0, 800)] * 5000, 1, None, (0, 0, 0)),
    ("(5,995) repeated", [(5, 995)] * 10, 1, 2, (5600, 0, 0)),
    ("(2,98) repeated", [(2, 98)] * 10, 1, 4, (5600, 3264, 0)),
    ("(13,87) repeated", [(13, 87)] * 10, 1, 2, (5600, 4000, 2400)),
    (
        "(1,0) x 2, (0,0) x 1000, (1,0)",
        [(1, 0)] * 2 + [(0, 0)] * 1000 + [(1, 0)],
        1,
        1003,
        (2400, 2400, 2400),
    ),
    ("scale 5: (4,996) x 2000", [(4, 996)] * 2000, 5, None, (0, 0, 0)),
)
"""Turns as (bad, good), the scale, the turn that fills a bucket, and the points then."""


def run() -> None:
    """Print the tables."""
    rng = np.random.default_rng(20230708)
    _vectors()
    _delays(rng)
    _bound(rng)
    _alarms(rng)
    walks.run(rng)
    onset.run()
    year.run()
    aftermath.run()


def _vectors() -> None:
    rows = []
    for title, turns, scale, wanted, points in VECTORS:
        levels, number = EMPTY, None
        lane, agree = np.zeros((1, len(DRAINS)), dtype=np.int64), True
        for turn, (bad, good) in enumerate(turns, start=1):
            levels, full = buckets.fill(levels, bad, good, scale)
            lane, filled = fill(lane, *(np.array([n]) for n in (bad, good, scale)))
            agree = agree and (*lane[0],) == levels and bool(filled[0]) == full
            if full:
                number = turn
                break
        same = agree and number == wanted and levels == points
        shown = ", ".join(map(str, levels))
        rows.append((title, str(number or "never"), shown, "as wanted" if same else "DIFFERS"))
    report.table("exact vectors, turns as (bad, good)", ("turns", "full at", "points", ""), rows)


def _delays(rng: np.random.Generator) -> None:
    rows = []
    for rate in RATES:
        cells = []
        for share in SHARES:
            found = found_after(rng, rate, share)
            p99 = float(np.percentile(found, 99))
            wide = "" if p99 <= 3 * found.mean() else " !"
            cells.append(f"{found.mean():.3g} s ({p99:.3g}){wide}")
        rows.append((f"{rate:,}", *cells))
    report.table(
        "mean delay to suspicion (99th percentile; ! above 3 x the mean), 4,000 keys a cell",
        ("answers/s", *(f"{share:.1%} bad" for share in SHARES)),
        rows,
    )


def _bound(rng: np.random.Generator) -> None:
    rows = []
    for share in BOUNDED:
        found = found_after(rng, 1, share)
        bound = 1.25 * math.log(ARL0) / divergence(share) + 2
        p99 = float(np.percentile(found, 99)) / found.mean()
        rows.append(
            (
                f"{share:.1%}",
                f"{found.mean():.4g}",
                f"{found.std() / math.sqrt(len(found)):.2g}",
                f"{bound:.4g}",
                f"{found.mean() / bound:.2f}",
                f"{p99:.2f}",
            )
        )
    report.table(
        f"the bound 1.25 x {math.log(ARL0):.2f} / KL + 2 turns, one answer a turn",
        ("share", "mean turns", "+-", "bound", "of it", "p99/mean"),
        rows,
    )


def found_after(
    rng: np.random.Generator, rate: int, share: float, *, keys: int = 4_000
) -> NDArray[np.int64]:
    """Turns until each of so many keys is suspect, buckets empty when the fault begins.

    Args:
        rng: of the answers.
        rate: answers a turn.
        share: of them that are bad, each by a new name.
        keys: how many.
    """
    levels = np.zeros((keys, len(DRAINS)), dtype=np.int64)
    found = np.zeros(keys, dtype=np.int64)
    open_ = np.arange(keys)
    turn = 0
    while open_.size:
        turn += 1
        bad = rng.binomial(rate, share, open_.size).astype(np.int64)
        levels, full = fill(levels, bad, rate - bad, np.ones(open_.size, dtype=np.int64))
        found[open_[full]] = turn
        open_, levels = open_[~full], levels[~full]
    return found


def divergence(p: float, q: float = TOLERATED) -> float:
    """Kullback-Leibler divergence of two Bernoulli laws, in nats."""
    rest = (1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return p * math.log(p / q) + rest


def _alarms(rng: np.random.Generator) -> None:
    often = 10 * TOLERATED
    played = alarms.played(rng, 10, often, keys=1_000, turns=20_000)
    check = alarms.sampled(rng, 10, often)
    rows = [
        (f"{often:.2%}, 10 a second, waited for", *_alarm(played)),
        (f"{often:.2%}, 10 a second, importance sampling", *_alarm(check)),
    ]
    alone = [
        alarms.exact(size, drain, TOLERATED) for size, drain in zip(TIGHT, DRAINS, strict=True)
    ]
    union = alarms.Estimate(turns=1 / sum(1 / turns for turns in alone), error=0.0)
    rows.append((f"{TOLERATED:.2%}, 1 a second, exact, three buckets added", *_alarm(union)))
    for rate in RATES:
        found = alarms.sampled(rng, rate, TOLERATED, excursions=20_000 if rate == 1 else 100_000)
        rows.append((f"{TOLERATED:.2%}, {rate:,} a second, importance sampling", *_alarm(found)))
    for rate in RATES[:3]:
        found = alarms.sampled(rng, rate, TOLERATED, scale=2)
        rows.append((f"{TOLERATED:.2%}, {rate:,} a second, scale 2 (its habit)", *_alarm(found)))
    report.table(
        f"false alarms of the buckets: turns of a key until one (wanted: {ARL0:.3g})",
        ("tolerated share, answers", "turns", "+-", f"years with {KEYS:,} keys"),
        rows,
    )


def _alarm(found: alarms.Estimate) -> tuple[str, str, str]:
    error = f"{found.relative:.0%}" if found.error else "0"
    return f"{found.turns:.3g}", error, f"{found.turns / KEYS / YEAR:.3g}"
