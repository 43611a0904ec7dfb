"""Is it us? When several unrelated operators go bad here at once, we are what they share.

Counted are operators, not upstreams: what one of them breaks, he may break in all his zones.
An operator is bad when more than half of his addresses are. Three of them within a minute are
enough, however many others are well: faults of unrelated networks are hours apart. Two are
enough where they are more than half of all there are, as with the two shipped policies: that
is the safer reading, and costs a detour only where two operators do fail in the same minute.
One operator alone can't be told from us this way.

A breach is acted on only when the others have been heard: as the first address falls under
suspicion everybody is asked fast (`judge.settle`), and the move waits until they had the time
to show the same fault. Right after the start it waits for their first answers as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge.draft import CURIOUS_ROUNDS
from steering.judge.ledger import Ledger
from steering.layout import Layout
from steering.model import Health, Instant, Seconds

Mask = NDArray[np.bool_]

CROWD = 3
"""Operators bad at once that speak against ourselves."""
FEW = 2
"""So many are enough if they are more than half of all."""
AT_ONCE: Seconds = 60.0
"""Further apart they are two faults of two operators."""
LONGEST: Seconds = 2.0
"""Most that a move waits for the others to be heard."""


def crowd(layout: Layout, ledger: Ledger) -> tuple[int, ...]:
    """Numbers of the operators that went bad on the local path within a minute, if too many."""
    local = ledger.health[:, 0]
    bad = (local == Health.SUSPECT) | (local == Health.FAILING)
    if layout.operators < FEW or not bad.any():
        return ()
    count = np.bincount(layout.operator_of, minlength=layout.operators)
    ill = np.bincount(layout.operator_of[bad], minlength=layout.operators)
    began = np.fmin(ledger.suspected_at, ledger.confirmed_at)
    known = bad & ~np.isnan(began)  # not so of what was taken over from a predecessor
    starts = {
        o: float(np.median(began[known & (layout.operator_of == o)]))
        for o in np.flatnonzero(ill * 2 > count).tolist()
        if (known & (layout.operator_of == o)).any()
    }
    together = max(
        (tuple(o for o in starts if s <= starts[o] <= s + AT_ONCE) for s in starts.values()),
        key=len,
        default=(),
    )
    most = len(together) >= FEW and len(together) * 2 > layout.operators
    return together if most or len(together) >= CROWD else ()


def unheard(layout: Layout, ledger: Ledger, own: Mask, now: Instant, begun: Instant) -> Mask:
    """(A,) breaches so fresh that the other operators have not been heard about them.

    Args:
        layout: the rows.
        ledger: what is known.
        own: (A,) addresses that are breached.
        now: this instant.
        begun: when the first question was asked. Until then and three slow rounds later a
            breach waits for every operator to have been heard at all: evidence is thin.
    """
    if layout.operators < FEW or not own.any():
        return np.zeros_like(own)
    if now - begun < layout.fresh:
        heard = np.zeros(layout.operators, dtype=np.bool_)
        heard[layout.operator_of[~np.isnan(ledger.seen[:, 0])]] = True
        if not heard.all():
            return own
    pause = min(LONGEST, (CURIOUS_ROUNDS + 2) * layout.fast_interval)
    return np.asarray(own & (now - ledger.confirmed_at < pause))
