"""The board: what the rules look at, one mask or number an address."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steering.decide import together
from steering.decide.rank import best
from steering.judge.ledger import SILENCES, candidates
from steering.model import Health, Instant
from steering.world import World

Mask = NDArray[np.bool_]

CROWD = 3
"""So many unrelated upstreams bad at once, and more than half of all: it is us."""
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
    groups = together.open_groups(world.open_groups, layout.group_of, own)
    breached = own | groups[layout.group_of] if own.size else own
    proven = candidates(ledger, layout, now) & (world.avoid_until <= now)
    usable = layout.order >= 0
    bad = health >= Health.SUSPECT
    remote_bad = np.where(usable, bad, True).all(axis=1) & usable.any(axis=1)
    on_trial = np.zeros(len(own), dtype=np.bool_)
    on_trial[list(ledger.trials)] = True
    share = np.nan_to_num(ledger.share(now), nan=1.0)
    rows = np.arange(len(own))
    there, here = share[rows, world.plan], share[:, 0]
    return Board(
        off=off,
        clock_doubt=_clock_doubt(world, now),
        self_doubt=_self_doubt(world),
        local=local,
        own=own,
        breached=breached,
        open_groups=groups,
        settling=together.settling(
            layout.group_of, own & (world.plan == 0), on_trial, ledger.confirmed_at, now
        )
        & ~groups[layout.group_of],
        proven=proven,
        all_bad=(local >= Health.SUSPECT) & remote_bad,
        best=best(proven, layout.order, world.plan, ledger.rtt, layout.paths),
        plan=world.plan,
        detour_worse=(world.plan > 0) & bad[rows, world.plan] & (there > here + WORSE),
        at_most=np.array(
            [
                p.steer.at_most if p.steer.at_most is not None else len(layout.targets)
                for p in layout.policies
            ],
            dtype=np.int64,
        )[layout.upstream_of]
        if own.size
        else np.zeros(0, dtype=np.int64),
        upstream_of=layout.upstream_of,
    )


def _clock_doubt(world: World, now: Instant) -> bool:
    """Most upstreams look expired, or not yet valid, on every path that answers.

    It takes two paths to say so: seen over one alone it may be that path.
    """
    layout = world.layout
    dated = world.ledger.dated_share(now)
    known = ~np.isnan(dated)
    measured = known.sum(axis=1) >= 2
    rows = measured & np.where(known, dated > DATED, True).all(axis=1)
    upstreams = dated_upstreams = 0
    for u in range(len(layout.policies)):
        mine = layout.upstream_of == u
        if not (measured & mine).any():
            continue
        upstreams += 1
        dated_upstreams += (rows & mine).sum() * 2 > (measured & mine).sum()
    return dated_upstreams * 2 > upstreams


def _self_doubt(world: World) -> Mask:
    """Addresses about which we suspect ourselves.

    Silence on the local path speaks against an upstream only if our probes do leave: since
    the silence began, something of the same family must have come back over the local
    path. And when several unrelated upstreams are bad here at once, what they have in common
    is us.
    """
    layout, ledger = world.layout, world.ledger
    bad = (ledger.health[:, 0] == Health.SUSPECT) | (ledger.health[:, 0] == Health.FAILING)
    crowd = 0
    for u in range(len(layout.policies)):
        mine = layout.upstream_of == u
        crowd += (bad & mine).sum() * 2 > mine.sum()
    if crowd >= CROWD and crowd * 2 > len(layout.policies):
        return np.ones(len(layout.targets), dtype=np.bool_)
    silent = ledger.streak[:, 0] >= SILENCES
    doubt = np.zeros(len(layout.targets), dtype=np.bool_)
    for family in (0, 1):
        mine = layout.family_of == family
        if not (silent & mine).any():
            continue
        last = np.fmax.reduce(ledger.reached[mine, 0], initial=-np.inf)
        doubt |= mine & silent & ~(last >= ledger.silent_since[:, 0])
    return doubt
