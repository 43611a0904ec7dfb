"""Groups: which addresses move together (`together: address | nameserver | upstream`).

A breached address moves. The others of its group move too when more than half of the group is
breached, and stay steered until less than a quarter is: one bad nameserver is no reason to move
twelve good ones, and a group does not return in halves. A family without a breach stays: a fault of
IPv6 alone moves IPv6 alone, however many addresses each family has.

While others of the group are on trial, the move of a breached address waits a moment for them, so
that both families and all nameservers move in one plan.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.model import Instant, Seconds

OPENS_ABOVE = 1 / 2
CLOSES_BELOW = 1 / 4
SETTLE: Seconds = 1.0
"""The longest that a move waits for the trials of its group."""

Mask = NDArray[np.bool_]


def open_groups(was: Mask, group_of: NDArray[np.int64], own: Mask) -> Mask:
    """Which groups move as a whole, given those that did and which addresses are breached."""
    if not was.size:
        return was
    size = np.bincount(group_of, minlength=was.size)
    share = np.bincount(group_of, weights=own, minlength=was.size) / size
    return np.asarray(np.where(was, share >= CLOSES_BELOW, share > OPENS_ABOVE) & (size > 1))


def reach(
    groups: Mask, group_of: NDArray[np.int64], family_of: NDArray[np.int64], own: Mask
) -> Mask:
    """(A,) the addresses that move: breached themselves, or with their group."""
    if not groups.any():
        return own
    half = group_of * 2 + family_of
    touched = np.bincount(half, weights=own, minlength=2 * groups.size) > 0
    return np.asarray(own | (groups[group_of] & touched[half]))


def settling(
    group_of: NDArray[np.int64],
    own: Mask,
    on_trial: Mask,
    confirmed_at: NDArray[np.float64],
    now: Instant,
) -> Mask:
    """(A,) addresses whose move waits: breached just now, with others of the group on trial."""
    recent: Mask = own & (now - confirmed_at < SETTLE)
    if not recent.any():
        return recent
    tried = np.bincount(group_of[on_trial], minlength=int(group_of.max(initial=-1)) + 1) > 0
    return np.asarray(recent & tried[group_of])
