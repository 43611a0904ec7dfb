"""Nowhere to go: which sites are asked fast for those whose local path is left, and no site fit.

They are on a bad path for as long as it takes to see that a site is fit again. So a site that
answers again is asked fast until it has answered well for long enough, and so is one that is
healthy and fails more than the local path, since few answers tell no share from another. A site
that is silent is asked fast for few addresses and for some minutes; then the slow round finds it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from steering.decide.proven import gives_way
from steering.judge.ledger import SILENCES
from steering.layout import CLASSES
from steering.model import Health, Seconds, Verdict
from steering.world import World

PATIENCE: Seconds = 300.0
"""How long a silent site is asked fast: most outages of a link are shorter."""
SCOUTS = 8
"""Addresses for which silent sites are asked fast. Where one is answered the others follow."""

_ANSWERED = [CLASSES.index(kind) for kind in (Verdict.BOGUS, Verdict.ERROR)]


def nowhere(world: World) -> Mapping[int, frozenset[int]]:
    """Row -> columns of the sites to ask fast for it."""
    board, ledger, layout = world.board, world.ledger, world.layout
    if board is None or world.off:
        return {}
    left = (board.own | board.breached) & (world.plan == 0) & ~board.ordered
    rows = np.flatnonzero(left & ~board.proven.any(axis=1))
    if not rows.size:
        return {}
    health = ledger.health[rows]
    avoided = (world.avoid_until > world.now) & ~gives_way(world)
    fit = (health == Health.HEALTHY) & ~avoided[rows]
    ill = (health != Health.HEALTHY) & (health != Health.STALE)
    back = ill & _recovers(world, rows)
    silent = ill & (ledger.streak[rows] >= SILENCES)
    silent &= world.now - ledger.silent_since[rows] < PATIENCE
    usable = (layout.order[rows] >= 0) & ~board.banned[rows]
    usable[:, 0] = False
    scouts = (silent & usable).any(axis=1)
    scouts &= np.cumsum(scouts) <= SCOUTS
    asked = fit | back | (silent & scouts[:, None]) | (ill & (back & usable).any(axis=0))
    asked &= usable
    return {
        int(rows[i]): frozenset(np.flatnonzero(asked[i]).tolist())
        for i in np.flatnonzero(asked.any(axis=1)).tolist()
    }


def _recovers(world: World, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(rows, P) paths whose last answer was good, or that answered just now and lost the rest.

    The last losses of an outage become known after the first answers.
    """
    ledger, layout = world.ledger, world.layout
    lost = ~ledger.levels[_ANSWERED][:, rows].any(axis=(0, -1))
    just_now = world.now - ledger.answered[rows] < 2 * layout.timeout
    return np.asarray((ledger.run[rows] > 0) | (just_now & lost))
