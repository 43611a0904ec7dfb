"""Is it us? When several unrelated operators go bad here at once, we are what they share.

Counted are operators, not upstreams: what one of them breaks, he may break in all his zones.
One operator alone can't be told from us this way, so it takes two policies of different
operators for this rule to protect anybody; with the two shipped ones it does.

A breach is acted on only when the others have been heard: as the first address falls under
suspicion everybody is asked fast (`judge.settle`), and the move waits until they had the time
to show the same fault.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge.draft import CURIOUS_ROUNDS
from steering.judge.ledger import Ledger
from steering.layout import Layout
from steering.model import Health, Instant, Seconds

Mask = NDArray[np.bool_]

CROWD = 2
"""Operators bad at once, and more than half of all, that speak against ourselves."""
AT_ONCE: Seconds = 60.0
"""Further apart they are two faults of two operators."""
LONGEST: Seconds = 2.0
"""Most that a move waits for the others to be heard."""


def crowd(layout: Layout, ledger: Ledger) -> bool:
    """Whether most operators went bad on the local path within a minute."""
    local = ledger.health[:, 0]
    bad = (local == Health.SUSPECT) | (local == Health.FAILING)
    if layout.operators < CROWD or not bad.any():
        return False
    count = np.bincount(layout.operator_of, minlength=layout.operators)
    began = np.fmin(ledger.suspected_at, ledger.confirmed_at)
    starts = np.sort(
        [
            np.median(began[bad & (layout.operator_of == o)])
            for o in range(layout.operators)
            if (bad & (layout.operator_of == o)).sum() * 2 > count[o]
        ]
    )
    together = max(
        (int(((starts >= s) & (starts <= s + AT_ONCE)).sum()) for s in starts), default=0
    )
    return together >= CROWD and together * 2 > layout.operators


def unheard(layout: Layout, ledger: Ledger, own: Mask, now: Instant) -> Mask:
    """(A,) breaches so fresh that the other operators have not been heard about them."""
    if layout.operators < CROWD:
        return np.zeros_like(own)
    pause = min(LONGEST, (CURIOUS_ROUNDS + 2) * layout.fast_interval)
    return np.asarray(own & (now - ledger.confirmed_at < pause))
