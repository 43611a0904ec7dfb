"""Demand: how many queries a second this host's resolvers send to each address.

It is counted from dnstap if that has any query to the upstream. Otherwise it is the policy's
estimate; without one it is not known, and counts as none. It is the sum over all paths: a detour
does not change how much is asked.

A program that can write dnstap decides these counts. So they only order sites and raise an alarm.
The limits of sites use the policies' estimates alone (`decide.budget`): too high a count would
keep traffic on a bad path, and too low a count would overload a site.

Queries and the time of counting fade alike, with a time constant of a minute. So their quotient
is right from the first seconds on, and does not change while nothing is counted: a resolver that
restarts, or a reader that is down, is no falling demand.
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
"""Queries longer ago than this are not current."""
GAP: Seconds = 3.0
MISSED = 30.0
"""A gap longer than `GAP` in which 30 queries were expected means that dnstap was down; by chance
it would happen once in 10^13. With fewer expected, the resolvers may have been quiet."""
LEAST: Seconds = 1.0
"""No rate is computed over less: the first query of a quiet host is not five a second."""

Floats = NDArray[np.float64]


def count_queries(traffic: TrafficLedger, queries: Floats, began: Instant, now: Instant) -> None:
    """Count the queries of a time in which dnstap was read, in an editable ledger.

    Args:
        traffic: to write to.
        queries: (A,) answered or lost, over all paths.
        began: when that time began.
        now: when it ended.
    """
    gap = began - traffic.listened_at  # infinite: there was no query before
    expected = float(traffic.asked.sum()) / max(traffic.listened, LEAST) * gap  # NaN then
    was_down = gap > GAP and not expected <= MISSED
    fade = math.exp((traffic.listened_at - now) / RECENT)
    spell = now - (began if was_down else traffic.listened_at)
    put(traffic, "asked", traffic.asked * fade + queries)
    put(traffic, "asked_at", np.where(queries > 0, now, traffic.asked_at))
    weight = RECENT * -math.expm1(-max(0.0, spell) / RECENT)
    put(traffic, "listened", traffic.listened * fade + weight)
    put(traffic, "listened_at", now)


def good_answers(traffic: TrafficLedger, a: int) -> float:
    """Good answers a second from the address in row `a` to the resolvers, lately.

    Over all paths together, as of the last query that was seen; 0 if there was none.
    """
    whole = traffic.recent_all[a] - traffic.recent_bad[a]
    some = whole > 0
    if not some.any():
        return 0.0
    fade = np.exp((traffic.at[a][some] - traffic.listened_at) / RECENT)
    return float((whole[some] * fade).sum()) / max(traffic.listened, LEAST)


def demand(traffic: TrafficLedger, layout: Layout, now: Instant) -> Floats:
    """(A,) queries per second to each address; NaN where not known.

    Args:
        traffic: counts of the resolvers' traffic.
        layout: the rows.
        now: this instant.
    """
    fresh = now - traffic.asked_at <= STALE  # NaN: never seen
    if not fresh.any():
        return layout.estimate
    known = np.zeros(len(layout.policies), dtype=np.bool_)
    known[layout.upstream_of[fresh]] = True
    rate = traffic.asked / max(traffic.listened, LEAST)
    return np.where(known[layout.upstream_of], rate, layout.estimate)
