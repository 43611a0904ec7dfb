"""Which sites an address may be sent to: what is proven good, or in use and not turned bad."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.decide.ranking import LONE, SURE, pooled
from steering.decide.state import State
from steering.judge.forwarded import dropping, unproven
from steering.judge.ledger import SILENCES
from steering.judge.peer_paths import candidates, standing
from steering.judge.reach import cut, usable
from steering.model import Health

Mask = NDArray[np.bool_]

MOSTLY = 0.5
"""A local path is mostly bad where more than this share of its answers is."""
ENOUGH = 20
"""Answers of late over both paths that tell one's share from the other's: at the fast pace some
seconds of them."""


def worse(state: State) -> Mask:
    """(A, P) paths that fail more of late than the failing local path does.

    Few answers tell no share from another, so those of a group count together: over its failing
    addresses, against their local paths, and for those who go along. By its own answers alone a
    path is worse if it clearly is. A single bad answer says nothing of a share, and a path that is
    outdated is compared with none. What the resolvers were answered over the local path counts for
    it where it is more.
    """
    ledger, layout = state.ledger, state.layout
    found = np.zeros(layout.shape, dtype=np.bool_)
    failing = ledger.health[:, 0] == Health.FAILING
    if not ledger.recent_bad[failing, 1:].any():
        return found
    concerned = np.isin(layout.group_of, layout.group_of[failing])
    rows = np.flatnonzero(concerned & (ledger.health[:, 0] != Health.STALE))
    bad, answers = ledger.recent_bad[rows], ledger.recent_all[rows]
    own = ledger.share(state.now, rows)[:, :1]
    here = np.fmax(own, np.where(np.isnan(own), np.nan, ledger.traffic.share(state.now)[rows, :1]))
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


def proven(state: State, asked: Mask) -> Mask:
    """(A, P) where traffic of the addresses asked for may go."""
    ledger, layout, now = state.ledger, state.layout, state.now
    if not asked.any():
        return np.zeros(layout.shape, dtype=np.bool_)
    ways = candidates(ledger, layout, now) & ~worse(state)
    ways &= usable(ledger.legs, state.sources, layout)
    through = ledger.carried, state.forwarded, layout, now
    dropped = dropping(*through)
    ways &= ~(dropped | unproven(*through))
    # What goes by TCP, and what is large, is a part; worse is a local path that is mostly bad.
    partial = cut(ledger.legs, state.sources, layout, partial=True)
    if partial.any():
        partial &= (ledger.share(now)[:, :1] < MOSTLY) & (ledger.streak[:, :1] < SILENCES)
        ways &= ~partial
    steered = np.flatnonzero(state.plan)
    if steered.size:
        columns = state.plan[steered]
        # If the local path fell silent meanwhile it may be all paths, and only some asked since.
        old = ledger.answered[steered] < ledger.silent_since[steered, :1]
        ways[steered] &= ~old
        ways[steered, columns] |= standing(ledger, layout, now)[steered, columns]
        gone = partial | dropped | cut(ledger.legs, state.sources, layout, partial=False)
        ways[steered, columns] &= ~gone[steered, columns]
    ways &= asked[:, None]
    for address in state.bypassed:
        if (row := layout.row.get(address)) is not None:
            ways[row] = False  # a detour would do nothing for it
    tried = state.avoid_until <= now
    if state.turned:
        elsewhere = (ways & tried & ~state.override_state.banned).any(axis=1, keepdims=True)
        here = np.arange(len(layout.paths))[None, :] == state.plan[:, None]
        tried |= gives_way(state) & (here | ~elsewhere)
    return np.asarray(ways & tried)


def gives_way(state: State) -> Mask:
    """(A, P) avoided sites that are taken all the same where there is nowhere else to go.

    They were left because their path had turned bad, and have recovered since: `proven` sees to
    that. One that did not help while its path was good has nothing to recover from.
    """
    found = np.zeros(state.layout.shape, dtype=np.bool_)
    for key in state.turned:
        found[key] = True
    return found
