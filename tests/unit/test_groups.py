"""How far a move reaches, and for whom it waits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from steering.decide.groups import SETTLE, open_groups, reach, settling


def _mask(text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.array([c == "x" for c in text], dtype=np.bool_)


ONE = np.zeros(8, dtype=np.int64)
SHUT, OPEN = _mask("."), _mask("x")
FAMILIES = np.array([0, 1] * 4, dtype=np.int64)


def test_a_group_opens_above_a_half_and_closes_below_a_quarter() -> None:
    assert not open_groups(SHUT, ONE, _mask("xxxx....")).any()
    assert open_groups(SHUT, ONE, _mask("xxxxx...")).all()
    assert open_groups(OPEN, ONE, _mask("xx......")).all()
    assert not open_groups(OPEN, ONE, _mask("x.......")).any()


def test_an_address_by_itself_is_no_group() -> None:
    alone = np.arange(8)
    assert not open_groups(_mask("." * 8), alone, _mask("xxxxxxxx")).any()


def test_an_open_group_takes_the_rest_along_but_not_an_untouched_family() -> None:
    assert reach(OPEN, ONE, FAMILIES, _mask("xxxxx...")).all()
    only_v4 = reach(OPEN, ONE, FAMILIES, _mask("x.x....."))
    assert only_v4.tolist() == [True, False] * 4


def test_a_shut_group_moves_only_what_is_breached() -> None:
    own = _mask("x......x")
    assert reach(SHUT, ONE, FAMILIES, own).tolist() == own.tolist()


def test_a_move_waits_for_the_trials_of_its_mates_but_not_for_long() -> None:
    own, on_trial = _mask("x......."), _mask(".x......")
    confirmed = np.full(8, 100.0)
    assert settling(ONE, own, on_trial, confirmed, 100.5).tolist() == own.tolist()
    assert not settling(ONE, own, on_trial, confirmed, 100.0 + SETTLE).any()
    assert not settling(ONE, own, _mask("........"), confirmed, 100.5).any()
    assert not settling(np.arange(8), own, on_trial, confirmed, 100.5).any()


@given(st.lists(st.booleans(), min_size=8, max_size=8), st.booleans())
def test_whatever_is_breached_itself_always_moves(own: list[bool], was_open: bool) -> None:
    mine = np.array(own)
    groups = open_groups(np.array([was_open]), ONE, mine)
    assert (reach(groups, ONE, FAMILIES, mine) | ~mine).all()
