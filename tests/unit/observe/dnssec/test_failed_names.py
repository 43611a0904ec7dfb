"""A failing name counts once an hour, and what is kept of names stays small."""

from __future__ import annotations

from steering.judge.known.failed_names import (
    HOUR,
    IGNORED,
    NONE,
    SLOTS,
    WITNESSES,
    Names,
    count_once,
    holds,
    ignore,
    latest,
    remember,
)


def test_a_name_counts_again_after_an_hour() -> None:
    names, counts = count_once(NONE, "a.com.", 100.0)
    assert counts
    assert count_once(names, "a.com.", 100.0 + HOUR - 1) == (names, False)
    assert holds(names, "a.com.", 100.0 + HOUR - 1)
    assert not holds(names, "a.com.", 100.0 + HOUR)
    assert count_once(names, "a.com.", 100.0 + HOUR)[1]


def test_another_name_counts_beside_it_and_the_oldest_of_many_gives_way() -> None:
    names: Names = NONE
    for number in range(SLOTS):
        names, counts = count_once(names, f"n{number}.com.", 100.0 + number)
        assert counts
    assert len(names) == SLOTS
    names, counts = count_once(names, "new.com.", 100.0 + SLOTS)
    assert counts
    assert len(names) == SLOTS
    assert "n0.com." not in names
    assert {"n1.com.", "new.com."} <= set(names)


def test_what_is_asked_again_are_the_names_that_failed_last() -> None:
    names: Names = NONE
    for number in range(WITNESSES + 5):
        names = remember(names, f"n{number}.com.", float(number))
    assert set(names) == {f"n{number}.com." for number in range(5, WITNESSES + 5)}
    names = remember(names, "n5.com.", 1000.0)
    assert len(names) == WITNESSES
    assert latest(names)[:2] == ("n5.com.", f"n{WITNESSES + 4}.com.")


def test_what_is_ignored_is_the_latest_and_no_more_than_can_be_kept() -> None:
    names = ignore(NONE, ["old.com.", "again.com."], 100.0)
    names = ignore(names, ["again.com."], 100.0 + HOUR - 1)
    assert holds(names, "again.com.", 100.0 + 2 * HOUR - 2)
    assert not holds(names, "old.com.", 100.0 + HOUR)
    names = ignore(names, (f"n{number}.com." for number in range(IGNORED)), 100.0 + HOUR)
    assert len(names) == IGNORED
    assert "again.com." not in names
    assert f"n{IGNORED - 1}.com." in names
