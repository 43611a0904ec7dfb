"""Whether something on the way answers in the place of the nameservers: a DNS proxy, a cache.

Signs, and no proof: an alarm is raised for them, and nothing else goes by them.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from steering.decide.state import State
from steering.model import WITHOUT_AUTHORITY, Seconds

ALONE: Seconds = 10.0
"""A suspicion that nobody can be asked about, or that looks so, is worth an alarm after so long: a
lone bad answer is over sooner."""


def intercepted(state: State) -> tuple[str, NDArray[np.bool_]] | None:
    """What speaks for it, and (A,) at which addresses; None: nothing does."""
    found = [*filter(None, (_one_server(state), _out_of_a_cache(state)))]
    if not found:
        return None
    where = np.logical_or.reduce([rows for _, rows in found])
    return "; ".join(text for text, _ in found), where


def _one_server(state: State) -> tuple[str, NDArray[np.bool_]] | None:
    """That one and the same server answers for unrelated operators here; None if that is not so.

    Their own have names (NSID, RFC 5001) of their own, so two names settle it.
    """
    layout, name, rows = state.layout, None, list[int]()
    for a in range(len(layout.targets)):
        instance = state.ledger.instances.get((a, 0))
        if instance is None or instance.mixed or not instance.known:
            continue
        name = name or instance.known[0]
        if any(known != name for known in instance.known):
            return None
        rows.append(a)
    whose = {layout.targets[a].upstream for a in rows}
    if len({int(layout.operator_of[a]) for a in rows}) < 2:
        return None
    text = (
        f"{len(rows)} addresses of {', '.join(sorted(whose))} are answered by one server over the"
        f" local path (NSID {name}): something on the way answers in their place, and what is seen"
        " here is that one's"
    )
    return text, rows_of(state, rows)


def _out_of_a_cache(state: State) -> tuple[str, NDArray[np.bool_]] | None:
    """That some are answered here, and here alone, as caches answer; None if that is not so.

    It is a sign, and no proof: nothing but this text goes by it.
    """
    ledger, layout = state.ledger, state.layout
    here = (state.now - ledger.suspected_at >= ALONE) & (ledger.run[:, 0] == 0)  # NaN: not bad
    there = (layout.order[:, 1:] >= 0) & (ledger.run[:, 1:] > 0)
    rows = [
        a
        for a in np.flatnonzero(here & there.any(axis=1)).tolist()
        if (seen := ledger.evidence.get((a, 0))) is not None and WITHOUT_AUTHORITY in seen.detail
    ]
    if not rows:
        return None
    where = rows_of(state, rows)
    text = (
        f"{those(state, where)} are answered over the local path without authority (no AA), and"
        " with it over another one: that is how a cache on the way answers in their place"
    )
    return text, where


def rows_of(state: State, rows: Collection[int]) -> NDArray[np.bool_]:
    """(A,) these rows."""
    where = np.zeros(len(state.layout.targets), dtype=np.bool_)
    where[list(rows)] = True
    return where


def those(state: State, where: NDArray[np.bool_]) -> str:
    """How many addresses of which upstreams these are, in words."""
    upstreams = sorted({state.layout.targets[a].upstream for a in np.flatnonzero(where).tolist()})
    return f"{int(where.sum())} addresses of {', '.join(upstreams)}"
