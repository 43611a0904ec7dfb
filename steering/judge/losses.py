"""Losses of the local path alone: a share of one in ten, which no series of silences shows.

The same question goes over the local path and over others in one instant. Lost here and
answered there gives 20 points, answered here and lost there takes 80, and any other round
takes one: a CUSUM (Page 1954) for each address and other path. For losses that both paths
have with the same share q, whatever it is, its exponential 2**(points/20) does not grow on
average: q(1-q) * (2 + 2**-4) + (1 - 2q(1-q)) * 2**(-1/20) <= 1. At 320 points the losses are
of the local path, unless the other one has lost more than 4.5 % of about the last five hundred.
Points grow on average from a share of one in 21 on.

Only slow probes count, since fast probing may itself cause losses (`backoff`). An address with
points is probed about once a second, until it has none left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from steering.judge.backoff import GENTLE
from steering.judge.copy_on_write import own, write
from steering.judge.edit import Draft
from steering.judge.health import Signal
from steering.judge.ledger import Ledger, Mask
from steering.judge.recent_evidence import confirm
from steering.layout import CLASSES, Layout
from steering.model import Health, Instant, Observation, Round, Seconds, Verdict

HERE = 20
THERE = -80
NEITHER = -1
CONFIRM_AT = 320
MEMORY = 512
"""Rounds over which a path's own share of losses fades."""
CLEAN = 0.045
"""The most that the other path may lose: losses of all paths are no reason to move. A path that
loses 3 % is above this in about one hour of a hundred."""
SHARE = 0.1
"""The least share that is found; it sets the good answers in a row after which it is over."""
LEISURE: Seconds = 0.8 * GENTLE
"""A probe so long after the one before is slow. With an interval of a second, jitter makes it less
than a second."""
EVERY: Seconds = 1.05
"""Time between two rounds of an address that has points: just slow."""


def count_losses(draft: Draft, a: int, item: Round, seen: Mapping[int, Observation]) -> None:
    """Count a round over several paths; comes before its answers are counted."""
    book, last = draft.book, _note(draft, a, item.at)
    before = book.losses[a]
    some = bool(before.any())
    # A failing address is probed fast; its points have to go down to zero all the same.
    away = some and draft.was.health[a, 0] == Health.FAILING
    fast = item.at - last < LEISURE and draft.layout.fast_interval < LEISURE
    here = seen.get(0)
    if here is None or here.verdict is Verdict.NOTHING or (fast and not away):
        return
    if not item.is_evidence:
        return
    lost = _lost(draft, a, here)
    after, share = before.copy(), book.loses[a].copy()
    for p, other in seen.items():
        if p and other.verdict is not Verdict.NOTHING:
            there = _lost(draft, a, other)
            step = NEITHER if lost == there else HERE if lost else THERE
            after[p] = min(max(0, before[p] + step), CONFIRM_AT)
            share[p] += (there - share[p]) / MEMORY
    if away and not lost:
        # Only the site in use is probed now. A good answer here takes a point for the others too.
        unasked = [p for p in range(1, len(after)) if p not in seen]
        after[unasked] = np.maximum(after[unasked] + NEITHER, 0)
    write(book, "losses", a, after)
    write(book, "loses", a, share)


def _note(draft: Draft, a: int, at: Instant) -> Instant:
    """When the probe before this one was sent.

    A loss becomes known after answers to later probes, so it is inserted by time. If more probes
    than are remembered were sent meanwhile, they were all fast.
    """
    asked = draft.book.asked_at[a]
    place = int((asked > at).sum())
    before = at if place == len(asked) else float(np.nan_to_num(asked[place], nan=-math.inf))
    own(draft.book, "asked_at")[a] = np.insert(asked, place, at)[: len(asked)]
    return before


def _lost(draft: Draft, a: int, seen: Observation) -> bool:
    if seen.verdict not in (Verdict.TIMEOUT, Verdict.ERROR):
        return False
    return bool(draft.layout.acts_on[CLASSES.index(seen.verdict), a])


def raise_losses(draft: Draft, own_fault: Mask) -> None:
    """Confirm losses of the local path. They were compared in each round, so there is no trial.

    `own_fault`: (A,) silences that this host may have caused; these add nothing.
    """
    if not draft.book.losses.any():
        return
    if own_fault.any():
        losses = own(draft.book, "losses")
        losses[own_fault] = np.minimum(losses, draft.was.losses)[own_fault]
    book = draft.book
    shown = (book.losses >= CONFIRM_AT) & (book.loses <= CLEAN) & (book.run > 0)
    shown &= (draft.was.health == Health.HEALTHY) & (draft.layout.order >= 0)
    losing = shown[:, 1:].any(axis=1)
    where = np.zeros(draft.layout.shape, dtype=np.bool_)
    where[:, 0] = losing & (draft.was.health[:, 0] != Health.FAILING)
    draft.signal(where, Signal.CONFIRMED)
    for a in np.flatnonzero(losing & draft.touched[:, 0] & (book.run[:, 0] == 0)).tolist():
        # Lost right now: at this share a few seconds show one loss and not more.
        confirm(draft, a, EVERY, SHARE)


def watched(ledger: Ledger, a: int) -> bool:
    """Whether the local path is already probed slowly because of losses, so they are no news."""
    return bool(ledger.losses[a].max(initial=0) > 2 * HERE)


def watched_slowly(ledger: Ledger, layout: Layout) -> Mask:
    """(A, P) remote paths that are probed slowly beside a local path that loses more."""
    asked: Mask = (ledger.losses > 0) & (ledger.health == Health.HEALTHY)
    return asked & (layout.order >= 0) & (ledger.health[:, :1] <= Health.HEALTHY)
