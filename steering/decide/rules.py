"""The rules. For each address the first one that applies gives the answer.

The numbers never change: `steering explain`, the events, the docs and the tests use them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steering.decide.budget import Held
from steering.decide.situation import Mask, Situation
from steering.model import Health


class Answer(enum.Enum):
    """What happens to the addresses that a rule applies to."""

    LOCAL = "local"
    ORDERED = "as the override says"
    KEEP = "keep what is"
    STEER = "steer to the best proven site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One numbered rule."""

    number: int
    name: str
    when: str
    """The condition in words, as `explain` and the docs print it."""
    answer: Answer
    applies: Callable[[Situation], Mask]
    """Which addresses it applies to, (A,)."""


def _all(situation: Situation, condition: bool) -> Mask:
    return np.full(len(situation.plan), condition, dtype=np.bool_)


def _healthy(situation: Situation) -> Mask:
    well = (situation.local == Health.HEALTHY) | (
        (situation.local == Health.STALE) & ~situation.own
    )
    return np.asarray(well & ~situation.breached & ~_waits(situation))


def _waits(situation: Situation) -> Mask:
    """Could return to the local path, and rule 8 or 9 delays it."""
    return np.asarray(situation.returning & (situation.damped | (situation.held != Held.NOT)))


def _unproven(situation: Situation) -> Mask:
    nowhere = (situation.best == 0) | situation.settling
    return np.asarray(np.where(situation.breached, nowhere, ~_waits(situation)))


RULES: tuple[Rule, ...] = (
    Rule(
        number=1,
        name="off",
        when="the agent is switched off",
        answer=Answer.LOCAL,
        applies=lambda situation: _all(situation, situation.off),
    ),
    Rule(
        number=2,
        name="override",
        when="an operator's override says where it goes",
        answer=Answer.ORDERED,
        applies=lambda situation: situation.ordered,
    ),
    Rule(
        number=3,
        name="clock",
        when="the signatures of most upstreams look expired or not yet valid on every path: "
        "this host's clock may be wrong (a steered address may still change its site)",
        answer=Answer.KEEP,
        applies=lambda situation: ~situation.onward & situation.clock_doubt,
    ),
    Rule(
        number=4,
        name="self",
        when="three unrelated operators, or most of them, failed here within a minute, or no probe "
        "leaves this host, or only probes with our mark fail: the cause is most likely this host "
        "(a steered address may still change its site)",
        answer=Answer.KEEP,
        applies=lambda situation: (situation.self_doubt | situation.marked) & ~situation.onward,
    ),
    Rule(
        number=5,
        name="healthy",
        when="the local path is healthy, and rules 8 and 9 do not delay the return to it",
        answer=Answer.LOCAL,
        applies=_healthy,
    ),
    Rule(
        number=6,
        name="everywhere",
        when="every path is bad: no detour can help (serve-stale or a negative trust anchor may)",
        answer=Answer.KEEP,
        applies=lambda situation: situation.all_bad,
    ),
    Rule(
        number=7,
        name="unproven",
        when="the local path is not proven bad, or no remote path is proven good right now",
        answer=Answer.KEEP,
        applies=_unproven,
    ),
    Rule(
        number=8,
        name="damped",
        when="it moved too often lately (the policy's `moves_per_day`)",
        answer=Answer.KEEP,
        applies=lambda situation: situation.damped,
    ),
    Rule(
        number=9,
        name="budget",
        when="more moves a minute, more steered addresses or more queries to the sites than "
        "allowed, or another address of its group returns first",
        answer=Answer.KEEP,
        applies=lambda situation: situation.held != Held.NOT,
    ),
    Rule(
        number=10,
        name="steer",
        when="the local path is proven bad and a remote path is proven good",
        answer=Answer.STEER,
        applies=lambda situation: _all(situation, condition=True),
    ),
)

BY_NUMBER = {rule.number: rule for rule in RULES}

_OVERRIDE = 2


def decide(situation: Situation) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(A,) the number of the deciding rule, and (A,) the column of the path of each address.

    `KEEP` keeps the plan in force, with three exceptions: a detour that has become bad and clearly
    worse than the local path; a detour that was taken just before rule `self` applied; a detour
    through a site that an override avoids. In the last case rule `override` decides.
    """
    number = np.zeros(len(situation.plan), dtype=np.int64)
    want = situation.plan.copy()
    undecided = np.ones(len(situation.plan), dtype=np.bool_)
    for rule in RULES:
        if not undecided.any():
            break
        mine = undecided & rule.applies(situation)
        number[mine] = rule.number
        if rule.answer is Answer.LOCAL:
            want[mine] = 0
        elif rule.answer is Answer.ORDERED:
            want[mine] = situation.ordered_to[mine]
        elif rule.answer is Answer.STEER:
            want[mine] = situation.best[mine]
        else:
            want[mine & situation.detour_worse] = 0
            if rule.name == "self":
                want[mine & situation.hasty] = 0
        undecided &= ~mine
    avoided = (want > 0) & situation.banned[np.arange(len(want)), want] & (number != _OVERRIDE)
    want[avoided], number[avoided] = 0, _OVERRIDE
    return number, want
