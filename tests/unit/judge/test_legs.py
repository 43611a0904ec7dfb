"""What a leg and a forwarded source are known by: each answer, each loss, each limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from steering.judge.known import carriage, legs
from steering.judge.known.carriage import LASTS, Carriage
from steering.judge.known.legs import (
    ADDRESSES,
    AT_FIRST,
    BACK,
    FORGOTTEN,
    LOST,
    NOTHING,
    Leg,
    LegState,
    Reach,
)
from steering.model import Family

FRESH = Reach()
USABLE = Reach(state=LegState.USABLE, came=1)


def silent(reach: Reach, times: int, *, spread: int = ADDRESSES, of: int = 9) -> Reach:
    for number in range(times):
        reach = reach.unanswered(f"192.0.2.{number % spread}", of)
    return reach


def test_a_leg_is_lost_by_three_silences_at_first_and_by_eight_once_answers_came() -> None:
    for begun, enough in ((FRESH, AT_FIRST), (USABLE, LOST)):
        before = silent(begun, enough - 1)
        assert before.state is begun.state
        assert (before.lost, before.came) == (enough - 1, 0)
        assert silent(begun, enough).state is LegState.LOST
    assert silent(USABLE, LOST + 5).lost == LOST


def test_they_must_be_of_three_addresses_where_there_are_so_many() -> None:
    for spread, of, lost in (
        (2, 9, False),
        (3, 9, True),
        (2, 2, True),
        (1, 1, True),
        (1, 2, False),
    ):
        found = silent(USABLE, 3 * LOST, spread=spread, of=of)
        assert (found.state is LegState.LOST) == lost


def test_an_answer_makes_a_leg_usable_and_a_lost_one_after_three_in_a_row() -> None:
    assert FRESH.answered() == Reach(state=LegState.USABLE, came=1)
    many = USABLE
    for _ in range(9):
        many = many.answered()
    assert many == Reach(state=LegState.USABLE, came=BACK)
    lost = silent(USABLE, LOST)
    for came in range(1, BACK):
        lost = lost.answered()
        assert (lost.state, lost.came, lost.lost) == (LegState.LOST, came, 0)
    assert lost.answered() == Reach(state=LegState.USABLE, came=BACK)
    broken = silent(lost, 1)
    assert broken.came == 0
    assert broken.answered().state is LegState.LOST


def large(reach: Reach, times: int, octets: int = 1400) -> Reach:
    for number in range(times):
        reach = reach.unanswered(f"192.0.2.{number}", 9, octets)
    return reach


def test_a_large_answer_is_lost_only_if_a_smaller_one_came_beside() -> None:
    alone = large(USABLE, LOST + 3)
    assert alone.state is LegState.USABLE, "perhaps nothing came at all"
    assert alone.least == 1400
    begun = large(USABLE, 1).smaller()
    assert large(begun, LOST - 1).state is LegState.USABLE
    beside = large(begun, LOST)
    assert (beside.state, beside.beside) == (LegState.LOST, 1)
    assert large(alone, 1, 1300).least == 1300
    assert large(alone, 1, 1500).least == 1400


def test_as_large_an_answer_that_came_meanwhile_takes_back_what_was_lost() -> None:
    lost = large(USABLE, 5)
    after = lost.answered(1300)
    assert after == Reach(state=LegState.USABLE, most=1300, beside=1), "begun anew"
    again = replace(lost, most=1399)
    assert again.unanswered("192.0.2.9", 9, 1399) == replace(
        FRESH, state=LegState.USABLE, lost=1, asked=frozenset({"192.0.2.9"}), least=1399
    )
    assert again.unanswered("192.0.2.9", 9, 1400).lost == 6
    gone = replace(again, state=LegState.LOST)
    assert gone.unanswered("192.0.2.9", 9, 1399) is gone
    assert lost.answered(1400).state is LegState.USABLE, "as large as those"
    assert lost.answered(1400).lost == 0


def test_smaller_answers_beside_are_counted_until_the_loss_is_forgotten() -> None:
    assert USABLE.smaller() is USABLE, "nothing is lost"
    first = large(USABLE, 3).smaller()
    assert first == Reach(state=LegState.USABLE, beside=1)
    lost = replace(large(USABLE, 3), state=LegState.LOST, beside=4)
    assert lost.smaller() == replace(lost, beside=5)
    assert lost.smaller(1399).beside == 5
    assert lost.smaller(1400) is NOTHING, "the others have such small answers too"
    some = replace(large(USABLE, 3), beside=7)
    assert some.smaller(1400) == Reach(state=LegState.USABLE)
    assert replace(lost, beside=FORGOTTEN - 2).smaller().beside == FORGOTTEN - 1
    assert replace(lost, beside=FORGOTTEN - 1).smaller() is NOTHING


LEG = Leg(site="pao", family=Family.IPV4, source="", tcp=False)


def test_a_leg_is_partial_if_it_is_of_tcp_or_of_large_answers_alone() -> None:
    big = replace(LEG, large="gtld")
    assert [leg.partial for leg in (LEG, replace(LEG, tcp=True), big)] == [False, True, True]
    assert big.any_size == LEG
    assert [leg.sender for leg in (LEG, replace(LEG, source="10.0.0.1"))] == ["kernel", "10.0.0.1"]


def forwarded(known: Carriage, times: int, number: int = 1, now: float = 100.0) -> Carriage:
    for address in range(times):
        known = known.unanswered(f"192.0.2.{address}", number, 9, now)
    return known


@pytest.mark.parametrize(
    ("begun", "enough"), [(carriage.NOTHING, AT_FIRST), (carriage.USABLE, LOST)]
)
def test_a_forwarded_source_is_lost_as_a_leg_is(begun: Carriage, enough: int) -> None:
    before = forwarded(begun, enough - 1)
    assert before.state is begun.state
    assert before.lost == enough - 1
    lost = forwarded(before, enough)
    assert (lost.state, lost.since) == (LegState.LOST, 100.0)
    assert forwarded(begun, 3, number=100).lost == LOST
    assert forwarded(begun, 2, number=100).state is begun.state, "of too few addresses"
    assert begun.unanswered("192.0.2.1", 9, 1, 5.0).state is LegState.LOST
    assert lost.answered() == carriage.USABLE


def test_a_lost_source_is_tried_anew_after_an_hour() -> None:
    lost = forwarded(carriage.USABLE, LOST)
    assert not lost.is_old(100.0 + LASTS - 1)
    assert lost.is_old(100.0 + LASTS)
    assert not replace(lost, state=LegState.USABLE).is_old(1e9)
    anew = lost.unanswered("192.0.2.1", 1, 9, 100.0 + LASTS)
    assert (anew.state, anew.lost, anew.asked) == (LegState.UNTRIED, 1, frozenset({"192.0.2.1"}))
    assert legs.SILENT
