"""What nameservers of a simulation answer: the same always, or badly over the local path."""

from __future__ import annotations

from simulation import Answer

from steering.model import Outcome

FAULT = 1020.0
GOOD, EXPIRED, TIMEOUT = Outcome.SECURE, Outcome.EXPIRED, Outcome.TIMEOUT


def bad_here(outcome: Outcome = EXPIRED, until: float = 1e9) -> Answer:
    return lambda ask: outcome if ask.local and FAULT <= ask.now < until else GOOD


def always(outcome: Outcome) -> Answer:
    return lambda _: outcome
