"""How finely a span of a story has to be simulated for its verdicts to stay what they are.

In detail, turn by turn as the agent runs, wherever something is being found out: while
somebody is suspect or on trial, a proof is open, an address is asked out of curiosity,
something is ill that is not known to be, or has just changed.

At a *stroll* while traffic is away and a recovery is under way: every question is asked and
every answer counted, but a turn comes once a second. Recoveries count answers, not turns.

By *leaps* while all that is wrong is known and answered, and nothing recovers: what is steered
away from is still ill and its bucket as full as at the breach, or its bucket is empty and only
the hold is waited for. Then a turn comes every two and a half slow rounds, just often enough
for no answer to grow stale, and each brings one question to every address over every path.
What is left out are answers that say once more what is known already. Leaps end half a minute
before the story changes or a hold is over.
"""

from __future__ import annotations

import enum
from typing import Final

import numpy as np

from steering.decide.fast_probing import attention
from steering.decide.state import State
from steering.judge.ledger import breached
from steering.model import Health, Instant, Seconds, WallTime
from steering.replay.scenario_answers import ScenarioAnswers

QUIET: Final[Seconds] = 60.0
"""So long must nothing have happened before the first leap."""
LEAD: Final[Seconds] = 30.0


LEAP: Final = 2.5
"""Slow rounds to a leap: three are as long as an answer stands for the present."""


class Pacing(enum.Enum):
    """How fast to go on."""

    DETAIL = enum.auto()
    STROLL = enum.auto()
    LEAP = enum.auto()


def pace(
    state: State, internet: ScenarioAnswers, at: WallTime, *, quiet: Seconds, ahead: Seconds
) -> Pacing:
    """How fast the story may go on.

    Args:
        state: as it is.
        internet: the story's.
        at: the story's time.
        quiet: seconds since something happened.
        ahead: seconds until the story changes.
    """
    layout, now = state.layout, state.now
    if not _settled(state) or not all(
        _known(state, internet, a, p, at)
        for a, p in np.ndindex(layout.shape)
        if p or not state.plan[a]
    ):
        return Pacing.DETAIL
    steered = np.flatnonzero(state.plan).tolist()
    if (
        quiet < QUIET
        or ahead < LEAD + leap(state)
        or not all(_rests(state, internet, a, at) for a in steered)
    ):
        return Pacing.STROLL if steered else Pacing.DETAIL
    soon = now + LEAD + leap(state)
    waiting = (a for a in steered if _empty(state, a))
    return Pacing.LEAP if all(_held_until(state, a) > soon for a in waiting) else Pacing.STROLL


def leap(state: State) -> Seconds:
    """What a leap takes."""
    return LEAP * state.layout.interval


def _settled(state: State) -> bool:
    """Nobody is being found out about."""
    ledger = state.ledger
    if ledger.trials or ledger.group_trials or (ledger.curious_until > state.now).any():
        return False
    if not all(proof.proved for proof in state.verifications.values()):
        return False
    steered = {state.layout.targets[a].address for a in np.flatnonzero(state.plan).tolist()}
    return attention(state).keys() == steered


def _known(state: State, internet: ScenarioAnswers, a: int, p: int, at: WallTime) -> bool:
    """Whether what is so is what is believed of it."""
    layout = state.layout
    health = Health(int(state.ledger.health[a, p]))
    if internet.ill(layout.targets[a], layout.paths[p], at).share == 0:
        late = health is Health.STALE and not breached(layout, a, health)
        return late or health in (Health.HEALTHY, Health.UNKNOWN)
    return health >= Health.SUSPECT


def _rests(state: State, internet: ScenarioAnswers, a: int, at: WallTime) -> bool:
    """Whether nothing moves in the recovery of a steered address."""
    target, local = state.layout.targets[a], state.layout.paths[0]
    bucket = state.ledger.buckets.get((a, 0))
    if bucket is None or bucket.empty:
        return True
    ill = internet.ill(target, local, at).share > 0 or internet.outdated(target, local, at)
    return ill and bucket.points >= bucket.clean


def _empty(state: State, a: int) -> bool:
    bucket = state.ledger.buckets.get((a, 0))
    return bucket is not None and bucket.empty


def _held_until(state: State, a: int) -> Instant:
    """When the hold of an address is over."""
    hold, recover = state.ledger.holds.get(a), state.layout.policy(a).recover
    return float("-inf") if hold is None else hold.until(recover.hold, recover.max_hold)
