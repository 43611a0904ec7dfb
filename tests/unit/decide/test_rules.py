"""The numbered rules: the first that applies decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from steering.config import Budget
from steering.decide.moves.room import Held, Room
from steering.decide.rules import BY_NUMBER, RULES, Answer, decide_one, of_usual
from steering.decide.situation import NO_CAUSES, AddressSituation, Situation
from steering.judge.known.ledger import Ledger
from steering.model import LOCAL, Family, Health

CALM = Situation(
    off=False,
    clock_doubt=False,
    dated=frozenset(),
    common_causes=NO_CAUSES,
    open_groups=frozenset(),
    addresses={},
    room=Room(
        budget=Budget(),
        minute=100,
        allowed={},
        load={},
        heard_load={},
        ledger=Ledger.blank(0.0),
        now=0.0,
    ),
)
HEALTHY = {"local": Health.HEALTHY, "own": False, "breached": False}
WAITS = Held.PER_MINUTE


def _decide(*, off: bool = False, clock_doubt: bool = False, **changes: object) -> tuple[int, str]:
    """Of one address, failing here, proven good over pao and fra, steered nowhere."""
    one = AddressSituation(
        address="192.0.2.1",
        local=Health.FAILING,
        own=True,
        breached=True,
        proven=("pao", "fra"),
        best="pao",
    )
    situation = replace(CALM, off=off, clock_doubt=clock_doubt)
    return decide_one(situation, replace(one, **changes))  # type: ignore[arg-type]


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
        (1, {"off": True, "clock_doubt": True, "path": "fra"}, LOCAL),
        (1, {"off": True, "ordered": True, "ordered_to": "pao"}, LOCAL),
        (2, {"ordered": True, "ordered_to": "fra", "clock_doubt": True}, "fra"),
        (2, {"ordered": True, "ordered_to": "fra", **HEALTHY}, "fra"),
        (2, {"ordered": True, "path": "fra", "damped": True}, LOCAL),
        (3, {"clock_doubt": True, "self_doubt": True, "path": "fra"}, "fra"),
        (4, {"self_doubt": True, "path": "fra"}, "fra"),
        (4, {"marked": True}, LOCAL),
        (4, {"self_doubt": True, **HEALTHY, "path": "fra"}, "fra"),
        (5, {**HEALTHY, "path": "fra"}, LOCAL),
        (6, {"all_bad": True, "best": None, "path": "fra"}, "fra"),
        (7, {"best": None, "path": "fra"}, "fra"),
        (7, {"settling": True}, LOCAL),
        (7, {"breached": False, "own": False, "local": Health.SUSPECT}, LOCAL),
        (8, {"damped": True, "held": WAITS}, LOCAL),
        (8, {**HEALTHY, "path": "fra", "returning": True, "damped": True}, "fra"),
        (9, {"held": WAITS}, LOCAL),
        (9, {**HEALTHY, "path": "fra", "returning": True, "held": WAITS}, "fra"),
        (10, {}, "pao"),
    ],
)
def test_the_first_rule_that_applies_decides(
    number: int, changes: dict[str, Any], want: str
) -> None:
    assert _decide(**changes) == (number, want)


def test_a_stale_path_is_healthy_unless_the_policy_acts_on_it() -> None:
    assert _decide(local=Health.STALE, own=False, breached=False) == (5, LOCAL)
    assert _decide(local=Health.STALE) == (10, "pao")


def test_a_healthy_mate_of_an_open_group_goes_along() -> None:
    assert _decide(local=Health.HEALTHY, own=False) == (10, "pao")


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (3, {"clock_doubt": True}),
        (4, {"self_doubt": True}),
        (6, {"all_bad": True}),
        (7, {"best": None}),
        (8, {"damped": True}),
        (9, {"held": WAITS}),
    ],
)
def test_a_detour_clearly_worse_than_local_is_not_kept(number: int, why: dict[str, Any]) -> None:
    assert _decide(path="fra", detour_worse=True, **why) == (number, LOCAL)


def test_a_detour_taken_just_before_the_doubt_is_not_kept_by_it() -> None:
    assert _decide(path="fra", hasty=True, self_doubt=True) == (4, LOCAL)
    assert _decide(path="fra", hasty=True, clock_doubt=True) == (3, "fra")


@pytest.mark.parametrize("why", [{"clock_doubt": True}, {"self_doubt": True}])
def test_while_we_doubt_ourselves_a_detour_still_changes_its_site(why: dict[str, Any]) -> None:
    assert _decide(path="fra", onward=True, **why) == (10, "pao")
    assert _decide(path="fra", onward=True, damped=True, **why) == (8, "fra")
    assert _decide(path="fra", onward=True, held=WAITS, **why) == (9, "fra")


@pytest.mark.parametrize("why", [{"best": None}, {"clock_doubt": True}, {"damped": True}])
def test_a_site_to_be_avoided_is_left_whatever_would_keep_it(why: dict[str, Any]) -> None:
    assert _decide(path="fra", banned=frozenset({"fra"}), **why) == (2, LOCAL)


@pytest.mark.parametrize(
    ("number", "local", "changes"),
    [
        (1, Health.HEALTHY, {"off": True, "clock_doubt": True}),
        (3, Health.HEALTHY, {"clock_doubt": True}),
        (4, Health.HEALTHY, {"common_causes": {**NO_CAUSES, Family.IPV6: ("Foo", "Bar")}}),
        (5, Health.HEALTHY, {"common_causes": {**NO_CAUSES, Family.IPV4: ("Foo", "Bar")}}),
        (5, Health.HEALTHY, {}),
        (7, Health.UNKNOWN, {}),
    ],
)
def test_what_is_as_usual_is_decided_by_what_is_so_of_all(
    number: int, local: Health, changes: dict[str, Any]
) -> None:
    assert of_usual(replace(CALM, **changes), Family.IPV6, local) == number


def test_every_rule_says_when_in_words() -> None:
    assert all(rule.when and rule.answer in Answer for rule in RULES)
