"""Demand: how many queries a second this host's resolvers send to each address.

Counted from dnstap where any is heard of the upstream; else the policy's estimate; else
nobody knows, and it counts as none. Over all paths together: a detour does not change how
much is asked.

Whoever can write dnstap decides what is heard: by it sites are ordered, and an alarm is raised.
What a site may not take is decided by the policies' estimates alone (`decide.budget`): a claim
of more would keep traffic at a bad path, and one of less would send a site more than it bears.

What was asked and how long was listened fade alike, with a time constant of a minute, so
that their quotient is right from the first seconds on and stands as it is while nobody
listens: a resolver that starts anew, or a reader that is down, is no falling demand.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from steering.judge.copy_on_write import put
from steering.judge.traffic_ledger import RECENT, TrafficLedger
from steering.layout import Layout
from steering.model import Instant, Seconds

STALE: Seconds = 10 * RECENT
"""What was heard longer ago tells nothing of the present."""
GAP: Seconds = 3.0
MISSED = 30.0
"""A silence longer than `GAP` in which so many queries were due is one of the ears. Of a host
that asks less, it may be its own: by chance one in 10^13."""
LEAST: Seconds = 1.0
"""No rate is taken from less: the very first query of a quiet host is not five a second."""

Floats = NDArray[np.float64]


def hear(heard: TrafficLedger, queries: Floats, began: Instant, now: Instant) -> None:
    """Count what was asked in a moment that was listened to, in an editable hearsay.

    Args:
        heard: to write to.
        queries: (A,) answered or lost, over all paths.
        began: when that moment began.
        now: when it ended.
    """
    silence = began - heard.listened_at  # infinite: nothing was heard before
    due = float(heard.asked.sum()) / max(heard.listened, LEAST) * silence  # NaN then
    deaf = silence > GAP and not due <= MISSED
    fade = math.exp((heard.listened_at - now) / RECENT)
    spell = now - (began if deaf else heard.listened_at)
    put(heard, "asked", heard.asked * fade + queries)
    put(heard, "asked_at", np.where(queries > 0, now, heard.asked_at))
    put(heard, "listened", heard.listened * fade + RECENT * -math.expm1(-max(0.0, spell) / RECENT))
    put(heard, "listened_at", now)


def good_answers(heard: TrafficLedger, a: int) -> float:
    """Good answers a second that the resolvers had of the address in row `a` of late.

    Over all paths together, as of when a query was heard of last; 0 where none ever was.
    """
    whole = heard.recent_all[a] - heard.recent_bad[a]
    some = whole > 0
    if not some.any():
        return 0.0
    fade = np.exp((heard.at[a][some] - heard.listened_at) / RECENT)
    return float((whole[some] * fade).sum()) / max(heard.listened, LEAST)


def demand(heard: TrafficLedger, layout: Layout, now: Instant) -> Floats:
    """(A,) queries per second to each address; NaN where nobody knows.

    Args:
        heard: what the resolvers' traffic shows.
        layout: the rows.
        now: this instant.
    """
    fresh = now - heard.asked_at <= STALE  # NaN: never heard
    if not fresh.any():
        return layout.estimate
    known = np.zeros(len(layout.policies), dtype=np.bool_)
    known[layout.upstream_of[fresh]] = True
    rate = heard.asked / max(heard.listened, LEAST)
    return np.where(known[layout.upstream_of], rate, layout.estimate)
