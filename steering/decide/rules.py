"""The rules. For each address the first one that applies gives the answer.

The numbers are the design's and stay: `steering explain`, the events, the docs and the
tests all name them. Rules 2 (override) and 8 (damped) have their numbers kept free here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steering.decide.board import Board, Mask
from steering.model import Health


class Answer(enum.Enum):
    """What a rule says where it applies."""

    LOCAL = "local"
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
    applies: Callable[[Board], Mask]
    """Which addresses it applies to, (A,)."""


def _all(board: Board, condition: bool) -> Mask:
    return np.full(len(board.plan), condition, dtype=np.bool_)


def _healthy(board: Board) -> Mask:
    fit = (board.local == Health.HEALTHY) | ((board.local == Health.STALE) & ~board.own)
    return np.asarray(fit & ~board.breached)


def _unproven(board: Board) -> Mask:
    return np.asarray(~board.breached | (board.best == 0) | board.settling)


def _budget(board: Board) -> Mask:
    """Beyond `at_most`: those that are steered already keep their place, then in order."""
    wants = board.breached & (board.best > 0) & ~board.settling
    held = np.zeros(len(board.plan), dtype=np.bool_)
    for u in np.unique(board.upstream_of[wants]).tolist():
        mine = board.upstream_of == u
        rows = np.flatnonzero(wants & mine)
        rows = rows[np.argsort(board.plan[rows] == 0, kind="stable")]
        # Detours that an earlier rule keeps take up their room as well.
        kept = int((mine & ~wants & (board.plan > 0)).sum())
        held[rows[max(0, int(board.at_most[rows[0]]) - kept) :]] = True
    return held


RULES: tuple[Rule, ...] = (
    Rule(
        number=1,
        name="off",
        when="the agent is switched off",
        answer=Answer.LOCAL,
        applies=lambda board: _all(board, board.off),
    ),
    Rule(
        number=3,
        name="clock",
        when="the signatures of most upstreams look expired or not yet valid on every path: "
        "our own clock is in doubt",
        answer=Answer.KEEP,
        applies=lambda board: _all(board, board.clock_doubt),
    ),
    Rule(
        number=4,
        name="self",
        when="most upstreams look bad here at once, or our probes cannot leave: "
        "we suspect ourselves",
        answer=Answer.KEEP,
        applies=lambda board: board.self_doubt,
    ),
    Rule(
        number=5,
        name="healthy",
        when="the local path is healthy",
        answer=Answer.LOCAL,
        applies=_healthy,
    ),
    Rule(
        number=6,
        name="everywhere",
        when="every path is bad: no detour can help (serve-stale or a negative trust anchor may)",
        answer=Answer.KEEP,
        applies=lambda board: board.all_bad,
    ),
    Rule(
        number=7,
        name="unproven",
        when="the local path is not proven bad, or no remote path is proven good right now",
        answer=Answer.KEEP,
        applies=_unproven,
    ),
    Rule(
        number=9,
        name="budget",
        when="as many addresses of this upstream are steered as the policy's `at_most` allows",
        answer=Answer.KEEP,
        applies=_budget,
    ),
    Rule(
        number=10,
        name="steer",
        when="the local path is proven bad and a remote path is proven good",
        answer=Answer.STEER,
        applies=lambda board: _all(board, condition=True),
    ),
)

BY_NUMBER = {rule.number: rule for rule in RULES}


def decide(board: Board) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(A,) the number of the deciding rule, and (A,) the column each address shall take.

    To keep what is means the plan in force, with one exception: a detour that has become
    bad and clearly worse than the local path is not kept.
    """
    number = np.zeros(len(board.plan), dtype=np.int64)
    want = board.plan.copy()
    undecided = np.ones(len(board.plan), dtype=np.bool_)
    for rule in RULES:
        mine = undecided & rule.applies(board)
        number[mine] = rule.number
        if rule.answer is Answer.LOCAL:
            want[mine] = 0
        elif rule.answer is Answer.STEER:
            want[mine] = board.best[mine]
        elif rule.name in ("everywhere", "unproven"):
            want[mine & board.detour_worse] = 0
        undecided &= ~mine
    return number, want
