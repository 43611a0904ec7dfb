"""Confirmation by pairs: the exact false-confirmation bound, and what ends a trial."""

from __future__ import annotations

import random

import pytest

from steering.judge.known.paired_test import (
    BAD_HERE,
    BAD_THERE,
    CONFIRM_AT,
    REJECT_AFTER,
    Confirmation,
    Trial,
)


def _confirms(equal: float, here: float) -> float:
    """Probability of ever reaching +12 within 256 pairs, exactly."""
    there = 1 - equal - here
    scores = {0: 1.0}
    confirmed = 0.0
    for _ in range(REJECT_AFTER):
        after: dict[int, float] = {}
        for score, p in scores.items():
            for step, q in ((0, equal), (BAD_HERE, here), (BAD_THERE, there)):
                if not q:
                    continue
                if score + step >= CONFIRM_AT:
                    confirmed += p * q
                else:
                    after[score + step] = after.get(score + step, 0.0) + p * q
        scores = after
    return confirmed


@pytest.mark.parametrize("rate", [0.003, 0.02, 0.13, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_an_equal_fault_is_confirmed_at_most_seven_times_in_ten_thousand(rate: float) -> None:
    here = rate * (1 - rate)  # both paths fail independently with the same rate
    assert _confirms(1 - 2 * here, here) <= 7e-4


def test_the_bound_holds_for_the_worst_walk_there_is() -> None:
    assert _confirms(0.0, 0.5) == pytest.approx(6.7e-4, rel=0.01)


def test_twelve_pairs_confirm_when_everything_fails_here_and_nothing_there() -> None:
    trial = Trial(candidate="pao", since=0.0)
    for _ in range(CONFIRM_AT):
        assert trial.result is Confirmation.OPEN
        trial = trial.pair(bad_here=True, bad_there=False)
    assert trial.result is Confirmation.CONFIRMED
    assert trial.pairs == CONFIRM_AT


def test_a_fault_of_both_paths_is_rejected_after_256_pairs() -> None:
    trial = Trial(candidate="pao", since=0.0)
    for _ in range(REJECT_AFTER):
        assert trial.result is Confirmation.OPEN
        trial = trial.pair(bad_here=True, bad_there=True)
    assert trial.result is Confirmation.REJECTED


def test_the_score_has_no_floor() -> None:
    trial = Trial(candidate="pao", since=0.0)
    for _ in range(50):
        trial = trial.pair(bad_here=False, bad_there=True)
    assert trial.score == 50 * BAD_THERE


def test_ninety_percent_planted_names_hide_no_real_fault() -> None:
    rng = random.Random(7)
    taken = []
    for _ in range(200):
        trial = Trial(candidate="pao", since=0.0)
        while trial.result is Confirmation.OPEN:
            planted = rng.random() < 0.9
            trial = trial.pair(bad_here=True, bad_there=planted)
        assert trial.result is Confirmation.CONFIRMED
        taken.append(trial.pairs)
    assert sum(taken) / len(taken) == pytest.approx(120, rel=0.1)  # 6 s at 20 pairs a second
