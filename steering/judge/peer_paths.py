"""One path beside the others: candidates for a trial, and whose fault a silence is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge.ledger import SILENCES, Ledger
from steering.judge.zone_copies import Floats
from steering.layout import Layout
from steering.model import Health, Instant

Mask = NDArray[np.bool_]


def candidates(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A, P) remote paths that are good now: healthy by recent answers, the last one good."""
    return standing(ledger, layout, now) & (ledger.run > 0)


def standing(ledger: Ledger, layout: Layout, now: Instant) -> Mask:
    """(A, P) remote paths that are good, whatever the last answer: one lost packet is no fault.

    A path is not good if its probes don't leave this host, as its link or gateway is gone.
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
    """(A, P) three or more probes in a row unanswered."""
    return ledger.streak >= SILENCES


def answered_elsewhere(ledger: Ledger) -> Mask:
    """(A, P) whether another path has answered since a path became silent."""
    found = np.zeros_like(ledger.late)
    rows = np.flatnonzero(silent(ledger).any(axis=1))
    if rows.size:
        found[rows] = others_best(ledger.answered[rows]) >= ledger.silent_since[rows]
    return found


def others_best(values: Floats) -> Floats:
    """The greatest value of the *other* paths, on the last axis; NaN if none is known."""
    if values.shape[-1] == 1:
        return np.full_like(values, np.nan)
    known = np.where(np.isnan(values), -np.inf, values)
    best = np.partition(known, -2, axis=-1)[..., -2:]
    others = np.where(known == best[..., 1:], best[..., :1], best[..., 1:])
    return np.where(np.isneginf(others), np.nan, others)


def cut_off(ledger: Ledger, layout: Layout) -> Mask:
    """(A,) silence on the local path that this host may have caused.

    It counts against an upstream only if probes leave this host: something of the same family
    must have come back over the local path to a probe sent after the silence began.
    """
    mute = silent(ledger)[:, 0]
    own_fault = np.zeros_like(mute)
    if not mute.any():
        return own_fault
    for family in (0, 1):
        mine = layout.family_of == family
        last = np.fmax.reduce(ledger.reached[mine, 0], initial=-np.inf)
        own_fault |= mine & mute & ~(last >= ledger.silent_since[:, 0])
    return own_fault


def others_asked(ledger: Ledger, layout: Layout) -> Mask:
    """(A,) whether other upstreams were probed too since a local path became silent.

    In the same family, over the local path; true if there is no other upstream.
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
