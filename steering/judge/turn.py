"""One turn of judging: count the new answers, run the detectors, set the health of each path.

An address without news costs nothing, unless something about it is not as usual.
"""

from __future__ import annotations

from collections.abc import Collection

from steering.facts import Facts
from steering.index import Index
from steering.judge.edit import Draft
from steering.judge.known.ledger import Ledger
from steering.judge.probes.backoff import back_off
from steering.judge.probes.control import control
from steering.judge.probes.group_trial import try_groups
from steering.judge.probes.probe_counts import count
from steering.judge.probes.recent_evidence import date, mend
from steering.judge.probes.trials import try_suspects
from steering.judge.signals import raise_mended, raise_signals
from steering.judge.traffic.forwarded import count_forwarded
from steering.judge.transitions import settle
from steering.model import Event, Instant


def judge(
    ledger: Ledger,
    index: Index,
    facts: Facts,
    now: Instant,
    away: Collection[str] | None = None,
) -> tuple[Ledger, tuple[Event, ...]]:
    """The ledger with one turn's facts in it, and the events of what changed.

    Args:
        ledger: of the turn before.
        index: the addresses and paths.
        facts: of this turn.
        now: this instant.
        away: addresses that have left the local path and return only by a recovery; all, if left
            out.
    """
    draft = Draft(ledger, index, facts.wall, now, away)
    back_off(draft, facts.rounds, facts.installed)
    if not facts.off:  # while off there are no rules for marks
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
