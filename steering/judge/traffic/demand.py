"""Demand: how many queries a second this host's resolvers send to each address.

It is counted from dnstap if that has any query to the upstream. Otherwise it is the policy's
estimate; without one it is not known, and counts as none. It is the sum over all paths: a detour
does not change how much is asked.

A program that can write dnstap decides these counts. So they only order sites and raise an alarm.
The limits of sites use the policies' estimates alone (`budget`): too high a count would
keep traffic on a bad path, and too low a count would overload a site.

Queries and the time of counting fade alike, with a time constant of a minute. So their quotient
is right from the first seconds on, and does not change while nothing is counted: a resolver that
restarts, or a reader that is down, is no falling demand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from steering.index import Settings
from steering.judge.edit import Draft
from steering.judge.known.ledger import NOT_ASKED, Asked, Ledger, Listened
from steering.judge.known.recent import RECENT
from steering.model import Instant, Seconds

STALE: Seconds = 10 * RECENT
"""Queries longer ago than this are not current."""
GAP: Seconds = 3.0
MISSED = 30.0
"""A gap longer than `GAP` in which 30 queries were expected means that dnstap was down; by chance
it would happen once in 10^13. With fewer expected, the resolvers may have been quiet."""
LEAST: Seconds = 1.0
"""No rate is computed over less: the first query of a quiet host is not five a second."""


def count_queries(draft: Draft, queries: Mapping[str, int], began: Instant) -> None:
    """Count the queries of a time in which dnstap was read, up to now.

    Args:
        draft: the ledger being written.
        queries: by address, answered or lost, over all paths.
        began: when that time began.
    """
    now, was = draft.now, draft.listened
    gap = began - was.at  # infinite: there was no query before
    expected = was.queries / max(was.seconds, LEAST) * gap  # NaN then
    was_down = gap > GAP and not expected <= MISSED
    fade = math.exp((was.at - now) / RECENT)
    spell = now - (began if was_down else was.at)
    for address, number in queries.items():
        if number > 0:
            known = draft.asked[address]
            faded = known.queries * math.exp((known.at - now) / RECENT)
            draft.asked[address] = Asked(faded + number, now)
            draft.upstreams.to_write(draft.index.settings[address].upstream).queried_at = now
    weight = RECENT * -math.expm1(-max(0.0, spell) / RECENT)
    draft.listened = Listened(
        queries=was.queries * fade + sum(queries.values()),
        seconds=was.seconds * fade + weight,
        at=now,
    )


def good_answers(ledger: Ledger, address: str, paths: Iterable[str]) -> float:
    """Good answers a second from one address to the resolvers, lately.

    Over all these paths together, as of the last query that was seen; 0 if there was none.
    """
    good = 0.0
    for path in paths:
        recent = ledger.heard(address, path).recent
        if (whole := recent.all - recent.bad) > 0:
            good += whole * math.exp((recent.at - ledger.listened.at) / RECENT)
    return good / max(ledger.listened.seconds, LEAST)


def demand(ledger: Ledger, settings: Settings, now: Instant) -> float | None:
    """Queries per second to one address; None: not known."""
    if not now - ledger.upstream(settings.upstream).queried_at <= STALE:
        return settings.estimate
    known, listened = ledger.asked.get(settings.address, NOT_ASKED), ledger.listened
    fade = math.exp((known.at - listened.at) / RECENT)
    return known.queries * fade / max(listened.seconds, LEAST)
