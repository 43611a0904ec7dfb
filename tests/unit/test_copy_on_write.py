"""A ledger shares with the one before what a turn has not changed; nobody can write there."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from simulation import WALL, Simulation, setup

from steering.engine import engine
from steering.judge.copy_on_write import fork, own, write
from steering.judge.ledger import Ledger
from steering.judge.peer_paths import others_best
from steering.judge.turn import judge
from steering.layout import Layout
from steering.model import LOCAL, Facts, Kind, Observation, Outcome, Question, Round


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """Two arrays."""

    one: NDArray[np.int64]
    other: NDArray[np.int64]


def sheet() -> Sheet:
    return Sheet(one=np.arange(3), other=np.arange(3))


def test_what_is_written_to_is_copied_once_and_nothing_else() -> None:
    before = sheet()
    after = fork(before)
    own(after, "one")[0] = 7
    mine = after.one
    own(after, "one")[1] = 8
    assert after.one is mine
    assert after.one.tolist() == [7, 8, 2]
    assert before.one.tolist() == [0, 1, 2]
    assert after.other is before.other


def test_what_is_shared_can_not_be_written_to_by_mistake() -> None:
    before = sheet()
    after = fork(before)
    for array in (before.one, after.one):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_what_would_change_nothing_is_not_copied() -> None:
    before = sheet()
    after = fork(before)
    where = np.array([0, 2])
    write(after, "one", where, np.array([0, 2]))
    assert after.one is before.one
    write(after, "one", where, np.array([0, 3]))
    assert (before.one.tolist(), after.one.tolist()) == ([0, 1, 2], [0, 1, 3])


def test_a_turn_in_which_nothing_came_in_copies_no_array(tmp_path: Path) -> None:
    state = Simulation(setup(tmp_path), lambda _: Outcome.SECURE).run(20).state
    after, _, _ = engine.turn(state, Facts(wall=WALL + state.now + 0.1), state.now + 0.1)
    for part, was in (
        (after.ledger, state.ledger),
        (after.ledger.copies, state.ledger.copies),
        (after.ledger.traffic, state.ledger.traffic),
    ):
        for field in fields(part):
            if isinstance(array := getattr(part, field.name), np.ndarray):
                assert array is getattr(was, field.name), field.name


def test_an_answer_more_of_what_is_known_leaves_the_buckets_alone(tmp_path: Path) -> None:
    sim = Simulation(setup(tmp_path), lambda _: Outcome.SECURE).run(20)
    levels = sim.state.ledger.levels
    answers = int(sim.state.ledger.counts.sum())
    sim.run(5)
    assert sim.state.ledger.counts.sum() > answers
    assert sim.state.ledger.levels is levels


values = st.sampled_from([np.nan, 0.0, 1.0, 2.5, -3.0])


@given(
    st.lists(st.lists(values, min_size=4, max_size=4), min_size=1, max_size=5), st.integers(1, 4)
)
def test_the_best_of_the_others_is_what_is_left_without_oneself(
    rows: list[list[float]], paths: int
) -> None:
    table = np.array(rows)[:, :paths]
    found = others_best(table)
    for p in range(paths):
        others = np.delete(table, p, axis=1)
        best = np.fmax.reduce(others, axis=1, initial=np.nan)
        np.testing.assert_array_equal(found[:, p], best)


def test_two_rounds_of_one_address_in_a_turn_count_one_after_the_other(tmp_path: Path) -> None:
    """In one turn or in two of the same instant: it comes to the same."""
    made = setup(tmp_path)
    address = Layout.of(made).targets[0].address
    outcomes = (Outcome.TIMEOUT, Outcome.SECURE, Outcome.EXPIRED, Outcome.SECURE, Outcome.TIMEOUT)
    told = [
        Round(
            address=address,
            question=Question(zone="gtld.", name=f"n{i}.gtld.", rdtype="A", kind=Kind.DENIAL),
            at=1000.0 + i / 10,
            observations=tuple(
                Observation(address=address, path=path, outcome=outcome, reached=came)
                for path, outcome, came in (
                    (LOCAL, outcome, outcome is not Outcome.TIMEOUT),
                    ("pao", Outcome.SECURE, True),
                )
            ),
        )
        for i, outcome in enumerate(outcomes)
    ]
    layout = Layout.of(made)
    blank = Ledger.blank(layout, 1000.0)
    at_once, _ = judge(blank, layout, Facts(wall=WALL, rounds=tuple(told)), 1001.0)
    apart = blank
    for item in told:
        apart, _ = judge(apart, layout, Facts(wall=WALL, rounds=(item,)), 1001.0)
    for name in ("counts", "run", "streak", "silent_since", "answered", "recent_bad", "habit_all"):
        np.testing.assert_array_equal(getattr(at_once, name), getattr(apart, name), err_msg=name)
    assert int(at_once.run[0, 0]) == 0
    assert int(at_once.streak[0, 0]) == 1
