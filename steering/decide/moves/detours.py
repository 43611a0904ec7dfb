"""Detours that are worse than none."""

from __future__ import annotations

from steering.decide.moves.usable_sites import MOSTLY
from steering.decide.state import State
from steering.judge.known.ledger import SILENCES, PathRecord
from steering.judge.probes.reach import is_cut, lost
from steering.judge.traffic.forwarded import dropping
from steering.model import Health, Instant

ANSWERS = 10
"""With so many good answers in a row the local path is better than a silent detour."""
WORSE = 0.1
"""A detour is worse than none if its failing share is above the local path's by this much."""


def worse_detours(state: State, *, dates_count: bool) -> frozenset[str]:
    """Addresses on detours that are bad where the local path clearly answers better, or over which
    answers do not come back to some source of the resolvers.

    While rule `clock` may apply, answers that are bad only by their dates do not count. A local
    path that is silent too, or over which no probe leaves this host, is not better.
    """
    if not state.plan:
        return frozenset()
    ledger, index, now = state.ledger, state.index, state.now
    legs = ledger.legs, state.sources
    gone, partly = lost(*legs, partial=False), lost(*legs, partial=True)
    dropped = dropping(ledger.carried, state.forwarded, index, now)
    site_fails = bool(gone or partly or dropped)
    found: set[str] = set()
    for address, site in state.plan.items():
        here, there = ledger.path(address), ledger.path(address, site)
        silent = there.streak >= SILENCES
        path_fails = silent or there.health >= Health.SUSPECT
        if not (site_fails or path_fails) or here.streak >= SILENCES or here.stuck >= SILENCES:
            continue
        settings = index.settings[address]
        share = _share(here, now, dates_count=dates_count)
        no_answers = (
            (settings.family, site) in dropped
            or is_cut(gone, settings, site)
            or (share < MOSTLY and is_cut(partly, settings, site))
        )
        bad = path_fails and (
            (silent and here.run >= ANSWERS)
            or _share(there, now, dates_count=dates_count) > share + WORSE
        )
        if no_answers or bad:
            found.add(address)
    return frozenset(found)


def _share(record: PathRecord, now: Instant, *, dates_count: bool) -> float:
    """The failing share; where nothing was answered lately all failed."""
    share, dated = record.recent.share(now), record.recent.dated_share(now)
    if share is None or dated is None:
        return 1.0
    return share if dates_count else share - dated
