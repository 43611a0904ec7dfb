"""The board: what the rules look at, one mask or number an address."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steering.decide import together
from steering.decide.crowd import crowd, unheard
from steering.decide.rank import best
from steering.judge.compare import candidates, cut_off, standing
from steering.model import Health, Instant
from steering.world import World

Mask = NDArray[np.bool_]

DATED = 0.5
"""A path is bad by its dates when more than this share of its answers is."""
WORSE = 0.1
"""A detour whose failing share is this much above the local path's is worse than none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Board:
    """One turn's situation."""

    off: bool
    clock_doubt: bool
    self_doubt: Mask
    local: NDArray[np.int8]
    """Health of the local path."""
    own: Mask
    """Breached itself: failing, or stale where the policy acts on it."""
    breached: Mask
    """Breached, or moving along with its group."""
    open_groups: Mask
    settling: Mask
    proven: Mask
    """(A, P)"""
    all_bad: Mask
    """The local path and every usable remote one are known to be bad."""
    best: NDArray[np.int64]
    plan: NDArray[np.int64]
    detour_worse: Mask
    """The detour in use is bad, and clearly worse than the local path."""
    at_most: NDArray[np.int64]
    """Addresses of this upstream that may be steered at once."""
    upstream_of: NDArray[np.int64]


def look(world: World, now: Instant, *, off: bool) -> Board:
    """The board of this turn."""
    layout, ledger = world.layout, world.ledger
    health = ledger.health
    local = health[:, 0]
    own = (local == Health.FAILING) | ((local == Health.STALE) & layout.acts_on_stale)
    ripe = own & ~(unheard(layout, ledger, own, now) & (world.plan == 0))
    groups = together.open_groups(world.open_groups, layout.group_of, ripe)
    proven = _proven(world, now)
    usable = layout.order >= 0
    bad = health >= Health.SUSPECT
    remote_bad = np.where(usable, bad, True).all(axis=1) & usable.any(axis=1)
    on_trial = np.zeros(len(own), dtype=np.bool_)
    on_trial[list(ledger.trials)] = True
    waiting = together.settling(
        layout.group_of, own & (world.plan == 0), on_trial, ledger.confirmed_at, now
    )
    return Board(
        off=off,
        clock_doubt=_clock_doubt(world, now),
        self_doubt=cut_off(ledger, layout) | crowd(layout, ledger),
        local=local,
        own=own,
        breached=together.reach(groups, layout.group_of, layout.family_of, ripe),
        open_groups=groups,
        settling=waiting & ~groups[layout.group_of] if waiting.any() else waiting,
        proven=proven,
        all_bad=(own | (local == Health.SUSPECT)) & remote_bad,
        best=best(proven, layout.order, world.plan, ledger.rtt, layout.paths),
        plan=world.plan,
        detour_worse=_detour_worse(world, bad, now),
        at_most=layout.at_most,
        upstream_of=layout.upstream_of,
    )


def _proven(world: World, now: Instant) -> Mask:
    """(A, P) where traffic may go: proven good, or in use and not proven to have turned bad."""
    proven = candidates(world.ledger, world.layout, now)
    steered = np.flatnonzero(world.plan)
    if steered.size:
        columns = world.plan[steered]
        proven[steered, columns] |= standing(world.ledger, world.layout, now)[steered, columns]
    return proven & (world.avoid_until <= now)


def _detour_worse(world: World, bad: Mask, now: Instant) -> Mask:
    worse = np.zeros(len(world.plan), dtype=np.bool_)
    steered = np.flatnonzero(world.plan)
    if steered.size:
        columns = world.plan[steered]
        share = np.nan_to_num(world.ledger.share(now, steered), nan=1.0)
        there = share[np.arange(steered.size), columns]
        worse[steered] = bad[steered, columns] & (there > share[:, 0] + WORSE)
    return worse


def _most(part: Mask, of: Mask, upstream_of: NDArray[np.int64], upstreams: int) -> Mask:
    """(U,) upstreams of which more than half of the addresses in `of` are in `part`."""
    some = np.bincount(upstream_of, weights=part & of, minlength=upstreams)
    return some * 2 > np.bincount(upstream_of, weights=of, minlength=upstreams)


def _clock_doubt(world: World, now: Instant) -> bool:
    """Most upstreams look expired, or not yet valid, on every path that answers.

    It takes two paths to say so: seen over one alone it may be that path.
    """
    layout = world.layout
    if not world.ledger.recent_dated.any():
        return False
    dated = world.ledger.dated_share(now)
    known = ~np.isnan(dated)
    measured = known.sum(axis=1) >= 2
    rows = measured & np.where(known, dated > DATED, True).all(axis=1)
    upstreams = len(layout.policies)
    seen = np.bincount(layout.upstream_of, weights=measured, minlength=upstreams) > 0
    most = _most(rows, measured, layout.upstream_of, upstreams)
    return bool(most.sum() * 2 > seen.sum())
