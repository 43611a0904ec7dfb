"""The health table is total, and nothing but proven recovery ends a proven fault."""

from __future__ import annotations

from steering.judge.known.health import TABLE, Signal, advance, diagram
from steering.model import Health


def test_the_table_is_total() -> None:
    assert set(TABLE) == set(Health)
    for row in TABLE.values():
        assert set(row) == set(Signal)
        assert all(isinstance(to, Health) for to in row.values())


def test_a_path_advances_as_the_table_says() -> None:
    for state in Health:
        for signal in Signal:
            assert advance(state, signal) is TABLE[state][signal]


def test_only_proven_recovery_ends_a_proven_fault() -> None:
    for signal in Signal:
        ends = signal is Signal.MENDED
        assert (TABLE[Health.FAILING][signal] is not Health.FAILING) is ends


def test_silence_makes_unknown_and_never_failing() -> None:
    for state in Health:
        after = TABLE[state][Signal.UNSEEN]
        assert after is not Health.FAILING or state is Health.FAILING


def test_nothing_becomes_failing_but_by_confirmation() -> None:
    for state in Health:
        for signal in Signal:
            if TABLE[state][signal] is Health.FAILING and state is not Health.FAILING:
                assert signal is Signal.CONFIRMED


def test_every_state_is_reached_and_left() -> None:
    arrows = {(a, b) for a, row in TABLE.items() for b in row.values() if a is not b}
    assert {a for a, _ in arrows} == set(Health)
    assert {b for _, b in arrows} == set(Health)


def test_the_diagram_shows_every_arrow() -> None:
    text = diagram()
    for state, row in TABLE.items():
        for signal, to in row.items():
            if to is not state:
                line = next(x for x in text.splitlines() if f"{state.word} -> {to.word} " in x)
                assert signal.name.lower() in line
