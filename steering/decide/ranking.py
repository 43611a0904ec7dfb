"""Which proven site is the best.

In this order: failing share, the policy's own order, staying where we are, spare capacity, RTT,
name. What is measured counts in steps, so that noise does not reorder. At the border of two steps
it would all the same, so RTT and capacity come after staying, and three things hold the failing
share still:

- Who chooses anew goes by the answers of all of his group together, one of them free: a lone lost
  packet is no share, and what moves together chooses alike.
- The site in use is worse only when it is so clearly, by two standard deviations of what was
  counted (`SURE`).
- It is left for another, by failing share or by order, only when that one answered well so many
  times in a row (`LASTING`) that no site whose loss would ever have it left does: between two
  sites that lose packets alike nothing goes back and forth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

RTT_STEP_FROM = 0.005
"""Round-trip times count in octaves from 5 ms."""
RTT_STEPS = 16
FAILING_STEPS = (0.01, 0.1)
"""Failing shares that a proven path may have and yet be worse than another by a step."""
LONE = 1.0
"""So many bad answers say nothing of a share."""
SURE = 2.0
"""Standard deviations by which the site in use is worse. Of answers that fade with their time
half as many vary as are counted, so it is more than that."""
LASTING = 100
"""Good answers in a row for which a proven site in use is left: a loss of 3 % lets one in twenty
sequences be that long, one of 7 % one in 1,400, and less than that is hardly ever left."""
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
        failing: (N, P) steps of the failing share (`failing`).
        busy: (P,) sites of which more than half of the room is taken.
    """
    if not proven.size:
        return np.zeros(proven.shape)
    with np.errstate(invalid="ignore"):
        octave = np.frexp(rtt / RTT_STEP_FROM)[1]
    step = np.where(np.isnan(rtt), RTT_STEPS, np.clip(octave, 0, RTT_STEPS))
    columns = np.arange(len(paths))
    cost = order * 2 + (columns[None, :] != plan[:, None])
    if failing is not None:
        cost += failing.astype(np.int64) * 2 * (int(order.max()) + 1)
    cost *= 2
    if busy is not None:
        cost += busy
    cost *= RTT_STEPS + 1
    cost += step
    cost *= len(paths)
    cost += np.argsort(np.argsort(np.array(paths)))
    return np.where(proven, cost, np.inf)


def failing(
    bad: Floats, answers: Floats, healthy: Mask, group: NDArray[np.int64], plan: NDArray[np.int64]
) -> NDArray[np.int8]:
    """(N, P) steps of the failing share, for `costs`.

    Args:
        bad: (N, P) bad answers of late.
        answers: (N, P) all answers of late.
        healthy: (N, P) paths whose answers are pooled.
        group: (N,) what moves together.
        plan: (N,) column each address takes now.
    """
    surely = failing_steps(bad, answers, SURE)
    if not bad.any():
        return surely
    steps = np.maximum(
        surely, failing_steps(pooled(bad, healthy, group), pooled(answers, healthy, group))
    )
    rows = np.arange(len(plan))
    steps[rows, plan] = surely[rows, plan]
    return steps


def pooled(values: Floats, where: Mask, group: NDArray[np.int64]) -> Floats:
    """(N, P) the sum of the values in `where` over each one's group."""
    members, place = np.unique(group, return_inverse=True)
    sums = np.zeros((len(members), values.shape[1]))
    np.add.at(sums, place, np.where(where, values, 0.0))
    return np.asarray(sums[place])


def failing_steps(bad: Floats, answers: Floats, sure: float = 0.0) -> NDArray[np.int8]:
    """How many of the steps the failing share has passed, given bad and all answers of late.

    `sure` is by how many standard deviations.
    """
    least = bad - LONE - sure * np.sqrt(bad)
    steps = np.zeros(bad.shape, dtype=np.int8)
    for share in FAILING_STEPS:
        steps += least > answers * share
    return steps


def lasting(
    proven: Mask, plan: NDArray[np.int64], run: NDArray[np.int64], group: NDArray[np.int64]
) -> Mask:
    """(N, P) the proven paths to choose from: one in use that is proven is left only for those that
    have answered well for long, half of its group at the least.

    Args:
        proven: (N, P) paths proven good right now.
        plan: (N,) column each address takes now.
        run: (N, P) good answers in a row.
        group: (N,) what moves together.
    """
    rows = np.arange(len(plan))
    content = (plan > 0) & proven[rows, plan]
    found = proven.copy()
    for one in np.unique(group[content]).tolist():
        mine = content & (group == one)
        found[mine] &= np.median(run[mine], axis=0) >= LASTING
    found[rows[content], plan[content]] = True
    return found


def best(cost: Floats) -> NDArray[np.int64]:
    """(N,) column of the least cost of each address, 0 where nothing is proven."""
    if not cost.size:
        return np.zeros(len(cost), dtype=np.int64)
    choice = np.asarray(np.argmin(cost, axis=1))
    return np.where(np.isfinite(cost[np.arange(len(cost)), choice]), choice, 0)
