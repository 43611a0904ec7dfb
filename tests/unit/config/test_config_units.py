"""Numbers with units, read and written."""

from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from steering.config.types import canonical_name, duration, duration_text, seconds


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("200ms", 0.2),
        ("10s", 10.0),
        ("1.5m", 90.0),
        ("12h", 43200.0),
        ("7d", 604800.0),
        ("0s", 0.0),
        ("0.1s", 0.1),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, length: float) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize(
    "text", ["", "10", "s", "-1s", "1e3s", "1,5s", "1S", "1s ", "\u0661s", "1w"]
)
def test_nothing_else_is_a_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        seconds(text)


@given(st.integers(0, 10**9).map(lambda thousandths: thousandths / 1000))
def test_a_duration_written_reads_as_it_was(length: float) -> None:
    assert seconds(duration_text(length)) == length


@pytest.mark.parametrize(
    ("length", "text"),
    [(0.0, "0s"), (0.2, "200ms"), (1.5, "1500ms"), (60.0, "1m"), (90.0, "90s"), (86400.0, "1d")],
)
def test_a_duration_is_written_in_its_largest_whole_unit(length: float, text: str) -> None:
    assert duration_text(length) == text


LENGTH = Annotated[float, duration("1s", "1d", why="it is so")]


@pytest.mark.parametrize("length", [float("inf"), float("nan"), 1e308, -1e300])
def test_a_length_beyond_all_units_is_refused_as_any_other(length: float) -> None:
    with pytest.raises(ValueError, match="wanted 1s to 1d: it is so"):
        TypeAdapter(LENGTH).validate_python(length)


@given(st.lists(st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True), min_size=1, max_size=10))
def test_a_canonical_name_stays_what_it_is(labels: list[str]) -> None:
    name = canonical_name(".".join(labels))
    assert canonical_name(name) == name == name.lower()
    assert name.endswith(".")
