"""Politeness, for every history of attention."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steering.model import Attention
from steering.observe.probe.schedule import LIVE, DueProbe, Pace, Schedule

PATHS = ("local", "pao", "fra")
PACE = Pace(interval=10.0, fast_interval=0.2, timeout=1.0)
ALMOST = 1e-9

Change = tuple[float, frozenset[str], bool, bool]
changes = st.lists(
    st.tuples(
        st.floats(0.001, 15.0),
        st.frozensets(st.sampled_from(PATHS)),
        st.booleans(),  # live
        st.booleans(),  # a repeat by TCP just then
    ),
    max_size=30,
)


def drive(cadence: Schedule, start: float, end: float) -> list[tuple[float, DueProbe]]:
    """All turns between two moments, each at the moment it was due, or a little late."""
    turns = []
    while (at := max(cadence.wake_at, start)) < end:
        turns += [(at, turn) for turn in cadence.due(at)]
    return turns


@given(changes, st.integers(0, 1000))
def test_no_path_is_ever_asked_more_often_than_allowed(history: list[Change], seed: int) -> None:
    cadence = Schedule(["a"], PATHS, PACE, rng=random.Random(seed), now=0.0)
    now, attended = 0.0, frozenset[str]()
    last = dict.fromkeys((*PATHS, LIVE), -1e9)
    for pause, paths, live, repeat in history:
        for at, turn in drive(cadence, now, now + pause):
            for path in turn.paths:
                least = PACE.fast_interval if path in attended else PACE.interval * 0.9
                assert at - last[path] >= least - ALMOST, path
                last[path] = at
        now += pause
        attended = paths | ({LIVE} if live else set())
        cadence.attend({"a": Attention(paths=paths, live=live)} if attended else {}, now)
        if repeat:
            last["local"] = now
            cadence.repeated("a", "local", now)


@given(changes, st.integers(0, 1000))
def test_no_path_is_forgotten_whatever_is_attended(history: list[Change], seed: int) -> None:
    cadence = Schedule(["a"], PATHS, PACE, rng=random.Random(seed), now=0.0)
    now, last = 0.0, dict.fromkeys(PATHS, 0.0)
    for pause, paths, live, _ in history:
        for at, turn in drive(cadence, now, now + pause):
            for path in set(PATHS) & set(turn.paths):
                assert at - last[path] <= 2 * PACE.interval * 1.1 + ALMOST
                last[path] = at
        now += pause
        attention = {"a": Attention(paths=paths, live=live)}
        cadence.attend(attention if paths or live else {}, now)


def test_an_unattended_address_is_asked_over_all_paths_in_the_same_instant() -> None:
    cadence = Schedule(["a", "b"], PATHS, PACE, rng=random.Random(1), now=100.0)
    turns = drive(cadence, 100.0, 200.0)
    assert {turn.paths for _, turn in turns} == {PATHS}
    assert 18 <= len(turns) <= 24
    assert not any(turn.fast for _, turn in turns)


def test_first_rounds_are_spread_over_the_interval() -> None:
    addresses = [f"a{n}" for n in range(100)]
    cadence = Schedule(addresses, PATHS, PACE, rng=random.Random(1), now=0.0)
    firsts = [at for at, _ in drive(cadence, 0.0, 9.0)]
    assert max(firsts) > 8
    assert sum(at < 5 for at in firsts) in range(30, 70)


def test_attention_asks_fast_over_its_paths_and_slowly_over_the_others() -> None:
    cadence = Schedule(["a", "b"], PATHS, PACE, rng=random.Random(1), now=0.0)
    attention = Attention(paths=frozenset({"local", "pao"}), live=True, witnesses=("x.com.",))
    cadence.attend({"a": attention}, 0.0)
    turns = [turn for _, turn in drive(cadence, 0.0, 30.0) if turn.address == "a"]
    assert 145 <= len(turns) <= 151
    assert all({"local", "pao", LIVE} <= set(turn.paths) for turn in turns)
    assert 2 <= sum("fra" in turn.paths for turn in turns) <= 4
    assert {turn.witnesses for turn in turns} == {("x.com.",)}


def test_the_same_attention_again_changes_nothing() -> None:
    cadence = Schedule(["a"], PATHS, PACE, rng=random.Random(1), now=0.0)
    attention = {"a": Attention(paths=frozenset({"local"}))}
    times = []
    for step in range(200):
        cadence.attend(attention, step * 0.05)
        times += [at for at, _ in drive(cadence, step * 0.05, (step + 1) * 0.05)]
    assert 48 <= len(times) <= 51


def test_a_late_driver_is_not_followed_by_a_burst() -> None:
    cadence = Schedule(["a"], PATHS, PACE, rng=random.Random(1), now=0.0)
    cadence.attend({"a": Attention(paths=frozenset({"local"}))}, 0.0)
    assert len(cadence.due(1000.0)) == 1
    assert cadence.due(1000.1) == []


def test_a_repeat_by_tcp_pushes_the_next_question_back() -> None:
    cadence = Schedule(["a"], ("local",), PACE, rng=random.Random(1), now=0.0)
    cadence.attend({"a": Attention(paths=frozenset({"local"}))}, 0.0)
    assert len(cadence.due(1.0)) == 1
    cadence.repeated("a", "local", 1.15)
    assert cadence.due(1.2) == []
    assert cadence.wake_at == pytest.approx(1.35)
    assert len(cadence.due(1.36)) == 1


@pytest.mark.parametrize("pace", [(0, 0.2, 1), (10, 0, 1), (0.1, 0.2, 1), (10, 0.2, 0)])
def test_a_pace_that_makes_no_sense_is_refused(pace: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        Pace(interval=pace[0], fast_interval=pace[1], timeout=pace[2])
