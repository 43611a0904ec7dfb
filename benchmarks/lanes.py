"""The buckets of many keys at once, a lane a key: what the agent's own code makes of each alone.

`detector` prints whether both give the same, and `test_buckets.py` draws lanes at random.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge.known.buckets import DRAINS, LOOSE, TIGHT, TOKEN

Points = NDArray[np.int64]

_DRAINS = np.array(DRAINS, dtype=np.int64)
_TIGHT, _LOOSE = np.array(TIGHT, dtype=np.int64), np.array(LOOSE, dtype=np.int64)


def fill(
    levels: Points, bad: NDArray[np.int64], good: NDArray[np.int64], scale: NDArray[np.int64]
) -> tuple[Points, NDArray[np.bool_]]:
    """One turn of many keys, as `buckets.fill`.

    Args:
        levels: points, shape (n, 3).
        bad: new failing names of this turn, shape (n,).
        good: good answers of this turn, shape (n,).
        scale: see `buckets.scale_for`, shape (n,), at least 1.

    Returns:
        The new levels, shape (n, 3), and which keys have a full bucket, shape (n,).
    """
    sizes = np.where((scale == 1)[:, None], _TIGHT, _LOOSE)
    gain = (bad * TOKEN)[:, None] - (good * scale)[:, None] * _DRAINS
    new = np.clip(levels + np.minimum(gain, sizes // 2), 0, sizes)
    return new, (new >= sizes).any(axis=1)
