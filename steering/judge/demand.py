"""Demand: how many queries a second this host's resolvers send to each address.

Counted from dnstap where any is heard of the upstream; else the policy's estimate; else
nobody knows, and it counts as none. What was heard fades with a time constant of a minute,
over all paths together: a detour does not change how much is asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steering.judge.hearsay import RECENT, Hearsay
from steering.layout import Layout
from steering.model import Instant, Seconds

STALE: Seconds = 10 * RECENT
"""What was heard longer ago tells nothing of the present."""


def demand(heard: Hearsay, layout: Layout, now: Instant, begun: Instant) -> NDArray[np.float64]:
    """(A,) queries per second to each address; NaN where nobody knows.

    Args:
        heard: what the resolvers' traffic shows.
        layout: the rows.
        now: this instant.
        begun: when listening began: before a minute is over only a part of it was counted.
    """
    fresh = now - heard.at <= STALE  # NaN: never heard
    known = np.zeros(len(layout.policies), dtype=np.bool_)
    known[layout.upstream_of[fresh.any(axis=1)]] = True
    if not known.any():
        return layout.estimate
    fading = np.where(fresh, heard.recent_all * np.exp((heard.at - now) / RECENT), 0.0)
    counted = RECENT * (1 - np.exp(-max(now - begun, 1.0) / RECENT))
    return np.where(known[layout.upstream_of], fading.sum(axis=1) / counted, layout.estimate)
