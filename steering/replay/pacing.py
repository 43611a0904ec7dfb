"""How finely a part of a scenario must be simulated so that the decisions stay the same.

*Detail*: turn by turn as the agent runs. Used while something is undecided: an address is suspect
or on trial, a verification is open, an address is probed fast for another reason, a fault is not
found yet, or something has just changed.

*Coarse*: every question is asked and every answer counted, but there is one turn a second. Used
while addresses are steered and a recovery is under way. Recoveries count answers, not turns.

*Leap*: one turn every two and a half slow rounds, just often enough for answers to stay recent,
with one question to every address over every path. Used while every fault is known and answered,
and no recovery makes progress: the fault that was steered away from goes on and its bucket is as
full as at the breach, or the bucket is empty and only the hold remains. The answers that are left
out would repeat what is known. Leaps end half a minute before the scenario changes or a hold is
over.
"""

from __future__ import annotations

import enum
from typing import Final

from steering.decide.fast_probing import attention
from steering.decide.state import State
from steering.judge.known.ledger import breached
from steering.model import LOCAL, NEVER, Health, Instant, Seconds, Target, WallTime
from steering.replay.scenario_answers import ScenarioAnswers

QUIET: Final[Seconds] = 60.0
"""Seconds without an event or step before the first leap."""
LEAD: Final[Seconds] = 30.0
"""Seconds before a change at which leaps end."""

LEAP: Final = 2.5
"""Slow rounds in a leap: after three an answer is no longer recent."""


class Pacing(enum.Enum):
    """How finely to simulate."""

    DETAIL = enum.auto()
    COARSE = enum.auto()
    LEAP = enum.auto()


def choose_pacing(
    state: State, servers: ScenarioAnswers, at: WallTime, *, quiet: Seconds, ahead: Seconds
) -> Pacing:
    """How finely the scenario must be simulated now.

    Args:
        state: the engine's state.
        servers: the scenario's nameservers.
        at: the scenario's time.
        quiet: seconds since the last event or step.
        ahead: seconds until the scenario changes.
    """
    index, now = state.index, state.now
    if not _nothing_open(state) or not all(
        _as_expected(state, servers, target, path, at)
        for target in index.targets
        for path in index.paths
        if path != LOCAL or target.address not in state.plan
    ):
        return Pacing.DETAIL
    steered = tuple(state.plan)
    if (
        quiet < QUIET
        or ahead < LEAD + leap(state)
        or not all(_recovery_stands_still(state, servers, a, at) for a in steered)
    ):
        return Pacing.COARSE if steered else Pacing.DETAIL
    soon = now + LEAD + leap(state)
    waiting = (a for a in steered if _empty(state, a))
    return Pacing.LEAP if all(_held_until(state, a) > soon for a in waiting) else Pacing.COARSE


def leap(state: State) -> Seconds:
    """The length of a leap."""
    return LEAP * state.index.interval


def _nothing_open(state: State) -> bool:
    """Whether no trial and no verification is open, and only steered addresses are probed fast."""
    ledger = state.ledger
    if any(known.trial or known.curious_until > state.now for known in ledger.addresses.values()):
        return False
    if any(known.trial for known in ledger.groups.values()):
        return False
    if not all(verification.proved for verification in state.verifications.values()):
        return False
    return attention(state).keys() == state.plan.keys()


def _as_expected(
    state: State, servers: ScenarioAnswers, target: Target, path: str, at: WallTime
) -> bool:
    """Whether the health of an address over a path agrees with the scenario."""
    health = state.ledger.path(target.address, path).health
    if servers.fault(target, path, at).share == 0:
        settings = state.index.settings[target.address]
        late = health is Health.STALE and not breached(settings, health)
        return late or health in (Health.HEALTHY, Health.UNKNOWN)
    return health >= Health.SUSPECT


def _recovery_stands_still(
    state: State, servers: ScenarioAnswers, address: str, at: WallTime
) -> bool:
    """Whether the recovery of a steered address makes no progress."""
    target, bucket = state.index.settings[address].target, state.ledger.path(address).bucket
    if bucket is None or bucket.empty:
        return True
    bad = servers.fault(target, LOCAL, at).share > 0 or servers.outdated(target, LOCAL, at)
    return bad and bucket.points >= bucket.clean


def _empty(state: State, address: str) -> bool:
    bucket = state.ledger.path(address).bucket
    return bucket is not None and bucket.empty


def _held_until(state: State, address: str) -> Instant:
    """When the hold of an address is over."""
    hold, recover = state.ledger.address(address).hold, state.index.settings[address].policy.recover
    return NEVER if hold is None else hold.until(recover.hold, recover.max_hold)
