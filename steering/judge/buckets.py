"""The breach detector "7-5-3": which share of failing answers makes a path suspect.

Every (address, path) has three leaky buckets of 7, 5 and 3 tokens. Each new name that
comes back bad drops one token into all three; every good answer drains them by 1/800,
1/100 and 1/20 token. A full bucket makes the key suspect. They are three Bernoulli CUSUMs
(Page 1954) written in integers, sensitive from a failing share of 0.3 %, 1.5 % and 10 %.

Points, not tokens, are counted: 800 points to a token, so that all arithmetic is exact.
The agent uses `fill`, for any number of keys at once. `fill_one` does the same for one key in
plain Python; tests compare `fill` with it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int64]

TOKEN = 800
DRAINS = (1, 8, 40)
"""Points that one good answer takes from each bucket, times the scale."""

TIGHT = (7 * TOKEN, 5 * TOKEN, 3 * TOKEN)
LOOSE = (8 * TOKEN, 6 * TOKEN, 4 * TOKEN)
"""Sizes while the scale is 1, and above: a scaled bucket drains in coarser steps and needs
a token more for the same rate of false alarms."""

TOLERATED = 1e-4
"""The share of failing answers that is always there and no fault."""

_DRAINS = np.array(DRAINS, dtype=np.int64)
_TIGHT = np.array(TIGHT, dtype=np.int64)
_LOOSE = np.array(LOOSE, dtype=np.int64)


class Levels(NamedTuple):
    """The points in one key's three buckets."""

    slow: int
    middle: int
    quick: int


EMPTY = Levels(0, 0, 0)


def scale_for(tolerated: float, failure_rate: float) -> int:
    """The scale of a key: how much faster than by default its buckets drain.

    Args:
        tolerated: the share (0 to 1) of failing answers that is normal for this key.
        failure_rate: the policy's least share worth acting on (0 to 1); 0.3 % is scale 1.
    """
    # The nudge keeps 0.009/0.003 at 3: the division is of decimals, not of binary floats.
    return max(1, math.ceil(tolerated / TOLERATED - 1e-9), math.floor(failure_rate / 0.003 + 1e-9))


def fill_one(levels: Levels, bad: int, good: int, scale: int = 1) -> tuple[Levels, bool]:
    """One turn of one key: the new levels, and whether a bucket is full.

    One turn's gain is capped at half a bucket, so that one turn alone never fills one.
    """
    new = []
    full = False
    for level, drain, size in zip(levels, DRAINS, TIGHT if scale == 1 else LOOSE, strict=True):
        gain = min(bad * TOKEN - good * drain * scale, size // 2)
        point = max(0, min(level + gain, size))
        new.append(point)
        full = full or point >= size
    return Levels(*new), full


def fill(
    levels: Points,
    bad: NDArray[np.int64],
    good: NDArray[np.int64],
    scale: NDArray[np.int64],
) -> tuple[Points, NDArray[np.bool_]]:
    """One turn of many keys.

    Args:
        levels: points, shape (n, 3).
        bad: new failing names of this turn, shape (n,).
        good: good answers of this turn, shape (n,).
        scale: see `scale_for`, shape (n,), at least 1.

    Returns:
        The new levels, shape (n, 3), and which keys have a full bucket, shape (n,).
    """
    sizes = np.where((scale == 1)[:, None], _TIGHT, _LOOSE)
    gain = (bad * TOKEN)[:, None] - (good * scale)[:, None] * _DRAINS
    new = np.clip(levels + np.minimum(gain, sizes // 2), 0, sizes)
    return new, (new >= sizes).any(axis=1)
