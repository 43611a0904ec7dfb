"""Confirmation and recovery are random walks: their odds exactly, and by the agent's own code."""

from __future__ import annotations

import math

import numpy as np

from benchmarks import report
from steering.judge.known.paired_test import (
    BAD_HERE,
    BAD_THERE,
    CONFIRM_AT,
    REJECT_AFTER,
    Confirmation,
    Trial,
)
from steering.judge.known.recovery import Bucket

PAIRS = 20
"""Pairs a second of a trial: both families of two letters at the fast interval."""
PROBES = 5
"""Own questions a second to an upstream whose traffic is away."""
AWAY = 12 * 3600


def run(rng: np.random.Generator) -> None:
    """Print the tables."""
    _equal_faults(rng)
    _real_faults(rng)
    _recovery(rng)


def _equal_faults(rng: np.random.Generator) -> None:
    rows = []
    for rate in (0.003, 0.02, 0.13, 0.5, 0.9):
        here = rate * (1 - rate)  # both paths fail independently at the same rate
        rows.append(
            (
                f"equal fault, {rate:.1%}",
                f"{confirms(1 - 2 * here, here):.2e}",
                _walked(rng, 400_000, equal=1 - 2 * here, here=here),
            )
        )
    rows.append(
        (
            "the worst walk there is: every pair differs",
            f"{confirms(0, 0.5):.2e}",
            _walked(rng, 400_000, equal=0.0, here=0.5),
        )
    )
    report.table(
        f"confirmed although the paths are alike, within {REJECT_AFTER} pairs (wanted: <= 7e-4)",
        ("fault", "exact", "simulated"),
        rows,
    )


def _real_faults(rng: np.random.Generator) -> None:
    rows = []
    for planted in (0.0, 0.5, 0.9):
        trials = [_trial(rng, planted) for _ in range(1_000)]
        right = sum(trial.result is Confirmation.CONFIRMED for trial in trials)
        pairs = [trial.pairs for trial in trials]
        rows.append(
            (
                f"{planted:.0%}",
                f"{right / len(trials):.1%}",
                f"{np.mean(pairs):.0f}",
                f"{np.mean(pairs) / PAIRS:.1f} s",
                f"{np.percentile(pairs, 99) / PAIRS:.1f} s",
            )
        )
    report.table(
        f"a real fault, every name fails here; planted ones fail there too; {PAIRS} pairs/s",
        ("planted names", "confirmed", "pairs", "mean", "p99"),
        rows,
    )


def _trial(rng: np.random.Generator, planted: float) -> Trial:
    trial = Trial(candidate="pao", since=0.0)
    while trial.result is Confirmation.OPEN:
        trial = trial.pair(bad_here=True, bad_there=bool(rng.random() < planted))
    return trial


def confirms(equal: float, here: float) -> float:
    """The chance that a trial confirms, as an absorbing Markov chain.

    Args:
        equal: chance of a pair that is equal on both paths.
        here: chance of one that is bad here and good there.
    """
    lowest = BAD_THERE * REJECT_AFTER
    mass = np.zeros(CONFIRM_AT - lowest)
    mass[-lowest] = 1.0
    confirmed = 0.0
    for _ in range(REJECT_AFTER):
        after = mass * equal
        after[BAD_HERE:] += mass[:-BAD_HERE] * here
        after[:BAD_THERE] += mass[-BAD_THERE:] * (1 - equal - here)
        confirmed += float(mass[-1]) * here
        mass = after
    return confirmed


def _walked(rng: np.random.Generator, trials: int, *, equal: float, here: float) -> str:
    score = np.zeros(trials, dtype=np.int16)
    confirmed = 0
    for _ in range(REJECT_AFTER):
        drawn = rng.random(score.size, dtype=np.float32)
        score += np.where(drawn < here, BAD_HERE, 0).astype(np.int16)
        score += np.where(drawn >= here + equal, BAD_THERE, 0).astype(np.int16)
        done = score >= CONFIRM_AT
        confirmed += int(done.sum())
        score = score[~done]
    return f"{confirmed / trials:.2e} +- {math.sqrt(max(confirmed, 1)) / trials:.0e}"


def _recovery(rng: np.random.Generator) -> None:
    share, probes = 0.005, PROBES * AWAY
    rows = [
        (
            "bucket of 1,600, fresh names only",
            f"{empties(share, probes):.2g}",
            _emptied(rng, share, probes, runs=2_000),
        ),
        (
            "the same, every other name a witness",
            f"{empties((1 + share) / 2, probes):.2g}",
            _emptied(rng, (1 + share) / 2, 10_000, runs=100),
        ),
        (
            "three in a row",
            f"{probes / _until_in_a_row(3, 1 - share):,.0f}",
            f"{_in_a_row(rng, share, probes):,.0f}",
        ),
    ]
    report.table(
        f"premature rollbacks in 12 h at a remaining {share:.1%}, {PROBES} probes/s",
        ("rule", "exact", "simulated"),
        rows,
    )
    for points, start in ((1_600, "at once"), (2_400, "with three tokens in it")):
        print(f"  clean answers after the fix, bucket {start}: {points}, {points / PROBES:.0f} s")


def empties(share: float, probes: int) -> float:
    """Times the recovery bucket is empty within so many probes, refilled each time, exactly.

    The whole distribution of the points is carried along; from three tokens it is so long a
    way down that it soon stands still, and what leaves it in one probe is the same ever after.
    """
    bucket = Bucket.start(1600)
    mass = np.zeros(3 * bucket.token + 1)
    mass[bucket.points] = 1.0
    emptied = 0.0
    for done in range(1, probes + 1):
        after = np.zeros_like(mass)
        after[:-1] = mass[1:] * (1 - share)
        after[bucket.token :] += mass[: -bucket.token] * share
        after[-1] += mass[-bucket.token :].sum() * share
        leaves = float(after[0])
        after[0] = 0.0
        after[bucket.points] += leaves
        emptied += leaves
        if done % 1_000 == 0 and np.abs(after - mass).max() < 1e-15:
            return emptied + (probes - done) * leaves
        mass = after
    return emptied


def _emptied(rng: np.random.Generator, share: float, probes: int, *, runs: int) -> str:
    """The same with the agent's own bucket: runs of clean answers between bad ones."""
    emptied = 0
    for _ in range(runs):
        bucket, left = Bucket.start(1600), probes
        while left > 0:
            clean = min(left, int(rng.geometric(share)) - 1)
            left -= clean + 1
            while clean >= bucket.points:
                emptied, clean, bucket = emptied + 1, clean - bucket.points, Bucket.start(1600)
            bucket = bucket.count(clean=clean).count(bad=1)
    return f"{emptied / runs:.2g} +- {math.sqrt(max(emptied, 1)) / runs:.0e}"


def _until_in_a_row(number: int, chance: float) -> float:
    """Mean trials until so many successes in a row (Feller, vol. I, XIII.7)."""
    return (chance**-number - 1) / (1 - chance)


def _in_a_row(rng: np.random.Generator, share: float, probes: int) -> float:
    found = run_ = 0
    for bad in (rng.random(probes) < share).tolist():
        run_ = 0 if bad else run_ + 1
        if run_ == 3:
            found, run_ = found + 1, 0
    return found
