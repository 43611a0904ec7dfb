"""Signs that something on the path answers in place of the nameservers: a DNS proxy, a cache.

They are no proof: they raise an alarm, and nothing else depends on them.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from steering.decide.state import State
from steering.format import counted
from steering.model import WITHOUT_AUTHORITY, Seconds

ALONE: Seconds = 10.0
"""A suspicion that can't be compared, or has such a sign, raises an alarm after so long: one bad
answer is over sooner."""


def intercepted(state: State) -> tuple[str, NDArray[np.bool_]] | None:
    """The signs, and (A,) at which addresses; None: none."""
    found = [*filter(None, (_one_server(state), _out_of_a_cache(state)))]
    if not found:
        return None
    where = np.logical_or.reduce([rows for _, rows in found])
    return "; ".join(text for text, _ in found), where


def _one_server(state: State) -> tuple[str, NDArray[np.bool_]] | None:
    """One and the same server answers for unrelated operators here; None if that is not so.

    Their own servers have different names (NSID, RFC 5001), so two names exclude it.
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
    upstreams = {layout.targets[a].upstream for a in rows}
    if len({int(layout.operator_of[a]) for a in rows}) < 2:
        return None
    text = (
        f"{len(rows)} addresses of {', '.join(sorted(upstreams))} are answered by one server over"
        f" the local path (NSID {name}): something on the path answers in their place, and the"
        " measurements here are of that server"
    )
    return text, rows_of(state, rows)


def _out_of_a_cache(state: State) -> tuple[str, NDArray[np.bool_]] | None:
    """Some addresses are answered as by a cache here, and only here; None if that is not so."""
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
        " with it over another one: a cache on the path answers so in their place"
    )
    return text, where


def rows_of(state: State, rows: Collection[int]) -> NDArray[np.bool_]:
    """(A,) these rows."""
    where = np.zeros(len(state.layout.targets), dtype=np.bool_)
    where[list(rows)] = True
    return where


def those(state: State, where: NDArray[np.bool_]) -> str:
    """In words: how many addresses of which upstreams."""
    upstreams = sorted({state.layout.targets[a].upstream for a in np.flatnonzero(where).tolist()})
    return f"{counted(int(where.sum()), 'address')} of {', '.join(upstreams)}"
