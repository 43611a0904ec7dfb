"""One turn of judging: count what came in, run the detectors, and settle each key's health.

Keys that saw nothing cost nothing but their share of a few array operations.
"""

from __future__ import annotations

from steering.judge.backoff import back_off
from steering.judge.control import control
from steering.judge.edit import Draft
from steering.judge.forwarded import count_forwarded
from steering.judge.group_trial import try_groups
from steering.judge.ledger import Ledger, Mask
from steering.judge.probe_counts import count
from steering.judge.recent_evidence import date, mend
from steering.judge.signals import raise_mended, raise_signals
from steering.judge.transitions import settle
from steering.judge.trials import try_suspects
from steering.layout import Layout
from steering.model import Event, Facts, Instant


def post(
    ledger: Ledger, layout: Layout, facts: Facts, now: Instant, away: Mask | None = None
) -> tuple[Ledger, tuple[Event, ...]]:
    """The ledger with one turn's facts in it; the events say what became of whom.

    Args:
        ledger: as the turn before left it.
        layout: the rows and columns.
        facts: this turn's.
        now: this instant.
        away: (A,) addresses that have left the local path, which returns to them by a recovery
            alone; all, if left out.
    """
    draft = Draft(ledger, layout, facts.wall, now, away)
    back_off(draft, facts.rounds, facts.installed)
    if not facts.off:  # then our mark leads nowhere
        control(draft, facts.rounds, facts.installed)
    count(draft, facts.rounds)
    count_forwarded(draft, facts.passed, facts.forwarded, facts.installed)
    raise_signals(draft, facts.heard)
    try_suspects(draft)
    try_groups(draft)
    mend(draft)
    raise_mended(draft)
    date(draft)
    return settle(draft), tuple(draft.events)
