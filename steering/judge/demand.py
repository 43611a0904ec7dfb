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
    a, p = np.nonzero(now - heard.at <= STALE)  # NaN: never heard
    if not a.size:
        return layout.estimate
    known = np.zeros(len(layout.policies), dtype=np.bool_)
    known[layout.upstream_of[a]] = True
    fading = heard.recent_all[a, p] * np.exp((heard.at[a, p] - now) / RECENT)
    counted = RECENT * (1 - np.exp(-max(now - begun, 1.0) / RECENT))
    shown = np.bincount(a, weights=fading, minlength=len(layout.targets)) / counted
    return np.where(known[layout.upstream_of], shown, layout.estimate)
