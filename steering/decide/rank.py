"""Which proven site is the best.

In this order: the policy's own, staying where we are, health, spare capacity, RTT, name. What
is measured counts in steps, so that noise does not reorder; and after staying, because at the
border of two steps noise would reorder all the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RTT_STEP_FROM = 0.005
"""Round-trip times count in octaves from 5 ms."""
RTT_STEPS = 16
FAILING_STEPS = (0.01, 0.1)
"""Failing shares that a proven path may have and yet be worse than another by a step."""
BUSY = 1 / 2
"""Above this part of what a site may take it comes after those below."""


def costs(
    proven: NDArray[np.bool_],
    order: NDArray[np.int64],
    plan: NDArray[np.int64],
    rtt: Floats,
    paths: tuple[str, ...],
    *,
    share: Floats | None = None,
    busy: NDArray[np.bool_] | None = None,
) -> Floats:
    """(N, P) what each path costs an address: the least is the best, infinite is not proven.

    Args:
        proven: (N, P) paths proven good right now.
        order: (N, P) the policy's rank, from 0.
        plan: (N,) column each address takes now.
        rtt: (N, P) seconds, NaN where unknown.
        paths: names of the columns.
        share: (N, P) failing share of late, NaN where unknown.
        busy: (P,) sites of which more than half of the room is taken.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        octave = np.floor(np.log2(rtt / RTT_STEP_FROM)) + 1
    step = np.clip(np.nan_to_num(octave, nan=RTT_STEPS), 0, RTT_STEPS)
    columns = np.arange(len(paths))
    cost = order * 2.0 + (columns[None, :] != plan[:, None])
    cost *= len(FAILING_STEPS) + 1
    if share is not None:
        cost += np.searchsorted(FAILING_STEPS, np.nan_to_num(share))
    cost *= 2
    if busy is not None:
        cost += busy
    cost = cost * (RTT_STEPS + 1) + step
    cost = cost * (len(paths) + 1) + np.argsort(np.argsort(np.array(paths)))
    return np.where(proven, cost, np.inf)


def best(cost: Floats) -> NDArray[np.int64]:
    """(N,) column of the least cost of each address, 0 where nothing is proven."""
    if not cost.size:
        return np.zeros(len(cost), dtype=np.int64)
    choice = np.asarray(np.argmin(cost, axis=1))
    return np.where(np.isfinite(cost[np.arange(len(cost)), choice]), choice, 0)
