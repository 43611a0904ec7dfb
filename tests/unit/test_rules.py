"""The numbered rules: the first that applies decides."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from steering.config import Budget
from steering.decide.budget import Held, Room
from steering.decide.rules import BY_NUMBER, RULES, Answer, decide
from steering.decide.situation import Situation
from steering.layout import Layout
from steering.model import Health

LAYOUT = cast("Layout", None)  # no rule looks at it
ROOM = Room(
    budget=Budget(),
    minute=100,
    allowed=np.full(3, np.inf),
    load=np.zeros(3),
    demand=np.zeros(1),
    heard_load=np.zeros(3),
    heard=np.zeros(1),
)


def situation(**changes: object) -> Situation:
    """One address, failing here, proven good over path 1, steered nowhere."""
    no = np.zeros(1, dtype=np.bool_)
    yes = ~no
    calm = Situation(
        off=False,
        clock_doubt=False,
        dated=no,
        self_doubt=no,
        marked=no,
        common_causes=((), ()),
        hasty=no,
        ordered=no,
        ordered_to=np.array([0]),
        banned=np.zeros((1, 3), dtype=np.bool_),
        defied=no,
        local=np.array([Health.FAILING], dtype=np.int8),
        own=yes,
        unshown=no,
        breached=yes,
        open_groups=no,
        settling=no,
        proven=np.array([[False, True, True]]),
        all_bad=no,
        plan=np.array([0]),
        onward=no,
        detour_worse=no,
        returning=no,
        damped=no,
        best=np.array([1]),
        held=np.array([Held.NOT], dtype=np.int8),
        scouts=(),
        leaving=np.array([0]),
        cost=np.array([[np.inf, 1.0, 2.0]]),
        scouting=no,
        scouted=no,
        at_most=np.array([10]),
        room=ROOM,
        layout=LAYOUT,
    )
    return replace(calm, **changes)  # type: ignore[arg-type]


YES = np.array([True])
WAITS = np.array([Held.PER_MINUTE], dtype=np.int8)
HEALTHY = {
    "local": np.array([Health.HEALTHY], dtype=np.int8),
    "own": ~YES,
    "breached": ~YES,
}


def _decide(one: Situation) -> tuple[int, int]:
    number, want = decide(one)
    return int(number[0]), int(want[0])


def test_the_numbers_are_the_design_s_and_in_order() -> None:
    assert [(rule.number, rule.name) for rule in RULES] == [
        (1, "off"),
        (2, "override"),
        (3, "clock"),
        (4, "self"),
        (5, "healthy"),
        (6, "everywhere"),
        (7, "unproven"),
        (8, "damped"),
        (9, "budget"),
        (10, "steer"),
    ]
    assert all(BY_NUMBER[rule.number] is rule for rule in RULES)


@pytest.mark.parametrize(
    ("number", "changes", "want"),
    [
        (1, {"off": True, "clock_doubt": True, "plan": np.array([2])}, 0),
        (1, {"off": True, "ordered": YES, "ordered_to": np.array([1])}, 0),
        (2, {"ordered": YES, "ordered_to": np.array([2]), "clock_doubt": True}, 2),
        (2, {"ordered": YES, "ordered_to": np.array([2]), **HEALTHY}, 2),
        (2, {"ordered": YES, "plan": np.array([2]), "damped": YES}, 0),
        (3, {"clock_doubt": True, "self_doubt": YES, "plan": np.array([2])}, 2),
        (4, {"self_doubt": YES, "plan": np.array([2])}, 2),
        (4, {"marked": YES, "best": np.array([1])}, 0),
        (4, {"self_doubt": YES, **HEALTHY, "plan": np.array([2])}, 2),
        (5, {**HEALTHY, "plan": np.array([2])}, 0),
        (6, {"all_bad": YES, "best": np.array([0]), "plan": np.array([2])}, 2),
        (7, {"best": np.array([0]), "plan": np.array([2])}, 2),
        (7, {"settling": YES}, 0),
        (7, {"breached": ~YES, "own": ~YES, "local": np.array([Health.SUSPECT])}, 0),
        (8, {"damped": YES, "held": WAITS}, 0),
        (8, {**HEALTHY, "plan": np.array([2]), "returning": YES, "damped": YES}, 2),
        (9, {"held": WAITS}, 0),
        (9, {**HEALTHY, "plan": np.array([2]), "returning": YES, "held": WAITS}, 2),
        (10, {}, 1),
    ],
)
def test_the_first_rule_that_applies_decides(
    number: int, changes: dict[str, object], want: int
) -> None:
    assert _decide(situation(**changes)) == (number, want)


def test_a_stale_path_is_healthy_unless_the_policy_acts_on_it() -> None:
    stale = {"local": np.array([Health.STALE], dtype=np.int8)}
    assert _decide(situation(**stale, own=~YES, breached=~YES)) == (5, 0)
    assert _decide(situation(**stale)) == (10, 1)


def test_a_healthy_mate_of_an_open_group_goes_along() -> None:
    assert _decide(situation(local=HEALTHY["local"], own=~YES)) == (10, 1)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (3, {"clock_doubt": True}),
        (4, {"self_doubt": YES}),
        (6, {"all_bad": YES}),
        (7, {"best": np.array([0])}),
        (8, {"damped": YES}),
        (9, {"held": WAITS}),
    ],
)
def test_a_detour_clearly_worse_than_local_is_not_kept(number: int, why: dict[str, object]) -> None:
    assert _decide(situation(plan=np.array([2]), detour_worse=YES, **why)) == (number, 0)


@pytest.mark.parametrize("why", [{"clock_doubt": True}, {"self_doubt": YES}])
def test_while_we_doubt_ourselves_a_detour_still_changes_its_site(why: dict[str, object]) -> None:
    assert _decide(situation(plan=np.array([2]), onward=YES, **why)) == (10, 1)
    assert _decide(situation(plan=np.array([2]), onward=YES, damped=YES, **why)) == (8, 2)
    assert _decide(situation(plan=np.array([2]), onward=YES, held=WAITS, **why)) == (9, 2)


@pytest.mark.parametrize("why", [{"best": np.array([0])}, {"clock_doubt": True}, {"damped": YES}])
def test_a_site_to_be_avoided_is_left_whatever_would_keep_it(why: dict[str, object]) -> None:
    banned = np.array([[False, False, True]])
    assert _decide(situation(plan=np.array([2]), banned=banned, **why)) == (2, 0)


def test_every_rule_says_when_in_words() -> None:
    assert all(rule.when and rule.answer in Answer for rule in RULES)
