"""Recovery: neither too early nor never."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.judge.known.recovery import BRIEF, CALM, Bucket, Hold


def test_sixteen_hundred_clean_answers_empty_the_bucket_and_not_one_fewer() -> None:
    bucket = Bucket.start(1600)
    for _ in range(1599):
        bucket = bucket.count(clean=1)
    assert not bucket.empty
    assert bucket.count(clean=1).empty


def test_each_bad_answer_puts_a_token_back_and_three_are_the_most() -> None:
    bucket = Bucket.start(1600).count(clean=1000)
    assert bucket.points == 600
    assert bucket.count(bad=1).points == 1400
    assert bucket.count(bad=9).points == 2400


def test_half_a_percent_left_brings_no_traffic_back_in_twelve_hours() -> None:
    rng = random.Random(1)
    for _ in range(5):
        bucket = Bucket.start(1600).count(bad=1)
        for _ in range(12 * 3600):
            bad = rng.random() < 0.005
            bucket = bucket.count(clean=not bad, bad=bad)
            assert not bucket.empty


@pytest.mark.parametrize("clean", [20, 200, 1600, 20_000])
@pytest.mark.parametrize(("loss", "returns"), [(0.0, True), (0.03, True), (0.3, False)])
def test_a_normal_loss_does_not_keep_traffic_away(loss: float, returns: bool, clean: int) -> None:
    rng = random.Random(2)
    bucket = Bucket.start(clean)
    for _ in range(5 * clean):
        lost = rng.random() < loss
        bucket = bucket.count(clean=not lost, lost=lost)
        if bucket.empty:
            break
    assert bucket.empty is returns


def test_the_brief_bucket_outlasts_the_gap_between_two_failures_of_many() -> None:
    bucket = Bucket.brief()
    for _ in range(BRIEF - 1):
        bucket = bucket.count(clean=1)
    assert not bucket.empty


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)), max_size=50))
def test_points_stay_between_nothing_and_three_tokens(turns: list[tuple[int, int, int]]) -> None:
    bucket = Bucket.start(20)
    for clean, bad, lost in turns:
        after = bucket.count(clean=clean, bad=bad, lost=lost)
        assert 0 <= after.points <= 3 * bucket.token
        assert bucket.count(clean=clean + 1, bad=bad, lost=lost).points <= after.points
        assert bucket.count(clean=clean, bad=bad + 1, lost=lost).points >= after.points
        bucket = after


def test_the_hold_doubles_up_to_its_limit() -> None:
    hold, held = Hold(), []
    for number in range(6):
        begun = number * 4000.0
        hold = hold.breach(begun)
        held.append(hold.until(300, 3600) - begun)
        hold = hold.end(begun + 3700)
    assert held == [300, 600, 1200, 2400, 3600, 3600]


def test_a_calm_day_resets_the_hold() -> None:
    hold = Hold().breach(0).end(400).breach(1000).end(2000)
    assert hold.breach(2000 + CALM - 1).breaches == 3
    assert hold.breach(2000 + CALM).breaches == 1


def test_a_breach_of_more_than_a_day_is_no_calm() -> None:
    ended = 35 * 3600.0
    assert Hold().breach(0).end(ended).breach(ended + 300).breaches == 2


def test_a_very_long_history_does_not_overflow() -> None:
    assert Hold(breaches=10_000, since=5.0).until(300, 3600) == 3605
