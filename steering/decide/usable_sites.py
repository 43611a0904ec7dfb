"""The sites that an address may be steered to: proven good, or in use and not bad."""

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
"""A local path is mostly bad if more than this share of its answers is."""
ENOUGH = 20
"""Recent answers over both paths that are enough to compare their shares: some seconds at the fast
interval."""


def worse(state: State) -> Mask:
    """(A, P) paths that lately fail more than the failing local path does.

    Few answers do not distinguish two shares, so the answers of a group count together: of its
    failing addresses, compared with their local paths, and also for the addresses that move with
    them. By its own answers a path is worse only if it clearly is. A single bad answer is ignored,
    and an outdated path is not compared. The failing share of the resolvers' traffic over the local
    path counts where it is higher.
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
    known = failing[rows, None] & ~np.isnan(here)
    mine = known & (bad - LONE - SURE * np.sqrt(bad) > answers * here)
    counted, group = known & (ledger.health[rows] == Health.HEALTHY), layout.group_of[rows]
    there = pooled(bad, counted, group)
    asked = np.minimum(answers, answers[:, :1])
    more = there > pooled(answers * here, counted, group)
    # Most of the group can't use it: a few good answers of one address may be chance.
    ones = np.ones_like(bad)
    bad_there = pooled(ones, known & (ledger.health[rows] >= Health.SUSPECT), group)
    mine |= bad_there * 2 > pooled(ones, np.broadcast_to(known, ones.shape), group)
    found[rows] = mine | ((there > LONE) & (more | (pooled(asked, counted, group) < ENOUGH)))
    found[:, 0] = False
    return found


def proven(state: State, asked: Mask) -> Mask:
    """(A, P) the paths that addresses in `asked` may take."""
    ledger, layout, now = state.ledger, state.layout, state.now
    if not asked.any():
        return np.zeros(layout.shape, dtype=np.bool_)
    sites = candidates(ledger, layout, now) & ~worse(state)
    sites &= usable(ledger.legs, state.sources, layout)
    through = ledger.carried, state.forwarded, layout, now
    dropped = dropping(*through)
    sites &= ~(dropped | unproven(*through))
    # TCP and large answers are a part of the traffic: a local path that is mostly bad is worse.
    partial = cut(ledger.legs, state.sources, layout, partial=True)
    if partial.any():
        partial &= (ledger.share(now)[:, :1] < MOSTLY) & (ledger.streak[:, :1] < SILENCES)
        sites &= ~partial
    steered = np.flatnonzero(state.plan)
    if steered.size:
        columns = state.plan[steered]
        # If the local path is silent since, all paths may be, and only some were probed since.
        old = ledger.answered[steered] < ledger.silent_since[steered, :1]
        sites[steered] &= ~old
        sites[steered, columns] |= standing(ledger, layout, now)[steered, columns]
        gone = partial | dropped | cut(ledger.legs, state.sources, layout, partial=False)
        sites[steered, columns] &= ~gone[steered, columns]
    sites &= asked[:, None]
    for address in state.bypassed:
        if (row := layout.row.get(address)) is not None:
            sites[row] = False  # a detour would do nothing for it
    tried = state.avoid_until <= now
    if state.turned:
        elsewhere = (sites & tried & ~state.override_state.banned).any(axis=1, keepdims=True)
        here = np.arange(len(layout.paths))[None, :] == state.plan[:, None]
        tried |= gives_way(state) & (here | ~elsewhere)
    return np.asarray(sites & tried)


def gives_way(state: State) -> Mask:
    """(A, P) avoided sites that may be used if there is no other one.

    They were left because their path had turned bad; `proven` requires that it has recovered. A
    site that did not help although its path was good has nothing to recover from.
    """
    found = np.zeros(state.layout.shape, dtype=np.bool_)
    for key in state.turned:
        found[key] = True
    return found
