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
    failing: NDArray[np.int8] | None = None,
    busy: NDArray[np.bool_] | None = None,
) -> Floats:
    """(N, P) what each path costs an address: the least is the best, infinite is not proven.

    Args:
        proven: (N, P) paths proven good right now.
        order: (N, P) the policy's rank, from 0.
        plan: (N,) column each address takes now.
        rtt: (N, P) seconds, NaN where unknown.
        paths: names of the columns.
        failing: (N, P) steps of the failing share (`failing_steps`).
        busy: (P,) sites of which more than half of the room is taken.
    """
    if not proven.size:
        return np.zeros(proven.shape)
    with np.errstate(invalid="ignore"):
        octave = np.frexp(rtt / RTT_STEP_FROM)[1]
    step = np.where(np.isnan(rtt), RTT_STEPS, np.clip(octave, 0, RTT_STEPS))
    columns = np.arange(len(paths))
    cost = order * 2 + (columns[None, :] != plan[:, None])
    cost *= len(FAILING_STEPS) + 1
    if failing is not None:
        cost += failing
    cost *= 2
    if busy is not None:
        cost += busy
    cost *= RTT_STEPS + 1
    cost += step
    cost *= len(paths)
    cost += np.argsort(np.argsort(np.array(paths)))
    return np.where(proven, cost, np.inf)


def failing_steps(bad: Floats, answers: Floats) -> NDArray[np.int8]:
    """How many of the steps the failing share has passed, given bad and all answers of late."""
    steps = np.zeros(bad.shape, dtype=np.int8)
    for share in FAILING_STEPS:
        steps += bad > answers * share
    return steps


def best(cost: Floats) -> NDArray[np.int64]:
    """(N,) column of the least cost of each address, 0 where nothing is proven."""
    if not cost.size:
        return np.zeros(len(cost), dtype=np.int64)
    choice = np.asarray(np.argmin(cost, axis=1))
    return np.where(np.isfinite(cost[np.arange(len(cost)), choice]), choice, 0)
