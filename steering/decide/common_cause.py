"""Is it us? When several unrelated operators go bad here at once, we are what they share.

Counted are operators, not upstreams: what one of them breaks, he may break in all his zones; and
each family by itself, since a fault of our own may have one alone. An operator is bad when more
than half of his sample is (`Layout.sample`, which is asked in time however many addresses there
are). Three of them within a minute are enough, however many others are well: faults of unrelated
networks are hours apart. Two are enough where they are more than half of all there are, as with
the two shipped policies: that is the safer reading, and costs a detour only where two operators
do fail in the same minute. One operator alone can't be told from us this way.

Who was bad already and gets clearly worse within the minute counts as well. The doubt lasts while
those that raised it stay bad, and no longer: nothing that is over is held against anybody.

A breach is acted on only when the others have been heard: as the first address falls under
suspicion they are asked fast (`judge.settle`), and the move waits until they had the time to show
the same fault. Right after the start it waits for their first answers as well. What moved in the
half minute before is taken back when the doubt is raised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge.edit import CURIOUS_ROUNDS
from steering.judge.ledger import Ledger
from steering.layout import FAMILIES, Layout
from steering.model import Health, Instant, Seconds

Mask = NDArray[np.bool_]
Crowd = tuple[int, ...]
"""Numbers of operators."""

CROWD = 3
"""Operators bad at once that speak against ourselves."""
FEW = 2
"""So many are enough if they are more than half of all."""
AT_ONCE: Seconds = 60.0
"""Further apart they are two faults of two operators."""
LONGEST: Seconds = 2.0
"""Most that a move waits for the others to be heard."""
LATELY: Seconds = 25.0
"""Who has not failed for so long is not bad now; less where questions come faster than by
default."""
ROUNDS = 2.5
"""Slow rounds that are as long."""
BAD = 0.3
"""A share of the last 16 answers that makes a local path bad, whatever is believed of it."""
HASTY: Seconds = 30.0
"""What left the local path so short a time before the doubt left it for our own fault."""


def bad_now(layout: Layout, ledger: Ledger, now: Instant) -> Mask:
    """(A,) local paths that fail at this time."""
    local = ledger.health[:, 0]
    ill = (local == Health.SUSPECT) | (local == Health.FAILING)
    lately = min(LATELY, ROUNDS * layout.interval) + layout.timeout
    return np.asarray((ill & (now - ledger.bad_at <= lately)) | (ledger.quick >= BAD))


def common_causes(
    layout: Layout, ledger: Ledger, now: Instant, was: tuple[Crowd, ...] = ((), ())
) -> tuple[Crowd, ...]:
    """Of each family, the operators that went bad on the local path within a minute, if too many.

    `was` are those of the turn before: who was among them and is still bad stays one of them.
    """
    bad = bad_now(layout, ledger, now) & layout.sample
    if layout.operators < FEW or not bad.any():
        return ((), ())
    return tuple(_crowd(layout, ledger, bad, family, was[family]) for family in FAMILIES)


def _crowd(layout: Layout, ledger: Ledger, bad: Mask, family: int, was: Crowd) -> Crowd:
    mine = layout.sample & (layout.family_of == family)
    count = np.bincount(layout.operator_of[mine], minlength=layout.operators)
    ill = np.bincount(layout.operator_of[mine & bad], minlength=layout.operators)
    struck = np.flatnonzero(ill * 2 > count).tolist()
    # Not so of what was taken over from a predecessor: since when it is bad nobody knows.
    began = np.fmax(np.fmin(ledger.suspected_at, ledger.confirmed_at), ledger.worse_at)
    known = mine & bad & ~np.isnan(began)
    starts = {
        o: float(np.median(began[known & (layout.operator_of == o)]))
        for o in struck
        if (known & (layout.operator_of == o)).any()
    }
    together = max(
        (tuple(o for o in starts if s <= starts[o] <= s + AT_ONCE) for s in starts.values()),
        key=len,
        default=(),
    )
    together = tuple(o for o in struck if o in together or o in was)
    most = len(together) >= FEW and len(together) * 2 > int((count > 0).sum())
    return together if most or len(together) >= CROWD else ()


def doubted(layout: Layout, gathered: tuple[Crowd, ...]) -> Mask:
    """(A,) addresses of the families in which too many operators went bad at once."""
    doubt = np.array([bool(operators) for operators in gathered])
    return np.asarray(doubt[layout.family_of])


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
    news = np.fmax(ledger.confirmed_at, ledger.shown_since)
    return np.asarray(own & (now - news < pause))
