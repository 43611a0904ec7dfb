"""Which sites an address may be sent to: what is proven good, or in use and not turned bad."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.decide.rank import LONE, SURE, pooled
from steering.judge.compare import candidates, standing
from steering.judge.forwarded import dropping, unproven
from steering.judge.ledger import SILENCES
from steering.judge.reach import cut, usable
from steering.model import Health
from steering.world import World

Mask = NDArray[np.bool_]

MOSTLY = 0.5
"""A local path is mostly bad where more than this share of its answers is."""
ENOUGH = 20
"""Answers of late over both paths that tell one's share from the other's: at the fast pace some
seconds of them."""


def worse(world: World) -> Mask:
    """(A, P) paths that fail more of late than the failing local path does.

    Few answers tell no share from another, so those of a group count together: over its failing
    addresses, against their local paths, and for those who go along. By its own answers alone a
    path is worse if it clearly is. A single bad answer says nothing of a share, and a path that is
    outdated is compared with none. What the resolvers were answered over the local path counts for
    it where it is more.
    """
    ledger, layout = world.ledger, world.layout
    found = np.zeros(layout.shape, dtype=np.bool_)
    failing = ledger.health[:, 0] == Health.FAILING
    if not ledger.recent_bad[failing, 1:].any():
        return found
    concerned = np.isin(layout.group_of, layout.group_of[failing])
    rows = np.flatnonzero(concerned & (ledger.health[:, 0] != Health.STALE))
    bad, answers = ledger.recent_bad[rows], ledger.recent_all[rows]
    own = ledger.share(world.now, rows)[:, :1]
    here = np.fmax(own, np.where(np.isnan(own), np.nan, ledger.hearsay.share(world.now)[rows, :1]))
    told = failing[rows, None] & ~np.isnan(here)
    mine = told & (bad - LONE - SURE * np.sqrt(bad) > answers * here)
    counted, group = told & (ledger.health[rows] == Health.HEALTHY), layout.group_of[rows]
    there = pooled(bad, counted, group)
    asked = np.minimum(answers, answers[:, :1])
    more = there > pooled(answers * here, counted, group)
    # Most of the group can't use it: who finds it well after some good answers has been lucky.
    ones = np.ones_like(bad)
    ill = pooled(ones, told & (ledger.health[rows] >= Health.SUSPECT), group)
    mine |= ill * 2 > pooled(ones, np.broadcast_to(told, ones.shape), group)
    found[rows] = mine | ((there > LONE) & (more | (pooled(asked, counted, group) < ENOUGH)))
    found[:, 0] = False
    return found


def proven(world: World, asked: Mask) -> Mask:
    """(A, P) where traffic of the addresses asked for may go."""
    ledger, layout, now = world.ledger, world.layout, world.now
    if not asked.any():
        return np.zeros(layout.shape, dtype=np.bool_)
    ways = candidates(ledger, layout, now) & ~worse(world)
    ways &= usable(ledger.legs, world.sources, layout)
    through = ledger.carried, world.forwarded, layout, now
    dropped = dropping(*through)
    ways &= ~(dropped | unproven(*through))
    # What goes by TCP, and what is large, is a part; worse is a local path that is mostly bad.
    partial = cut(ledger.legs, world.sources, layout, partial=True)
    if partial.any():
        partial &= (ledger.share(now)[:, :1] < MOSTLY) & (ledger.streak[:, :1] < SILENCES)
        ways &= ~partial
    steered = np.flatnonzero(world.plan)
    if steered.size:
        columns = world.plan[steered]
        # If the local path fell silent meanwhile it may be all paths, and only some asked since.
        old = ledger.answered[steered] < ledger.silent_since[steered, :1]
        ways[steered] &= ~old
        ways[steered, columns] |= standing(ledger, layout, now)[steered, columns]
        gone = partial | dropped | cut(ledger.legs, world.sources, layout, partial=False)
        ways[steered, columns] &= ~gone[steered, columns]
    ways &= asked[:, None]
    for address in world.bypassed:
        if (row := layout.row.get(address)) is not None:
            ways[row] = False  # a detour would do nothing for it
    tried = world.avoid_until <= now
    if world.turned:
        elsewhere = (ways & tried & ~world.orders.banned).any(axis=1, keepdims=True)
        here = np.arange(len(layout.paths))[None, :] == world.plan[:, None]
        tried |= gives_way(world) & (here | ~elsewhere)
    return np.asarray(ways & tried)


def gives_way(world: World) -> Mask:
    """(A, P) avoided sites that are taken all the same where there is nowhere else to go.

    They were left because their path had turned bad, and have recovered since: `proven` sees to
    that. One that did not help while its path was good has nothing to recover from.
    """
    found = np.zeros(world.layout.shape, dtype=np.bool_)
    for key in world.turned:
        found[key] = True
    return found
