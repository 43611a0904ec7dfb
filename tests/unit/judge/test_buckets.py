"""The breach detector: exact vectors, properties, and how soon it finds what."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.judge.known.buckets import (
    DRAINS,
    EMPTY,
    LOOSE,
    TIGHT,
    TOKEN,
    Levels,
    fill,
    scale_for,
)

Turns = list[tuple[int, int]]

FRESH: Turns = [(1, 0), (1, 0), (0, 1), (1, 0)]

VECTORS: list[tuple[Turns, int, int | None, tuple[int, int, int]]] = [
    ([(1, 0)] * 3, 1, 3, (2400, 2400, 2400)),
    (FRESH, 1, None, (2399, 2392, 2360)),
    ([*FRESH, (1, 0)], 1, 5, (3199, 3192, 2400)),
    ([(10000, 0)], 1, None, (2800, 2000, 1200)),
    ([(10000, 0)] * 2, 1, 2, (5600, 4000, 2400)),
    ([(1, 0), (0, 800)] * 5000, 1, None, (0, 0, 0)),
    ([(5, 995)] * 10, 1, 2, (5600, 0, 0)),
    ([(2, 98)] * 10, 1, 4, (5600, 3264, 0)),
    ([(13, 87)] * 10, 1, 2, (5600, 4000, 2400)),
    ([(1, 0)] * 2 + [(0, 0)] * 1000 + [(1, 0)], 1, 1003, (2400, 2400, 2400)),
    ([(4, 996)] * 2000, 5, None, (0, 0, 0)),
]


def _full_at(turns: Turns, scale: int) -> tuple[int | None, Levels]:
    levels = EMPTY
    for number, (bad, good) in enumerate(turns, start=1):
        levels, full = fill(levels, bad, good, scale)
        if full:
            return number, levels
    return None, levels


@pytest.mark.parametrize(("turns", "scale", "full_at", "points"), VECTORS)
def test_the_exact_vectors(
    turns: Turns, scale: int, full_at: int | None, points: tuple[int, int, int]
) -> None:
    assert _full_at(turns, scale) == (full_at, Levels(*points))


counts = st.integers(0, 2000)
scales = st.integers(1, 400)


@st.composite
def levels_at(draw: st.DrawFn, scale: int) -> Levels:
    sizes = TIGHT if scale == 1 else LOOSE
    return Levels(*(draw(st.integers(0, size)) for size in sizes))


@st.composite
def keys(draw: st.DrawFn) -> tuple[int, Levels, int, int]:
    scale = draw(scales)
    return scale, draw(levels_at(scale)), draw(counts), draw(counts)


@given(keys(), st.integers(1, 50))
def test_more_bad_never_lowers_and_more_good_never_raises(
    key: tuple[int, Levels, int, int], more: int
) -> None:
    scale, before, bad, good = key
    levels, _ = fill(before, bad, good, scale)
    worse, _ = fill(before, bad + more, good, scale)
    better, _ = fill(before, bad, good + more, scale)
    assert all(b <= x <= w for b, x, w in zip(better, levels, worse, strict=True))


@given(scales, st.data())
def test_merging_two_turns_never_raises_a_level_short_of_the_cap(
    scale: int, data: st.DataObject
) -> None:
    """Slower turns find nothing that quicker ones would not.

    A turn's gain is capped, and so is a full bucket; what good answers drain of points that
    the cap has cut off already is not missed. There the order of good and bad matters, so
    the law is about gains below the cap.
    """
    before = data.draw(levels_at(scale))
    first_bad, bad = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    first_good, good = data.draw(st.tuples(counts, counts))
    first, full = fill(before, first_bad, first_good, scale)
    apart, _ = fill(first, bad, good, scale)
    merged, _ = fill(before, first_bad + bad, first_good + good, scale)
    for size, a, m in zip(TIGHT if scale == 1 else LOOSE, apart, merged, strict=True):
        if not full and (first_bad + bad) * TOKEN <= size // 2:
            assert m <= a


@given(keys())
def test_levels_stay_in_their_buckets_and_one_turn_never_fills_an_empty_one(
    key: tuple[int, Levels, int, int],
) -> None:
    scale, before, bad, good = key
    sizes = TIGHT if scale == 1 else LOOSE
    levels, _ = fill(before, bad, good, scale)
    assert all(0 <= level <= size for level, size in zip(levels, sizes, strict=True))
    assert not fill(EMPTY, bad, good, scale)[1]


@pytest.mark.parametrize(
    ("tolerated", "rate", "scale"),
    [(1e-4, 0.003, 1), (0.0, 0.009, 3), (2e-4, 0.003, 2), (0.03, 0.003, 300), (0.0, 0.0, 1)],
)
def test_the_scale_follows_habit_and_policy(tolerated: float, rate: float, scale: int) -> None:
    assert scale_for(tolerated, rate) == scale


ARL0 = 6.31e11
"""Turns a key may run before a false alarm: one in ten years over 2,000 keys at 1 s a turn."""


def _divergence(p: float, q: float = 1e-4) -> float:
    """Kullback-Leibler divergence of two Bernoulli laws, in nats."""
    rest = (1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return p * math.log(p / q) + rest


@pytest.mark.parametrize("share", [0.003, 0.005, 0.01, 0.02, 0.05, 0.13, 0.3, 0.6, 1.0])
def test_detection_is_within_a_quarter_of_the_bound(share: float) -> None:
    chance = random.Random(20230708)
    found = sorted(_turns_until_full(share, chance) for _ in range(1500))
    mean = sum(found) / len(found)
    assert mean <= 1.25 * math.log(ARL0) / _divergence(share) + 2
    assert found[len(found) * 99 // 100] <= 3 * mean + 2


def _turns_until_full(share: float, chance: random.Random) -> int:
    """Turns of one answer each, until a bucket is full."""
    levels, full, turns = EMPTY, False, 0
    while not full:
        # As many good answers in a row as chance gives, then a bad one.
        good = math.floor(math.log(1.0 - chance.random()) / math.log1p(-share)) if share < 1 else 0
        levels, full = fill(_good(levels, good), 1, 0)
        turns += good + 1
    return turns


def _good(levels: Levels, turns: int) -> Levels:
    """After so many turns with a good answer: the same as one by one."""
    return Levels(*(max(0, p - d * turns) for p, d in zip(levels, DRAINS, strict=True)))


@given(keys(), st.integers(0, 40))
def test_good_turns_drain_as_many_one_by_one(key: tuple[int, Levels, int, int], turns: int) -> None:
    _, before, _, _ = key
    before = Levels(*(min(p, size - 1) for p, size in zip(before, TIGHT, strict=True)))
    after = before
    for _ in range(turns):
        after, _ = fill(after, 0, 1)
    assert after == _good(before, turns)


def test_the_tolerated_share_alone_fills_no_bucket() -> None:
    chance = random.Random(20231004)
    for _ in range(2000):
        levels = EMPTY
        for turn in _bad_turns(chance, turns=2000, share=1e-3):
            levels, full = fill(_good(levels, 10 * turn), 1, 9)
            assert not full


def _bad_turns(chance: random.Random, turns: int, share: float) -> list[int]:
    """Turns between those with a bad answer, which are so large a share of all."""
    gaps: list[int] = []
    passed = 0
    while True:
        gap = math.floor(math.log(1.0 - chance.random()) / math.log1p(-share))
        passed += gap + 1
        if passed > turns:
            return gaps
        gaps.append(gap)
