"""Breached addresses without a proven site: which sites are probed fast for them.

Such an address stays on a bad path until a site is found to be usable again. So a site that answers
again is probed fast until it has answered well for long enough, and so is one that is healthy but
fails more than the local path, since few answers do not distinguish two shares. A silent site is
probed fast for few addresses and for some minutes; later the slow round finds it.
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

SILENT_FOR: Seconds = 300.0
"""How long a silent site is probed fast: most outages of a link are shorter."""
SCOUTS = 8
"""Addresses for which silent sites are probed fast. If one is answered the others follow."""

_ANSWERED = [CLASSES.index(kind) for kind in (Verdict.BOGUS, Verdict.ERROR)]


def nowhere(state: State) -> Mapping[int, frozenset[int]]:
    """Row -> columns of the sites to probe fast for it."""
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
    bad = (health != Health.HEALTHY) & (health != Health.STALE)
    back = bad & _recovers(state, rows)
    silent = bad & (ledger.streak[rows] >= SILENCES)
    silent &= state.now - ledger.silent_since[rows] < SILENT_FOR
    usable = (layout.order[rows] >= 0) & ~situation.banned[rows]
    usable[:, 0] = False
    scouts = (silent & usable).any(axis=1)
    scouts &= np.cumsum(scouts) <= SCOUTS
    asked = fit | back | (silent & scouts[:, None]) | (bad & (back & usable).any(axis=0))
    asked &= usable
    return {
        int(rows[i]): frozenset(np.flatnonzero(asked[i]).tolist())
        for i in np.flatnonzero(asked.any(axis=1)).tolist()
    }


def _recovers(state: State, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(rows, P) paths whose last answer was good, or that answered just now and lost the others.

    The last losses of an outage become known after the first answers.
    """
    ledger, layout = state.ledger, state.layout
    lost = ~ledger.levels[_ANSWERED][:, rows].any(axis=(0, -1))
    just_now = state.now - ledger.answered[rows] < 2 * layout.timeout
    return np.asarray((ledger.run[rows] > 0) | (just_now & lost))
