"""What the last few seconds show of a local path, and when that is over again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulation import setup

from steering.judge.ledger import PAIRS, Ledger
from steering.judge.recent_evidence import AGAIN, clean, over, shown, window
from steering.layout import Layout

NOW = 1000.0


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.of(setup(tmp_path))


def ledger(layout: Layout, *, ages: list[float], run: int = PAIRS) -> Ledger:
    """The first address's latest pairs are so old, and so many clean answers came since."""
    blank = Ledger.blank(layout, NOW)
    pairs, runs = blank.shown.copy(), blank.run.copy()
    pairs[0], runs[0, 0] = [NOW - age for age in ages], run
    return replace(blank, shown=pairs, run=runs)


def seems_over(layout: Layout, ages: list[float], run: int = PAIRS) -> bool:
    return bool(over(ledger(layout, ages=ages, run=run), layout, NOW)[0])


def test_it_is_over_after_twice_the_time_in_which_it_showed(layout: Layout) -> None:
    """Newest first: these took two seconds to come, so four without any are wanted."""
    ages = np.linspace(0.0, 2.0, PAIRS)
    assert not seems_over(layout, (ages + 3.9).tolist())
    assert seems_over(layout, (ages + 4.1).tolist())


def test_pairs_that_came_at_once_took_as_long_as_their_questions(layout: Layout) -> None:
    took = (PAIRS - 1) * layout.fast_interval
    assert not seems_over(layout, [AGAIN * took - 0.01] * PAIRS)
    assert seems_over(layout, [AGAIN * took + 0.01] * PAIRS)


def test_it_is_not_over_while_too_few_answers_were_clean(layout: Layout) -> None:
    ages = [60.0] * PAIRS
    assert seems_over(layout, ages)
    assert not seems_over(layout, ages, run=PAIRS - 1)


def test_what_was_never_shown_is_neither_shown_nor_over(layout: Layout) -> None:
    blank = Ledger.blank(layout, NOW)
    assert not shown(blank, layout, NOW).any()
    assert not over(blank, layout, NOW).any()


def test_all_pairs_that_a_move_wants_have_to_be_of_the_present(layout: Layout) -> None:
    old = window(layout)
    for ages, is_shown in (
        ([0.0] * PAIRS, True),
        ([0.0] * (PAIRS - 1) + [old], True),
        ([0.0] * (PAIRS - 1) + [old + 0.01], False),
    ):
        assert shown(ledger(layout, ages=ages), layout, NOW).tolist()[0] == is_shown


def test_a_small_share_wants_more_clean_answers_and_never_more_than_the_policy() -> None:
    shares = np.array([0.0, 0.01, 0.1, 1.0])
    assert clean(shares, np.full(4, 100)).tolist() == [100, 100, 50, 25]
