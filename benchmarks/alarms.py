"""How rare a false alarm of the breach detector is: exactly, by importance sampling, directly.

A key's buckets are empty most of the time, so alarms are counted in *excursions*: from the
first failing answer into empty buckets until they are empty again, or one is full. With a
chance of q that an excursion ends in an alarm, a key waits (1/s + L)/q turns for one, where s
is the chance that an excursion begins in a turn and L its mean length (renewal theory).

q is about 1e-8 and too small to be met by chance. Importance sampling plays the excursions
with more failing answers than there are (exponential tilting, Siegmund 1976) and weighs each
alarm with the exact ratio of the two likelihoods. A bucket is tilted by the root of
p e^(800 t) + (1-p) e^(-drain t) = 1; each excursion draws one of the three tilts, and is
weighed against their mixture. All of it runs `lanes.fill`: what the agent's own code does, at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.lanes import fill
from steering.judge.known.buckets import DRAINS, TOKEN

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Mean turns of one key from empty buckets to a false alarm, with its standard error."""

    turns: float
    error: float

    @property
    def relative(self) -> float:
        """The standard error as a part of the estimate."""
        return self.error / self.turns


def exact(size: int, drain: int, share: float) -> float:
    """Mean answers until one bucket alone is full, one answer a turn, scale 1.

    The level rises by a token or falls by one step, so it cannot pass a level on its way down
    without being on it: `up[i]`, the chance to be full before ever being one step below i, is
    had from the levels above it, from the top down, without any cancellation.
    """
    token, top = TOKEN // drain, size // drain
    up = np.ones(top + token + 1)
    for i in range(top - 1, 0, -1):
        falls = _product(up[i + 1 : i + token + 1])
        up[i] = share * (1 - falls) / (1 - share * falls)
    full = -math.expm1(float(np.log1p(-up[1 : token + 1]).sum()))
    length = token / (1 - share - share * token)  # Wald: the way down over the drift
    return (1 / share + length) / full


def _product(up: Floats) -> float:
    return 0.0 if (up >= 1).any() else math.exp(float(np.log1p(-up).sum()))


def tilt(drain: int, share: float) -> float:
    """The share of failing answers under which a bucket fills as it does by bad luck."""
    low, high = math.log(2) / TOKEN, 20 / TOKEN
    for _ in range(100):
        middle = (low + high) / 2
        mass = share * math.exp(middle * TOKEN) + (1 - share) * math.exp(-middle * drain)
        low, high = (middle, high) if mass < 1 else (low, middle)
    return min(0.9, share * math.exp(low * TOKEN))


def sampled(
    rng: np.random.Generator, rate: int, share: float, *, scale: int = 1, excursions: int = 20_000
) -> Estimate:
    """The estimate by importance sampling.

    Args:
        rng: of the excursions.
        rate: answers a turn.
        share: of failing answers, each by a new name.
        scale: of the buckets.
        excursions: to play under the tilts, and again to measure their true length.
    """
    tilts = np.array([tilt(drain * scale, share) for drain in DRAINS])
    drawn = tilts[rng.integers(0, len(tilts), excursions)]
    weights, _ = _play(rng, rate, drawn, share=share, tilts=tilts, scale=scale)
    untilted = np.full(excursions, share)
    _, length = _play(rng, rate, untilted, share=share, tilts=untilted[:1], scale=scale)
    begins = -math.expm1(rate * math.log1p(-share))
    chance, error = float(weights.mean()), float(weights.std() / math.sqrt(excursions))
    turns = (1 / begins + length) / chance
    return Estimate(turns=turns, error=turns * error / chance)


def _play(
    rng: np.random.Generator, rate: int, drawn: Floats, *, share: float, tilts: Floats, scale: int
) -> tuple[Floats, float]:
    """Likelihood ratio of each excursion that ends in an alarm, else 0; and the mean length."""
    weights = np.zeros(len(drawn))
    lane = np.arange(len(drawn))
    bad = _first(rng, rate, drawn)
    levels = np.zeros((len(drawn), len(DRAINS)), dtype=np.int64)
    # Log of the likelihood under each tilt over that under `share`; both begin with a failure.
    ratio = np.log(np.expm1(rate * np.log1p(-share)) / np.expm1(rate * np.log1p(-tilts)))
    logs = np.repeat(ratio[None, :], len(drawn), axis=0)
    per_bad, per_good = np.log(tilts / share), np.log1p(-tilts) - math.log1p(-share)
    turns = 0
    while lane.size:
        turns += lane.size
        logs += bad[:, None] * per_bad + (rate - bad)[:, None] * per_good
        levels, full = fill(levels, bad, rate - bad, np.full(lane.size, scale, dtype=np.int64))
        highest = logs[full].max(axis=1, initial=-np.inf)
        mixture = np.exp(logs[full] - highest[:, None]).mean(axis=1)
        weights[lane[full]] = np.exp(-highest) / mixture
        on = ~full & levels.any(axis=1)
        lane, levels, logs = lane[on], levels[on], logs[on]
        bad = rng.binomial(rate, drawn[lane]).astype(np.int64)
    return weights, turns / len(drawn)


def _first(rng: np.random.Generator, rate: int, share: Floats) -> Counts:
    """Failing answers of a turn that has one at least: the first of them, and those behind it."""
    none = np.log1p(-share)
    some = -np.expm1(rate * none)
    first = np.ceil(np.log1p(-rng.random(len(share)) * some) / none).clip(1, rate).astype(np.int64)
    return 1 + rng.binomial(rate - first, share).astype(np.int64)


def played(rng: np.random.Generator, rate: int, share: float, *, keys: int, turns: int) -> Estimate:
    """The estimate by waiting for it: as many keys, as many turns each, begun anew at an alarm."""
    levels = np.zeros((keys, len(DRAINS)), dtype=np.int64)
    scale = np.ones(keys, dtype=np.int64)
    alarms = 0
    for _ in range(turns):
        bad = rng.binomial(rate, share, keys).astype(np.int64)
        levels, full = fill(levels, bad, rate - bad, scale)
        alarms += int(full.sum())
        levels[full] = 0
    found = keys * turns / alarms
    return Estimate(turns=found, error=found / math.sqrt(alarms))
