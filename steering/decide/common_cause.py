"""Common cause: several unrelated operators fail here at once, so the fault is most likely here.

Operators are counted, not upstreams, since a fault of one operator may affect all its zones; and
each family by itself, since a fault of this host may affect one alone. An operator counts as bad
when more than half of its sample is (`Layout.sample`, which is probed in time, however many
addresses there are). Three of them within a minute are enough, however many others are healthy:
faults of unrelated networks are hours apart. Two are enough if they are more than half of all
operators, as with the two shipped policies: that is the safer choice, and costs a detour only if
two operators really fail in the same minute. With one operator this can't be decided.

An operator that was bad before and gets clearly worse within the minute counts too. Rule `self`
applies while those operators stay bad, and no longer.

A breach causes a move only after the other operators were probed: when the first address becomes
suspect they are probed fast (`judge.transitions`), and the move waits until they had time to show
the same fault. Right after the start it also waits for their first answers. Moves of the half
minute before are taken back when the common cause is found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge.edit import CURIOUS_ROUNDS
from steering.judge.ledger import Ledger
from steering.layout import FAMILIES, Layout
from steering.model import Health, Instant, Seconds

Mask = NDArray[np.bool_]
Operators = tuple[int, ...]
"""Numbers of operators."""

SEVERAL = 3
"""So many operators bad at once are a common cause."""
FEW = 2
"""So many are enough if they are more than half of all."""
AT_ONCE: Seconds = 60.0
"""Further apart they are two faults of two operators."""
LONGEST: Seconds = 2.0
"""The longest that a move waits for probes of the other operators."""
LATELY: Seconds = 25.0
"""An address without a failure for so long is not bad now; less where probes are faster than by
default."""
ROUNDS = 2.5
"""The same in slow rounds."""
BAD = 0.3
"""A failing share of the last 16 answers that makes a local path bad, whatever its health."""
HASTY: Seconds = 30.0
"""A move so short a time before the common cause was found had the same cause, and is undone."""


def bad_now(layout: Layout, ledger: Ledger, now: Instant) -> Mask:
    """(A,) local paths that fail at this time."""
    local = ledger.health[:, 0]
    failing = (local == Health.SUSPECT) | (local == Health.FAILING)
    lately = min(LATELY, ROUNDS * layout.interval) + layout.timeout
    return np.asarray((failing & (now - ledger.bad_at <= lately)) | (ledger.quick >= BAD))


def common_causes(
    layout: Layout, ledger: Ledger, now: Instant, was: tuple[Operators, ...] = ((), ())
) -> tuple[Operators, ...]:
    """For each family the operators that failed on the local path within a minute, if too many.

    `was`: those of the turn before. An operator among them that is still bad stays one of them.
    """
    bad = bad_now(layout, ledger, now) & layout.sample
    if layout.operators < FEW or not bad.any():
        return ((), ())
    return tuple(_failed_at_once(layout, ledger, bad, family, was[family]) for family in FAMILIES)


def _failed_at_once(
    layout: Layout, ledger: Ledger, bad: Mask, family: int, was: Operators
) -> Operators:
    mine = layout.sample & (layout.family_of == family)
    count = np.bincount(layout.operator_of[mine], minlength=layout.operators)
    failing = np.bincount(layout.operator_of[mine & bad], minlength=layout.operators)
    operators = np.flatnonzero(failing * 2 > count).tolist()
    # Health taken over from an earlier agent does not count: it is not known when it began.
    began = np.fmax(np.fmin(ledger.suspected_at, ledger.confirmed_at), ledger.worse_at)
    known = mine & bad & ~np.isnan(began)
    starts = {
        o: float(np.median(began[known & (layout.operator_of == o)]))
        for o in operators
        if (known & (layout.operator_of == o)).any()
    }
    at_once = max(
        (tuple(o for o in starts if s <= starts[o] <= s + AT_ONCE) for s in starts.values()),
        key=len,
        default=(),
    )
    at_once = tuple(o for o in operators if o in at_once or o in was)
    most = len(at_once) >= FEW and len(at_once) * 2 > int((count > 0).sum())
    return at_once if most or len(at_once) >= SEVERAL else ()


def affected(layout: Layout, causes: tuple[Operators, ...]) -> Mask:
    """(A,) addresses of the families with a common cause."""
    found = np.array([bool(operators) for operators in causes])
    return np.asarray(found[layout.family_of])


def others_unprobed(
    layout: Layout, ledger: Ledger, own: Mask, now: Instant, begun: Instant
) -> Mask:
    """(A,) breaches so recent that the other operators were not yet probed since.

    Args:
        layout: the rows.
        ledger: what is known.
        own: (A,) addresses that are breached.
        now: this instant.
        begun: when the first question was asked. Until three slow rounds later a breach waits
            until every operator has answered at all, since there is little evidence.
    """
    if layout.operators < FEW or not own.any():
        return np.zeros_like(own)
    if now - begun < layout.fresh:
        probed = np.zeros(layout.operators, dtype=np.bool_)
        probed[layout.operator_of[~np.isnan(ledger.seen[:, 0])]] = True
        if not probed.all():
            return own
    pause = min(LONGEST, (CURIOUS_ROUNDS + 2) * layout.fast_interval)
    news = np.fmax(ledger.confirmed_at, ledger.shown_since)
    return np.asarray(own & (now - news < pause))
