"""Which sites an address may be sent to: what is proven good, or in use and not turned bad."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge.compare import candidates, standing
from steering.world import World

Mask = NDArray[np.bool_]


def proven(world: World, asked: Mask) -> Mask:
    """(A, P) where traffic of the addresses asked for may go."""
    ledger, layout, now = world.ledger, world.layout, world.now
    if not asked.any():
        return np.zeros(layout.shape, dtype=np.bool_)
    ways = candidates(ledger, layout, now)
    steered = np.flatnonzero(world.plan)
    if steered.size:
        columns = world.plan[steered]
        # If the local path fell silent meanwhile it may be all paths, and only some asked since.
        old = ledger.answered[steered] < ledger.silent_since[steered, :1]
        ways[steered] &= ~old
        ways[steered, columns] |= standing(ledger, layout, now)[steered, columns]
    return np.asarray(ways & (world.avoid_until <= now) & asked[:, None])
