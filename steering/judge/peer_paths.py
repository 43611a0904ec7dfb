"""What one path says beside the others: who may be compared with, whose silence is whose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge.ledger import SILENCES, Ledger
from steering.judge.zone_copies import Floats
from steering.layout import Layout
from steering.model import Health, Instant

Mask = NDArray[np.bool_]


def candidates(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A, P) remote paths proven good right now: healthy by recent answers, the last one good."""
    return standing(ledger, layout, now) & (ledger.run > 0)


def standing(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A, P) remote paths that are good but for the last answer: one lost packet moves nobody.

    Whose questions do not get out, because its link or gateway is gone, is not good right now.
    """
    good: Mask = (
        (ledger.health == Health.HEALTHY)
        & ~ledger.late
        & (ledger.stuck < SILENCES)
        & ((now - ledger.answered) < layout.fresh)
        & (layout.order >= 0)
    )
    good[:, 0] = False
    return good


def silent(ledger: Ledger) -> Mask:
    """(A, P) three or more questions in a row unanswered."""
    return ledger.streak >= SILENCES


def answered_elsewhere(ledger: Ledger) -> Mask:
    """(A, P) whether, since a path's silence was certain, another path has answered."""
    found = np.zeros_like(ledger.late)
    rows = np.flatnonzero(silent(ledger).any(axis=1))
    if rows.size:
        found[rows] = others_best(ledger.answered[rows]) >= ledger.silent_since[rows]
    return found


def others_best(values: Floats) -> Floats:
    """The greatest value of the *other* paths, on the last axis; NaN where none is known."""
    if values.shape[-1] == 1:
        return np.full_like(values, np.nan)
    known = np.where(np.isnan(values), -np.inf, values)
    best = np.partition(known, -2, axis=-1)[..., -2:]
    others = np.where(known == best[..., 1:], best[..., :1], best[..., 1:])
    return np.where(np.isneginf(others), np.nan, others)


def cut_off(ledger: Ledger, layout: Layout) -> Mask:
    """(A,) silence on the local path that may be our own.

    It speaks against an upstream only if our questions do leave: asked after the silence was
    certain, something of the same family must have come back over the local path.
    """
    mute = silent(ledger)[:, 0]
    doubt = np.zeros_like(mute)
    if not mute.any():
        return doubt
    for family in (0, 1):
        mine = layout.family_of == family
        last = np.fmax.reduce(ledger.reached[mine, 0], initial=-np.inf)
        doubt |= mine & mute & ~(last >= ledger.silent_since[:, 0])
    return doubt


def others_asked(ledger: Ledger, layout: Layout) -> Mask:
    """(A,) whether, since a local path's silence was certain, other upstreams were asked as well.

    In the same family, over the local path; true where there is no other upstream to ask.
    """
    asked = np.ones(len(layout.targets), dtype=np.bool_)
    for a in np.flatnonzero(silent(ledger)[:, 0]).tolist():
        others = (layout.family_of == layout.family_of[a]) & (
            layout.upstream_of != layout.upstream_of[a]
        )
        if others.any():
            since = ledger.silent_since[a, 0] + layout.timeout
            asked[a] = np.fmax.reduce(ledger.seen[others, 0], initial=-np.inf) > since
    return asked
