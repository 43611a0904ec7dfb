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

from steering.decide.state import State
from steering.decide.usable_sites import gives_way
from steering.judge.ledger import SILENCES
from steering.layout import CLASSES
from steering.model import Health, Seconds, Verdict

PATIENCE: Seconds = 300.0
"""How long a silent site is asked fast: most outages of a link are shorter."""
SCOUTS = 8
"""Addresses for which silent sites are asked fast. Where one is answered the others follow."""

_ANSWERED = [CLASSES.index(kind) for kind in (Verdict.BOGUS, Verdict.ERROR)]


def nowhere(state: State) -> Mapping[int, frozenset[int]]:
    """Row -> columns of the sites to ask fast for it."""
    situation, ledger, layout = state.situation, state.ledger, state.layout
    if situation is None or state.off:
        return {}
    left = (situation.own | situation.breached) & (state.plan == 0) & ~situation.ordered
    rows = np.flatnonzero(left & ~situation.proven.any(axis=1))
    if not rows.size:
        return {}
    health = ledger.health[rows]
    avoided = (state.avoid_until > state.now) & ~gives_way(state)
    fit = (health == Health.HEALTHY) & ~avoided[rows]
    ill = (health != Health.HEALTHY) & (health != Health.STALE)
    back = ill & _recovers(state, rows)
    silent = ill & (ledger.streak[rows] >= SILENCES)
    silent &= state.now - ledger.silent_since[rows] < PATIENCE
    usable = (layout.order[rows] >= 0) & ~situation.banned[rows]
    usable[:, 0] = False
    scouts = (silent & usable).any(axis=1)
    scouts &= np.cumsum(scouts) <= SCOUTS
    asked = fit | back | (silent & scouts[:, None]) | (ill & (back & usable).any(axis=0))
    asked &= usable
    return {
        int(rows[i]): frozenset(np.flatnonzero(asked[i]).tolist())
        for i in np.flatnonzero(asked.any(axis=1)).tolist()
    }


def _recovers(state: State, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(rows, P) paths whose last answer was good, or that answered just now and lost the rest.

    The last losses of an outage become known after the first answers.
    """
    ledger, layout = state.ledger, state.layout
    lost = ~ledger.levels[_ANSWERED][:, rows].any(axis=(0, -1))
    just_now = state.now - ledger.answered[rows] < 2 * layout.timeout
    return np.asarray((ledger.run[rows] > 0) | (just_now & lost))
