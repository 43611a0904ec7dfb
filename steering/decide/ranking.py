"""Which proven site is the best.

In this order: failing share, the policy's order, staying at the present site, spare capacity, RTT,
name. Measurements count in steps, so that noise does not change the order. Near the border of two
steps it still could, so RTT and capacity come after staying, and three rules keep the failing share
stable:

- An address that chooses anew uses the answers of its whole group, and one bad answer is ignored: a
  single lost packet is no share, and a group chooses alike.
- The site in use counts as worse only if it clearly is, by two standard deviations of the counts
  (`SURE`).
- It is left for another, by failing share or by order, only if that one gave so many good answers
  in a row (`LASTING`) as no site with a loss that matters does: between two sites with the same
  loss nothing moves back and forth.
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
"""Failing shares of a proven path at which it gets worse by one step."""
LONE = 1.0
"""So many bad answers are ignored."""
SURE = 2.0
"""Standard deviations by which the site in use is worse. The counts fade with time, which halves
their variance, so it is more than that."""
LASTING = 100
"""Good answers in a row for which a proven site in use is left: with a loss of 3 % one in twenty
sequences is that long, with 7 % one in 1,400, and for less a site is hardly ever left."""
BUSY = 1 / 2
"""A site above this part of its allowed load comes after those below."""


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
    """(N, P) the cost of each path for an address: the least is the best, infinite: not proven.

    Args:
        proven: (N, P) paths proven good right now.
        order: (N, P) the policy's rank, from 0.
        plan: (N,) present column of each address.
        rtt: (N, P) seconds, NaN where unknown.
        paths: names of the columns.
        failing: (N, P) steps of the failing share (`failing`).
        busy: (P,) sites with more than half of their allowed load.
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
        bad: (N, P) recent bad answers.
        answers: (N, P) all recent answers.
        healthy: (N, P) paths whose answers are pooled.
        group: (N,) the group of each address.
        plan: (N,) present column of each address.
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
    """How many of the steps the failing share has passed, given recent bad and all answers.

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
    """(N, P) the proven paths to choose from: a proven path in use is left only for paths that have
    answered well for long, for at least half of its group.

    Args:
        proven: (N, P) paths proven good right now.
        plan: (N,) present column of each address.
        run: (N, P) good answers in a row.
        group: (N,) the group of each address.
    """
    rows = np.arange(len(plan))
    steered = (plan > 0) & proven[rows, plan]
    found = proven.copy()
    for one in np.unique(group[steered]).tolist():
        mine = steered & (group == one)
        found[mine] &= np.median(run[mine], axis=0) >= LASTING
    found[rows[steered], plan[steered]] = True
    return found


def best(cost: Floats) -> NDArray[np.int64]:
    """(N,) column of the least cost of each address, 0 where nothing is proven."""
    if not cost.size:
        return np.zeros(len(cost), dtype=np.int64)
    choice = np.asarray(np.argmin(cost, axis=1))
    return np.where(np.isfinite(cost[np.arange(len(cost)), choice]), choice, 0)
