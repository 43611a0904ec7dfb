"""One turn of judging: count what came in, run the detectors, and settle each key's health.

Keys that saw nothing cost nothing but their share of a few array operations.
"""

from __future__ import annotations

from steering.judge.backoff import back_off
from steering.judge.count import count
from steering.judge.draft import Draft
from steering.judge.herd import try_herds
from steering.judge.ledger import Ledger
from steering.judge.settle import settle
from steering.judge.signals import raise_mended, raise_signals
from steering.judge.trials import try_suspects
from steering.layout import Layout
from steering.model import Event, Facts, Instant


def post(
    ledger: Ledger, layout: Layout, facts: Facts, now: Instant
) -> tuple[Ledger, tuple[Event, ...]]:
    """The ledger with one turn's facts in it; the events say what became of whom."""
    draft = Draft(ledger, layout, facts.wall, now)
    back_off(draft, facts.rounds, facts.installed)
    count(draft, facts.rounds)
    raise_signals(draft, facts.heard)
    try_suspects(draft)
    try_herds(draft)
    raise_mended(draft)
    return settle(draft), tuple(draft.events)
