"""The breach detector "7-5-3": which share of failing answers makes a path suspect.

Every (address, path) has three leaky buckets of 7, 5 and 3 tokens. Each new name that
comes back bad drops one token into all three; every good answer drains them by 1/800,
1/100 and 1/20 token. A full bucket makes the key suspect. They are three Bernoulli CUSUMs
(Page 1954) written in integers, sensitive from a failing share of 0.3 %, 1.5 % and 10 %.

Points, not tokens, are counted: 800 points to a token, so that all arithmetic is exact.
"""

from __future__ import annotations

import math
from typing import NamedTuple

TOKEN = 800
DRAINS = (1, 8, 40)
"""Points that one good answer takes from each bucket, times the scale."""

TIGHT = (7 * TOKEN, 5 * TOKEN, 3 * TOKEN)
LOOSE = (8 * TOKEN, 6 * TOKEN, 4 * TOKEN)
"""Sizes while the scale is 1, and above: a scaled bucket drains in coarser steps and needs
a token more for the same rate of false alarms."""

TOLERATED = 1e-4
"""The share of failing answers that is always there and no fault."""


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


def fill(levels: Levels, bad: int, good: int, scale: int = 1) -> tuple[Levels, bool]:
    """One turn of one key: the new levels, and whether a bucket is full.

    One turn's gain is capped at half a bucket, so that one turn alone never fills one.

    Args:
        levels: points in each bucket.
        bad: new failing names of this turn.
        good: good answers of this turn.
        scale: see `scale_for`; at least 1.
    """
    if not bad and levels == EMPTY:
        return EMPTY, False  # good answers drain nothing from empty buckets
    new = []
    full = False
    for level, drain, size in zip(levels, DRAINS, TIGHT if scale == 1 else LOOSE, strict=True):
        gain = min(bad * TOKEN - good * drain * scale, size // 2)
        point = max(0, min(level + gain, size))
        new.append(point)
        full = full or point >= size
    return Levels(*new), full
