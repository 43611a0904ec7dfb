"""How far a move reaches, and for whom it waits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import policy, setup

from steering.decide.moves.groups import SETTLE, open_groups, reach, settling
from steering.index import Index
from steering.judge.known.ledger import AddressRecord, Ledger
from steering.judge.known.paired_test import Trial

ONE = "gtld"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Eight addresses of one group, the families by turns."""
    return _index(tmp_path_factory.mktemp("one"), "upstream")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """The same addresses, each by itself."""
    return _index(tmp_path_factory.mktemp("alone"), "address")


def _index(tmp: Path, together: str) -> Index:
    return Index.of(setup(tmp, policy(letters=4, more=f"steer: {{together: {together}}}\n")))


def _those(index: Index, marks: Iterable[object]) -> set[str]:
    """The addresses at these marks."""
    return {a for a, mark in zip(index.settings, marks, strict=True) if mark in ("x", True)}


def test_a_group_opens_above_a_half_and_closes_below_a_quarter(index: Index) -> None:
    assert not open_groups((), index, _those(index, "xxxx...."))
    assert open_groups((), index, _those(index, "xxxxx...")) == {ONE}
    assert open_groups({ONE}, index, _those(index, "xx......")) == {ONE}
    assert not open_groups({ONE}, index, _those(index, "x......."))
    assert not open_groups({ONE}, index, ())


def test_an_address_by_itself_is_no_group(alone: Index) -> None:
    assert not open_groups((), alone, alone.settings)


def test_an_open_group_takes_the_rest_along_but_not_an_untouched_family(index: Index) -> None:
    assert reach({ONE}, index, _those(index, "xxxxx...")) == index.settings.keys()
    only_v4 = reach({ONE}, index, _those(index, "x.x....."))
    assert only_v4 == _those(index, "x.x.x.x.")


def test_a_shut_group_moves_only_what_is_breached(index: Index) -> None:
    own = _those(index, "x......x")
    assert reach((), index, own) == own


def test_a_move_waits_for_the_trials_of_its_mates_but_not_for_long(
    index: Index, alone: Index
) -> None:
    own, on_trial = _those(index, "x......."), _those(index, ".x......")

    def ledger(on_trial: set[str]) -> Ledger:
        confirmed = {a: AddressRecord(confirmed_at=100.0) for a in index.settings}
        trial = Trial(candidate="pao", since=100.0)
        tried = {a: AddressRecord(confirmed_at=100.0, trial=trial) for a in on_trial}
        return replace(Ledger.blank(0.0), addresses=confirmed | tried)

    assert settling(ledger(on_trial), index, own, 100.5) == own
    assert not settling(ledger(on_trial), index, own, 100.0 + SETTLE)
    assert not settling(ledger(set()), index, own, 100.5)
    assert not settling(ledger(on_trial), alone, own, 100.5)


@given(st.lists(st.booleans(), min_size=8, max_size=8), st.booleans())
def test_whatever_is_breached_itself_always_moves(
    index: Index, own: list[bool], was_open: bool
) -> None:
    mine = _those(index, own)
    groups = open_groups({ONE} if was_open else (), index, mine)
    assert reach(groups, index, mine) >= mine
