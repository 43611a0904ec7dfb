"""The numbered rules: the first that applies decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from steering.decide.board import Board
from steering.decide.rules import BY_NUMBER, RULES, Answer, decide
from steering.model import Health


def board(**changes: object) -> Board:
    """One address, failing here, proven good over path 1, steered nowhere."""
    no = np.zeros(1, dtype=np.bool_)
    yes = ~no
    calm = Board(
        off=False,
        clock_doubt=False,
        self_doubt=no,
        local=np.array([Health.FAILING], dtype=np.int8),
        own=yes,
        breached=yes,
        open_groups=no,
        settling=no,
        proven=np.array([[False, True, True]]),
        all_bad=no,
        best=np.array([1]),
        plan=np.array([0]),
        detour_worse=no,
        at_most=np.array([10]),
        upstream_of=np.array([0]),
    )
    return replace(calm, **changes)  # type: ignore[arg-type]


YES = np.array([True])
HEALTHY = {
    "local": np.array([Health.HEALTHY], dtype=np.int8),
    "own": ~YES,
    "breached": ~YES,
}


def _decide(one: Board) -> tuple[int, int]:
    number, want = decide(one)
    return int(number[0]), int(want[0])


def test_the_numbers_are_the_design_s_and_in_order() -> None:
    assert [(rule.number, rule.name) for rule in RULES] == [
        (1, "off"),
        (3, "clock"),
        (4, "self"),
        (5, "healthy"),
        (6, "everywhere"),
        (7, "unproven"),
        (9, "budget"),
        (10, "steer"),
    ]
    assert all(BY_NUMBER[rule.number] is rule for rule in RULES)


@pytest.mark.parametrize(
    ("number", "changes", "want"),
    [
        (1, {"off": True, "clock_doubt": True, "plan": np.array([2])}, 0),
        (3, {"clock_doubt": True, "self_doubt": YES, "plan": np.array([2])}, 2),
        (4, {"self_doubt": YES, "plan": np.array([2])}, 2),
        (4, {"self_doubt": YES, **HEALTHY, "plan": np.array([2])}, 2),
        (5, {**HEALTHY, "plan": np.array([2])}, 0),
        (6, {"all_bad": YES, "best": np.array([0]), "plan": np.array([2])}, 2),
        (7, {"best": np.array([0]), "plan": np.array([2])}, 2),
        (7, {"settling": YES}, 0),
        (7, {"breached": ~YES, "own": ~YES, "local": np.array([Health.SUSPECT])}, 0),
        (9, {"at_most": np.array([0])}, 0),
        (10, {}, 1),
    ],
)
def test_the_first_rule_that_applies_decides(
    number: int, changes: dict[str, object], want: int
) -> None:
    assert _decide(board(**changes)) == (number, want)


def test_a_stale_path_is_healthy_unless_the_policy_acts_on_it() -> None:
    stale = {"local": np.array([Health.STALE], dtype=np.int8)}
    assert _decide(board(**stale, own=~YES, breached=~YES)) == (5, 0)
    assert _decide(board(**stale)) == (10, 1)


def test_a_healthy_mate_of_an_open_group_goes_along() -> None:
    assert _decide(board(local=HEALTHY["local"], own=~YES)) == (10, 1)


@pytest.mark.parametrize("number", [6, 7])
def test_a_detour_clearly_worse_than_local_is_not_kept(number: int) -> None:
    bad = {"plan": np.array([2]), "best": np.array([0]), "detour_worse": YES}
    assert _decide(board(**bad, all_bad=YES if number == 6 else ~YES)) == (number, 0)


def _many(plan: list[int], best: list[int], at_most: int) -> Board:
    size = len(plan)
    no = np.zeros(size, dtype=np.bool_)
    return board(
        self_doubt=no,
        local=np.full(size, Health.FAILING, dtype=np.int8),
        own=~no,
        breached=~no,
        settling=no,
        all_bad=no,
        best=np.array(best),
        plan=np.array(plan),
        detour_worse=no,
        at_most=np.full(size, at_most),
        upstream_of=np.zeros(size, dtype=np.int64),
    )


def test_the_budget_lets_the_first_ones_go_and_the_steered_ones_stay() -> None:
    assert decide(_many([0, 0, 0], [1, 1, 1], 2))[1].tolist() == [1, 1, 0]
    assert decide(_many([0, 0, 2], [1, 1, 1], 2))[1].tolist() == [1, 0, 1]


def test_detours_kept_by_another_rule_take_up_their_room() -> None:
    number, want = decide(_many([0, 0, 2], [1, 1, 0], 1))
    assert want.tolist() == [0, 0, 2]
    assert number.tolist() == [9, 9, 7]


def test_every_rule_says_when_in_words() -> None:
    assert all(rule.when and rule.answer in Answer for rule in RULES)
