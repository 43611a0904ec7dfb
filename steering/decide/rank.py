"""Which proven site is the best: policy order, stay where we are, RTT in steps, name.

RTT counts in octaves from 5 ms, so that noise does not reorder, and after staying: at the
border of two octaves noise would reorder all the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RTT_STEP_FROM = 0.005
STEPS = 16


def best(
    proven: NDArray[np.bool_],
    order: NDArray[np.int64],
    plan: NDArray[np.int64],
    rtt: NDArray[np.float64],
    paths: tuple[str, ...],
) -> NDArray[np.int64]:
    """(A,) column of the best proven path of each address, 0 where there is none.

    Args:
        proven: (A, P) paths proven good right now.
        order: (A, P) the policy's rank, from 0.
        plan: (A,) column each address takes now.
        rtt: (A, P) seconds, NaN where unknown.
        paths: names of the columns.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        octave = np.floor(np.log2(rtt / RTT_STEP_FROM)) + 1
    step = np.clip(np.nan_to_num(octave, nan=STEPS), 0, STEPS)
    by_name = np.argsort(np.argsort(np.array(paths)))
    columns = np.arange(len(paths))
    away = columns[None, :] != plan[:, None]
    width = len(paths) + 1
    cost = ((order * 2 + away) * (STEPS + 1) + step) * width + by_name
    cost = np.where(proven, cost, np.inf)
    choice = np.asarray(np.argmin(cost, axis=1))
    return np.where(proven.any(axis=1), choice, 0)
