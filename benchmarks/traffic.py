"""Synthetic traffic of one address, as every rule compared in `year` and `onset` sees it.

Ten answers a second on average, ten times as many at the height of the day as at night. An
answer is an index; its time follows from how many come by then. Some are bad:

- *background*: a share of 1e-4 that drifts between a third and three times that within weeks;
  each by a name of its own. The share of a healthy upstream is lower; this is hard on a rule.
- *bursts*, one a week and address: names of customers that break, one or a few of them
  (geometric, two on average), in 1 to 50 % of all answers (log-uniform) for ten minutes on
  average (exponential). A rule that counts answers takes them for an outage.
- a *fault*, where there is one: a share of all answers, each by a name of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

DAY = 86_400
RATE = 10.0
SWING = 10.0
PER_DAY = int(RATE * DAY)

BACKGROUND = 1e-4
DRIFT = 3.0
DRIFT_DAYS = 30.0
BURSTS_A_DAY = 1 / 7
BURST_NAMES = 2.0
BURST_SHARE = (0.01, 0.5)
BURST_SECONDS = 600.0

_AMPLITUDE = (SWING - 1) / (SWING + 1)
_TIMES = np.arange(0, DAY + 1, 15.0)
_ANSWERS = RATE * (_TIMES + _AMPLITUDE * DAY / (2 * np.pi) * (1 - np.cos(2 * np.pi * _TIMES / DAY)))


def answers_by(seconds: Floats) -> Floats:
    """How many answers have come by so many seconds after a midnight."""
    days, rest = np.divmod(seconds, DAY)
    return np.asarray(days * PER_DAY + np.interp(rest, _TIMES, _ANSWERS))


def time_of(answer: Counts) -> Floats:
    """Seconds after that midnight at which an answer comes."""
    days, rest = np.divmod(answer, PER_DAY)
    return np.asarray(days * float(DAY) + np.interp(rest, _ANSWERS, _TIMES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """The bad answers of one address, in order."""

    index: Counts
    """Which answers."""
    new: NDArray[np.bool_]
    """Whether its name has not failed within the hour."""


def quiet(rng: np.random.Generator, days: int) -> Bad:
    """So many days without a fault: background and bursts."""
    turn = 2 * np.pi * (np.arange(days) / DRIFT_DAYS + rng.random())
    share = BACKGROUND * DRIFT ** np.sin(turn)
    parts = [
        day * PER_DAY + rng.choice(PER_DAY, rng.binomial(PER_DAY, p), replace=False)
        for day, p in enumerate(share.tolist())
    ]
    index, name = [np.concatenate(parts)], [np.full(sum(map(len, parts)), -1)]
    for number in range(rng.poisson(days * BURSTS_A_DAY)):
        hit = _burst(rng, days)
        index.append(hit)
        own = rng.integers(0, rng.geometric(1 / BURST_NAMES), len(hit))
        name.append(number * 1_000 + own)
    return _in_order(np.concatenate(index), np.concatenate(name))


def _burst(rng: np.random.Generator, days: int) -> Counts:
    low, high = np.log(BURST_SHARE)
    share = np.exp(rng.uniform(low, high))
    begins = rng.uniform(0, days * DAY)
    ends = min(begins + rng.exponential(BURST_SECONDS), days * DAY)
    first, last = answers_by(np.array([begins, ends])).astype(np.int64).tolist()
    return np.asarray(first + np.flatnonzero(rng.random(last - first) < share))


def _in_order(index: Counts, name: Counts) -> Bad:
    """Each bad answer once, and whether its name is new: -1 always is, others once an hour."""
    index, place = np.unique(index, return_index=True)
    name = name[place]
    new = name < 0
    times = time_of(index)
    for one in np.unique(name[~new]).tolist():
        at = np.flatnonzero(name == one)
        counted = -np.inf
        for i in at[np.flatnonzero(np.diff(times[at] // 3600, prepend=-1))].tolist():
            if times[i] - counted >= 3600:
                new[i], counted = True, times[i]
    return Bad(index=index, new=new)
