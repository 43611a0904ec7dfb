"""What the last few seconds show of a local path, and when that is over again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from simulation import setup

from steering.index import Index
from steering.judge.known.ledger import PAIRS, AddressRecord, Ledger, PathRecord
from steering.judge.probes.recent_evidence import AGAIN, clean, over, shown, window
from steering.model import LOCAL

NOW = 1000.0


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index.of(setup(tmp_path))


def pairs(ages: list[float]) -> AddressRecord:
    """The latest pairs are so old."""
    return AddressRecord(shown=tuple(NOW - age for age in ages))


def seems_over(index: Index, ages: list[float], run: int = PAIRS) -> bool:
    """Whether it is over by these pairs, and so many clean answers since."""
    first = index.targets[0].address
    ledger = replace(
        Ledger.blank(NOW),
        addresses={first: pairs(ages)},
        paths={(first, LOCAL): PathRecord(run=run)},
    )
    return over(ledger, index, first, NOW)


def test_it_is_over_after_twice_the_time_in_which_it_showed(index: Index) -> None:
    """Newest first: these took two seconds to come, so four without any are wanted."""
    ages = [2.0 * i / (PAIRS - 1) for i in range(PAIRS)]
    assert not seems_over(index, [age + 3.9 for age in ages])
    assert seems_over(index, [age + 4.1 for age in ages])


def test_pairs_that_came_at_once_took_as_long_as_their_questions(index: Index) -> None:
    took = (PAIRS - 1) * index.fast_interval
    assert not seems_over(index, [AGAIN * took - 0.01] * PAIRS)
    assert seems_over(index, [AGAIN * took + 0.01] * PAIRS)


def test_it_is_not_over_while_too_few_answers_were_clean(index: Index) -> None:
    ages = [60.0] * PAIRS
    assert seems_over(index, ages)
    assert not seems_over(index, ages, run=PAIRS - 1)


def test_what_was_never_shown_is_neither_shown_nor_over(index: Index) -> None:
    assert not shown(AddressRecord(), index, NOW)
    assert not seems_over(index, [])


@pytest.mark.parametrize("number", range(1, PAIRS))
def test_fewer_pairs_than_a_move_wants_show_nothing_and_are_over_as_soon(
    index: Index, number: int
) -> None:
    took = (PAIRS - 1) * index.fast_interval
    assert not shown(pairs([0.0] * number), index, NOW)
    assert not seems_over(index, [AGAIN * took - 0.01] * number)
    assert seems_over(index, [AGAIN * took + 0.01] * number)


def test_all_pairs_that_a_move_wants_have_to_be_of_the_present(index: Index) -> None:
    old = window(index)
    for ages, is_shown in (
        ([0.0] * PAIRS, True),
        ([0.0] * (PAIRS - 1) + [old], True),
        ([0.0] * (PAIRS - 1) + [old + 0.01], False),
    ):
        assert shown(pairs(ages), index, NOW) is is_shown


def test_a_small_share_wants_more_clean_answers_and_never_more_than_the_policy() -> None:
    shares = (0.0, 5e-324, 0.01, 0.1, 1.0)
    assert [clean(share, 100) for share in shares] == [100, 100, 100, 50, 25]
